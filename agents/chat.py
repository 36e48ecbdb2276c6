"""The kind that asks a language model. One agent, four roles: researcher, engineer, analyst, and who resolves a merge.

The host builds the prompt and applies the answer; the asking itself is done by the agent's program
(inside/chat.py), in its container, through the gateway.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from darwin.agents import chunks, drift, roles, settings
from darwin.agents.agent import Ask, Number, Proposal, Task
from darwin.agents.answers import lesson_schema, wish_of
from darwin.agents.asking import Asking, bounded
from darwin.agents.briefing import Briefing, Rewritten
from darwin.agents.choices import Options, options, schema
from darwin.agents.errors import AgentError, EditError, Unanswered, Unusable
from darwin.agents.gateway import Gateway
from darwin.agents.knowledge import FAMILIES, techniques
from darwin.agents.members import Member
from darwin.agents.prompts import Item, Prompts, Section, cut, end_of, mark, plain_line, quoted, shortened
from darwin.agents.roles import TOLD_TOKENS, Messages, messages
from darwin.agents.sections import sections
from darwin.agents.tokens import count
from darwin.memory.records import Expectation, Finding, Individual

REPAIRS = 3  # tries of the engineer, before a broken child goes to its trial as it is
ASKED_AGAIN = 2  # times, for a child that is nothing new or cannot be applied
SMALL_TOKENS = 2_000  # a prompt in the style for small models
LONGEST_SUBJECT = 72

TEMPERAMENTS = {
    "optimizer-minded": "you look first at the optimizer, the schedule and the batch",
    "architect": "you look first at attention, positions, the MLP and the residual stream",
    "tuner": "you look first at the numbers",
    "bold": "you try large changes that could win much",
    "careful": "you try small changes that are likely to help a little",
    "contrarian": "you try what the others leave alone",
}

PROPOSES = {
    "change": "text", "hypothesis": "text", "family": "text?", "techniques": "texts?",
    "expected_log_perplexity": "number", "expected_mfu": "number?", "request": "request?",
}  # fmt: skip


@dataclass(frozen=True)
class ChatAgent:
    """An agent whose model is asked through ``ask``: its program, in its container, or right here."""

    member: Member
    ask: Ask = field(compare=False, repr=False)
    gateway: Gateway | None = field(default=None, compare=False, repr=False)
    prompts: Prompts = field(default_factory=Prompts, compare=False, repr=False)

    @property
    def name(self) -> str:
        """As it signs."""
        return self.member.name

    @property
    def kind(self) -> str:
        """openai."""
        return self.member.kind

    @property
    def temperament(self) -> str:
        """What it is inclined to."""
        return self.member.temperament

    def propose(self, task: Task) -> Proposal:
        """As researcher: a rewrite of ``task.files``.

        Raises ``Unusable`` for an answer to be told about and asked again, ``Unanswered`` where the child has to be
        gone without, ``ModelsStopped`` where no model can be asked any more.
        """
        if self.member.style == "settings":
            return self._settings(task, "researcher", ())
        if self.member.style == "chunks":
            return self._chunks(task)
        answer, _, shown = self._researched(task, f"answer-{self._style}", task.files)
        return self._proposal(task, self._applied(answer["body"], task.files), answer["head"], shown)

    def repair(self, task: Task, broken: Proposal, error: str) -> Proposal:
        """As engineer: the proposal with its script mended, from the full error. Raises as ``propose`` does."""
        if self.member.style == "settings":
            failed = f"With {_changed(broken)} the script fails: {end_of(error, 500)}"
            mended = self._settings(task, "engineer", (failed,))
            return replace(mended, wish=mended.wish or broken.wish)
        answer, *_ = self._asking.within(
            task.child, "engineer", {"diagnosis": "text"},
            lambda tokens: (
                roles.engineer(
                    self.prompts, self.name, self._style, task, broken, error, _packages(task), tokens
                ),
                (),
            ),
        )  # fmt: skip
        files = self._applied(answer["body"], broken.files)
        return replace(broken, files=files, settings=changed_settings(task.files, files))

    def analyse(
        self,
        child: Rewritten,
        parent: Rewritten,
        siblings: Sequence[Individual],
        noise: float | None,
        seed: int,
    ) -> Finding | None:
        """As analyst: a lesson from the child's trials; None where it cites none. Raises as ``propose`` does."""
        one = child.individual
        trials = roles.citable([one, parent.individual, *siblings])
        own = [roles.trial_id(one, t) for t in one.trials]
        if not own:
            return None
        form: dict[str, Any] = {"form": "json", "response_format": lesson_schema(list(trials))}
        wants = {"lesson": "text", "evidence": "texts"}
        answer, asked, _ = self._asking.within(
            one.id, "analyst", wants,
            lambda tokens: (
                roles.analyst(self.prompts, self.name, child, parent, trials, noise or 0.01, seed, tokens), ()
            ),
            again=2, **form,
        )  # fmt: skip
        for last in (False, True):
            evidence = tuple(dict.fromkeys(e.strip() for e in answer["head"]["evidence"]))
            if evidence and set(evidence) <= trials.keys() and set(evidence) & set(own):
                text = plain_line(answer["head"]["lesson"], 600)
                return Finding(id=f"finding:{one.id}", author=self.name, text=text, evidence=evidence)
            if not last:
                refused = f"the evidence has to name trials from the list, {own[0]} among them."
                asked = self._asking.refused(one.id, asked, str(answer["head"]), refused)
                answer = self._asking.asked(one.id, "analyst", asked, wants, **form)
        return None

    def resolve(
        self, task: Task, conflicted: Mapping[str, str], sides: Sequence[Rewritten]
    ) -> dict[str, str]:
        """As who resolves a merge: files with git's conflict markers made whole. Raises as ``propose`` does."""
        answer, *_ = self._asking.within(
            task.child, "resolve", {"diagnosis": "text"},
            lambda tokens: (
                roles.resolver(self.prompts, self.name, task, conflicted, sides, _packages(task), tokens), ()
            ),
        )  # fmt: skip
        files = self._applied(answer["body"], conflicted, "file")
        left = [
            f
            for f, text in files.items()
            if any(line.startswith(("<<<<<<<", ">>>>>>>")) for line in text.splitlines())
        ]
        if left:
            raise Unusable(f"{left[0]} still has a conflict marker.")
        return files

    def first_prompt(self, task: Task) -> Messages:
        """The messages of the researcher's first call, for people to look at."""
        if self.member.style == "settings":
            offered = options(task.files, task.fixed)
            tokens = self._asking.tokens(most=SMALL_TOKENS)
            return bounded(lambda tokens: self._settings_prompt(task, offered, (), tokens), tokens)[0]
        if self.member.style == "chunks":
            picked = chunks.chosen(chunks.split(task.files), f"{task.seed} {task.attempt}")
            if not picked:
                return []
            shown, end = _chunk_task(task.files, picked[0])
            tokens = self._asking.tokens(again=2)
            return bounded(lambda tokens: self._prompt(task, tokens, "answer-chunk", shown, end), tokens)[0]
        form = f"answer-{self._style}"
        return bounded(lambda tokens: self._prompt(task, tokens, form, task.files), self._asking.tokens())[0]

    def _researched(
        self, task: Task, form: str, files: Mapping[str, str], last: str = "", again: int = 1
    ) -> tuple[dict[str, Any], Messages, tuple[str, ...]]:
        """(answer, messages, what they show)"""
        return self._asking.within(
            task.child, "researcher", PROPOSES,
            lambda tokens: self._prompt(task, tokens, form, files, last), again=again,
        )  # fmt: skip

    @property
    def _asking(self) -> Asking:
        return Asking(self.member, self.ask, self.gateway)

    @property
    def _style(self) -> str:
        return "file" if self.member.style == "file" else "diff"

    def _prompt(
        self, task: Task, tokens: int, form: str, files: Mapping[str, str], last: str = ""
    ) -> tuple[Messages, tuple[str, ...]]:
        briefing = _briefing(task)
        pieces = sections(task, briefing)
        word = mark(
            task.seed, [*files.values(), *(i.text for s in pieces for i in s.items), *task.told, last]
        )
        system = self.prompts.fill(
            "researcher", name=self.name, mark=word, files=", ".join(task.files), context=task.context,
            fixed=", ".join(task.fixed) or "nothing", larger=briefing.larger,
            temperament=TEMPERAMENTS.get(self.temperament, self.temperament), packages=_packages(task),
            answer=self.prompts.fill(form, families=", ".join(FAMILIES)),
        )  # fmt: skip
        script = [quoted(word, file, text) for file, text in files.items()]
        again = [
            quoted(word, "an earlier proposal of yours was not taken", cut(told, TOLD_TOKENS))
            for told in task.told
        ]
        end = [last] if last else ["Propose one change to this script."]
        spent = count("\n".join([system, *script, *again, *end])) + 20 * len(pieces)
        kept = shortened(pieces, tokens - spent)
        told = [quoted(word, s.title, "\n".join(f"- {item.text}" for item in s.items)) for s in kept]
        shown = (self.prompts.version("researcher"), *_refs(kept))
        return messages(system, "\n\n".join([*script, *told, *again, *end])), shown

    def _chunks(self, task: Task) -> Proposal:
        """One definition after the other, each with a chance; the later ones see what became of the earlier."""
        picked = chunks.chosen(chunks.split(task.files), f"{task.seed} {task.attempt}")
        files, heads, problem = dict(task.files), [], "the script has no definition to rewrite."
        shown: tuple[str, ...] = ()
        for chunk in picked:
            shape, end = _chunk_task(files, chunk)
            answer, asked, shown = self._researched(task, "answer-chunk", shape, end, again=2)
            for last in (False, True):
                try:
                    files = chunks.replaced(files, chunk, drift.only_code(answer["body"]))
                except EditError as error:
                    problem = str(error)
                    if last:
                        self._asking.say(task.child, f"leaves {chunk.name} as it is: {plain_line(problem)}")
                    else:
                        asked = self._asking.refused(task.child, asked, answer["body"], problem)
                        answer = self._asking.asked(task.child, "researcher", asked, PROPOSES)
                    continue
                heads.append(answer["head"])
                break
        if not heads:
            raise Unusable(problem)
        head = dict(heads[0])
        head["hypothesis"] = " ".join(h["hypothesis"] for h in heads)
        for name in ("expected_log_perplexity", "expected_mfu"):
            head[name] = sum(h.get(name) or 0.0 for h in heads)
        return self._proposal(task, files, head, shown)

    def _settings(self, task: Task, role: str, told: tuple[str, ...]) -> Proposal:
        """A change of one or two numbers, by a schema that small models can keep."""
        offered = options(task.files, task.fixed)
        if not offered:
            raise Unanswered("the script has no numeric setting to change")
        wants = {
            "changes": "changes", "hypothesis": "text", "expected_log_perplexity": "number",
            "request": "request?",
        }  # fmt: skip
        answer, _, shown = self._asking.within(
            task.child, role, wants, lambda tokens: self._settings_prompt(task, offered, told, tokens),
            most=SMALL_TOKENS, form="json", response_format=schema(offered),
        )  # fmt: skip
        files = dict(task.files)
        for change in answer["head"]["changes"][:2]:
            place = offered.get(change["setting"])
            if place is None:
                raise Unusable(f'There is no setting "{change["setting"]}"; there are {", ".join(offered)}.')
            value = place.taken(change["value"])
            if value is None:
                raise Unusable(f"{change['setting']} = {change['value']} is none of {place.written()}.")
            files[place.file] = settings.change(files[place.file], change["setting"], value)
        moved = changed_settings(task.files, files)
        words = ", ".join(f"{name} from {old:g} to {new:g}" for name, (old, new) in moved.items())
        return self._proposal(task, files, {**answer["head"], "change": f"Set {words}"}, shown)

    def _settings_prompt(
        self, task: Task, offered: Options, told: tuple[str, ...], tokens: int
    ) -> tuple[Messages, tuple[str, ...]]:
        briefing = _briefing(task)
        pieces = [s for s in sections(task, briefing) if s.priority in (1, 2, 3, 4, 5)]
        word = mark(task.seed, [*(i.text for s in pieces for i in s.items), *task.told, *told])
        system = self.prompts.fill("settings", mark=word, answer=self.prompts.fill("answer-settings"))
        listed = "\n".join(
            f"{name} = {place.value:g}, may be {place.written()}" for name, place in offered.items()
        )
        fixed = [Section("The settings", (Item(listed),), 0)]
        again = [quoted(word, "not taken", cut(text, TOLD_TOKENS)) for text in (*task.told, *told)]
        spent = count("\n".join([system, listed, *again])) + 20 * len(pieces)
        kept = [*fixed, *shortened(pieces, tokens - spent)]
        parts = [quoted(word, s.title, "\n".join(item.text for item in s.items)) for s in kept]
        shown = (self.prompts.version("settings"), *_refs(kept))
        return messages(system, "\n\n".join([*parts, *again, "Choose one or two changes."])), shown

    def _applied(self, body: str, files: Mapping[str, str], style: str = "") -> dict[str, str]:
        """The files after an answer's edits. Raises ``Unusable`` where they do not plainly fit."""
        change = drift.rewrite_files if (style or self._style) == "file" else drift.rewrite_blocks
        try:
            return change(body, files)
        except EditError as error:
            raise Unusable(str(error)) from None

    def _proposal(
        self, task: Task, files: Mapping[str, str], head: Mapping[str, Any], shown: tuple[str, ...]
    ) -> Proposal:
        known = {t.id for t in techniques()}
        family = str(head.get("family") or "").strip().lower()
        subject = plain_line(head["change"], LONGEST_SUBJECT)
        return Proposal(
            files=files,
            subject=subject[:1].upper() + subject[1:].rstrip("."),
            hypothesis=plain_line(head["hypothesis"], 1000),
            expected=Expectation(
                log_perplexity=_effect(head.get("expected_log_perplexity")),
                mfu=_effect(head.get("expected_mfu")),
            ),
            techniques=tuple(t for t in dict.fromkeys(head.get("techniques") or ()) if t in known),
            settings=changed_settings(task.files, files),
            shown=shown,
            family=family if family in FAMILIES else None,
            wish=wish_of(head.get("request")),
        )


