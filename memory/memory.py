"""Memory: all records of one evolution, and the one way to change them."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

from git import Repo
from git.exc import GitCommandError
from pydantic import BaseModel

from darwin.memory.effects import Effects, Groups, Observed, Prior, features, observations
from darwin.memory.errors import MemoryFault, NewerFormat, UnknownName
from darwin.memory.expectations import calibration
from darwin.memory.lessons import Known, Tried, distil, memory_of
from darwin.memory.notes import LINES, SETTINGS, Notes, one_sentence
from darwin.memory.records import (
    SCHEMA,
    AgentCard,
    AgentMemory,
    Decision,
    Individual,
    Lesson,
    Outcome,
    Record,
    Run,
    Status,
    perplexity,
)
from darwin.memory.requests import Request
from darwin.memory.store import Store

Priors = Callable[[], Mapping[str, Prior]]
"""What is known of techniques beforehand, by lesson id; asked for when it is needed."""

LEAST_FREE = 64 << 10
"""Bytes free on a disk under which it counts as full."""

NO_SPACE = os.strerror(errno.ENOSPC)

ALIASES = ("base", "main", "champion")


class Lessons(Record):
    """``memory/lessons.json``."""

    lessons: tuple[Lesson, ...]


def _paths(record: Record) -> tuple[str, str]:
    """(path in the notes tree, path in the folder) of a record."""
    if isinstance(record, Individual):
        return record.commit, f"individuals/{record.id}.json"
    if isinstance(record, Decision):
        return f"decisions/{record.id}.json", f"decisions/{record.id}.json"
    if isinstance(record, Request):
        return f"requests/{record.id}.json", f"requests/{record.id}.json"
    return "run.json", "run.json"


class Memory:
    """Reads all records once, then keeps them; every change goes to git first, then to the JSON files."""

    def __init__(self, repo: Repo, folder: Path, priors: Priors = dict) -> None:
        """Read the records of a repository; ``priors`` gives what is known of techniques beforehand."""
        self._priors = priors
        self._repo = repo
        self._notes = Notes(repo)
        self._store = Store(folder)
        self._modelled: tuple[tuple[int, ...], Effects] = (), Effects({})
        self._features: dict[str, dict[str, float]] = {}
        self._attempts: Known = {}
        self._groups: Groups = {}
        self._learnt: tuple[tuple[int, ...], tuple[Lesson, ...]] = (), ()
        self._observed: Observed = {}
        self._tried: Tried = {}
        contents = self._notes.read()
        self.individuals: dict[str, Individual] = contents.individuals
        self.decisions: dict[str, Decision] = contents.decisions
        self.requests: dict[str, Request] = contents.requests
        self._run = contents.run
        self.settings: Mapping[str, str] = contents.settings
        self._refuse_newer()
        self.judged = {i.id: i for i in self.individuals.values() if i.verdict is not None}
        """The few that have a verdict, in no order."""

    @property
    def begun(self) -> bool:
        """Whether the evolution has a run record yet."""
        return self._run is not None

    def has_code(self, code: str) -> bool:
        """Whether some script so far has this AST hash."""
        return any(i.code == code for i in self.individuals.values())

    @property
    def run(self) -> Run:
        """The run's state. Raises MemoryFault before the first ``record(run)``."""
        if self._run is None:
            raise MemoryFault("This workspace has no run yet. Start one: darwin evolve")
        return self._run

    def record(self, *records: Record, refs: Mapping[str, str] | None = None) -> None:
        """Make records true: notes and ``refs`` move in one git transaction, then the JSON files follow.

        Args:
            records: ``Individual``, ``Decision``, ``Request`` or ``Run``; a later one replaces an earlier of that id.
            refs: further refs to move in the same transaction, {ref: commit id}.

        Raises:
            MemoryFault: git refused the transaction; nothing was changed.
        """
        self._take(records)
        touched = [r for r in records if isinstance(r, Individual)]
        touched += [self.individuals[r.id] for r in records if isinstance(r, Decision)]
        updates = self._notes.stage(
            {_paths(r)[0]: (r.model_dump_json(by_alias=True) + "\n").encode() for r in records},
            {i.commit: self.line(i) for i in touched},
        )
        move_refs(self._repo, {**updates, **(refs or {})})
        for record in records:
            self._store.put(_paths(record)[1], record)

    def _take(self, records: Iterable[Record]) -> None:
        for record in records:
            if isinstance(record, Individual):
                self.individuals[record.id] = record
                if record.verdict is not None:
                    self.judged[record.id] = record
                else:
                    self.judged.pop(record.id, None)
            elif isinstance(record, Decision):
                self.decisions[record.id] = record
            elif isinstance(record, Request):
                self.requests[record.id] = record
            elif isinstance(record, Run):
                self._run = record

    def keep_settings(self, texts: Mapping[str, str]) -> None:
        """Keep the workspace's files of settings beside the records, so that they can be written anew."""
        if dict(self.settings) != dict(texts):
            staged = {SETTINGS + name: text.encode() for name, text in texts.items()}
            move_refs(self._repo, self._notes.stage(staged, {}))
            self.settings = dict(texts)

    def project(self) -> int:
        """Bring the JSON files in line with git; the number of files that had to be written."""
        return sum(self._store.put_if_changed(path, record) for path, record in self._projection())

    def unlike(self) -> list[tuple[str, str]]:
        """The JSON files that do not say what git says, as (path, what is wrong)."""
        found = [
            (path, "is missing" if said is None else "differs from git")
            for path, record in self._projection()
            if not (said := self._store.says(path, record))
        ]
        strays = [f"individuals/{name}" for name in self._store.strays("individuals", self.individuals)]
        strays += [f"decisions/{name}" for name in self._store.strays("decisions", self.decisions)]
        strays += [f"requests/{name}" for name in self._store.strays("requests", self.requests)]
        return found + [(path, "belongs to no record") for path in strays]

    def lines(self) -> int:
        """How many readable notes there are."""
        return self._notes.count(LINES)

    def _projection(self) -> Iterator[tuple[str, Record]]:
        """Every JSON file there should be, with its content."""
        records: list[Record] = [
            *self.individuals.values(),
            *self.decisions.values(),
            *self.requests.values(),
        ]
        if self._run is not None:
            records.append(self._run)
        yield from ((_paths(record)[1], record) for record in records)
        yield from self._derived()

    def _derived(self) -> Iterator[tuple[str, Record]]:
        if self._run is not None:
            yield "lessons.json", Lessons(lessons=self.lessons())
            for card in self._run.agents:
                yield f"agents/{card.name.lower()}.json", self.agent(card)

    def set_aside(self) -> list[str]:
        """A sentence on each file of ``memory/`` that was damaged or somebody else's, and was moved out of the way."""
        self._store.set_strays_aside("individuals", self.individuals)
        self._store.set_strays_aside("decisions", self.decisions)
        self._store.set_strays_aside("requests", self.requests)
        moved, self._store.aside = self._store.aside, []
        return [f"{path.name} was damaged or no record of ours; it is kept as {path}." for path in moved]

    def project_derived(self) -> int:
        """Write what is derived from the records: each agent's memory and the lessons."""
        return sum(self._store.put_if_changed(path, record) for path, record in self._derived())

    def mend_lines(self) -> bool:
        """Write the readable notes anew where some are missing; True if so."""
        if self.lines() >= len(self.individuals):
            return False
        move_refs(
            self._repo, self._notes.stage({}, {i.commit: self.line(i) for i in self.individuals.values()})
        )
        return True

    def lessons(self, before: int | None = None) -> tuple[Lesson, ...]:
        """Lessons from the individuals born before ordinal ``before`` (all, if None)."""
        born = list(self.born_before(before))
        settled = sum(i.status is not Status.BORN for i in born)
        key = settled, *_counted(born)
        if key != self._learnt[0]:
            self._learnt = key, distil(born, self.effects(before), self._tried)
        return self._learnt[1]

    def features(self) -> dict[str, dict[str, float]]:
        """What is in each individual's script that the base has not, by id: idea -> amount."""
        if len(self._features) != len(self.individuals):
            features(self.individuals.values(), self._features)
        return self._features

    def effects(self, before: int | None = None) -> Effects:
        """What every idea is expected to do, by the prior and the individuals born before ordinal ``before``."""
        born = {i.id: i for i in self.born_before(before)}
        key = _counted(born.values())
        if key != self._modelled[0]:
            observed = observations(born, self._observed, self.features())
            self._modelled = key, Effects(self._priors(), observed, self._groups)
        return self._modelled[1]

    def prior_effects(self) -> Effects:
        """What every idea was expected to do before any trial."""
        return Effects(self._priors())

    def agent(self, card: AgentCard, before: int | None = None) -> AgentMemory:
        """What one agent remembers of the individuals born before ordinal ``before``."""
        born = self.born_before(before)
        own = memory_of(card.name, card.kind, card.temperament, born, self.decisions, self._attempts)
        return own.model_copy(update={"calibration": calibration(own.attempts)})

    def born_before(self, ordinal: int | None) -> Iterable[Individual]:
        """Individuals in order of birth."""
        return [i for i in self.individuals.values() if ordinal is None or i.ordinal < ordinal]

    def resolve(self, name: str) -> Individual:
        """The individual of that id, unique prefix, or alias (``base``, ``main``, ``champion``).

        Raises:
            UnknownName: there is none, or more than one.
        """
        aliases = {"base": next(iter(self.individuals), None)}
        if self._run is not None:
            aliases |= {"main": self._run.incumbent, "champion": self._run.champion}
        if name == "champion" and aliases.get(name) is None:
            raise UnknownName("There is no champion: nothing has been proven better than the base yet.")
        wanted = aliases.get(name) or name
        if wanted in self.individuals:
            return self.individuals[wanted]
        matches = [i for i in self.individuals if i.startswith(wanted)] if wanted else []
        if len(matches) == 1:
            return self.individuals[matches[0]]
        if matches:
            some = ", ".join(matches[:5])
            raise UnknownName(f'"{name}" is the beginning of {len(matches)} ids: {some}. Write more of it.')
        raise UnknownName(
            f'No individual has an id that begins with "{name}". '
            f"darwin log lists them; {', '.join(ALIASES)} work too."
        )

    def line(self, individual: Individual) -> str:
        """The readable line of ``refs/notes/darwin``: perplexity, MFU, verdict, decision."""
        parts = []
        trial = individual.trials[0] if individual.trials else None
        if individual.status is Status.TRAINED and trial and trial.perplexity is not None:
            words = f"{trial.split} perplexity {trial.perplexity:.3f} at {trial.budget}"
            if "base" in individual.delta:
                words += f" ({percent(individual.delta['base'])} to the base)"
            parts.append(words)
        else:
            parts.append(individual.status + (f": {individual.reason}" if individual.reason else ""))
        if trial and trial.mfu is not None:
            parts.append(f"MFU {trial.mfu:.1%}")
        if individual.verdict:
            parts.append(describe_verdict(individual))
        if individual.larger:
            parts.append(describe_check(individual).removesuffix("."))
        if individual.id in self.decisions:
            decision = self.decisions[individual.id]
            parts.append(
                f"{decision.choice} by {decision.by}" + (f": {decision.reason}" * bool(decision.reason))
            )
        return f"{individual.id}: " + "; ".join(parts)

    def _refuse_newer(self) -> None:
        records: list[BaseModel] = [
            *self.individuals.values(),
            *self.decisions.values(),
            *self.requests.values(),
        ]
        newest = max((getattr(r, "schema_version", 0) for r in records), default=0)
        if newest > SCHEMA:
            raise NewerFormat(
                f"This workspace was written by a newer darwin (record format {newest}, this one reads {SCHEMA}). "
                "Upgrade darwin."
            )


