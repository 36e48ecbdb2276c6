"""The records every room speaks: what an individual is, what its trials measured, what was decided.

Units: losses in nats per token, effects as differences of log perplexity (negative is better), times in
seconds, memory in bytes. Unknown is ``None``, never 0. Records are frozen: a change makes a new record.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 1
"""Version of the record format; a store written by a newer one is refused."""


class Record(BaseModel):
    """Base of all records: frozen, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Status(StrEnum):
    """How far an individual got."""

    BORN = "born"
    REFUSED = "refused"  # a no-op, or a genome already known: never trained
    FAILED = "failed"  # its trial did not come to a loss
    SCREENED = "screened"  # its short trial was not among the better half: never trained at the budget
    DISQUALIFIED = "disqualified"  # an audit found it cheating
    TRAINED = "trained"


class TrialStatus(StrEnum):
    """How a trial ended. Everything but ``ok`` is the candidate's doing, never darwin's."""

    OK = "ok"
    CRASHED = "crashed"  # a non-zero exit or a signal of its own
    TIMED_OUT = "timed_out"  # the CPU or wall limit
    OUT_OF_MEMORY = "out_of_memory"
    FLOODED = "flooded"  # printed or wrote more than its bound
    BAD_CHECKPOINT = "bad_checkpoint"  # none, or one that its own loader cannot read
    BAD_LOGITS = "bad_logits"  # wrong shape, or not finite
    DISQUALIFIED = "disqualified"  # its model sees what it must not, or training changed nothing
    OVER_BUDGET = "over_budget"  # took more than its budget even after its tokens were corrected


class Outcome(StrEnum):
    """The outcome of a verdict."""

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"


class Trial(Record):
    """One training run of one individual under one budget with one seed."""

    seed: int
    split: str = Field(description="val or test: the split whose loss is reported")
    budget: str = Field(description="as the user wrote it, for example 20s, 200ktok or 1TFLOP")
    tokens: int = Field(description="training tokens given to the script: what the budget buys it")
    loss: float | None = Field(default=None, description="nats per token over the whole split")
    perplexity: float | None = None
    bits_per_byte: float | None = None
    mfu: float | None = Field(default=None, description="flops_per_token x tokens_per_second / peak")
    mfu_6n: float | None = Field(
        default=None, description="6 x parameters x tokens_per_second / peak, as in papers; decides nothing"
    )
    flops_per_token: float | None = Field(default=None, description="matrix products, forward and backward")
    tokens_per_second: float | None = Field(default=None, description="training tokens per billed second")
    seconds: float | None = Field(
        default=None,
        description="the bill: CPU seconds of the training phase's process tree / slowdown (wall on a GPU)",
    )
    slowdown: float | None = Field(
        default=None,
        description="how much dearer its core was than beside the base's first trial; None: not measured",
    )
    judge_seconds: float | None = Field(default=None, description="CPU seconds of judging its split")
    cpu_seconds: float | None = Field(default=None, description="CPU seconds of all the trial's phases")
    peak_memory: int | None = Field(
        default=None,
        description="bytes of the training phase over what a process has that only imported torch",
    )
    parameters: int | None = None
    packages: str | None = Field(
        default=None,
        description="digest of the lock of granted packages in its image; None: torch and numpy alone",
    )
    status: TrialStatus = TrialStatus.OK
    conditions: str | None = Field(
        default=None,
        description="torch, threads, device and image that it was run with; None: older than that",
    )
    taken_from: str | None = Field(
        default=None, description="the individual with the same files whose trial this is; None: its own"
    )
    phase: str | None = Field(default=None, description="the phase that failed: smoke, train, probe or judge")
    error: str | None = Field(default=None, description="the last lines it printed; untrusted text")

    def under(self, conditions: str | None) -> bool:
        """Whether it was run under these conditions, as far as both are known: only then is it compared."""
        return conditions is None or self.conditions in (None, conditions)


class Expectation(Record):
    """What an author expects of its change, before it is measured."""

    log_perplexity: float | None = None
    mfu: float | None = Field(default=None, description="difference of its log")


