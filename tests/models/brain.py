"""A scripted model that does its work: it reads role and script from the prompt and answers in the style asked for.

Each proposal sets one number of the script in front of it, drawn from the prompt's own text, so that equal prompts
get equal answers. Some are planted to fail; an engineer's prompt with the traceback is answered by the repair.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

PLANTED = "planted_failure"
DATA = re.compile(r"\[data (\w{8}): ([^\n]*)\]\n(.*?)\n\[end \1\]", re.DOTALL)


def texts(body: dict[str, Any]) -> tuple[str, str]:
    """(system, user) of the first exchange."""
    return body["messages"][0]["content"], body["messages"][1]["content"]


def data_of(user: str) -> dict[str, str]:
    """Every quoted text by its title."""
    return {title: text for _, title, text in DATA.findall(user)}


def role_of(system: str) -> str:
    """Which role a system prompt gives."""
    for words, role in (("fails before", "engineer"), ("has been tried", "analyst"), ("were merged", "resolve"),
                        ("Rewrite only the definition", "chunk"), ("numeric settings", "settings")):  # fmt: skip
        if words in system:
            return role
    return "researcher"


class Brain:
    """Every ``break_every``-th proposal fails its smoke run; repairs work at once."""

    def __init__(self, break_every: int = 3) -> None:
        self.break_every = break_every
        self.proposed = 0

    def __call__(self, body: dict[str, Any]) -> str:
        system, user = texts(body)
        data, role = data_of(user), role_of(system)
        number = int(hashlib.sha256(user.encode()).hexdigest()[:6], 16) / 1e8
        if role == "engineer":
            return self.repair(system, data)
        if role == "analyst":
            ids = [line.split("  ")[0] for line in data["trials by id"].splitlines()]
            child = re.search(r"the lesson of (\S+)\.", user)[1]
            own = [i for i in ids if i.startswith(child + "/")]
            return json.dumps(
                {"lesson": f"What {child} changed did as little as it looks.", "evidence": own + ids[-1:]}
            )
        if role == "resolve":
            return self.resolve(data)
        self.proposed += 1
        broken = f"\nbroken = {PLANTED}" if self.proposed % self.break_every == 0 else ""
        head = json.dumps({
            "change": f"Set the warm-up to {number:.6f}", "hypothesis": "A shorter warm-up wastes less.",
            "family": "schedule", "expected_log_perplexity": -0.01, "expected_mfu": 0,
        })  # fmt: skip
        if role == "chunk":
            return self.chunk(head, user, data, number, broken)
        script = data["train.py"]
        line = next(line for line in script.splitlines() if line.startswith("warmup_fraction"))
        changed = f"warmup_fraction = {0.01 + number:.6f}{broken}"
        if "SEARCH/REPLACE" in system:
            block = f"<<<<<<< SEARCH\n{line}\n=======\n{changed}\n>>>>>>> REPLACE\n"
            return f"```json\n{head}\n```\n\n### train.py\n{block}"
        whole = script.replace(line, changed)
        return f"{head}\n\n### train.py\n```python\n{whole}\n```\n"

    def chunk(self, head: str, user: str, data: dict[str, str], number: float, broken: str) -> str:
        name = re.search(r"Rewrite the definition of (\w+)\.", user)[1]
        text = next(text for title, text in data.items() if title.startswith(f"{name} in "))
        lines = text.splitlines()
        # not by ast: this runs in the server's thread, and Python 3.11 cannot parse in two at once
        begins = next(row for row, line in enumerate(lines) if line.startswith(("def ", "class ")))
        at = next(row for row in range(begins, len(lines)) if lines[row].endswith(":")) + 1
        inner = re.match(r"\s+", lines[at])[0]
        extra = [f"{inner}noted = {number}", *([inner + broken.strip()] if broken else [])]
        return f"{head}\n```python\n" + "\n".join([*lines[:at], *extra, *lines[at:]]) + "\n```"

    def resolve(self, data: dict[str, str]) -> str:
        """Our side of every conflict, with a line that says so."""
        answer = json.dumps({"diagnosis": "both set the warm-up"})
        for file in ("model.py", "train.py"):
            if "<<<<<<<" in data[file]:
                whole = re.sub(
                    r"<<<<<<<[^\n]*\n(.*?)=======\n.*?>>>>>>>[^\n]*",
                    r"\1resolved = 1",
                    data[file],
                    flags=re.DOTALL,
                )
                answer += f"\n\n### {file}\n```python\n{whole}\n```\n"
        return answer

    def repair(self, system: str, data: dict[str, str]) -> str:
        assert PLANTED in data["the error"], "an engineer is given the error it has to mend"
        titles = [t for t in data if t.endswith("as it stands now") and PLANTED in data[t]]
        file, script = titles[0].split(" ")[0], data[titles[0]]
        line = next(line for line in script.splitlines() if PLANTED in line)
        head = json.dumps({"diagnosis": f"{PLANTED} is not defined"})
        if "whole, under its name" in system:
            return f"{head}\n\n### {file}\n```python\n{script.replace(line, '')}\n```\n"
        return f"{head}\n\n### {file}\n<<<<<<< SEARCH\n{line}\n=======\n>>>>>>> REPLACE\n"