def syntax_error(files: Mapping[str, str]) -> str | None:
    """Why a genome's Python files do not parse, as Python says it; None where they do. Nothing is executed."""
    for file, text in files.items():
        if file.endswith(".py"):
            try:
                ast.parse(text, file)
            except SyntaxError as error:
                line = (error.text or "").rstrip("\n")
                return f'  File "{file}", line {error.lineno}\n    {line}\nSyntaxError: {error.msg}'
            except (ValueError, RecursionError, MemoryError) as error:
                return f"{file}: {type(error).__name__}: {error}"
    return None


def changed_settings(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[Number, Number]]:
    """The numeric settings that differ, name to (from, to)."""
    found: dict[str, tuple[Number, Number]] = {}
    for file in sorted(before):
        if file.endswith(".py"):
            old, new = settings.numeric(before[file]), settings.numeric(after.get(file, ""))
            found |= {name: (old[name], new[name]) for name in old if name in new and old[name] != new[name]}
    return found


def _chunk_task(files: Mapping[str, str], chunk: chunks.Chunk) -> tuple[dict[str, str], str]:
    """What is shown in place of the whole script to rewrite one definition, and the task."""
    shown = {
        f"before {chunk.name} in {chunk.file}": chunks.outline(files, chunk),
        f"{chunk.name} in {chunk.file}": chunk.text,
    }
    return shown, f"Rewrite the definition of {chunk.name}."


def _briefing(task: Task) -> Briefing:
    if task.briefing is None:
        raise AgentError(f"The task of {task.child} has no briefing.")
    return task.briefing


def _refs(kept: Sequence[Section]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item.ref for section in kept for item in section.items if item.ref))


def _packages(task: Task) -> str:
    """What a script may import beside the standard library."""
    names = ["torch", "numpy", *task.packages]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _changed(proposal: Proposal) -> str:
    return ", ".join(f"{name} = {new:g}" for name, (_, new) in proposal.settings.items()) or "that change"


def _effect(value: Any) -> float | None:
    return round(float(value), 6) if isinstance(value, int | float) and abs(value) <= 5 else None