class Verdict(Record):
    """An individual against another one, from trials on the same seeds.

    ``effect`` is the mean difference of log perplexity (negative is better), charged for any difference of
    the mean bills; ``interval`` its interval at ``confidence`` (two-sided), from ``deviation`` (of one paired
    difference, in nats, pooled over the run) with ``df`` degrees of freedom. ``number`` counts the run's verdicts.
    """

    against: str
    outcome: Outcome
    effect: float
    interval: tuple[float, float] | None = None
    confidence: float
    seeds: tuple[int, ...]
    deviation: float | None = None
    df: int | None = None
    number: int = 1
    note: str | None = Field(default=None, description="why it is undecided, in one sentence")


class Check(Record):
    """An individual against the base at a larger budget, on fresh seeds: what of its gain is left there."""

    against: str
    budget: str
    effect: float = Field(description="mean difference of validation log perplexity at the larger budget")
    short_effect: float = Field(description="the same at the run's own budget")
    seeds: tuple[int, ...]

    @property
    def fades(self) -> bool:
        """Whether less than half of the gain is left."""
        return self.effect > 0.5 * min(self.short_effect, 0.0)


class Usage(Record):
    """What language models were asked for: calls, tokens as their endpoints counted them, and dollars."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float | None = Field(default=0.0, description="None: some model's price is not known")

    def __add__(self, other: Usage) -> Usage:
        """Both together."""
        unknown = self.dollars is None or other.dollars is None
        return Usage(
            calls=self.calls + other.calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            dollars=None if unknown else (self.dollars or 0.0) + (other.dollars or 0.0),
        )


class Finding(Record):
    """What an analyst learnt from a child's trials; ``evidence`` names trials as ``<individual>/<seed>``."""

    id: str = Field(description="finding:<individual>")
    author: str
    text: str = Field(description="untrusted text")
    evidence: tuple[str, ...]


class Earlier(Record):
    """What was found of an individual under a budget that the run has left: it is compared with nothing of now."""

    budget: str
    trials: tuple[Trial, ...] = ()
    verdict: Verdict | None = None
    larger: Check | None = None


class Individual(Record):
    """A genome at a commit, with its trials (design: the record)."""

    schema_version: int = Field(default=SCHEMA, alias="schema")
    id: str
    ordinal: int = Field(description="how many were born before it in this workspace; the base is 0")
    generation: int
    commit: str
    tree: str
    code: str = Field(description="hash of the syntax trees: equal where only the layout differs")
    parents: tuple[str, ...] = ()
    owner: str | None = Field(default=None, description="the agent that owns the rewritten parent")
    author: str | None = Field(
        default=None,
        description="the agent, or person, that wrote it; None for the base and for an ablation's",
    )
    operator: str = Field(description="base, mutation, crossover, ablation, reseeded, or edit (a person's)")
    subject: str = ""
    techniques: tuple[str, ...] = ()
    settings: dict[str, tuple[Any, Any]] = Field(default_factory=dict, description="changed: (from, to)")
    without: tuple[str, ...] = Field(default=(), description="ideas of its parent that were taken out")
    hypothesis: str = ""
    expected: Expectation = Expectation()
    shown: tuple[str, ...] = Field(default=(), description="records and lessons its author was given")
    family: str | None = Field(default=None, description="the kind of change, as its author says")
    model: str | None = Field(default=None, description="the language model that wrote it")
    usage: Usage | None = Field(default=None, description="what writing it cost; None: no model was asked")
    repairs: tuple[str, ...] = Field(
        default=(), description="the errors handed back to its author before its trial; untrusted text"
    )
    unusable: bool = Field(
        default=False, description="refused because the last answer of its author's model could not be used"
    )
    finding: Finding | None = Field(default=None, description="what an analyst made of its trials")
    status: Status = Status.BORN
    reason: str | None = Field(default=None, description="why it was refused, failed or disqualified")
    trials: tuple[Trial, ...] = ()
    superseded: tuple[Trial, ...] = Field(
        default=(), description="trials that were run anew: with --retrain, or under other conditions"
    )
    screening: Trial | None = Field(
        default=None,
        description="the short trial that decided whether it got a whole one; None: not screened",
    )
    delta: dict[str, float] = Field(default_factory=dict, description="log perplexity to parent and base")
    verdict: Verdict | None = None
    larger: Check | None = Field(
        default=None, description="at a larger budget; None: only known at the short one"
    )
    earlier: tuple[Earlier, ...] = Field(default=(), description="under budgets that the run has left")
    requests: tuple[str, ...] = Field(
        default=(), description="ids of granted requests whose outcome its author made use of"
    )

    @property
    def all_trials(self) -> tuple[Trial, ...]:
        """Those under budgets that the run has left, too."""
        return (*(trial for one in self.earlier for trial in one.trials), *self.trials)

    @property
    def loss(self) -> float | None:
        """Validation loss on the seed that every individual is first measured on; None if there is none, or if
        anything was wrong with it later."""
        if self.status in (Status.FAILED, Status.DISQUALIFIED):
            return None
        return self.trials[0].loss if self.trials and self.trials[0].split == "val" else None

    @property
    def rank(self) -> tuple[float, int]:
        """Order of preference: lower validation loss first, then the earlier born; unmeasured ones last."""
        return (math.inf if self.loss is None else self.loss), self.ordinal

    @property
    def mfu(self) -> float | None:
        """MFU of that same trial."""
        return self.trials[0].mfu if self.trials else None


