"""Asking a model through an agent's program: no request is longer than its bound, what goes wrong is said in a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from darwin.agents.agent import Ask
from darwin.agents.answers import TooLong, asked_again, checked, raised
from darwin.agents.errors import AgentError, Unanswered
from darwin.agents.gateway import Gateway
from darwin.agents.members import Member
from darwin.agents.prompts import plain_line, start_of
from darwin.agents.roles import Messages, size
from darwin.agents.tokens import BYTES_PER_TOKEN, count

AGAIN_TOKENS = 600  # kept free in a prompt, to say an answer again that cannot be used, and why
LEAST_AGAIN, MOST_AGAIN = 1_000, 20_000  # bytes of such an answer
SHORTENINGS = 4  # of the prompt to 0.7 of its length, where a model finds it too long

Build = Callable[[int], tuple[Messages, tuple[str, ...]]]
"""Makes a prompt of so many tokens, and names what it shows."""


@dataclass(frozen=True)
class Asking:
    """The way from one agent to its model."""

    member: Member
    ask: Ask
    gateway: Gateway | None

    def within(
        self, child: str, role: str, wants: Mapping[str, str], build: Build, *, again: int = 1,
        most: int | None = None, **form: Any,
    ) -> tuple[dict[str, Any], Messages, tuple[str, ...]]:  # fmt: skip
        """(answer, messages, what they show): asked with a prompt within the bound, which is made shorter and shorter
        where the model finds it too long. ``build`` makes one of so many tokens, of which ``again`` re-asks are kept
        free; ``most`` is a bound of its own."""
        tokens = self.tokens(again, most)
        before: Messages | None = None
        for number in range(SHORTENINGS + 1):
            asked, shown = bounded(build, tokens)
            if asked == before:
                break
            try:
                return self.asked(child, role, asked, wants, most=most, **form), asked, shown
            except TooLong:
                if not number:
                    self.say(
                        child, f"finds a prompt of {size(asked):,} tokens too long: asked with a shorter one."
                    )
                tokens, before = round(0.7 * min(tokens, size(asked))), asked
        raise Unanswered(f"the prompt is too long for {self.member.model}, however short it is made")

    def tokens(self, again: int = 1, most: int | None = None) -> int:
        """What a first prompt may take, so that what is asked again is within the bound too."""
        return min(self.member.prompt_tokens, most or self.member.prompt_tokens) - again * AGAIN_TOKENS

    def refused(self, child: str, asked: Messages, answer: str, reason: str) -> Messages:
        """The conversation with an answer that cannot be used, as far as there is room for it, and why."""
        reason = plain_line(reason, 600)
        self.say(child, f"is asked again, as its answer cannot be used: {reason}")
        left = self.tokens() - size(asked) - count(reason) - 20
        start = start_of(answer, max(LEAST_AGAIN, min(MOST_AGAIN, round(left * BYTES_PER_TOKEN))))
        said = {"role": "assistant", "content": start or "(nothing)"}
        return [
            *asked,
            said,
            {"role": "user", "content": f"That cannot be used: {reason} Answer again, whole."},
        ]

    def say(self, child: str, words: str) -> None:
        """One line on the screen: which child, which model, and ``words``."""
        if self.gateway is not None:
            self.gateway.say(f"{child:14} {self.member.model} {words}")

    def asked(
        self, child: str, role: str, asked: Messages, wants: Mapping[str, str], *, form: str = "head",
        response_format: Mapping[str, Any] | None = None, most: int | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """The head and body of the model's answer, both as this process has checked them; what was asked again is
        said."""
        if self.gateway is None:
            raise AgentError(f"{self.member.name} has no gateway to ask through.")
        left = self.tokens(0, most) - size(asked) - AGAIN_TOKENS // 2
        task: dict[str, Any] = {
            "kind": self.member.kind, "messages": asked, "wants": dict(wants), "form": form,
            "temperature": self.member.temperature, "max_tokens": self.member.answer_tokens,
            "room": max(LEAST_AGAIN, min(MOST_AGAIN, round(left * BYTES_PER_TOKEN))),
        }  # fmt: skip
        if response_format is not None:
            task["response_format"] = response_format
        with self.gateway.calling(self.member.name, child, role):
            answer = self.ask(task)
        for problem in asked_again(answer):
            self.say(child, f"is asked again, as its answer cannot be used: {problem}")
        error = answer.get("error")
        if error is not None:
            raise raised(error, self.member.model)
        return checked(answer, wants)


def bounded(build: Build, tokens: int) -> tuple[Messages, tuple[str, ...]]:
    """A prompt of so many tokens, quotation marks and all."""
    found = build(tokens)
    over = size(found[0]) - tokens
    return build(tokens - over) if over > 0 else found
