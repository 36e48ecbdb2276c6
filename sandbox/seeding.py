"""Whether a script's seed is what its training hangs on: the same seed the same model, another seed another one."""

from __future__ import annotations

from contextlib import closing

from darwin.sandbox.box import Sandbox
from darwin.sandbox.contract import GENOME_TOML, Contract
from darwin.sandbox.dataset import Dataset
from darwin.sandbox.limits import Limits
from darwin.sandbox.session import Session
from darwin.sandbox.trials import Job


def seeding(
    job: Job, dataset: Dataset, sandbox: Sandbox, limits: Limits, device: str = "cpu"
) -> tuple[str | None, float]:
    """(what is wrong with how a job's script is seeded, in a sentence, or None; the least seconds of a run of
    ``smoke_tokens``, of CPU, or of wall time on another device). It trains for so few steps three times.

    The data's rotation is left as it is, so that the script's own seed is what differs. Raises ``Failed``
    where it does not run.
    """
    contract = Contract.parse(job.files[GENOME_TOML].decode())
    answers, costs = [], []
    with closing(sandbox.open(job.label, limits)) as box:
        session = Session(box, contract, limits, device, None)
        session.begin(job.files)
        data = {"train.bin": dataset.rotated(job.seed), "meta.json": dataset.meta_for_training()}
        for seed in (job.seed, job.seed, job.seed + 1):
            most = limits.smoke_cpu_seconds
            report = session.train("smoke", data, seed, limits.smoke_tokens, most)
            session.check("smoke", report, most)
            costs.append(report.cpu_seconds if device == "cpu" else report.wall_seconds)
            answers.append(session.inspect("smoke", dataset.vocab_size).digest)
    first, same, other = answers
    problem = None
    if first != same:
        problem = (
            "Equal seeds give different models: something in it draws by the clock, or from a generator of its own "
            "without a seed."
        )
    elif first == other:
        problem = "Another seed gives the same model: the seed does not reach what it draws."
    return problem, min(costs)