class Choice(StrEnum):
    """What a person (or the approval policy) decided about a contender."""

    MERGE = "merge"
    REJECT = "reject"
    DEFER = "defer"
    EDIT = "edit"  # a person changed it: the edited script is trained and judged on its own
    STALE = "stale"  # approved, but main had moved: judged anew and shown again before it can merge
    REVERT = "revert"  # merged, and taken back later


class Decision(Record):
    """A decision of the gate on one contender; the one before it, if there was one, is kept in ``previous``."""

    schema_version: int = Field(default=SCHEMA, alias="schema")
    id: str = Field(description="the contender's id")
    generation: int
    choice: Choice
    by: str = Field(description="the person's git identity, or auto")
    reason: str = ""
    incumbent: str = Field(description="the individual it was compared with")
    merge_commit: str | None = None
    tree: str | None = Field(default=None, description="the genome that was decided on")
    main: str | None = Field(default=None, description="commit at the head of main when it was shown")
    shown: str = Field(
        default="", description="what was on the screen, as plain text; empty where nobody looked"
    )
    lines_seen: int | None = Field(default=None, description="lines of the diff that were on the screen")
    lines: int | None = Field(default=None, description="lines of the diff in all")
    despite: bool = Field(default=False, description="merged by a second, explicit yes though not better")
    edited: str | None = Field(default=None, description="the individual that a person's edit became")
    answer: str | None = Field(default=None, description="digest of the answer that this carries out")
    settled: int = Field(default=0, description="births whose results were known when it was carried out")
    previous: Decision | None = None


class Attempt(Record):
    """One line of an agent's own memory: what it tried, on whose script, and what came of it."""

    child: str
    target: str = Field(description="the individual it rewrote")
    owner: str = Field(description="the agent that owned it then")
    techniques: tuple[str, ...] = ()
    settings: dict[str, tuple[Any, Any]] = Field(default_factory=dict)
    expected: Expectation = Expectation()
    status: Status = Status.BORN
    delta: float | None = Field(default=None, description="log perplexity against the target")
    verdict: Outcome | None = None
    decision: Choice | None = None
    reason: str | None = Field(default=None, description="the failure, or the person's reason")


class Calibration(Record):
    """How an agent's expectations of log perplexity compare with what was measured, over ``scored`` children."""

    scored: int
    error: float = Field(description="mean absolute difference of measured and expected, in nats per token")
    bias: float = Field(description="mean of measured minus expected: above 0 is too hopeful")
    direction: float = Field(description="share whose sign was right")


class AgentMemory(Record):
    """What one agent remembers (``memory/agents/<name>.json``)."""

    schema_version: int = Field(default=SCHEMA, alias="schema")
    name: str
    kind: str
    temperament: str
    attempts: tuple[Attempt, ...] = ()
    calibration: Calibration | None = None


class AgentCard(Record):
    """Who an agent is."""

    name: str
    kind: str
    temperament: str
    model: str | None = None


class ComparisonRow(Record):
    """Base and champion on the same fresh seeds under one budget."""

    budget: str
    seeds: tuple[int, ...]
    base_perplexity: float
    champion_perplexity: float
    change_percent: float = Field(description="of perplexity; negative is better")
    interval_percent: tuple[float, float]
    base_mfu: float | None
    champion_mfu: float | None


