"""The report: every number is the records', nothing in it acts or asks the network, and a browser shows it well."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser

import pytest

from darwin import curves
from darwin.report import write
from darwin.workspace import open_workspace

BROWSER = shutil.which("chromium")
FORMS = {
    "plain": "{:,}".format, "three": "{:.3f}".format, "four": "{:.4f}".format, "share": "{:.1%}".format,
    "seconds": "{:,.0f}".format, "per cent": "{:+.1f} %".format,
    "percent": lambda value: f"{(math.exp(value) - 1) * 100:+.1f} %",
}  # fmt: skip


BROWSERS_OWN = re.compile(r"google|gvt1|gstatic")
"""Addresses that Chromium asks for by itself, whatever page is open."""

PROBE = """<script>onload = () => {
  const page = document.querySelector("iframe").contentDocument, whole = page.documentElement
  const heights = [...page.querySelectorAll("svg text")].map(text => text.getBoundingClientRect().height)
  const background = getComputedStyle(page.body).backgroundColor
  document.title = [whole.clientWidth, whole.scrollWidth, background, Math.min(...heights)].join("|")
}</script>"""


class Page(HTMLParser):
    """Numbers with their paths, tags and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.numbers: list[tuple[str, str, str]] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self._open: tuple[str, str] | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.add(tag)
        self.addresses += [
            v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "action", "data", "poster")
        ]
        self._open = (found["data-of"], found["data-form"]) if "data-of" in found else None

    def handle_data(self, data):
        if self._open:
            self.numbers.append((*self._open, data))
            self._open = None


@pytest.fixture(scope="module")
def opened(finished):
    return open_workspace(finished)


@pytest.fixture(scope="module")
def html(opened, tmp_path_factory):
    artifacts = tmp_path_factory.mktemp("artifacts")
    run = opened.memory.run
    for name in ("base", "champion"):
        one = opened.memory.resolve(name)
        path = curves.path_of(artifacts, one.id, run.budget, one.trials[0].seed)
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps([[1000 * n, 4 - 0.1 * n] for n in range(20)]))
    return write(opened.memory, opened.lineage, artifacts)


def test_every_number_equals_that_of_the_json_files(opened, html):
    numbers = Page(html).numbers
    assert len(numbers) > 60
    for path, form, shown in numbers:
        kind, _, rest = path.partition("/")
        folder = opened.folder / "memory"
        if kind == "run":
            found = json.loads((folder / "run.json").read_text())
        elif kind == "lessons":
            name, _, rest = rest.partition("/")
            lessons = json.loads((folder / "lessons.json").read_text())["lessons"]
            found = next(lesson for lesson in lessons if lesson["id"] == name)
        else:
            name, _, rest = rest.partition("/")
            found = json.loads((folder / kind / f"{name}.json").read_text())
        for part in rest.split("/"):
            found = found[int(part)] if isinstance(found, list) else found[part]
        assert shown == FORMS[form](found), path
    assert {path.split("/")[0] for path, _, _ in numbers} == {"run", "individuals", "lessons"}


def test_it_holds_every_part(html):
    for name in (
        "The result", "Who wrote whom", "Best so far", "Perplexity and MFU", "Learning curves", "What it is made of",
        "The change in full", "Decisions", "Lessons", "What came to nothing", "Costs", "Every script",
        "How each number was made",
    ):  # fmt: skip
        assert f"<h2>{name}</h2>" in html
    assert html.count("<svg") == 4 and html.count("</text>") > 40
    identifiers = re.findall(r'\bid="([^"]+)"', html)
    assert len(identifiers) == len(set(identifiers))


def test_it_asks_the_network_for_nothing_and_runs_nothing(html):
    page = Page(html)
    assert not page.tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert all(address.startswith("#") for address in page.addresses)
    assert "default-src 'none'" in html and "@import" not in html and "url(http" not in html


def test_texts_of_authors_are_text(opened, tmp_path):
    memory = open_workspace(opened.folder).memory
    champion = memory.resolve("champion")
    nasty = "<script>alert(1)</script>\u202e<img src=x onerror=y>\x1b[31m"
    memory.individuals[champion.id] = champion.model_copy(update={"subject": nasty, "author": nasty})
    html = write(memory, opened.lineage, tmp_path)
    assert not Page(html).tags & {"script", "img"}
    assert "&lt;script&gt;" in html and "\u202e" not in html and "\x1b" not in html


def test_two_hundred_scripts_stay_below_five_megabytes(opened, tmp_path):
    memory = open_workspace(opened.folder).memory
    children = [i for i in memory.individuals.values() if i.parents]
    for n in range(200 - len(children)):
        one = children[n % len(children)]
        again = one.model_copy(update={"id": f"{one.id}x{n}", "ordinal": 100 + n, "generation": 4 + n // 6})
        memory.individuals[again.id] = again
    html = write(memory, opened.lineage, tmp_path)
    assert html.count("<tr>") > 200 and len(html.encode()) < 5e6


@pytest.mark.skipif(not BROWSER and not os.environ.get("DARWIN_REQUIRE_BROWSER"), reason="no chromium here")
@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1280, "light")])
def test_a_real_browser_lays_it_out_within_the_screen_and_asks_for_no_address(html, tmp_path, width, scheme):
    page, log = tmp_path / "page.html", tmp_path / "net.json"
    page.write_text(html)
    _browse(page, scheme, f"--screenshot={tmp_path}/page.png", f"--log-net-log={log}")
    assert (tmp_path / "page.png").stat().st_size > 10_000
    asked = re.findall(r'"url":"(https?:[^"]+)"', log.read_text())
    assert [url for url in asked if not BROWSERS_OWN.search(url)] == []

    framed = tmp_path / "framed.html"  # a window is never narrower than 500 pixels, a frame is
    framed.write_text(
        f'<iframe style="border:0;width:{width}px;height:2000px" srcdoc="{escape(html)}"></iframe>{PROBE}'
    )
    inner, scroll, background, text = re.search(
        r"<title>([^<]*)</title>", _browse(framed, scheme, "--dump-dom")
    )[1].split("|")
    assert width - 20 <= int(inner) <= width and int(scroll) <= int(inner)
    assert background == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 27)")
    assert 9 <= float(text) < 100, "pixels of the smallest text in a picture"


def _browse(page, scheme: str, *arguments: str) -> str:
    """Chromium's output on a page, without a network of any kind."""
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={page.parent}/profile", "--window-size=1400,900",
        f"--blink-settings=preferredColorScheme={int(scheme == 'light')}", *arguments, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
