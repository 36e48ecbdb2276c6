"""How a rule-based agent chooses: draw each idea's effect from what is believed of it, and take the best.

That is Thompson sampling: an idea is tried as often as it is likely to be the best, by its effect at the **long**
horizon (six times the budget), since short trials flatter head starts. What is believed is a model's posterior, made on
the host. Standard library only, a JSON-able dict in and one out, because this runs in the agent's own container.
Effects are differences of log perplexity (negative is better). Nothing that depends on a clock has a say where
perplexity is aimed at, so equal tasks give equal answers.

The task::

    {"seed": 1, "child": "g002-ada-1", "attempt": 0, "generation": 2, "temperament": "tuner", "context": 64,
     "aim": "perplexity",                            or "mfu"
     "techniques": [{"id", "title", "family", "conflicts": [ids]}, ...],   those that fit
     "settings": {"learning_rate": 0.001, ...},      every numeric one of the script
     "steps": {"learning_rate": 1.0, ...},           by how many doublings each is changed now
     "fixed": ["seed", ...],                         those that are not to be changed
     "beliefs": {"technique:muon": {"short", "short_sd", "long", "long_sd", "mfu", "mfu_sd", "tried"}, ...,
                 "setting:learning_rate:up": {...}, ...},
     "own": {"setting:learning_rate:up": {"tried", "failed"}, ...},   the agent's own attempts
     "rejected": {"technique:muon": 1, ...},            ideas in changes that people turned down, and how often
     "room": 1.0}                                       how many times as large the budget is as at the start

The answer, with the setting that would go on helping and is at its limit for this budget, or null::

    {"techniques": [ids], "settings": {name: value}, "hypothesis": "...", "at_limit": "n_layer"}
"""

from __future__ import annotations

import math
import random
from typing import Any

Idea = dict[str, Any]  # key, family, words, and either technique and conflicts, or setting and value

WINDOWS = (
    "block_size", "context_length", "context_size", "context", "ctx_len", "ctx", "n_ctx", "seq_len", "seq_length",
    "sequence_length", "max_seq_len", "max_seq_length", "window",
)  # fmt: skip
"""What scripts call the length of a window: none may be shorter than those it is judged on."""

TEMPERAMENTS: dict[str, dict[str, Any]] = {
    # families: what it likes (1 otherwise); tuning: its liking for numbers; reach: how far it steps, 1 being usual;
    # curiosity: how widely it draws, in standard deviations of what is believed.
    "optimizer-minded": {
        "families": {"optimizer": 1.5, "schedule": 1.5, "batch": 1.3, "initialisation": 1.3},
        "tuning": 1.0,
        "reach": 1.0,
        "curiosity": 1.0,
    },
    "architect": {
        "families": {"attention": 1.5, "positions": 1.5, "mlp": 1.5, "residual": 1.5, "activation": 1.3},
        "tuning": 0.7,
        "reach": 1.0,
        "curiosity": 1.0,
    },
    "tuner": {"families": {}, "tuning": 1.7, "reach": 1.0, "curiosity": 1.0},
    "bold": {"families": {"optimizer": 1.3, "shape": 1.3}, "tuning": 1.0, "reach": 1.5, "curiosity": 1.3},
    "careful": {"families": {}, "tuning": 1.0, "reach": 0.6, "curiosity": 0.5},
    "contrarian": {
        "families": {"head": 1.5, "embedding": 1.5, "norm": 1.5, "loss": 1.5, "throughput": 1.3},
        "tuning": 1.0,
        "reach": 1.2,
        "curiosity": 1.6,
    },
}

IDEAS_EARLY, IDEAS_LATER = (0.4, 0.35, 0.25), (0.7, 0.2, 0.1)
"""Chances of 1, 2 and 3 ideas a child, in the first ``EARLY`` generations and after: depth first, then care."""
EARLY = 3
HEAD_START = 1.28  # standard deviations above 0 at the long horizon: help there is less likely than 1 in 10
MFU_PRICE = 2.0  # of MFU, when that is aimed at: what a nat of perplexity costs

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
TURNED_DOWN = (
    0.2  # what is left of an idea's promise for each time that a person turned a change with it down
)
LARGEST_SHAPE = (
    1.5 * 4 * 128**2 * 12
)  # weights in the blocks: the budget is tokens, so size must be bounded here
LEAST_STEP_TOKENS = 256  # below, the fixed cost of a step decides its price
LEAST_MUON_TOKENS = 512  # likewise with Muon, whose matrix products are a step's, not a token's


def choose(task: dict[str, Any]) -> dict[str, Any]:
    """One to three ideas for this script; no idea at all only if nothing fits it."""
    chance = random.Random(f"{task['seed']} {task['child']} {task['attempt']}")
    temperament = TEMPERAMENTS[task["temperament"]]
    ideas = [*_technique_ideas(task), *_setting_ideas(task)]
    shares = IDEAS_EARLY if task["generation"] <= EARLY else IDEAS_LATER
    wanted = chance.choices((1, 2, 3), shares)[0]
    draws = {idea["key"]: drawn(idea, task, temperament, chance) for idea in ideas}
    promising = [idea for idea in ideas if promises(idea, task)]
    chosen: list[Idea] = []
    for idea in sorted(promising or ideas, key=lambda idea: draws[idea["key"]]):
        if len(chosen) == wanted or (chosen and draws[idea["key"]] >= 0):
            break
        if all(_compatible(idea, other) for other in chosen):
            chosen.append(idea)
    return {
        "techniques": [idea["technique"] for idea in chosen if "technique" in idea],
        "settings": {idea["setting"]: idea["value"] for idea in chosen if "setting" in idea},
        "hypothesis": " ".join(_reason(idea, task) for idea in chosen),
        "at_limit": at_limit(task),
    }


