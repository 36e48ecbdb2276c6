"""The gate's page: what changed, how sure it is, what it costs, at a glance; and the diff, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from rich.console import Group
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from darwin import verdicts
from darwin.changes import Change, FileChange, Line, shown_path, visible
from darwin.gate import Case
from darwin.memory.memory import percent
from darwin.memory.records import Choice, Individual, Outcome, Trial, TrialStatus, perplexity
from darwin.sandbox.budget import LARGER
from darwin.screen import counted, safe

STYLES = {"+": "green", "-": "red", " ": ""}
OUTCOMES = {
    Outcome.BETTER: ("BETTER than main", "bold green"),
    Outcome.WORSE: ("WORSE than main", "bold red"),
    Outcome.UNDECIDED: ("NOT PROVEN better than main", "bold yellow"),
}
LONGEST_HYPOTHESIS = 134
"""Characters of it on the page: two lines."""
MOST_CAUTIONS = 4
"""Lines of what is pointed out on the page; the rest is counted, and stands above the diff."""


def page(case: Case) -> Group:
    """The page of a case: about 20 lines of at most 80 columns."""
    contender = case.contender
    facts = Table.grid(padding=(0, 2, 0, 0))
    for label, text in _facts(case):
        facts.add_row(Text(label, style="dim"), Text(text))
    parts: list[Text | Table] = [
        Text(f"{contender.id} by {_name(contender.author)}: {safe(contender.subject)}", style="bold"),
        *([Text(f"On top of {written(case)}")] if len(case.line) > 1 else []),
        *_objections(case),
        _verdict(case),
        _larger(case),
        _basis(case),
        _numbers(case),
        facts,
    ]
    return Group(*parts)


def _objections(case: Case) -> Iterator[Text]:
    for sentence in case.change.objections:
        yield Text(f"CANNOT MERGE: {sentence}", style="bold red")
    for doubt in case.doubts if case.contender.verdict else ():
        yield Text(f"Careful: {doubt}.", style="bold yellow")
    cautions = case.change.cautions
    for sentence in cautions[:MOST_CAUTIONS]:
        yield Text(f"Look at: {sentence}", style="yellow")
    if len(cautions) > MOST_CAUTIONS:
        yield Text(f"Look at: {len(cautions) - MOST_CAUTIONS} more, listed above the diff", style="yellow")
    if case.earlier is not None and case.earlier.choice is Choice.STALE:
        yield Text(
            "You approved it before main moved; these are the numbers against main of now.", style="yellow"
        )


def _verdict(case: Case) -> Text:
    verdict = case.contender.verdict
    if verdict is None:
        return Text("Not judged yet.", style="bold yellow")
    words, style = OUTCOMES[verdict.outcome]
    sure = f"{100 * verdict.confidence:.2f}".rstrip("0").rstrip(".")
    text = f"{words} ({verdict.against}): {percent(verdict.effect)} perplexity"
    seeds = f"{counted(len(verdict.seeds), 'paired seed')} (equal seeds, so their luck cancels)"
    if verdict.interval:
        low, high = (percent(bound) for bound in verdict.interval)
        text += f" ({low.removesuffix(' %')} to {high})\n{sure} % sure of that range: {seeds}"
    else:
        text += f"\n{seeds}"
    return Text(text + (f" ({safe(verdict.note)})" if verdict.note else ""), style=style)


def _larger(case: Case) -> Text:
    check = case.contender.larger
    if check is None:
        return Text(
            f"At {LARGER} x the budget: not tested yet; short trials flatter head starts.", style="yellow"
        )
    words = f"At {LARGER} x the budget ({check.budget}): {percent(check.effect)} to the base"
    words += f", {counted(len(check.seeds), 'seed')} (short: {percent(check.short_effect)})"
    return Text(
        words + (": THE GAIN FADES" if check.fades else ""), style="bold red" if check.fades else "bold"
    )


def _basis(case: Case) -> Text:
    """What the table's numbers are, and why its ranges are not the verdict's."""
    seeds = counted(len(trials_of(case, case.contender)), "seed")
    return Text(f"Each alone, mean of {seeds}, ranges 98 % sure (here luck does not cancel):", style="dim")


def _numbers(case: Case) -> Table:
    """Means over the seeds of the verdict, with intervals: perplexity's from the run's noise, MFU's from its trials."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("", no_wrap=True)
    for column in ("perplexity", "range", "MFU", "range", "parameters", "memory"):
        table.add_column(column, justify="right", no_wrap=True)
    rows = [("this", case.contender), ("main", case.incumbent), ("base", case.base)]
    if case.original is not None:
        rows.insert(1, ("unedited", case.original))
    for name, one in rows:
        if name == "base" and one.id == case.incumbent.id:
            continue
        table.add_row("main = base" if one.id == case.base.id and name == "main" else name, *_row(case, one))
    return table


def trials_of(case: Case, individual: Individual) -> list[Trial]:
    """The trials that a row of the page is made from: those on the verdict's seeds, else the first one."""
    seeds = case.contender.verdict.seeds if case.contender.verdict else ()
    found = [verdicts.find(individual.trials, seed, "val", case.run.budget) for seed in seeds]
    known = [t for t in found if t is not None and t.status is TrialStatus.OK and t.loss is not None]
    return known or [t for t in individual.trials[:1] if t.loss is not None]


