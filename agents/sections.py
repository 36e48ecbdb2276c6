"""What a model is shown beside the script, piece by piece: results, lessons, neighbours, knowledge, people's words."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from darwin.agents.agent import Task
from darwin.agents.briefing import Briefing, Known
from darwin.agents.knowledge import techniques
from darwin.agents.prompts import Item, Section, cut, plain_line
from darwin.agents.retrieval import nearest
from darwin.memory.records import AgentMemory, Attempt, Calibration, Individual, Status, perplexity

MOST_LINEAGE, MOST_TRIED, MOST_KNOWN, MOST_FINDINGS, MOST_OWN, MOST_DECISIONS = 8, 10, 16, 8, 8, 5
MOST_REQUESTS = 12
DIFF_TOKENS, HINT_TOKENS, TECHNIQUE_TOKENS = 900, 3000, 250


def sections(task: Task, briefing: Briefing) -> list[Section]:
    """Everything but the script itself, most important first within each."""
    return [
        Section("Results of this script", _results(briefing), 1),
        Section("Advice from the people who run this", _advice(task, briefing), 2),
        Section("Decisions of the person who merges", _decisions(briefing), 3),
        Section("What was asked of the people who run this", _requests(task), 3),
        Section("What was tried on this script and its parent", _tried(briefing), 4),
        Section(
            "What the trials say so far, in log perplexity (negative is better)", _known(task, briefing), 5
        ),
        Section("Lessons of analysts", _findings(briefing), 6),
        Section("Your own attempts", _own(task.own), 7),
        Section("Other scripts, as differences to this one", _contrasts(task, briefing), 8),
        Section("Published ideas that may fit", _knowledge(task, briefing), 9),
    ]


def numbers(individual: Individual) -> str:
    """An individual's first trial in a few words."""
    trial = individual.trials[0] if individual.trials else None
    if trial is None or trial.loss is None:
        return individual.status.value + (f": {plain_line(individual.reason)}" if individual.reason else "")
    words = [f"perplexity {perplexity(trial.loss):.3f} ({trial.loss:.4f} nats)"]
    if trial.mfu is not None:
        words.append(f"MFU {trial.mfu:.1%}")
    if trial.parameters is not None:
        words.append(f"{trial.parameters:,} parameters")
    for name, other in (("parent", "its parent"), ("base", "the base")):
        if name in individual.delta:
            words.append(f"{individual.delta[name]:+.4f} to {other}")
    return ", ".join(words)


def diff(before: Mapping[str, str], after: Mapping[str, str], tokens: int = DIFF_TOKENS) -> str:
    """The differences of two genomes' files, of bounded size."""
    parts: list[str] = []
    for file in sorted({*before, *after}):
        old, new = before.get(file, "").splitlines(), after.get(file, "").splitlines()
        parts += difflib.unified_diff(old, new, file, file, lineterm="", n=1)
    return cut("\n".join(parts), tokens)


def calibration_in_words(calibration: Calibration | None) -> str:
    """How an agent's expectations have done, as one sentence for it."""
    if calibration is None:
        return "None of your expectations has been measured yet."
    lean = "too hopeful" if calibration.bias > 0 else "too doubtful"
    return (
        f"Your {calibration.scored} measured expectations were off by {calibration.error:.3f} nats on average, "
        f"{lean} by {abs(calibration.bias):.3f}, with the right sign in {calibration.direction:.0%}."
    )


def _results(briefing: Briefing) -> tuple[Item, ...]:
    target = briefing.target
    head = f"This script is {target.id}. Budget of a trial: {briefing.budget}. It: {numbers(target)}."
    if target.id != briefing.base.id:
        head += f" The base: {numbers(briefing.base)}."
    if briefing.noise is not None:
        head += f" Luck alone makes {briefing.noise:.4f} nats (standard deviation over seeds)."
    items = [Item(head, f"individual:{target.id}")]
    for one in (*reversed(briefing.lineage[-MOST_LINEAGE:]),):
        items.append(Item(f"Ancestor {one.id}: {_change(one)}; {numbers(one)}", f"individual:{one.id}"))
    if target.parents:
        items.insert(
            1,
            Item(
                f"How it came about: {_change(target)}. Its author's reason: {plain_line(target.hypothesis)}"
            ),
        )
    return tuple(items)


def _change(one: Individual) -> str:
    return plain_line(one.subject, 120)


def _advice(task: Task, briefing: Briefing) -> tuple[Item, ...]:
    told = tuple(Item(plain_line(text), "advice") for text in task.advice)
    return (*told, Item(cut(briefing.hint, HINT_TOKENS), "hint")) if briefing.hint.strip() else told


