"""The kind that asks a language model. One agent, four roles: researcher, engineer, analyst, and who resolves a merge.

The host builds the prompt and applies the answer; the asking itself is done by the agent's program
(inside/chat.py), in its container, through the gateway.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from darwin.agents import chunks, drift, settings
from darwin.agents.agent import Ask, Number, Proposal, Task
from darwin.agents.answers import TooLong, checked, lesson_schema, raised, wish_of
from darwin.agents.briefing import Briefing, Rewritten
from darwin.agents.choices import Options, options, schema
from darwin.agents.errors import AgentError, EditError, Unanswered, Unusable
from darwin.agents.gateway import Gateway
from darwin.agents.knowledge import FAMILIES, techniques
from darwin.agents.members import Member
from darwin.agents.prompts import Item, Prompts, Section, end_of, mark, plain_line, quoted, shortened
from darwin.agents.sections import diff, numbers, sections
from darwin.agents.tokens import count
from darwin.memory.records import Expectation, Finding, Individual, Trial

REPAIRS = 3  # tries of the engineer, before a broken child goes to its trial as it is
ASKED_AGAIN = 2  # times, for a child that is nothing new or cannot be applied
SMALL_TOKENS = 2_000  # a prompt in the style for small models
ERROR_TOKENS = 2_500  # of a traceback
LONGEST_SUBJECT = 72
SHORTENINGS = 4  # of the prompt to 0.7 of its length, where a model finds it too long

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
        style = "file" if self.member.style == "file" else "diff"
        texts = [*broken.files.values(), error, *task.files.values(), broken.hypothesis, *task.told]
        word = mark(task.seed, texts)
        system = self.prompts.fill(
            "engineer", name=self.name, files=", ".join(task.files), mark=word, packages=_packages(task),
            answer=self.prompts.fill(f"repair-{style}"),
        )  # fmt: skip
        user = "\n\n".join([
            *(quoted(word, f"{file} as it stands now", text) for file, text in broken.files.items()),
            quoted(word, "what you changed", diff(task.files, broken.files)),
            quoted(word, "why", broken.hypothesis),
            quoted(word, "the error", end_of(error, ERROR_TOKENS)),
            *(quoted(word, "an earlier answer could not be used", told) for told in task.told),
            "Repair the script.",
        ])  # fmt: skip
        answer = self._asked(task.child, "engineer", _messages(system, user), {"diagnosis": "text"})
        files = self._applied(answer["body"], broken.files, style)
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
        ids = {
            trial_id(i, t): f"{i.id}: {numbers(i)}"
            for i in (one, parent.individual, *siblings)
            for t in i.trials
            if t.split == "val"
        }
        own = [trial_id(one, t) for t in one.trials]
        if not own:
            return None
        change = diff(parent.files, child.files)
        texts = [change, one.hypothesis, *ids.values(), *((t.error or "") for t in one.trials)]
        word = mark(seed, texts)
        system = self.prompts.fill(
            "analyst", name=self.name, mark=word, example=own[0], noise=f"{noise or 0.01:.3f}"
        )
        error = next((t.error for t in one.trials if t.error), None)
        expected = one.expected.log_perplexity
        user = "\n\n".join([
            quoted(word, f"the change from {parent.individual.id} to {one.id}", change),
            quoted(word, "its author's reason", one.hypothesis),
            *([quoted(word, "how it failed", end_of(error, 600))] if error else []),
            quoted(word, "trials by id", "\n".join(f"{key}  {words}" for key, words in ids.items())),
            f"Expected: {'nothing' if expected is None else f'{expected:+.4f}'} in log perplexity.",
            f"Write the lesson of {one.id}.",
        ])  # fmt: skip
        wants = {"lesson": "text", "evidence": "texts"}
        messages = _messages(system, user)
        for _ in range(2):
            answer = self._asked(
                one.id, "analyst", messages, wants, form="json", response_format=lesson_schema(list(ids))
            )
            evidence = tuple(dict.fromkeys(e.strip() for e in answer["head"]["evidence"]))
            if evidence and set(evidence) <= ids.keys() and set(evidence) & set(own):
                text = plain_line(answer["head"]["lesson"], 600)
                return Finding(id=f"finding:{one.id}", author=self.name, text=text, evidence=evidence)
            refused = (
                f"Refused: the evidence has to name trials from the list, {own[0]} among them. Answer again."
            )
            messages = _again(messages, str(answer["head"]), refused)
        return None

    def resolve(
        self, task: Task, conflicted: Mapping[str, str], sides: Sequence[Rewritten]
    ) -> dict[str, str]:
        """As who resolves a merge: files with git's conflict markers made whole. Raises as ``propose`` does."""
        word = mark(task.seed, [*conflicted.values(), *(s.individual.hypothesis for s in sides)])
        answer_form = self.prompts.fill("repair-file")
        system = self.prompts.fill(
            "resolve",
            name=self.name,
            files=", ".join(conflicted),
            mark=word,
            answer=answer_form,
            packages=_packages(task),
        )
        user = "\n\n".join([
            *(quoted(word, file, text) for file, text in conflicted.items()),
            *(
                quoted(word, i.id, f"{i.subject}\n{i.hypothesis}\n{numbers(i)}")
                for i in (side.individual for side in sides)
            ),
            *(quoted(word, "an earlier answer could not be used", told) for told in task.told),
            "Resolve the conflicts.",
        ])  # fmt: skip
        answer = self._asked(task.child, "resolve", _messages(system, user), {"diagnosis": "text"})
        files = self._applied(answer["body"], conflicted, "file")
        left = [
            f
            for f, text in files.items()
            if any(line.startswith(("<<<<<<<", ">>>>>>>")) for line in text.splitlines())
        ]
        if left:
            raise Unusable(f"{left[0]} still has a conflict marker.")
        return files

    def first_prompt(self, task: Task) -> list[dict[str, str]]:
        """The messages of the researcher's first call, for people to look at."""
        if self.member.style == "settings":
            return self._settings_prompt(task, options(task.files, task.fixed), ())[0]
        if self.member.style == "chunks":
            picked = chunks.chosen(chunks.split(task.files), f"{task.seed} {task.attempt}")
            tokens, form = self.member.prompt_tokens, "answer-chunk"
            return self._prompt(task, tokens, form, *_chunk_task(task.files, picked[0]))[0] if picked else []
        return self._prompt(task, self.member.prompt_tokens, f"answer-{self._style}", task.files)[0]

    def _researched(
        self, task: Task, form: str, files: Mapping[str, str], last: str = ""
    ) -> tuple[dict[str, Any], list[dict[str, str]], tuple[str, ...]]:
        """(answer, messages, what they show); a prompt that is too long for the model is made shorter and shorter."""
        tokens = self.member.prompt_tokens
        for _ in range(SHORTENINGS + 1):
            messages, shown = self._prompt(task, tokens, form, files, last)
            try:
                return self._asked(task.child, "researcher", messages, PROPOSES), messages, shown
            except TooLong:
                tokens = round(0.7 * min(tokens, sum(count(message["content"]) for message in messages)))
        raise Unanswered(f"the prompt is too long for {self.member.model}, however short it is made")

    @property
    def _style(self) -> str:
        return "file" if self.member.style == "file" else "diff"

    def _prompt(
        self, task: Task, tokens: int, form: str, files: Mapping[str, str], last: str = ""
    ) -> tuple[list[dict[str, str]], tuple[str, ...]]:
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
        again = [quoted(word, "an earlier proposal of yours was not taken", told) for told in task.told]
        end = [last] if last else ["Propose one change to this script."]
        spent = count("\n".join([system, *script, *again, *end])) + 20 * len(pieces)
        kept = shortened(pieces, tokens - spent)
        told = [quoted(word, s.title, "\n".join(f"- {item.text}" for item in s.items)) for s in kept]
        shown = (self.prompts.version("researcher"), *_refs(kept))
        return _messages(system, "\n\n".join([*script, *told, *again, *end])), shown

    def _chunks(self, task: Task) -> Proposal:
        """One definition after the other, each with a chance; the later ones see what became of the earlier."""
        picked = chunks.chosen(chunks.split(task.files), f"{task.seed} {task.attempt}")
        files, heads, problem = dict(task.files), [], "the script has no definition to rewrite."
        shown: tuple[str, ...] = ()
        for chunk in picked:
            answer, messages, shown = self._researched(task, "answer-chunk", *_chunk_task(files, chunk))
            for again in (True, False):
                try:
                    files = chunks.replaced(files, chunk, drift.only_code(answer["body"]))
                except EditError as error:
                    problem = str(error)
                    refused = f"That cannot be used: {problem} Answer again, whole."
                    if again:
                        messages = _again(messages, answer["body"], refused)
                        answer = self._asked(task.child, "researcher", messages, PROPOSES)
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
        messages, shown = self._settings_prompt(task, offered, told)
        answer = self._asked(
            task.child, role, messages,
            {
                "changes": "changes", "hypothesis": "text", "expected_log_perplexity": "number",
                "request": "request?",
            },
            form="json", response_format=schema(offered),
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
        self, task: Task, offered: Options, told: tuple[str, ...]
    ) -> tuple[list[dict[str, str]], tuple[str, ...]]:
        briefing = _briefing(task)
        pieces = [s for s in sections(task, briefing) if s.priority in (1, 2, 3, 4, 5)]
        word = mark(task.seed, [*(i.text for s in pieces for i in s.items), *task.told, *told])
        system = self.prompts.fill("settings", mark=word, answer=self.prompts.fill("answer-settings"))
        listed = "\n".join(
            f"{name} = {place.value:g}, may be {place.written()}" for name, place in offered.items()
        )
        fixed = [Section("The settings", (Item(listed),), 0)]
        again = [quoted(word, "not taken", text) for text in (*task.told, *told)]
        budget = min(SMALL_TOKENS, self.member.prompt_tokens)
        spent = count("\n".join([system, listed, *again])) + 20 * len(pieces)
        kept = [*fixed, *shortened(pieces, budget - spent)]
        parts = [quoted(word, s.title, "\n".join(item.text for item in s.items)) for s in kept]
        shown = (self.prompts.version("settings"), *_refs(kept))
        return _messages(system, "\n\n".join([*parts, *again, "Choose one or two changes."])), shown

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
                log_perplexity=_bounded(head.get("expected_log_perplexity")),
                mfu=_bounded(head.get("expected_mfu")),
            ),
            techniques=tuple(t for t in dict.fromkeys(head.get("techniques") or ()) if t in known),
            settings=changed_settings(task.files, files),
            shown=shown,
            family=family if family in FAMILIES else None,
            wish=wish_of(head.get("request")),
        )

    def _asked(
        self, child: str, role: str, messages: list[dict[str, str]], wants: Mapping[str, str], *,
        form: str = "head", response_format: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """The head and body of the model's answer, both as this process has checked them."""
        if self.gateway is None:
            raise AgentError(f"{self.name} has no gateway to ask through.")
        task: dict[str, Any] = {
            "kind": self.kind, "messages": messages, "wants": dict(wants), "form": form,
            "temperature": self.member.temperature, "max_tokens": self.member.answer_tokens,
        }  # fmt: skip
        if response_format is not None:
            task["response_format"] = response_format
        with self.gateway.calling(self.name, child, role):
            answer = self.ask(task)
        error = answer.get("error")
        if error is not None:
            raise raised(error, self.member.model)
        return checked(answer, wants)


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


def trial_id(individual: Individual, trial: Trial) -> str:
    """How a lesson cites a trial."""
    return f"{individual.id}/{trial.seed}"


def _messages(system: str, user: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def _chunk_task(files: Mapping[str, str], chunk: chunks.Chunk) -> tuple[dict[str, str], str]:
    """What is shown in place of the whole script to rewrite one definition, and the task."""
    shown = {
        f"before {chunk.name} in {chunk.file}": chunks.outline(files, chunk),
        f"{chunk.name} in {chunk.file}": chunk.text,
    }
    return shown, f"Rewrite the definition of {chunk.name}."


def _again(messages: list[dict[str, str]], answer: str, refused: str) -> list[dict[str, str]]:
    """The conversation with an answer, and why it was refused."""
    said = {"role": "assistant", "content": answer[:8000] or "(nothing)"}
    return [*messages, said, {"role": "user", "content": refused}]


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


def _bounded(value: Any) -> float | None:
    return round(float(value), 6) if isinstance(value, int | float) and abs(value) <= 5 else None
