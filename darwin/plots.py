"""The report's pictures, as static SVG by matplotlib, in colours that follow the page's (light or dark).

Every function takes plain numbers and gives an ``<svg>`` that stands by itself inside the page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 5.0, 3.0
"""Inches of a picture: narrow, so that its text can be read on a telephone."""

INKS = {
    "#010101": "ink",
    "#020202": "soft",
    "#030303": "good",
    "#040404": "bad",
    "#050505": "mute",
    "#060606": "lead",
}
"""Colours that stand for a class of the page's style sheet."""
INK, SOFT, GOOD, BAD, MUTE, LEAD = INKS

OUTCOMES = {"better": GOOD, "worse": BAD, "undecided": LEAD, "trained": SOFT, "failed": MUTE}


@dataclass(frozen=True)
class Node:
    """A script in the family tree: ``column`` is its generation, ``row`` its author's, ``fate`` a key of OUTCOMES."""

    id: str
    column: int
    row: str
    fate: str
    parent: str | None
    merged: bool = False


def family_tree(nodes: Sequence[Node]) -> str:
    """Who wrote whom: a column a generation, a row an author, a line from each script to the one it rewrote."""
    rows = {row: n for n, row in enumerate(dict.fromkeys(node.row for node in nodes))}
    count: dict[tuple[int, str], int] = {}
    places: dict[str, tuple[float, float]] = {}
    for node in nodes:
        seen = count[node.column, node.row] = count.get((node.column, node.row), -1) + 1
        places[node.id] = (node.column + 0.16 * seen, rows[node.row])
    with _figure(max(HEIGHT, 0.34 * len(rows) + 1.1)) as (figure, axes):
        for node in nodes:
            if node.parent in places:
                (x0, y0), (x1, y1) = places[node.parent], places[node.id]
                axes.plot([x0, x1], [y0, y1], color=MUTE, linewidth=0.6, zorder=1)
        for fate, colour in OUTCOMES.items():
            chosen = [node for node in nodes if node.fate == fate]
            if chosen:
                x, y = ([places[node.id][n] for node in chosen] for n in (0, 1))
                size = [70 if node.merged else 26 for node in chosen]
                axes.scatter(x, y, s=size, color=colour, label=f"{fate} ({len(chosen)})", zorder=2)
        axes.set_yticks(list(rows.values()), list(rows))
        axes.invert_yaxis()
        axes.set_xlabel("generation (large: merged)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(axes, columns=3)
    return _svg(figure, "Family tree: who rewrote whose script, by verdict")


def best_so_far(
    births: Sequence[int],
    values: Sequence[float],
    all_values: Sequence[tuple[int, float]],
    noise: float | None,
) -> str:
    """The lowest perplexity up to each birth, on the first seed, with what luck alone does (98 %)."""
    with _figure() as (figure, axes):
        if all_values:
            x, y = ([pair[n] for pair in all_values] for n in (0, 1))
            axes.scatter(x, y, s=8, color=MUTE, label="each script")
        axes.step(births, values, where="post", color=LEAD, linewidth=1.8, label="best so far")
        if noise:
            low, high = ([value * factor for value in values] for factor in (1 - noise, 1 + noise))
            axes.fill_between(
                births, low, high, step="post", color=LEAD, alpha=0.18, linewidth=0, label="98 % by luck"
            )
        axes.set_xlabel("scripts born")
        axes.set_ylabel("perplexity")
        _legend(axes)
    return _svg(figure, "Best perplexity so far, with its interval")


def front(points: Sequence[tuple[float, float, bool]], named: Mapping[str, tuple[float, float]]) -> str:
    """Perplexity against MFU (per cent), those on the front joined; ``points`` say whether they are on it."""
    with _figure() as (figure, axes):
        axes.scatter([p[0] for p in points], [p[1] for p in points], s=12, color=MUTE, label="each script")
        best = sorted(p[:2] for p in points if p[2])
        axes.plot(
            [p[0] for p in best], [p[1] for p in best], color=LEAD, marker="o", markersize=4, label="front"
        )
        for name, (x, y) in named.items():
            axes.annotate(name, (x, y), xytext=(4, 5), textcoords="offset points", color=INK)
            axes.scatter([x], [y], s=30, color=GOOD if name == "champion" else SOFT, zorder=3)
        axes.set_xlabel("MFU, per cent")
        axes.set_ylabel("perplexity (lower is better)")
        _legend(axes)
    return _svg(figure, "Perplexity and MFU of every script, and the front")


def learning_curves(curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Training loss over tokens, as each script itself reports it."""
    styles = {"base": SOFT, "champion": GOOD}
    with _figure() as (figure, axes):
        for name, points in curves.items():
            axes.plot(*zip(*points, strict=True), color=styles.get(name, LEAD), label=name, linewidth=1.4)
        axes.set_xlabel("training tokens")
        axes.set_ylabel("training loss, nats (its own report)")
        _legend(axes)
    return _svg(figure, "Learning curves")


@contextmanager
def _figure(height: float = HEIGHT) -> Iterator[tuple[Figure, Axes]]:
    settings: Any = {
        "font.family": "sans-serif", "font.size": 10.5,
        "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": SOFT, "xtick.color": INK, "ytick.color": INK,
        "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "legend.fontsize": 9,
    }  # fmt: skip
    with mpl.rc_context(settings):
        figure = Figure((WIDTH, height), layout="constrained")
        yield figure, figure.subplots()


def _legend(axes: Axes, columns: int = 3) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0, handletextpad=0.4)


def _svg(figure: Figure, title: str) -> str:
    """The figure as an element of the page: no fixed size, its colours as classes, ids of its own."""
    buffer = io.StringIO()
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "darwin"}):  # text stays text
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Title": title})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, name in INKS.items():
        text = text.replace(colour, f"var(--{name})")
    own = re.sub(r"\W+", "-", title.lower())
    text = re.sub(r'id="([^"]+)"', rf'id="{own}-\1"', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{own}-", text)
    text = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'<svg ([^>]*?)height="[^"]*"', rf'<svg \1role="img" aria-label="{title}"', text, count=1)
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