def at_limit(task: dict[str, Any]) -> str | None:
    """The setting of the shape that trials say would help most by growing, where only the budget's bound forbids it."""
    found = []
    for name, value in task["settings"].items():
        belief = task["beliefs"][f"setting:{name}:up"]
        if name in task["fixed"] or not belief["tried"] or belief["long"] + belief["long_sd"] >= 0:
            continue
        new = stepped(name, value, 2 ** task["steps"][name])
        room = task.get("room", 1.0)
        if not trains(name, new, task["settings"], task["context"], room) and trains(
            name, new, task["settings"], task["context"], math.inf
        ):
            found.append((belief["long"], name))
    return min(found)[1] if found else None


def drawn(idea: Idea, task: dict[str, Any], temperament: dict[str, Any], chance: random.Random) -> float:
    """What an idea might do at the long horizon, drawn from what is believed and bent by liking; lower is better.

    Where MFU is aimed at, what it might do to that instead, and what it would cost in perplexity.
    """
    belief = task["beliefs"][idea["key"]]
    width = chance.gauss(0, 1) * temperament["curiosity"]
    effect = belief["long"] + width * belief["long_sd"]
    if task["aim"] == "mfu":
        effect = MFU_PRICE * max(0.0, belief["short"]) - (belief["mfu"] + width * belief["mfu_sd"])
    liking = temperament["families"].get(idea["family"], 1.0)
    liking *= temperament["tuning"] if "setting" in idea else 1.0
    liking *= TURNED_DOWN ** task.get("rejected", {}).get(idea["key"], 0)
    seen = task["own"].get(idea["key"], {"tried": 0, "failed": 0})
    works = ((seen["tried"] - seen["failed"] + 1) / (seen["tried"] + 1)) ** 2
    return float(effect * liking * works if effect < 0 else effect / liking / works)


def promises(idea: Idea, task: dict[str, Any]) -> bool:
    """Whether there is a reason to try an idea: none where it helps short trials and hardly ever long ones, nor, where
    MFU is aimed at, where it is not believed to raise it by more than it costs (most settings lower it, whichever way
    they move)."""
    belief = task["beliefs"][idea["key"]]
    if task["aim"] == "mfu":
        return bool(belief["mfu"] > MFU_PRICE * max(0.0, belief["short"]))
    return not (belief["short"] < 0 and belief["long"] > HEAD_START * belief["long_sd"])


def _technique_ideas(task: dict[str, Any]) -> list[Idea]:
    return [
        {
            "key": f"technique:{technique['id']}",
            "technique": technique["id"],
            "family": technique["family"],
            "conflicts": technique["conflicts"],
            "words": technique["title"],
        }
        for technique in task["techniques"]
    ]


def _setting_ideas(task: dict[str, Any]) -> list[Idea]:
    ideas = []
    for name, value in task["settings"].items():
        if name in task["fixed"]:
            continue
        for way, sign in (("up", 1), ("down", -1)):
            new = stepped(name, value, 2 ** (sign * task["steps"][name]))
            if new != value and trains(name, new, task["settings"], task["context"], task.get("room", 1.0)):
                ideas.append(
                    {
                        "key": f"setting:{name}:{way}",
                        "setting": name,
                        "value": new,
                        "family": family_of(name),
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


def trains(name: str, value: float, settings: dict[str, float], context: int, room: float = 1.0) -> bool:
    """Whether a script can train with this value, and at a bearable price, as far as the names tell; ``room`` is how
    many times as large the budget is as at the start."""
    after = {**settings, name: value}
    if isinstance(settings[name], int) and value < 1:
        return False
    if settings[name] == 0:
        return False  # a switch that is off, not a number
    width, heads = after.get("n_embd", 0), after.get("n_head", 1)
    if width % heads or (width // heads) % 2:  # rotary positions need an even head
        return False
    if name in WINDOWS and value < context:
        return False
    if "fraction" in name and not 0 < value <= 0.8:
        return False
    if _is_memory(name) and not 0 < value < 1:
        return False
    matrices = after.get("n_layer", 0) * width**2 * (4 + 2 * after.get("mlp_ratio", 4))
    if family_of(name) == "shape" and value > settings[name] and matrices > LARGEST_SHAPE * room:
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
    belief = task["beliefs"][idea["key"]]
    trials = belief["tried"]
    known = f"{trials} trial{'s' * (trials != 1)} and the prior" if trials else "the prior alone"
    return (
        f"{idea['words']}: expected to change log perplexity by {belief['short']:+.3f} (± {belief['short_sd']:.3f}), "
        f"at six times the budget by {belief['long']:+.3f} (± {belief['long_sd']:.3f}), by {known}."
    )
