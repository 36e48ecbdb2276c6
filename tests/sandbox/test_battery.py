"""What a rewritten script may do wrong, run for real: each costs only its own trial, and the bill is kept. Without
``--exhaustive`` a few of each phase and status are run."""

from __future__ import annotations

import os
from dataclasses import replace

import psutil
import pytest

from darwin.memory.records import TrialStatus
from darwin.sandbox.trials import run_trial
from tests.exhaustive import few
from tests.tiny import TOKENS, job

PEAK = 1e11
LATER = "if max_tokens > 512: "  # in the training phase, not in the smoke phase


def settings(code: str) -> tuple[str, str]:
    return "# anchor: settings", code


def saving(code: str) -> tuple[str, str]:
    return "# anchor: before saving", code


def end(code: str) -> tuple[str, str]:
    return "# anchor: end", code


CASES = {
    "crashes": ({"train": saving(LATER + "1 / 0")}, "crashed", "train", "ZeroDivisionError"),
    "syntax": ({"train": "def"}, "crashed", "smoke", "SyntaxError"),
    "leaves early": ({"train": settings("sys.exit(0)")}, "bad_checkpoint", "smoke", "wrote no ckpt.pt"),
    "leaves with a word": ({"train": settings("sys.exit('no luck')")}, "crashed", "smoke", "no luck"),
    "kills itself": ({"train": saving("os.kill(os.getpid(), 11)")}, "crashed", "smoke", "signal 11"),
    "sleeps": (
        {"train": settings("import time; time.sleep(1000)")},
        "timed_out", "smoke", "ran longer than the 6 seconds",
    ),
    "spins": ({"train": settings(LATER + "\n    while 1: pass")}, "timed_out", "train", "more than the 2 CPU seconds"),
    "ignores SIGTERM": (
        {"train": settings(
            "import signal\nfor number in set(signal.Signals) - {9, 19}: signal.signal(number, signal.SIG_IGN)\n"
            "while 1: pass"
        )},
        "timed_out", "smoke", "more than the 1.5 CPU seconds",
    ),
    "prints without end": (
        {"train": settings("while 1: print('x' * 100)")},
        "flooded", "smoke", "printed more than the 1048576 bytes",
    ),
    "eats memory": (
        {"train": settings(LATER + "hoard = [np.ones(1 << 22) for _ in range(1 << 12)]")},
        "out_of_memory", "train", "MemoryError",
    ),
    "eats memory in torch": (
        {"train": settings("hoard = [torch.ones(1 << 22) for _ in range(1 << 12)]")},
        "out_of_memory", "smoke", "can't allocate memory",
    ),
    "eats memory in pieces": (
        {"train": settings(
            "import time\nfor _ in range(6):\n    if os.fork() == 0:\n"
            "        hoard = np.ones(8 << 20); time.sleep(1000)\ntime.sleep(1000)"
        )},
        "out_of_memory", "smoke", "more than the 209715200 bytes of memory",
    ),
    "writes one large file": (
        {"train": settings("with open('../tmp/x', 'wb') as file:\n    while 1: file.write(bytes(1 << 20))")},
        "flooded", "smoke", "allowed",
    ),
    "fills the disk": (
        {"train": settings(
            "import time\nfor number in range(20):\n    open(f'../out/{number}', 'wb').write(bytes(1 << 20))\n"
            "time.sleep(1000)"
        )},
        "flooded", "smoke", "wrote more than the 8388608 bytes",
    ),
    "makes files without end": (
        {"train": settings(
            "import time\nfor number in range(150): open(f'{number}', 'w').close()\ntime.sleep(1000)"
        )},
        "flooded", "smoke", "or 100 files",
    ),
    "starts processes without end": (
        {"train": settings("while 1: os.fork()")},
        None, "smoke", "",
    ),
    "learns NaN": (
        {"train": saving(LATER + "\n    with torch.no_grad(): model.head.bias.fill_(float('nan'))")},
        "bad_logits", "judge", "not finite",
    ),
    "writes rubbish": (
        {"train": end("if max_tokens > 512: open(out_dir / 'ckpt.pt', 'wb').write(b'rubbish' * 99)")},
        "bad_checkpoint", "probe", "Traceback",
    ),
    "writes nothing into it": (
        {"train": end("open(out_dir / 'ckpt.pt', 'wb').close()")},
        "bad_checkpoint", "smoke", "ckpt.pt is empty",
    ),
    "writes too much into it": (
        {"train": end("open(out_dir / 'ckpt.pt', 'ab').write(bytes(2 << 20))")},
        "bad_checkpoint", "smoke", "more than the 1048576 allowed",
    ),
    "links to a file of the host": (
        {"train": end("path = out_dir / 'ckpt.pt'; os.remove(path); os.symlink('/etc/passwd', path)")},
        "bad_checkpoint", "smoke", "ckpt.pt is not a plain file",
    ),
    "links hard": (
        {"train": end("os.link(out_dir / 'ckpt.pt', out_dir / 'other')")},
        "bad_checkpoint", "smoke", "ckpt.pt is not a plain file",
    ),
    "links its folder": (
        {"train": end("os.rename(out_dir, '../out2'); os.symlink('/etc', out_dir)")},
        "bad_checkpoint", "smoke", "ckpt.pt is not a plain file",
    ),
    "leaves a pipe": (
        {"train": end("os.remove(out_dir / 'ckpt.pt'); os.mkfifo(out_dir / 'ckpt.pt')")},
        "bad_checkpoint", "smoke", "ckpt.pt is not a plain file",
    ),
    "gives a wrong shape": (
        {"model": ("return self.head(self.embed(tokens))", "return self.head(self.embed(tokens))[:, -1]"),
         "train": ("logits = model(window[None, :-1])", "logits = model.head(model.embed(window[None, :-1]))")},
        "bad_logits", "smoke", "logits of shape (1, 24), expected (1, 16, 24)",
    ),
    "gives a wrong shape to a batch": (
        {"model": ("return self.head(self.embed(tokens))",
                   "x = self.head(self.embed(tokens)); return x[:1] if len(tokens) > 1 else x")},
        "bad_logits", "judge", "logits of shape (1, 16, 24), expected (3",
    ),
    "gives no tensor": (
        {"model": ("return model.eval()", "return lambda tokens: (model(tokens), None)")},
        "bad_logits", "smoke", "The model gave tuple",
    ),
    "fails in front of the judge": (
        {"model": ("return self.head(self.embed(tokens))",
                   "assert len(tokens) < 2, 'a batch'; return self.head(self.embed(tokens))")},
        "crashed", "judge", "AssertionError: a batch",
    ),
    "keeps the judge waiting": (
        {"model": ("return model.eval()",
                   "import time; return lambda tokens: time.sleep(99) if len(tokens) > 1 else model(tokens)")},
        "timed_out", "judge", "ran longer than the 6 seconds",
    ),
    "answers by itself": (
        {"model": ("return model.eval()", "import os; os._exit(0)")},
        "crashed", "smoke", "ended without giving logits",
    ),
    "kills its server": (
        {"train": settings("import time; os.kill(os.getppid(), 9); time.sleep(1000)")},
        "crashed", "smoke", "server",
    ),
    "talks into the channel": (
        {"train": settings("for fd in range(3, 64): os.write(fd, b'x' * 100)")},
        "crashed", "smoke", "Bad file descriptor",
    ),
}  # fmt: skip

