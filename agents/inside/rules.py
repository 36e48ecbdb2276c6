"""How a rule-based agent chooses: weigh what fits this script by prior, memory and temperament, then draw.

Standard library only, a JSON-able dict in and one out, because this runs in the agent's own container.
Effects are differences of log perplexity (negative is better). Nothing that depends on a clock has a say,
so equal tasks give equal answers.

The task::

    {"seed": 1, "child": "g002-ada-1", "attempt": 0, "temperament": "tuner", "context": 64,
     "techniques": [{"id", "title", "family", "effect", "price", "conflicts": [ids]}, ...],   those that fit
     "settings": {"learning_rate": 0.001, ...},      every numeric one of the script
     "fixed": ["seed", ...],                         those that are not to be changed
     "lessons": {"technique:muon": {"effect": -0.1, "tried": 3, "failed": 0}, ...},
     "own": {"setting:learning_rate:up": {...}, ...},   the agent's own attempts, in the same form
     "rejected": {"technique:muon": 1, ...}}            ideas in changes that people turned down, and how often

The answer::

    {"techniques": [ids], "settings": {name: value}, "expected": -0.1, "hypothesis": "..."}
"""

from __future__ import annotations

import math
import random
from typing import Any

Idea = dict[str, Any]  # key, family, prior, price, words, and either technique or (setting, value)

TEMPERAMENTS: dict[str, dict[str, Any]] = {
    # families: what it likes (1 otherwise); steps: factors it tries on a number; pair: chance of two ideas;
    # tuning: its liking for numbers; focus: how firmly it prefers the better-looking idea; curiosity: what the
    # unknown is worth to it, in standard errors.
    "optimizer-minded": {
        "families": {"optimizer": 2.0, "schedule": 2.0, "batch": 1.5, "initialisation": 1.5},
        "steps": (0.5, 0.7, 1.4, 2.0),
        "pair": 0.4,
        "tuning": 1.0,
        "focus": 1.5,
        "curiosity": 0.3,
    },
    "architect": {
        "families": {"attention": 2.0, "positions": 2.0, "mlp": 2.0, "residual": 2.0, "activation": 1.5},
        "steps": (0.5, 2.0),
        "pair": 0.4,
        "tuning": 0.5,
        "focus": 1.5,
        "curiosity": 0.3,
    },
    "tuner": {
        "families": {},
        "steps": (0.5, 0.7, 1.4, 2.0),
        "pair": 0.4,
        "tuning": 3.0,
        "focus": 1.5,
        "curiosity": 0.3,
    },
    "bold": {
        "families": {"optimizer": 1.5, "shape": 1.5},
        "steps": (0.3, 0.5, 2.0, 3.0),
        "pair": 1.0,
        "tuning": 1.0,
        "focus": 1.5,
        "curiosity": 0.5,
    },
    "careful": {
        "families": {},
        "steps": (0.7, 1.4),
        "pair": 0.0,
        "tuning": 1.0,
        "focus": 2.5,
        "curiosity": 0.0,
    },
    "contrarian": {
        "families": {"head": 2.0, "embedding": 2.0, "norm": 2.0, "loss": 2.0, "throughput": 1.5},
        "steps": (0.3, 0.5, 2.0, 3.0),
        "pair": 0.4,
        "tuning": 1.0,
        "focus": 1.0,
        "curiosity": 1.0,
    },
}

FAMILY_OF_SETTING = (  # the first word found in its name decides
    ("warmup", "schedule"),
    ("final", "schedule"),
    ("cooldown", "schedule"),
    ("batch", "batch"),
    ("block", "batch"),
    ("n_layer", "shape"),
    ("n_head", "shape"),
    ("n_embd", "shape"),
    ("mlp", "shape"),
    ("init", "initialisation"),
    ("rate", "optimizer"),
    ("beta", "optimizer"),
    ("decay", "optimizer"),
    ("momentum", "optimizer"),
    ("clip", "optimizer"),
)
SETTING_PRIOR = -0.01  # a step of a setting that nobody has tried: seldom much
DOUBT = 0.04  # standard error of a prior, in nats
NOISE = 0.02  # standard deviation of a measured effect around what it is worth on another script, in nats
TURNED_DOWN = 0.2  # what is left of an idea's chance for each time that a person turned a change with it down
LEAST = 0.002  # nats: what even the least promising idea is weighed with
LARGEST_SHAPE = (
    1.5 * 4 * 128**2 * 12
)  # weights in the blocks: the budget is tokens, so size must be bounded here
LEAST_STEP_TOKENS = 256  # below, the fixed cost of a step decides its price
LEAST_MUON_TOKENS = 512  # likewise with Muon, whose matrix products are a step's, not a token's


def choose(task: dict[str, Any]) -> dict[str, Any]:
    """One or two ideas for this script; no idea at all only if nothing fits it."""
    chance = random.Random(f"{task['seed']} {task['child']} {task['attempt']}")
    temperament = TEMPERAMENTS[task["temperament"]]
    ideas = [*_technique_ideas(task), *_setting_ideas(task, temperament)]
    wanted = 2 if chance.random() < temperament["pair"] else 1
    chosen: list[Idea] = []
    while ideas and len(chosen) < wanted:
        weights = [weight(idea, task, temperament) for idea in ideas]
        pick = chance.choices(ideas, weights)[0]
        chosen.append(pick)
        ideas = [idea for idea in ideas if _compatible(idea, pick)]
    return {
        "techniques": [idea["technique"] for idea in chosen if "technique" in idea],
        "settings": {idea["setting"]: idea["value"] for idea in chosen if "setting" in idea},
        "expected": round(sum(believed(idea, task)[0] for idea in chosen), 4) if chosen else None,
        "hypothesis": " ".join(_reason(idea, task) for idea in chosen),
    }