def _row(case: Case, individual: Individual) -> list[str]:
    trials = trials_of(case, individual)
    if not trials:
        return ["no loss"] + [""] * 5
    losses = [t.loss for t in trials if t.loss is not None]
    noise = case.run.noise
    known = verdicts.Spread(noise.deviation, noise.df) if noise else verdicts.Spread(0.0, 0)
    around = verdicts.pooled_interval(losses, known)
    spread = verdicts.interval([t.mfu for t in trials if t.mfu is not None])
    mean, first = mfu(case, individual), trials[0]
    return [
        f"{perplexity(fmean(losses)):.3f}",
        f"{perplexity(around[0]):.3f}-{perplexity(around[1]):.3f}" if around else "",
        "" if mean is None else f"{mean:.1f}%",
        f"{spread[0]:.1%}-{spread[1]:.1%}" if spread else "",
        "" if first.parameters is None else f"{first.parameters:,}",
        "" if first.peak_memory is None else f"{first.peak_memory / 1e6:.0f} MB",
    ]


def mfu(case: Case, individual: Individual) -> float | None:
    """The mean MFU of a row, in per cent, to the digit that is shown; None where it was not measured."""
    shares = [t.mfu for t in trials_of(case, individual) if t.mfu is not None]
    return round(100 * fmean(shares), 1) if shares else None


def _facts(case: Case) -> Iterator[tuple[str, str]]:
    contender, change = case.contender, case.change
    if contender.hypothesis:
        yield ("Hypothesis", safe(contender.hypothesis, LONGEST_HYPOTHESIS))
    parent = contender.delta.get("parent")
    if contender.expected.log_perplexity is not None and parent is not None:
        yield (
            "Expected",
            f"{percent(contender.expected.log_perplexity)} to its parent; it came to {percent(parent)}",
        )
    lines = f"+{change.added} -{change.removed} lines in " + ", ".join(
        shown_path(f.path) for f in change.files
    )
    settings: dict[str, tuple[object, object]] = {}
    for one in case.line:
        for name, (old, new) in one.settings.items():
            settings[name] = (settings.get(name, (old, new))[0], new)
    if settings:
        lines += "; settings: " + ", ".join(f"{safe(k, 30)} {a} -> {b}" for k, (a, b) in settings.items())
    yield ("Changes", lines)
    yield ("Costs", costs(case))
    count = len([t for t in contender.trials if t.status is TrialStatus.OK])
    yield (
        "Audits",
        f"passed in {counted(count, 'trial')}: sees no future, repeats itself, in its limits",
    )
    yield ("Not tested", untested(case))


def costs(case: Case) -> str:
    """What a merge costs in parameters, memory and MFU: differences of the numbers in the table's rows."""
    mine, theirs = (next(iter(trials_of(case, i)), None) for i in (case.contender, case.incumbent))
    if mine is None or theirs is None:
        return "unknown"
    words = []
    pairs = (
        ("parameters", mine.parameters, theirs.parameters),
        ("memory", mine.peak_memory, theirs.peak_memory),
    )
    for name, now, before in pairs:
        if now is not None and before:
            words.append(f"{name} {100 * (now / before - 1):+.1f} %")
    shares = mfu(case, case.contender), mfu(case, case.incumbent)
    if shares[0] is not None and shares[1] is not None:
        words.append(f"MFU {shares[0] - shares[1]:+.1f} points (more is better)")
    return ", ".join(words) or "unknown"


def untested(case: Case) -> str:
    """What the numbers do not say."""
    budget = case.contender.larger.budget if case.contender.larger else case.run.budget
    return f"other data than {safe(case.run.dataset_name, 30)}, training beyond {budget}, devices but {case.run.device}"


def written(case: Case) -> str:
    """What a merge brings besides the contender's own change, oldest first: the ids say who wrote it."""
    earlier = [one.id for one in case.line[:-1]]
    named = ", ".join(earlier[:2]) + (f", {len(earlier) - 2} more" if len(earlier) > 2 else "")
    return f"{counted(len(earlier), 'change')} that main lacks too: {named}"


def _name(author: str | None) -> str:
    return safe((author or "darwin").partition(" <")[0], 40)


def diff_lines(case: Case, width: int) -> list[Text]:
    """The whole diff, ready to be shown line by line: a gutter that no script can write in, then the line, wrapped."""
    shown = [
        Text(f"Look at: {sentence}", style="yellow") for sentence in case.change.cautions[MOST_CAUTIONS:]
    ]
    return shown + change_lines(case.change, width)


def change_lines(change: Change, width: int) -> list[Text]:
    """All lines of a change, file by file."""
    shown: list[Text] = []
    for file in change.files:
        counts = f"{file.fate}, +{file.count('+')} -{file.count('-')}"
        shown.append(Text(f"{'=' * 6} {shown_path(file.path)} ({counts}) {'=' * 6}", style="bold cyan"))
        shown += _file_lines(file, width)
    return shown


def _file_lines(file: FileChange, width: int) -> Iterator[Text]:
    lexer = Syntax("", "python" if file.path.endswith(".py") else "text", theme="ansi_dark")
    for number, hunk in enumerate(file.hunks):
        if number:
            yield Text("     ...", style="dim")
        for line in hunk:
            yield from _wrapped(line, lexer, max(20, width - 8))


def _wrapped(line: Line, lexer: Syntax, width: int) -> Iterator[Text]:
    text = visible(line.text) + ("" if line.ends else "<no newline>")
    coloured = lexer.highlight(text)
    coloured.rstrip()
    if coloured.plain != text:
        coloured = Text(text)
    for start in range(0, max(1, len(text)), width):
        gutter = f"{line.number:>5} {line.sign} " if start == 0 else f"{'':>5} {line.sign}>"
        style = STYLES[line.sign]
        yield Text.assemble((gutter, f"bold {style}".strip()), coloured[start : start + width])
