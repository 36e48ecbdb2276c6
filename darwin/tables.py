"""Tables for people: an individual's numbers, the list of individuals, the closing comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean

from rich import box
from rich.table import Table
from rich.text import Text

from darwin import summary
from darwin.memory import Memory
from darwin.memory.memory import percent
from darwin.memory.records import Choice, Comparison, ComparisonRow, Individual, Status, perplexity
from darwin.screen import Screen, counted, safe

DECIDED = {
    Choice.MERGE: "merged",
    Choice.REJECT: "rejected",
    Choice.EDIT: "edited",
    Choice.STALE: "approved, to be judged anew",
    Choice.REVERT: "taken back",
}


def plain_table(*columns: str, title: str | None = None) -> Table:
    """A table that reads well in 80 columns, in a log too."""
    table = Table(box=box.SIMPLE, title=title, title_justify="left", pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    return table


def numbers(base: Individual, incumbent: Individual, contender: Individual) -> Table:
    """Perplexity, MFU, memory and size of base, main and contender on the seed that all were measured on."""
    table = plain_table("", "perplexity", "to the base", "MFU", "parameters", "memory")
    rows = [("base", base), ("main", incumbent), ("best", contender)]
    for name, individual in rows:
        trial = individual.trials[0] if individual.trials else None
        if trial is None or trial.loss is None:
            continue
        table.add_row(
            f"{name} {individual.id}",
            f"{perplexity(trial.loss):.3f}",
            percent(individual.delta["base"]) if "base" in individual.delta else "",
            "" if trial.mfu is None else f"{trial.mfu:.1%}",
            "" if trial.parameters is None else f"{trial.parameters:,}",
            "" if trial.peak_memory is None else f"{trial.peak_memory / 1e6:.0f} MB",
        )
    return table


def show_comparison(screen: Screen, comparison: Comparison, memory: Memory) -> None:
    """The closing comparison: a table for each budget, the headline last, and in red what fades."""
    uses = memory.run.test_uses
    for row in comparison.rows:
        screen.say(f"Test split, {len(row.seeds)} fresh seeds, {row.budget} each:")
        screen.console.print(_row_table(comparison, row, memory))
    screen.say(f"The test split has been used {uses} time{'s' * (uses != 1)}.")
    last = comparison.rows[-1]
    if not comparison.proven:
        screen.say(
            "Nothing was proven better than the base; the best script was not tried at a larger budget."
        )
    elif comparison.fades is None:
        screen.say("The champion is only known at the short budget; short trials flatter head starts.", "red")
    else:
        changes = ", ".join(f"{row.change_percent:+.1f} % at {row.budget}" for row in comparison.rows)
        low, high = last.interval_percent
        screen.say(
            f"{comparison.champion} changes perplexity by {last.change_percent:+.1f} % "
            f"({low:+.1f} to {high:+.1f} %) at {last.budget}.",
            "bold",
        )
        if comparison.fades:
            screen.say(f"The gain fades with training: {changes}.", "bold red")


def _row_table(comparison: Comparison, row: ComparisonRow, memory: Memory) -> Table:
    low, high = row.interval_percent
    decision = memory.decisions.get(comparison.champion)
    rejected = decision is not None and decision.choice is Choice.REJECT
    name = ("rejected" if rejected else "champion") if comparison.proven else "best, not proven"
    table = plain_table("", "id", "perplexity", "change", "98 % interval", "MFU")
    base = (comparison.base, f"{row.base_perplexity:.3f}", "", "", _share(row.base_mfu))
    best = (
        _short(comparison.champion),
        f"{row.champion_perplexity:.3f}",
        f"{row.change_percent:+.1f} %",
        f"{low:+.1f} to {high:+.1f} %",
        _share(row.champion_mfu),
    )
    table.add_row("base", *base)
    known = {comparison.base: base, comparison.champion: best}
    incumbent = memory.run.incumbent
    table.add_row("main", *known.get(incumbent, (_short(incumbent), *_own_test(memory, row))))
    table.add_row(name, *best)
    return table


def _short(id: str, width: int = 17) -> str:
    """An id cut to a column's width; the whole one stands below the table."""
    return id if len(id) <= width else f"{id[: width - 1]}…"


def _own_test(memory: Memory, row: ComparisonRow) -> tuple[str, str, str, str]:
    """Main's cells where it is neither base nor champion; a person may have merged it after the comparison."""
    trials = [
        t
        for t in memory.individuals[memory.run.incumbent].trials
        if t.split == "test" and t.seed in row.seeds and t.budget == row.budget
    ]
    losses = [t.loss for t in trials if t.loss is not None]
    if not losses:
        return "not compared", "", "", ""
    own, shares = perplexity(fmean(losses)), [t.mfu for t in trials if t.mfu is not None]
    change = f"{100 * (own / row.base_perplexity - 1):+.1f} %"
    return f"{own:.3f}", change, "", _share(fmean(shares) if shares else None)


def show_summary(screen: Screen, memory: Memory) -> None:
    """What the best script is made of, what failed and why, where the time went."""
    made = summary.steps(memory)
    if made:
        screen.say("What it is made of, by effect on the script it changed (one seed):", "bold")
    for step in made[:6]:
        effect = "" if step.effect is None else percent(step.effect)
        who = f"({step.author.partition(' <')[0]}, {step.id})"
        screen.say(f"  {effect:>8}  {safe(step.subject, max(20, 66 - len(who)))} {who}")
    if len(made) > 6:
        screen.say(f"  and {counted(len(made) - 6, 'smaller change')}")
    failed = summary.failures(memory)
    if failed:
        screen.say(
            "What came to nothing: " + ", ".join(f"{n} {safe(why, 60)}" for why, n in failed[:4]) + "."
        )
    spent = summary.times(memory)
    total = sum(spent.values()) or 1.0
    shares = ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in spent.items())
    screen.say(f"CPU seconds in all: {memory.run.cpu_seconds:,.0f}: {shares}.")
    screen.say(time_in_words(memory.run.seconds))


def time_in_words(seconds: Mapping[str, float]) -> str:
    """Where the wall time went, the largest share first."""
    total = sum(seconds.values())
    if not total:
        return "Where the time went was not written down."
    parts = sorted(seconds.items(), key=lambda one: -one[1])
    return f"Time of all workers: {total / 60:,.1f} min: " + ", ".join(
        f"{kind} {value / total:.0%}" for kind, value in parts
    )


def log_table(individuals: Iterable[Individual], memory: Memory) -> Table:
    """The individuals: what came of each, whose script was rewritten and how; the id names the author."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("id", no_wrap=True)
    table.add_column("perplexity", no_wrap=True)
    table.add_column("whose script, and the change", overflow="fold")
    for i in individuals:
        whose = (f"{i.owner}'s " if i.owner else "") + f"{i.parents[0]}: " if i.parents else ""
        table.add_row(i.id, Text(outcome(i, memory)), Text(whose + safe(i.subject)))
    return table


def outcome(individual: Individual, memory: Memory) -> str:
    """What came of an individual, in a few words."""
    if individual.status is not Status.TRAINED or individual.loss is None:
        return f"{individual.status}{': ' + safe(individual.reason) if individual.reason else ''}"
    words = [f"{perplexity(individual.loss):.3f}"]
    if "base" in individual.delta:
        words[0] += f" ({percent(individual.delta['base'])})"
    if individual.verdict:
        words.append(f"{individual.verdict.outcome}")
    decision = memory.decisions.get(individual.id)
    if decision is not None and decision.choice is not Choice.DEFER:
        words.append(DECIDED[decision.choice])
    return ", ".join(words)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
