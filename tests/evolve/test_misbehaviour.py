"""Children that misbehave, trained for real in the loop: each costs only itself, and all of it is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from darwin import begin as beginning
from darwin.agents import Proposal
from darwin.config import Config
from darwin.loop import evolve
from darwin.memory.records import Expectation, Status
from darwin.sandbox import Dataset, Job, Limits, evaluate
from darwin.screen import Screen
from darwin.workspace import open_workspace
from tests.evolve.test_evolve import git

TINY = Path(__file__).parents[1] / "sandbox" / "tiny"
LIMITS = Limits(
    smoke_tokens=512, smoke_cpu_seconds=1.5, train_cpu_seconds=2, least_train_cpu_seconds=2, probe_cpu_seconds=3,
    judge_cpu_seconds=5, least_wall_seconds=6, wall_factor=1, memory_bytes=200 << 20, log_bytes=1 << 20,
)  # fmt: skip
DEEDS = {
    "Ada": ("# anchor: before saving", "raise RuntimeError('planted')", "crashed", "RuntimeError: planted"),
    "Alan": ("# anchor: settings", "while True: pass", "timed out", "CPU seconds allowed"),
    "Barbara": ("# anchor: settings", "while True: print('x' * 99)", "flooded", "printed more than"),
    "Claude": (
        "# anchor: settings",
        "hoard = [torch.ones(1 << 22) for _ in range(4096)]",
        "out of memory",
        "memory",
    ),
    "Donald": (
        "# anchor: end",
        "(out_dir / 'ckpt.pt').write_bytes(b'rubbish')",
        "bad checkpoint",
        "Traceback",
    ),
    "Edsger": ("# anchor: settings", "sys.exit()", "bad checkpoint", "wrote no ckpt.pt"),
    "Frances": (
        "# anchor: before saving",
        "model.head.bias.data.fill_(float('nan'))",
        "bad logits",
        "not finite",
    ),
    "Grace": ("# anchor: settings", "seed += 1", None, ""),
}


class Saboteur:
    """Puts one misdeed into whatever script it is given."""

    kind, temperament = "rules", "saboteur"

    def __init__(self, name: str) -> None:
        self.name = name

    def propose(self, task) -> Proposal:
        anchor, deed = DEEDS[self.name][:2]
        files = {
            **task.files,
            "train.py": task.files["train.py"].replace(anchor, f"{deed}  # by {self.name}"),
        }
        return Proposal(files=files, subject=f"Be {self.name}", hypothesis="None.", expected=Expectation())


@pytest.fixture(scope="module")
def evolution(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("misbehaviour")
    text = folder / "text.txt"
    text.write_text("It was the best of times, it was the worst of times,\n" * 250)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARWIN_CACHE", str(folder / "cache"))
        config = Config(
            data=str(beginning.prepare(text)), agents="rules:8", budget="4ktok", workers=1, batch=8
        )
        beginning.create(folder / "w", config, TINY)
        found = beginning.begin(
            open_workspace(folder / "w"), Screen(), interactive=False, calibrate=lambda _, device: 1e11,
            evaluate=lambda jobs, **given: evaluate(jobs, **{**given, "sandbox": shared, "limits": LIMITS}),
        )  # fmt: skip
        found.agents = {name: Saboteur(name) for name in DEEDS}
        evolve(found, 1)
    return found


def child_of(evolution, name: str):
    return evolution.memory.individuals[f"g001-{name.lower()}-1"]


@pytest.mark.parametrize("name", [name for name, deed in DEEDS.items() if deed[2]])
def test_a_misbehaving_child_fails_alone_and_is_kept_whole(evolution, name):
    child, (_, deed, status, words) = child_of(evolution, name), DEEDS[name]
    trial = child.trials[0]
    assert child.status is Status.FAILED
    assert child.reason.startswith(status) and words in trial.error
    assert trial.loss is None and trial.cpu_seconds > 0
    assert child.id not in evolution.run.population.values()
    assert deed in git(evolution.workspace.folder, "show", f"refs/darwin/individuals/{child.id}:train.py")
    assert words in (evolution.workspace.artifacts / child.id / f"trial-val-{trial.seed}.log").read_text()


def test_its_neighbour_has_the_loss_it_has_when_trained_alone(evolution, sandbox):
    grace, workspace, run = child_of(evolution, "Grace"), evolution.workspace, evolution.run
    job = Job("alone", workspace.lineage.files(grace.commit), grace.trials[0].seed, run.tokens, run.budget)
    dataset = Dataset.load(workspace.config.data)
    ((_, alone),) = evaluate([job], dataset, sandbox, workers=1, peak_flops=1e11, limits=LIMITS)
    assert grace.status is Status.TRAINED
    assert alone.loss == grace.loss
