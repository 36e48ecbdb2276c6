"""What the engineer, the analyst and who resolves a merge are asked: messages of at most so many tokens.

What has to be whole (the script, the rules) always is; the rest gets what is left, the most important first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from darwin.agents.agent import Proposal, Task
from darwin.agents.briefing import Rewritten
from darwin.agents.prompts import Prompts, cut, end_of, mark, quoted
from darwin.agents.sections import DIFF_TOKENS, diff, numbers
from darwin.agents.tokens import count
from darwin.memory.records import Individual, Trial

Messages = list[dict[str, str]]

ERROR_TOKENS = 2_500  # of a traceback
FAILED_TOKENS = 600  # of how a trial failed, for its analyst
TOLD_TOKENS = 300  # of why an earlier answer could not be used
WHY_TOKENS = 400  # of an author's reason
SIDE_TOKENS = 600  # of one side of a merge
TRIALS_TOKENS = 2_500  # of what an analyst may cite
MOST_TRIALS = 4  # of one script, for its analyst: a champion has dozens


@dataclass(frozen=True)
class Part:
    """A text that may be cut to ``most`` tokens and less: from its front where its ``end`` counts, as a traceback's
    does. The lower its ``rank``, the sooner it gets its tokens."""

    title: str
    text: str
    most: int
    rank: int = 1
    end: bool = False


def fitted(parts: Sequence[Part], tokens: int) -> list[tuple[str, str]]:
    """(title, text) of the parts in their order, in so many tokens; a part that nothing is left for is left out."""
    texts: dict[int, str] = {}
    for number, part in sorted(enumerate(parts), key=lambda pair: pair[1].rank):
        most = min(part.most, tokens)
        if most > 0:
            texts[number] = (end_of if part.end else cut)(part.text, most)
            tokens -= count(texts[number])
    return [(part.title, texts[number]) for number, part in enumerate(parts) if number in texts]


def messages(system: str, user: str) -> Messages:
    """A conversation's beginning."""
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def size(conversation: Messages) -> int:
    """Its tokens."""
    return sum(count(message["content"]) for message in conversation)


def engineer(
    prompts: Prompts,
    name: str,
    style: str,
    task: Task,
    broken: Proposal,
    error: str,
    packages: str,
    tokens: int,
) -> Messages:
    """A script that fails, whole, with its error."""
    texts = [*broken.files.values(), error, *task.files.values(), broken.hypothesis, *task.told]
    word = mark(task.seed, texts)
    system = prompts.fill(
        "engineer", name=name, files=", ".join(task.files), mark=word, packages=packages,
        answer=prompts.fill(f"repair-{style}"),
    )  # fmt: skip
    whole = [quoted(word, f"{file} as it stands now", text) for file, text in broken.files.items()]
    parts = [
        Part("what you changed", diff(task.files, broken.files), DIFF_TOKENS, rank=3),
        Part("why", broken.hypothesis, WHY_TOKENS, rank=2),
        Part("the error", error, ERROR_TOKENS, rank=0, end=True),
        *_told(task),
    ]
    return _messages(word, system, whole, parts, "Repair the script.", tokens)


def citable(people: Sequence[Individual]) -> dict[str, str]:
    """The trials that a lesson may cite, by their ids, each in a few words."""
    return {
        trial_id(i, t): f"{i.id}: {numbers(i)}"
        for i in people
        for t in [t for t in i.trials if t.split == "val"][:MOST_TRIALS]
    }


def analyst(
    prompts: Prompts,
    name: str,
    child: Rewritten,
    parent: Rewritten,
    trials: Mapping[str, str],
    noise: float,
    seed: int,
    tokens: int,
) -> Messages:
    """What came of a change."""
    one = child.individual
    change = diff(parent.files, child.files)
    word = mark(seed, [change, one.hypothesis, *trials.values(), *((t.error or "") for t in one.trials)])
    example = trial_id(one, one.trials[0])
    system = prompts.fill("analyst", name=name, mark=word, example=example, noise=f"{noise:.3f}")
    error = next((t.error for t in one.trials if t.error), None)
    parts = [
        Part(f"the change from {parent.individual.id} to {one.id}", change, DIFF_TOKENS),
        Part("its author's reason", one.hypothesis, WHY_TOKENS, rank=2),
        *([Part("how it failed", error, FAILED_TOKENS, end=True)] if error else []),
        Part(
            "trials by id", "\n".join(f"{i}  {words}" for i, words in trials.items()), TRIALS_TOKENS, rank=0
        ),
    ]
    expected = one.expected.log_perplexity
    end = (
        f"Expected: {'nothing' if expected is None else f'{expected:+.4f}'} in log perplexity.\n\n"
        f"Write the lesson of {one.id}."
    )
    return _messages(word, system, [], parts, end, tokens)


def resolver(
    prompts: Prompts,
    name: str,
    task: Task,
    conflicted: Mapping[str, str],
    sides: Sequence[Rewritten],
    packages: str,
    tokens: int,
) -> Messages:
    """Files with the markers of a conflict, whole, and what either side is."""
    people = [side.individual for side in sides]
    word = mark(task.seed, [*conflicted.values(), *(i.subject + i.hypothesis for i in people), *task.told])
    system = prompts.fill(
        "resolve", name=name, files=", ".join(conflicted), mark=word, packages=packages,
        answer=prompts.fill("repair-file"),
    )  # fmt: skip
    whole = [quoted(word, file, text) for file, text in conflicted.items()]
    parts = [
        *(Part(i.id, f"{i.subject}\n{i.hypothesis}\n{numbers(i)}", SIDE_TOKENS) for i in people),
        *_told(task),
    ]
    return _messages(word, system, whole, parts, "Resolve the conflicts.", tokens)


def trial_id(individual: Individual, trial: Trial) -> str:
    """How a lesson cites a trial."""
    return f"{individual.id}/{trial.seed}"


def _told(task: Task) -> list[Part]:
    return [Part("an earlier answer could not be used", told, TOLD_TOKENS) for told in task.told]


def _messages(
    word: str, system: str, whole: Sequence[str], parts: Sequence[Part], end: str, tokens: int
) -> Messages:
    left = tokens - count("\n\n".join([system, *whole, end]))
    rest = [quoted(word, title, text) for title, text in fitted(parts, left)]
    return messages(system, "\n\n".join([*whole, *rest, end]))