def _counted(people: Collection[Individual]) -> tuple[int, ...]:
    """Figures that change whenever somebody is born and a trial is added, trained anew or left behind."""
    trials, anew = sum(len(i.trials) for i in people), sum(len(i.superseded) for i in people)
    return len(people), trials, anew, sum(len(i.earlier) for i in people)


def percent(effect: float) -> str:
    """A difference of log perplexity as a signed percentage of perplexity, for example ``-12.3 %``."""
    return f"{(perplexity(effect) - 1) * 100:+.1f} %"


def describe_verdict(individual: Individual) -> str:
    """A verdict in words, for example ``better than g000-base: -12.3 % [-13.0, -11.5] on 3 seeds``."""
    verdict = individual.verdict
    if verdict is None:
        return "no verdict"
    words = {
        Outcome.BETTER: "better than",
        Outcome.WORSE: "worse than",
        Outcome.UNDECIDED: "undecided against",
    }
    text = f"{words[verdict.outcome]} {verdict.against}: {percent(verdict.effect)}"
    if verdict.interval:
        low, high = (percent(bound).removesuffix(" %") for bound in verdict.interval)
        text += f" [{low}, {high}]"
    text += f" on {len(verdict.seeds)} seed{'s' * (len(verdict.seeds) != 1)}"
    return f"{text} ({verdict.note})" if verdict.note else text


