"""Who the agents are: from a short specification (rules:4,openai:2), or from agents.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from darwin.agents.errors import AgentError
from darwin.agents.inside.rules import TEMPERAMENTS
from darwin.agents.ledger import Allowance, Price

NAMES = (
    *("Ada", "Alan", "Barbara", "Claude", "Donald", "Edsger", "Frances", "Grace"),
    *("Hedy", "Ivan", "John", "Katherine", "Leslie", "Margaret", "Niklaus", "Ole"),
    *("Peter", "Radia", "Shafi", "Tony", "Vint", "Whitfield", "Yukihiro", "Zohar"),
)
KINDS = ("rules", "openai")
STYLES = ("diff", "file", "chunks", "settings")
DEFAULT_NUMBER = 6  # of a kind that is named without a number
FILE = "agents.toml"
NO_LIMIT = Allowance()


@dataclass(frozen=True)
class Member:
    """One agent as it was asked for; what follows ``temperament`` is for those that ask a model.

    ``endpoint`` is a base URL ("": OPENAI_BASE_URL), ``key`` the *name* of the environment variable that holds the key
    ("": OPENAI_API_KEY, which never goes to an ``endpoint`` of agents.toml). ``prompt_tokens`` and ``answer_tokens``
    bound one prompt and one answer. ``places`` says where in agents.toml its ``model``, ``endpoint`` and ``key`` stand.
    """

    name: str
    kind: str
    temperament: str
    model: str = ""
    endpoint: str = ""
    key: str = ""
    temperature: float = 0.7
    style: str = "diff"
    prompt_tokens: int = 16_000
    answer_tokens: int = 8_000
    limits: Allowance = NO_LIMIT
    places: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Members:
    """All agents of an evolution, the limits that they share, and prices that the user knows better."""

    members: tuple[Member, ...]
    limits: Allowance = NO_LIMIT
    prices: Mapping[str, Price] = field(default_factory=dict)

    @property
    def asking(self) -> tuple[Member, ...]:
        """Those that ask a model."""
        return tuple(member for member in self.members if member.kind == "openai")


def members(specification: str, model: str = "", style: str = "diff") -> Members:
    """The agents of ``kind:number`` parts, named in a fixed order and with the temperaments in turn.

    Raises AgentError for an unknown kind, a number that is none or too large, or an openai agent without a model.
    """
    kinds: list[str] = []
    for part in specification.split(","):
        kind, colon, number = part.strip().partition(":")
        if kind not in KINDS:
            raise AgentError(
                f'Agents "{specification}" are of no known kind. Write rules:6, openai:2 or rules:4,openai:2; '
                f"the kinds are {', '.join(KINDS)}."
            )
        if not colon:
            number = str(DEFAULT_NUMBER)
        if not (number.isascii() and number.isdecimal()) or not 1 <= int(number) <= len(NAMES):
            raise AgentError(_count_wrong(specification))
        kinds += [kind] * int(number)
    if len(kinds) > len(NAMES):
        raise AgentError(_count_wrong(specification))
    if "openai" in kinds and not model:
        raise AgentError(
            f'Agents "{specification}" ask a model, and none is named. Give --model NAME, such as --model gpt-5-mini.'
        )
    moods = list(TEMPERAMENTS)
    found = [Member(NAMES[i], kind, moods[i % len(moods)]) for i, kind in enumerate(kinds)]
    return Members(tuple(replace(m, model=model, style=style) if m.kind == "openai" else m for m in found))


def _count_wrong(specification: str) -> str:
    return f'Agents "{specification}" need a number from 1 to {len(NAMES)}, for example rules:6.'


_AGENT_KEYS: dict[str, tuple[type, ...]] = {
    "name": (str,), "kind": (str,), "model": (str,), "endpoint": (str,), "key": (str,), "temperature": (int, float),
    "temperament": (str,), "style": (str,), "prompt_tokens": (int,), "answer_tokens": (int,),
    "calls": (int,), "tokens": (int,), "dollars": (int, float),
}  # fmt: skip
_LIMIT_KEYS = ("calls", "tokens", "dollars")
_TABLES = ("agent", "limits", "prices")


def read(path: Path) -> Members:
    """The agents of an agents.toml. Raises AgentError with the line at fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AgentError(f"{path} cannot be read: {error}.") from None
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AgentError(f"{path} is not TOML: {error}.") from None
    where = _Where(path, text)
    for table in tables:
        if table not in _TABLES:
            raise where.error(table, f'"{table}" is unknown; known are [[agent]], [limits] and [prices]')
    entries = tables.get("agent", [])
    if not isinstance(entries, list) or not entries:
        raise AgentError(f"{path} names no agent. Begin each one with [[agent]].")
    found: list[Member] = []
    moods = list(TEMPERAMENTS)
    for number, entry in enumerate(entries):
        member = _member(where, number, entry, moods[number % len(moods)])
        if member.name.lower() in {other.name.lower() for other in found}:
            raise where.error("name", f'the name "{member.name}" is given twice', number)
        found.append(member)
    return Members(
        tuple(found), _allowance(where, tables.get("limits", {})), _prices(where, tables.get("prices", {}))
    )