def _decisions(briefing: Briefing) -> tuple[Item, ...]:
    return tuple(
        Item(
            f"{d.choice} of {d.id}" + (f", because: {plain_line(d.reason)}" if d.reason else ""),
            f"decision:{d.id}",
        )
        for d in briefing.decisions[: -MOST_DECISIONS - 1 : -1]
    )


def _requests(task: Task) -> tuple[Item, ...]:
    """The latest requests and what was said to them."""
    return tuple(Item(plain_line(text), "request") for text in task.requests[: -MOST_REQUESTS - 1 : -1])


def _tried(briefing: Briefing) -> tuple[Item, ...]:
    items = []
    for one in briefing.tried[: -MOST_TRIED - 1 : -1]:
        i = one.individual
        told = f"{i.id} on {i.parents[0]}: {_change(i)}; {numbers(i)}"
        if i.expected.log_perplexity is not None and "parent" in i.delta:
            told += f", expected {i.expected.log_perplexity:+.3f}"
        items.append(Item(told, f"individual:{i.id}"))
    return tuple(items)


def _known(task: Task, briefing: Briefing) -> tuple[Item, ...]:
    """What helped and hurt, the surest first; what failed and why; and what nobody has tried."""
    measured = [k for k in briefing.known if k.effect is not None]
    measured.sort(key=lambda k: (-abs(k.effect or 0.0), k.id))
    items = [Item(_knowing(k, briefing.larger), f"lesson:{k.id}") for k in measured[:MOST_KNOWN]]
    failed = [k for k in briefing.known if k.failed]
    items += [
        Item(
            f"failed {k.failed} of {k.tried} times: {k.id}"
            + (f" ({plain_line(k.why, 100)})" if k.why else ""),
            f"lesson:{k.id}",
        )
        for k in failed[: MOST_KNOWN // 2]
    ]
    seen = {k.id.removeprefix("technique:") for k in briefing.known}
    if briefing.knowledge and briefing.known:
        unknown = [t.id for t in techniques() if t.id not in seen and t.id not in task.applied]
        items.append(Item("not tried by anybody yet: " + ", ".join(unknown[:30])))
    return tuple(items)


def _knowing(known: Known, larger: int) -> str:
    helps = "helped" if (known.effect or 0.0) < 0 else "hurt"
    words = f"{helps}: {known.id} {known.effect:+.4f} (tried {known.tried} times"
    if known.interval is not None:
        words += f", 90 % interval {known.interval[0]:+.4f} to {known.interval[1]:+.4f}"
    if known.long_effect is not None:
        words += f", at {larger} x the budget {known.long_effect:+.4f}"
    return words + ")"


def _findings(briefing: Briefing) -> tuple[Item, ...]:
    return tuple(
        Item(f"{plain_line(f.text, 500)} (by {f.author}, from {', '.join(f.evidence[:6])})", f"lesson:{f.id}")
        for f in briefing.findings[: -MOST_FINDINGS - 1 : -1]
    )


def _own(own: AgentMemory) -> tuple[Item, ...]:
    items = [Item(calibration_in_words(own.calibration))]
    items += [Item(_attempt(a), f"attempt:{a.child}") for a in own.attempts[: -MOST_OWN - 1 : -1]]
    return tuple(items) if own.attempts else ()


def _attempt(attempt: Attempt) -> str:
    expected = attempt.expected.log_perplexity
    what = (
        ", ".join((*attempt.techniques, *(f"{k} {a} to {b}" for k, (a, b) in attempt.settings.items())))
        or "a change"
    )
    came = f"measured {attempt.delta:+.4f}" if attempt.delta is not None else attempt.status.value
    words = f"{attempt.child} on {attempt.target}: {plain_line(what, 120)}; {came}"
    if expected is not None:
        words += f", expected {expected:+.3f}"
    if attempt.status in (Status.FAILED, Status.REFUSED) and attempt.reason:
        words += f" ({plain_line(attempt.reason, 120)})"
    return words


def _contrasts(task: Task, briefing: Briefing) -> tuple[Item, ...]:
    return tuple(
        Item(f"{one.individual.id}, {one.why}: {numbers(one.individual)}\n{diff(task.files, one.files)}",
             f"individual:{one.individual.id}")
        for one in briefing.contrasts
    )  # fmt: skip


def _knowledge(task: Task, briefing: Briefing) -> tuple[Item, ...]:
    if not briefing.knowledge:
        return ()
    query = "\n".join((*task.files.values(), briefing.target.hypothesis, briefing.hint))
    return tuple(
        Item(cut(f"{t.id} ({t.family}; {t.source.authors} {t.source.year}): {t.title}. {t.body}", TECHNIQUE_TOKENS),
             f"technique:{t.id}")
        for t in nearest(query, task.applied)
    )  # fmt: skip
