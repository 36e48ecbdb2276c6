"""The report: one HTML file that holds an evolution, to be opened without a network.

Every number in it is looked up in the records by a path that stands beside it in the page (``data-of``), so that a
test, or a reader, can follow it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from darwin import changes, curves, plots, repairs, spending, summary, verdicts
from darwin.changes import visible
from darwin.headline import best, headline
from darwin.lineage import Lineage
from darwin.memory import Memory
from darwin.memory.records import Choice, Individual, Outcome, Status, Usage, perplexity
from darwin.screen import safe
from darwin.tables import DECIDED, outcome

STYLE = Path(__file__).with_name("report.css")
FORMS = {
    "plain": lambda value: f"{value:,}",
    "three": lambda value: f"{value:.3f}",
    "four": lambda value: f"{value:.4f}",
    "share": lambda value: f"{value:.1%}",
    "seconds": lambda value: f"{value:,.0f}",
    "percent": lambda value: f"{100 * math.expm1(value):+.1f} %",
    "per cent": lambda value: f"{value:+.1f} %",
}
"""How a number is written; ``percent`` takes a difference of log perplexity."""

WORDS = {
    Outcome.BETTER: "better than",
    Outcome.WORSE: "worse than",
    Outcome.UNDECIDED: "not proven different from",
}

MADE = (
    (
        "perplexity",
        "exp of the mean loss in nats a token over the split, computed by darwin from the model's logits.",
    ),
    (
        "change",
        "ratio of perplexities minus one; effects are differences of log perplexity on the same seeds.",
    ),
    (
        "verdict",
        "paired fresh seeds against the incumbent, after 1, 2, 3 and 5; 1 % of error on a whole run.",
    ),
    (
        "MFU",
        "matrix products of the model, both passes, counted by darwin, a second, over the calibrated peak.",
    ),
    ("larger budget", "base and champion at six times the budget, since short trials flatter head starts."),
    ("interval", "Student's t, with the run's pooled deviation where few pairs were run."),
    ("band of the curve", "what luck alone does to one seed, from the base's own seeds."),
    ("learning curves", "what a script prints about its own training: shown, never believed."),
    ("CPU seconds", "of darwin, git and every process of every trial."),
)


class Records:
    """The records as JSON would hold them, looked up by path: ``individuals/<id>/trials/0/loss``, ``run/seed``."""

    def __init__(self, memory: Memory) -> None:
        self._all: dict[str, Any] = {
            "individuals": {i.id: i.model_dump(mode="json") for i in memory.individuals.values()},
            "decisions": {d.id: d.model_dump(mode="json") for d in memory.decisions.values()},
            "run": memory.run.model_dump(mode="json"),
            "lessons": {lesson.id: lesson.model_dump(mode="json") for lesson in memory.lessons()},
        }

    def find(self, path: str) -> Any:
        """The value at a path; None where there is none."""
        found: Any = self._all
        for part in path.split("/"):
            if isinstance(found, list):
                found = found[int(part)] if int(part) < len(found) else None
            else:
                found = found.get(part) if isinstance(found, dict) else None
        return found

    def number(self, path: str, form: str, tag: str = "td") -> str:
        """A number of the records as an element that says where it is from; empty where it is unknown."""
        value = self.find(path)
        if value is None:
            return f"<{tag}></{tag}>"
        return f'<{tag} class="n" data-of="{escape(path)}" data-form="{form}">{FORMS[form](value)}</{tag}>'


def write(memory: Memory, lineage: Lineage, artifacts: Path) -> str:
    """The report as one HTML page."""
    records = Records(memory)
    sections = [
        ("The result", _result(memory, records)),
        ("Who wrote whom", _figure(plots.family_tree(_nodes(memory)))),
        ("Best so far", _figure(_best_so_far(memory))),
        ("Perplexity and MFU", _figure(_front(memory))),
        ("Learning curves", _curves(memory, artifacts)),
        ("What it is made of", _steps(memory, records)),
        ("The change in full", _diff(memory, lineage)),
        ("Decisions", _decisions(memory, records)),
        ("Lessons", _lessons(memory, records)),
        ("What came to nothing", _failures(memory)),
        ("Costs", _costs(memory, records)),
        ("Every script", _scripts(memory, records)),
        ("How each number was made", _made()),
    ]
    body = "\n".join(f"<section><h2>{name}</h2>{content}</section>" for name, content in sections if content)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>darwin: {_text(memory.run.dataset_name)}</title><style>{STYLE.read_text()}</style></head>\n"
        f"<body><header><h1>{_text(headline(memory), 300)}</h1>{_about(memory, records)}</header>\n"
        f"<main>{body}</main></body></html>\n"
    )


def _about(memory: Memory, records: Records) -> str:
    run = memory.run
    number = records.number
    return (
        f"<p>{number('run/generation', 'plain', 'b')} generations, {len(memory.individuals) - 1} children by "
        f"{len(run.agents)} agents, on {_text(run.dataset_name)}; {_text(run.budget)} of training a trial on "
        f"{_text(run.device)}, torch {_text(run.torch)}, seed {number('run/seed', 'plain', 'b')}; "
        f"{number('run/cpu_seconds', 'seconds', 'b')} CPU seconds. The test split was used "
        f"{number('run/test_uses', 'plain', 'b')} times.</p>"
    )


def _result(memory: Memory, records: Records) -> str:
    comparison = memory.run.comparison
    parts = []
    if comparison is None:
        parts.append("<p>There is no closing comparison yet.</p>")
    else:
        parts.append(
            "<p>" + ("Base and champion" if comparison.proven else "Nothing proven better: base and best script")
            + " on fresh seeds and the test split, which chose nothing.</p>"
        )  # fmt: skip
        rows = []
        for n, row in enumerate(comparison.rows):
            at = f"run/comparison/rows/{n}"
            cells = [records.number(f"{at}/{k}_perplexity", "three") for k in ("base", "champion")]
            cells += [records.number(f"{at}/change_percent", "per cent")]
            cells += [records.number(f"{at}/interval_percent/{k}", "per cent") for k in (0, 1)]
            cells += [records.number(f"{at}/{k}_mfu", "share") for k in ("base", "champion")]
            rows.append([f"<td>{_text(row.budget)}, {len(row.seeds)} seeds</td>", *cells])
        parts.append(
            _table(
                ("budget", "base", "champion", "change", "from", "to (98 %)", "base MFU", "champion MFU"),
                rows,
            )
        )
        if comparison.fades:
            parts.append('<p class="bad">The gain fades with training.</p>')
    found = best(memory)
    if found.verdict is not None:
        at = f"individuals/{found.id}/verdict"
        parts.append(
            f"<p>{_text(found.id)} is <b>{WORDS[found.verdict.outcome]}</b> {_text(found.verdict.against)}: "
            f"{records.number(f'{at}/effect', 'percent', 'b')} "
            f"({records.number(f'{at}/interval/0', 'percent', 'span')} to "
            f"{records.number(f'{at}/interval/1', 'percent', 'span')}) on {len(found.verdict.seeds)} paired seeds.</p>"
        )
    return "".join(parts)


def _nodes(memory: Memory) -> list[plots.Node]:
    def fate(one: Individual) -> str:
        if one.verdict is not None:
            return one.verdict.outcome.value
        return "trained" if one.status is Status.TRAINED else "failed"

    merged = {i for i, d in memory.decisions.items() if d.choice is Choice.MERGE}
    return [
        plots.Node(
            i.id, i.generation, safe((i.author or "base").partition(" <")[0], 14), fate(i),
            i.parents[0] if i.parents else None, i.id in merged,
        )
        for i in memory.individuals.values()
    ]  # fmt: skip


def _best_so_far(memory: Memory) -> str:
    births, values, every = [], [], []
    least = math.inf
    for one in memory.individuals.values():
        if one.loss is None:
            continue
        least = min(least, one.loss)
        births.append(one.ordinal)
        values.append(perplexity(least))
        every.append((one.ordinal, perplexity(one.loss)))
    found = memory.run.noise
    band = verdicts.pooled_interval([0.0], verdicts.Spread(found.deviation, found.df)) if found else None
    worst = values[0] * 1.15 if values else 0.0
    near = [(x, y) for x, y in every if y <= worst]  # one that diverged would flatten all others
    return plots.best_so_far(births, values, near, math.expm1(band[1]) if band else None)


def _front(memory: Memory) -> str:
    known = {
        i.id: (100 * i.mfu, perplexity(i.loss))
        for i in memory.individuals.values()
        if i.loss is not None and i.mfu is not None
    }
    base = memory.resolve("base").id
    worst = 1.15 * known[base][1] if base in known else math.inf
    near = {name: point for name, point in known.items() if point[1] <= worst}
    points = [
        (x, y, not any(a >= x and b <= y and (a, b) != (x, y) for a, b in near.values()))
        for x, y in near.values()
    ]
    named = {name: near[one] for name, one in (("base", base), ("champion", best(memory).id)) if one in near}
    return plots.front(points, named) if points else ""


def _curves(memory: Memory, artifacts: Path) -> str:
    run, found = memory.run, {}
    for name, one in (("base", memory.resolve("base")), ("champion", best(memory))):
        usual = (
            [t.seed for t in one.trials if t.budget == run.budget] if name == "base" or one.parents else []
        )
        kept = (curves.load(artifacts, one.id, run.budget, seed) for seed in usual)
        points = next((points for points in kept if len(points) > 1), None)
        if points is not None:
            found[name] = points
    return _figure(plots.learning_curves(found)) if found else ""


def _steps(memory: Memory, records: Records) -> str:
    rows = [
        [f"<td>{_text(step.subject)}</td>", f"<td>{_text(step.author)}</td>", f"<td>{_text(step.id)}</td>",
         records.number(f"individuals/{step.id}/delta/parent", "percent")]
        for step in summary.steps(memory)
    ]  # fmt: skip
    return _table(("change", "by", "script", "effect on its parent"), rows)


def _diff(memory: Memory, lineage: Lineage) -> str:
    base, champion = memory.resolve("base"), best(memory)
    if champion.id == base.id:
        return ""
    change = changes.read(lineage.repo, base.commit, champion.commit, [])
    return "".join(f"<h3>{_text(f.path)}</h3><pre>{''.join(_diff_lines(f))}</pre>" for f in change.files)


def _diff_lines(file: changes.FileChange) -> Iterator[str]:
    kinds = {"+": "good", "-": "bad", " ": ""}
    for number, hunk in enumerate(file.hunks):
        if number:
            yield '<span class="mute">...</span>\n'
        for line in hunk:
            words = f"{line.number:>5} {line.sign} {visible(line.text)}"
            yield f'<span class="{kinds[line.sign]}">{escape(words)}</span>\n'


def _decisions(memory: Memory, records: Records) -> str:
    rows = [
        [f"<td>{_text(d.id)}</td>", f"<td>{DECIDED.get(d.choice, 'put off')}</td>",
         f"<td>{_text(d.by.partition(' <')[0])}</td>", f"<td>{_text(d.reason, 300)}</td>",
         records.number(f"decisions/{d.id}/lines_seen", "plain"), records.number(f"decisions/{d.id}/lines", "plain")]
        for d in memory.decisions.values()
    ]  # fmt: skip
    return _table(("script", "decision", "by", "reason", "lines seen", "of"), rows)


def _lessons(memory: Memory, records: Records) -> str:
    known = sorted(memory.lessons(), key=lambda lesson: (lesson.effect is None, lesson.effect or 0.0))
    rows = [
        [f"<td>{_text(one.id)}</td>", records.number(f"lessons/{one.id}/effect", "percent"),
         records.number(f"lessons/{one.id}/tried", "plain"), records.number(f"lessons/{one.id}/failed", "plain")]
        for one in known
    ]  # fmt: skip
    return _table(("idea", "mean effect on its parent", "tried", "failed"), rows)


def _failures(memory: Memory) -> str:
    rows = [[f"<td>{_text(why, 200)}</td>", f'<td class="n">{n}</td>'] for why, n in summary.failures(memory)]
    found = repairs.shares(memory.individuals.values())
    words = f"<p>{_text(repairs.in_words(found), 300)}.</p>" if found.written else ""
    return words + _table(("why", "scripts"), rows)


def _costs(memory: Memory, records: Records) -> str:
    rows = [
        [f"<td>{name}</td>", f'<td class="n">{spent:,.0f}</td>']
        for name, spent in summary.times(memory).items()
    ]
    total = records.number("run/cpu_seconds", "seconds")
    asked = sum((one.usage for one in memory.individuals.values() if one.usage), Usage())
    models = f"<p>Models: {_text(spending.in_words(asked))}.</p>" if asked.calls else ""
    return models + _table(("CPU seconds of", ""), [*rows, ["<td><b>all</b></td>", total]])


def _scripts(memory: Memory, records: Records) -> str:
    rows = []
    for one in memory.individuals.values():
        at = f"individuals/{one.id}"
        whose = f"{one.owner}'s {one.parents[0]}" if one.parents else ""
        rows.append(
            [f"<td>{_text(one.id)}</td>", f"<td>{_text(whose)}</td>", f"<td>{_text(one.subject)}</td>",
             records.number(f"{at}/trials/0/perplexity", "three"), records.number(f"{at}/delta/base", "percent"),
             records.number(f"{at}/trials/0/mfu", "share"), f"<td>{_text(_fate(one, memory))}</td>"]
        )  # fmt: skip
    return _table(("script", "rewrites", "change", "perplexity", "to the base", "MFU", "outcome"), rows)


def _fate(one: Individual, memory: Memory) -> str:
    words = outcome(one, memory)
    return words.partition(", ")[2] if one.loss is not None else words


def _made() -> str:
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{words}</dd>" for name, words in MADE) + "</dl>"


def _figure(svg: str) -> str:
    return f"<figure>{svg}</figure>" if svg else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rows = list(rows)
    if not rows:
        return "<p>None.</p>"
    labelled = [
        "".join(
            f'<td data-label="{name}"{cell.removeprefix("<td")}' for name, cell in zip(head, row, strict=True)
        )
        for row in rows
    ]
    body = "".join(f"<tr>{row}</tr>" for row in labelled)
    numeric = [any('class="n"' in row[n] for row in rows) for n in range(len(head))]
    names = "".join(
        f'<th class="n">{name}</th>' if right else f"<th>{name}</th>"
        for name, right in zip(head, numeric, strict=True)
    )
    kind = ' class="many"' if len(head) > 3 else ""
    return (
        f'<div class="wide"><table{kind}><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _text(text: str, limit: int = 100) -> str:
    """Untrusted text as one line of HTML."""
    return escape(safe(text, limit))