ALWAYS = (
    *(
        "crashes",
        "leaves early",
        "spins",
        "prints without end",
        "eats memory",
        "fills the disk",
        "learns NaN",
    ),
    *("starts processes without end", "links to a file of the host", "gives a wrong shape to a batch"),
    *("fails in front of the judge", "kills its server", "talks into the channel"),
)


@pytest.mark.parametrize("case", few(CASES, *ALWAYS))
def test_it_costs_only_itself(case, dataset, shared, limits):
    changes, status, phase, words = CASES[case]
    if "CPU seconds" in words:  # on a busy machine the wall would be reached first
        limits = replace(limits, least_wall_seconds=120)
    trial = run_trial(job(case, **changes), dataset, shared, PEAK, limits)
    assert trial.loss is None
    assert (status is None or trial.status == status) and trial.phase == phase, trial
    assert words in trial.error
    assert trial.cpu_seconds >= 0
    assert (trial.seconds is None) == (phase == "smoke")


def test_its_neighbours_are_as_without_it(dataset, shared, sandbox, limits):
    """After the whole battery, on the server that survived it."""
    assert (
        run_trial(job(), dataset, shared, PEAK, limits).loss
        == run_trial(job(), dataset, sandbox, PEAK, limits).loss
    )


def test_a_traceback_comes_back_whole_and_without_our_own_frames(dataset, shared, limits):
    changes = {"model": ("self.head = nn.Linear(16, vocab)", "self.head = nn.Linear(16, vocab, depth=3)")}
    error = run_trial(job(**changes), dataset, shared, PEAK, limits).error
    assert error.startswith(
        'It ended with exit code 1.\nTraceback (most recent call last):\n  File "train.py", line'
    )
    assert 'File "model.py", line' in error and "TypeError" in error
    assert "inside" not in error and "runpy" not in error and "/tmp" not in error