class _Where:
    """Where in the file something stands, for one-sentence errors."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._lines = path, text.split("\n")

    def error(self, key: str, problem: str, agent: int | None = None, table: str | None = None) -> AgentError:
        return AgentError(f"{self.place(key, agent, table)}: {problem}.")

    def place(self, key: str, agent: int | None = None, table: str | None = None) -> str:
        """The file and the line of a key of one agent or of a table; of where that begins, if it has no such key."""
        begins = (
            re.compile(r"\s*\[\[\s*agent\s*\]\]")
            if agent is not None
            else re.compile(rf"\s*\[\s*{table}\s*\]")
        )
        starts = [i for i, line in enumerate(self._lines) if begins.match(line)]
        start = starts[agent or 0] if len(starts) > (agent or 0) and (agent is not None or table) else 0
        named = re.compile(rf"\s*(\[+\s*)?[\"']?{re.escape(key)}[\"']?\s*[\]=.]")
        ends = [i for i in range(start + 1, len(self._lines)) if self._lines[i].lstrip().startswith("[")]
        end = ends[0] if ends and (agent is not None or table) else len(self._lines)
        line = next((i for i in range(start, end) if named.match(self._lines[i])), start)
        return f"{self._path}, line {line + 1}"


def _member(where: _Where, number: int, entry: Mapping[str, Any], mood: str) -> Member:
    if not isinstance(entry, dict):
        raise where.error("agent", "write each agent as a table [[agent]]")
    for key, value in entry.items():
        if key not in _AGENT_KEYS:
            raise where.error(key, f'"{key}" is unknown; an agent has {", ".join(_AGENT_KEYS)}', number)
        if not isinstance(value, _AGENT_KEYS[key]) or isinstance(value, bool):
            raise where.error(key, f"{key} = {value!r} is not of the expected type", number)
    kind = entry.get("kind", "openai")
    if kind not in KINDS:
        raise where.error("kind", f'the kind "{kind}" is unknown; the kinds are {", ".join(KINDS)}', number)
    name = entry.get("name", NAMES[number % len(NAMES)])
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,30}", name) or name.lower() in ("base", "main", "champion"):
        raise where.error(
            "name", f'the name "{name}" will not do; write a word of letters and digits', number
        )
    style = entry.get("style", "diff")
    if style not in STYLES:
        raise where.error(
            "style", f'the style "{style}" is unknown; the styles are {", ".join(STYLES)}', number
        )
    temperament = " ".join(entry.get("temperament", mood).split())
    if kind == "rules":
        own = sorted(entry.keys() - {"name", "kind", "temperament"})
        if own:
            raise where.error(
                own[0], f'"{own[0]}" is for agents that ask a model; {name} is of kind rules', number
            )
        if temperament not in TEMPERAMENTS:
            known = ", ".join(TEMPERAMENTS)
            raise where.error(
                "temperament",
                f'the temperament "{temperament}" is unknown to rules; known are {known}',
                number,
            )
        return Member(name, kind, temperament)
    if not entry.get("model"):
        raise where.error("model", f'{name} has no model; write model = "gpt-5-mini", for example', number)
    for key, least, most in (
        ("temperature", 0, 2),
        ("prompt_tokens", 500, 10**7),
        ("answer_tokens", 50, 10**6),
    ):
        if key in entry and not least <= entry[key] <= most:
            raise where.error(key, f"{key} = {entry[key]} is not between {least} and {most}", number)
    if entry.get("endpoint") and not re.fullmatch(r"https?://[^\s/]+.*", entry["endpoint"]):
        raise where.error(
            "endpoint", f'the endpoint "{entry["endpoint"]}" is no address such as https://host/v1', number
        )
    if "key" in entry and not re.fullmatch(r"[A-Z][A-Z0-9_]*", entry["key"]):
        raise where.error(
            "key",
            "key is the name of an environment variable such as OPENAI_API_KEY, never the key itself",
            number,
        )
    chosen = {
        k: entry[k]
        for k in ("model", "endpoint", "key", "temperature", "prompt_tokens", "answer_tokens")
        if k in entry
    }
    limits = _allowance(where, {k: entry[k] for k in _LIMIT_KEYS if k in entry}, number)
    places = {key: where.place(key, number) for key in ("model", "endpoint", "key")}
    return Member(name, kind, temperament, style=style, limits=limits, places=places, **chosen)


def _allowance(where: _Where, table: Any, agent: int | None = None) -> Allowance:
    for key, value in (table if isinstance(table, dict) else {"limits": table}).items():
        if key not in _LIMIT_KEYS:
            raise where.error(
                key, f'"{key}" is unknown; [limits] has {", ".join(_LIMIT_KEYS)}', table="limits"
            )
        number = value if isinstance(value, int | float) and isinstance(value, _AGENT_KEYS[key]) else -1
        if isinstance(value, bool) or number < 0:
            raise where.error(key, f"{key} = {value!r} is no limit", agent, "limits")
    return Allowance(**table)


def _prices(where: _Where, table: Any) -> dict[str, Price]:
    found = {}
    for model, pair in (table if isinstance(table, dict) else {"prices": table}).items():
        numbers = pair if isinstance(pair, list) else []
        if len(numbers) != 2 or not all(
            isinstance(n, int | float) and not isinstance(n, bool) and n >= 0 for n in numbers
        ):
            raise where.error(
                model, f'the price of "{model}" is two numbers, [prompt, completion], in dollars per million tokens',
                table="prices",
            )  # fmt: skip
        found[model] = Price(float(numbers[0]), float(numbers[1]))
    return found


TEMPLATE = """# Who the agents are. Each [[agent]] owns one script and rewrites those of others; at least two.

[[agent]]
name = "Ada"
kind = "openai"                 # asks a model; "rules" needs none
model = "gpt-5-mini"
# endpoint = "http://localhost:8000/v1"   # else OPENAI_BASE_URL, else api.openai.com
# key = "OPENROUTER_API_KEY"    # the environment variable that holds its key, never the key itself
# temperature = 0.7
# temperament = "bold"          # what it is inclined to: a word or a sentence
# style = "diff"                # diff, file, chunks, or settings (for small models)
# prompt_tokens = 16000         # bounds of one prompt and one answer
# answer_tokens = 8000
# calls = 100                   # limits of this agent in the whole evolution: calls, tokens, dollars
# dollars = 2.0

[[agent]]
name = "Alan"
kind = "rules"
temperament = "architect"

[[agent]]
name = "Barbara"
kind = "rules"
temperament = "tuner"

# [limits]                      # of all agents together; --max-cost sets dollars for one command
# dollars = 5.0

# [prices]                      # dollars per million tokens of prompt and completion, where darwin does not know
# "my-model" = [0.25, 2.00]
"""


def names(all_: Iterable[Member]) -> str:
    """The names, for a sentence."""
    return ", ".join(member.name for member in all_)