class Comparison(Record):
    """The closing comparison: what the run achieved, on a split and seeds that chose nothing."""

    split: str
    base: str
    champion: str
    proven: bool = Field(description="whether a verdict had found it better; else it is only the best so far")
    confidence: float
    rows: tuple[ComparisonRow, ...] = Field(
        description="by budget, the larger last: the last is the headline"
    )
    fades: bool | None = Field(
        default=None,
        description="whether less than half the gain is left at the larger budget; None: not tested",
    )


class Noise(Record):
    """What luck alone does, from the base on several seeds in generation 0; losses in nats per token."""

    seeds: tuple[int, ...]
    deviation: float = Field(description="standard deviation of the base's validation loss over seeds")
    df: int
    per_log_time: float = Field(
        default=0.0, description="nats by which the base's loss falls when it trains e times as long"
    )


class Advice(Record):
    """What a person tells the agents: in the tasks of all of them, or of one, until it is withdrawn."""

    id: str
    text: str = Field(description="one line")
    by: str = Field(description="the person's git identity")
    agent: str | None = Field(default=None, description="None: every agent")
    settled: int = Field(default=0, description="births whose results were known when it was taken up")
    withdrawn: int | None = Field(default=None, description="the same when it was withdrawn; None: it holds")


class Run(Record):
    """The state of an evolution: all that is needed to go on with it, next to the individuals.

    ``settled`` counts the births whose results have already decided who survives; ``generation`` the
    generations completed. ``population`` says which individual each agent owns now.
    """

    schema_version: int = Field(default=SCHEMA, alias="schema")
    seed: int
    agents: tuple[AgentCard, ...]
    budget: str
    tokens: int = Field(description="what the budget buys the base")
    batch: int
    device: str
    threads: int = 1
    search: str = "ga"
    control: str | None = None
    dataset: str = Field(description="sha256 of the data")
    dataset_name: str
    torch: str
    peak_flops: float = Field(description="FLOP/s, calibrated (CPU) or tabled (GPU): the denominator of MFU")
    pace: float | None = Field(
        default=None,
        description="CPU seconds of a probe of the machine (sandbox/pace.py) beside the base's first trial; "
        "None: no time budget",
    )
    noise: Noise | None = None
    verdicts: int = Field(default=0, description="verdicts found so far: error is spent over them")
    population: dict[str, str]
    generation: int = 0
    target: int | None = Field(default=None, description="generations asked for, while they are not complete")
    settled: int = 0
    main: str = Field(description="commit at the head of main")
    incumbent: str
    champion: str | None = None
    last_gain: int = Field(default=0, description="the last generation whose contender was better")
    ablated: str | None = Field(
        default=None,
        description="the champion whose doubtful techniques were tried without, at the larger budget",
    )
    doubted: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="the champion that is being tried without some of its techniques -> which: the trials change what "
        "is in doubt, and a killed run must go on with the same",
    )
    test_uses: int = 0
    comparison: Comparison | None = None
    advice: tuple[Advice, ...] = ()
    budgets: tuple[str, ...] = Field(
        default=(), description="the budgets before the present one, the first first"
    )
    cpu_seconds: float = Field(default=0.0, description="of darwin, git and all trials together")
    seconds: dict[str, float] = Field(
        default_factory=dict,
        description="of wall time by what was done; of trials at a time the sum. What CPU seconds were for: plan.spent",
    )


class Claim(StrEnum):
    """What a lesson says of an idea."""

    HELPS = "helps"
    HURTS = "hurts"


class Lesson(Record):
    """What the trials so far say about one technique or setting.

    Effects are posterior means on the base, with standard deviations: of log perplexity at the run's budget and at
    six times it, and of log MFU; of a setting, by one doubling or halving. A trial (named by its individual's id)
    supports or contradicts the claim by what is left of its difference when the other ideas in it have had their
    share. A claim that the trials made once and make no more is retired: kept with its trials, without an effect.
    """

    id: str = Field(description="technique:<id> or setting:<name>:<up|down>; a retired one ends in its claim")
    claim: Claim = Claim.HELPS
    retired: bool = False
    effect: float | None
    sd: float | None = None
    long_effect: float | None = None
    long_sd: float | None = None
    mfu: float | None
    mfu_sd: float | None = None
    tried: int
    failed: int
    supporting: tuple[str, ...]
    contradicting: tuple[str, ...]


def perplexity(loss: float) -> float:
    """exp(loss), infinity where that overflows."""
    return math.exp(loss) if loss < 700 else math.inf