def test_control_characters_of_a_script_do_not_reach_the_record(dataset, shared, limits):
    trial = run_trial(job(train="print('\\x1b[2J\\x00'); 1 / 0"), dataset, shared, PEAK, limits)
    assert trial.error.isprintable() or not set(trial.error) & {"\x1b", "\0"}


def test_a_process_left_behind_is_gone_before_the_next_phase(dataset, shared, limits, tmp_path):
    """It daemonises by the book, so that only the reaper knows it, and drops the marker of its box."""
    note = tmp_path / "pid"
    daemon = (
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        f"        open({str(note)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        "        for fd in range(3): os.close(fd)\n"
        f"        os.execve({os.path.realpath('/bin/sleep')!r}, ['sleep', '1000'], {{}})\n    os._exit(0)\n"
        f"while not os.path.exists({str(note)!r}): pass"
    )
    trial = run_trial(job(train=end(daemon)), dataset, shared, PEAK, limits)
    assert trial.status == TrialStatus.OK
    pids = [int(line) for line in note.read_text().split()]
    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.parametrize("unbilled", [False, True])
def test_cpu_time_of_a_process_in_the_background_is_billed(dataset, shared, limits, unbilled):
    """Also where its parent lets the kernel reap it, which then bills nobody."""
    code = (
        "import signal, time\nfrom resource import getrusage, RUSAGE_SELF\n"
        + ("signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n" if unbilled else "")
        + "child = os.fork()\nif child == 0:\n"
        "    while time.process_time() < 0.7: pass\n    os._exit(0)\n"
        "try: os.waitpid(child, 0)\nexcept ChildProcessError: pass"
    )
    trial = run_trial(job(train=settings(code)), dataset, shared, PEAK, limits)
    assert trial.status == TrialStatus.OK
    assert trial.seconds > 0.6


def test_the_model_is_judged_where_the_training_data_are_gone_and_nothing_can_be_written(
    dataset, shared, limits
):
    look = (
        "import os\n    assert os.listdir('../data') == []\n    assert os.listdir('../out') == ['ckpt.pt']\n"
        "    assert sorted(os.listdir('.')) == ['genome.toml', 'model.py', 'train.py']\n"
        "    assert not os.path.exists('left'); open('left', 'w').close()\n    return model.eval()"
    )
    trial = run_trial(job(model=("return model.eval()", look)), dataset, shared, PEAK, limits)
    assert trial.status == TrialStatus.OK, trial.error
    write = "open('left', 'w').write('x'); return model.eval()"
    trial = run_trial(job(model=("return model.eval()", write)), dataset, shared, PEAK, limits)
    assert trial.status == TrialStatus.FLOODED


def test_no_batch_is_seen_by_the_process_that_answers_another(dataset, shared, limits):
    """Shared memory and module state made while loading do not outlive a batch."""
    count = (
        "import mmap\n    shared = mmap.mmap(-1, 4096)\n"
        "    def answer(tokens):\n        shared[0] += 1\n        assert shared[0] == 1, 'seen another'\n"
        "        return model(tokens)\n    return answer"
    )
    trial = run_trial(job(model=("return model.eval()", count)), dataset, shared, PEAK, limits)
    assert trial.status == TrialStatus.OK and trial.parameters is not None
    assert trial.tokens == TOKENS