def believed(idea: Idea, task: dict[str, Any]) -> tuple[float, float]:
    """Mean and standard error of an idea's effect: the prior, every lesson, and the agent's own trials again."""
    precision = 1 / DOUBT**2
    total = idea["prior"] * precision
    for memory in (task["lessons"], task["own"]):
        seen = memory.get(idea["key"])
        if seen and seen["effect"] is not None:
            weight = max(1, seen["tried"] - seen["failed"]) / NOISE**2
            total += seen["effect"] * weight
            precision += weight
    return total / precision, precision**-0.5


def weight(idea: Idea, task: dict[str, Any], temperament: dict[str, Any]) -> float:
    """How likely an idea is to be drawn, relative to others; above 0 for all."""
    mean, error = believed(idea, task)
    promise = max(LEAST, temperament["curiosity"] * error - mean)
    worked = 1.0
    for memory in (task["lessons"], task["own"]):
        seen = memory.get(idea["key"])
        if seen:
            worked *= ((seen["tried"] - seen["failed"] + 1) / (seen["tried"] + 1)) ** 2
    liking = temperament["families"].get(idea["family"], 1.0)
    liking *= TURNED_DOWN ** task.get("rejected", {}).get(idea["key"], 0)
    if "setting" in idea:
        liking *= temperament["tuning"] / idea["siblings"]
    return float(liking * worked * (promise / 0.01) ** temperament["focus"] / idea["price"] ** 2)


def _technique_ideas(task: dict[str, Any]) -> list[Idea]:
    return [
        {
            "key": f"technique:{technique['id']}",
            "technique": technique["id"],
            "family": technique["family"],
            "prior": technique["effect"],
            "price": technique["price"],
            "conflicts": technique["conflicts"],
            "words": technique["title"],
        }
        for technique in task["techniques"]
    ]


def _setting_ideas(task: dict[str, Any], temperament: dict[str, Any]) -> list[Idea]:
    ideas = []
    for name, value in task["settings"].items():
        if name in task["fixed"]:
            continue
        steps = [(factor, stepped(name, value, factor)) for factor in temperament["steps"]]
        sane = [
            (f, new)
            for f, new in steps
            if new != value and trains(name, new, task["settings"], task["context"])
        ]
        for factor, new in sane:
            ideas.append(
                {
                    "key": f"setting:{name}:{'up' if new > value else 'down'}",
                    "setting": name,
                    "value": new,
                    "family": family_of(name),
                    "prior": SETTING_PRIOR,
                    "price": 1.0 if factor < 1 or family_of(name) != "shape" else 1.3,
                    "siblings": len(sane),
                    "words": f"{name} at {new:g} in place of {value:g}",
                }
            )
    return ideas


def family_of(name: str) -> str:
    """The family of a setting, by its name."""
    return next((family for word, family in FAMILY_OF_SETTING if word in name), "other")


def stepped(name: str, value: float, factor: float) -> float:
    """A setting one step on: a factor, on the distance to 1 for memories such as beta1; 0 stays 0."""
    if isinstance(value, int):
        step = round(value * factor)
        return step if step != value else value + (1 if factor > 1 else -1)
    if _is_memory(name) and 0.5 <= value < 1:
        return float(f"{1 - (1 - value) / factor:.4g}")
    return float(f"{value * factor:.3g}")


def _is_memory(name: str) -> bool:
    return "beta" in name or "momentum" in name


def trains(name: str, value: float, settings: dict[str, float], context: int) -> bool:
    """Whether a script can train with this value, and at a bearable price, as far as the names tell."""
    after = {**settings, name: value}
    if isinstance(settings[name], int) and value < 1:
        return False
    if settings[name] == 0:
        return False  # a switch that is off, not a number
    width, heads = after.get("n_embd", 0), after.get("n_head", 1)
    if width % heads or (width // heads) % 2:  # rotary positions need an even head
        return False
    if after.get("block_size", context) < context:
        return False
    if "fraction" in name and not 0 < value <= 0.8:
        return False
    if _is_memory(name) and not 0 < value < 1:
        return False
    matrices = after.get("n_layer", 0) * width**2 * (4 + 2 * after.get("mlp_ratio", 4))
    if family_of(name) == "shape" and value > settings[name] and matrices > LARGEST_SHAPE:
        return False
    step = after.get("batch_size", math.inf) * after.get("block_size", math.inf)
    least = LEAST_MUON_TOKENS if "muon_rate" in settings else LEAST_STEP_TOKENS
    return not (family_of(name) == "batch" and value < settings[name] and step < least)


def _compatible(idea: Idea, chosen: Idea) -> bool:
    if idea["key"] == chosen["key"] or idea.get("setting", "") == chosen.get("setting", None):
        return False
    return idea.get("technique", "") not in chosen.get("conflicts", ()) and chosen.get(
        "technique", ""
    ) not in idea.get("conflicts", ())


def _reason(idea: Idea, task: dict[str, Any]) -> str:
    mean, error = believed(idea, task)
    seen = task["lessons"].get(idea["key"])
    trials = seen["tried"] - seen["failed"] if seen else 0
    known = f"{trials} trial{'s' * (trials != 1)} and the prior" if trials else "the prior alone"
    return f"{idea['words']}: expected to change log perplexity by {mean:+.3f} (± {error:.3f}), by {known}."
