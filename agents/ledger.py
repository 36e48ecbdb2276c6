"""What models cost: prices, limits, and the account of every call."""

from __future__ import annotations

import threading
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from darwin.agents.errors import AgentError, Unanswered
from darwin.memory.records import Usage

TABLE = Path(__file__).resolve().parent / "prices.toml"


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens of prompt and of completion."""

    prompt: float
    completion: float

    def of(self, prompt: int, completion: int) -> float:
        """Dollars of so many tokens."""
        return (prompt * self.prompt + completion * self.completion) / 1e6


FREE = Price(0.0, 0.0)


@dataclass(frozen=True)
class Allowance:
    """The most that may be spent in all: calls, tokens (prompt and completion), dollars; None is no limit."""

    calls: int | None = None
    tokens: int | None = None
    dollars: float | None = None


@dataclass(frozen=True)
class Spent:
    """One call on the account: whose, for which child and role, and what it took."""

    agent: str
    child: str
    role: str
    model: str
    usage: Usage


class LimitReached(Unanswered):
    """A limit would be passed by the next call: that of ``agent``, or of all together (None)."""

    def __init__(self, message: str, agent: str | None = None) -> None:
        super().__init__(message)
        self.agent = agent


class Ledger:
    """The account of a workspace's calls. Thread-safe; a call is reserved at its highest price before it is made."""

    def __init__(self, whole: Allowance, each: Mapping[str, Allowance], spent: Iterable[Spent] = ()) -> None:
        self._whole, self._each = whole, each
        self._lock = threading.Lock()
        self._entries: list[Spent] = list(spent)
        self._reserved: dict[str, list[Usage]] = defaultdict(list)

    def reserve(self, agent: str, highest: Usage) -> None:
        """Set aside what one call may take at most; raises ``LimitReached`` where that passes a limit."""
        with self._lock:
            for allowance, name, words in (
                (self._each.get(agent, Allowance()), agent, f"{agent}'s limit"),
                (self._whole, None, "the limit"),
            ):
                sentence = _passed(allowance, self._sum(name), highest)
                if sentence:
                    raise LimitReached(sentence.format(words), name)
            self._reserved[agent].append(highest)

    def settle(self, entry: Spent | None, agent: str, highest: Usage) -> None:
        """Write down what the call took (None: nothing), and give the rest of its reserve back."""
        with self._lock:
            self._reserved[agent].remove(highest)
            if entry is not None:
                self._entries.append(entry)

    def entries(self) -> list[Spent]:
        """All calls so far, in order."""
        with self._lock:
            return list(self._entries)

    def total(self, agent: str | None = None, child: str | None = None) -> Usage:
        """The sum, of one agent or for one child if they are named."""
        return total(e for e in self.entries() if agent in (None, e.agent) and child in (None, e.child))

    def _sum(self, agent: str | None) -> Usage:
        made = total(e for e in self._entries if agent in (None, e.agent))
        under_way = [u for name, all_ in self._reserved.items() if agent in (None, name) for u in all_]
        return sum(under_way, made)


def total(entries: Iterable[Spent]) -> Usage:
    """The sum of entries."""
    return sum((entry.usage for entry in entries), Usage())


def _passed(allowance: Allowance, so_far: Usage, highest: Usage) -> str | None:
    after = so_far + highest
    if allowance.calls is not None and after.calls > allowance.calls:
        return f"{{}} of {allowance.calls:,} calls is reached"
    tokens = after.prompt_tokens + after.completion_tokens
    if allowance.tokens is not None and tokens > allowance.tokens:
        return f"{{}} of {allowance.tokens:,} tokens would be passed by the next call"
    if allowance.dollars is not None and (after.dollars is None or after.dollars > allowance.dollars):
        spent = "an unknown sum" if so_far.dollars is None else f"${so_far.dollars:.4f}"
        return f"{{}} of ${allowance.dollars:g} would be passed by the next call ({spent} is spent)"
    return None


def prices(override: Mapping[str, Price] | None = None) -> dict[str, Price]:
    """Known prices by model: the table that ships with darwin, and the user's own over it."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {**{m: Price(*map(float, p)) for m, p in table["dollars_per_million"].items()}, **(override or {})}


def price_of(model: str, known: Mapping[str, Price]) -> Price | None:
    """A model's price, by its name or, at a router such as OpenRouter, by what follows its maker's name."""
    for name in (model, model.rpartition("/")[2], model.rpartition("/")[2].partition(":")[0]):
        if name in known:
            return known[name]
    return None


def require_prices(models: Iterable[str], priced: Mapping[str, Price | None]) -> None:
    """Raise AgentError for a model whose price is not known, where a limit in dollars has to be kept."""
    for model in models:
        if priced.get(model) is None:
            raise AgentError(
                f'The price of "{model}" is not known, so a limit in dollars cannot be kept. Write it to agents.toml: '
                f'[prices] and "{model}" = [dollars per million prompt tokens, per million completion tokens].'
            )