def describe_check(individual: Individual) -> str:
    """What is known at a larger budget, in one sentence; also that nothing is."""
    check = individual.larger
    if check is None:
        return "It is only known at the short budget; short trials flatter head starts."
    words = f"At {check.budget}: {percent(check.effect)} to {check.against} on {len(check.seeds)} seeds"
    words += f", against {percent(check.short_effect)} at the short budget"
    return words + (": the gain fades." if check.fades else ".")


def move_refs(repo: Repo, updates: Mapping[str, str]) -> None:
    """Move refs in one transaction: all of them, or none.

    Raises:
        MemoryFault: git refused.
    """
    commands = ["start", *(f"update {ref} {oid}" for ref, oid in updates.items()), "prepare", "commit"]
    try:
        process = repo.git.update_ref("--stdin", as_process=True, istream=-1)
        _, err = process.communicate(("\n".join(commands) + "\n").encode())
    except (GitCommandError, OSError) as error:
        raise MemoryFault(f"git could not write {_some(updates)}: {error}") from error
    if process.returncode:
        failure = one_sentence(GitCommandError("update-ref", process.returncode, err))
        if shutil.disk_usage(repo.common_dir).free < LEAST_FREE and NO_SPACE not in failure:
            failure += f" {NO_SPACE}."  # git does not always say so
        raise MemoryFault(f"git could not write {_some(updates)}: {failure}")


def _some(names: Iterable[str], most: int = 3) -> str:
    """A few names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
