"""What tricks with the clock gain: scripts that hide their cost from the forecast or from the bill, at equal time.

    .venv/bin/python bench/tricks.py [BUDGET] [SEEDS]

Each trick is a child of the base with more training smuggled in where a careless bill would not look. Printed: the
bill against the budget, the difference in perplexity to the base on the same seeds, and the same as a verdict takes it,
charged for whatever longer bill is left. Bar: under 1 % gained. About 15 CPU minutes at 20s and 2 seeds, on one core.
"""

from __future__ import annotations

import math
import sys
from statistics import fmean

from darwin.begin import ANCESTOR
from darwin.lineage import read_genome
from darwin.memory.records import Trial
from darwin.prepare import prepare
from darwin.sandbox import Dataset, Job, Limits, ProcessSandbox, evaluate
from darwin.sandbox.budget import Budget
from darwin.sandbox.pace import Pace

BAR = 0.01
LOOP = "# The loop.\n"
AFTER_UPDATE = "        # After each update: nothing.\n"
RESULT = "# The result: the last weights.\n"
EXTRA = """
def extra(generator, steps):
    for _ in range(steps):
        inputs, targets = batch(tokens, generator)
        loss_of(model(inputs), targets).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
more = torch.Generator().manual_seed(seed + 1)
"""
TRICKS = {
    "cheap first steps, dear later ones": {
        LOOP: EXTRA,
        AFTER_UPDATE: "        if (step + 1) * batch_size * block_size > 40_000: extra(more, 1)\n",
    },
    "training at import, before the first counted token": {LOOP: EXTRA + "extra(more, 40)\n"},
    "a background thread that trains too": {
        LOOP: EXTRA
        + "import threading\nthreading.Thread(target=extra, args=(more, steps // 2), daemon=True).start()\n",
    },
    "a background process that trains a copy, averaged in": {
        LOOP: EXTRA
        + "import os\npid = os.fork()\nif pid == 0:\n"
        + "    extra(more, steps // 2)\n    torch.save(model.state_dict(), Path(out_dir, 'copy.pt'))\n"
        + "    os._exit(0)\n",
        RESULT: "os.waitpid(pid, 0)\ncopy = torch.load(Path(out_dir, 'copy.pt'))\n"
        + "model.load_state_dict({k: (v + copy[k]) / 2 for k, v in model.state_dict().items()})\n",
    },
    "--max_tokens ignored: always 12 % more than the base trains on": {"steps = max(1, ": "max_tokens = {more}\n"},
    "--max_tokens ignored, by the clock: until the budget and 4 % are used": {
        LOOP: "import time\nsteps = 10**9\n",
        AFTER_UPDATE: "        if time.process_time() > {seconds} * 1.04: break\n",
    },
}  # fmt: skip


def main(budget: str = "20s", seeds: int = 2) -> None:
    dataset, sandbox, files = Dataset.load(prepare()), ProcessSandbox(), read_genome(ANCESTOR)
    pace = Pace(None)

    def trial(files: dict[str, bytes], seed: int, tokens: int | None, parent: int | None = None) -> Trial:
        job = Job("trick", files, seed, tokens, budget, parent_tokens=parent)
        how = {"workers": 1, "peak_flops": 1e11, "limits": Limits(), "pace": pace}
        ((_, found),) = evaluate([job], dataset, sandbox, **how)  # type: ignore[arg-type]
        return found

    def trials(files: dict[str, bytes], parent: int | None = None) -> list[Trial]:
        first = trial(files, 1, None, parent)
        return [first, *(trial(files, seed, first.tokens) for seed in range(2, seeds + 1) if first.loss)]

    base = trials(files)
    pace.settle()
    half = trial(files, 1, base[0].tokens // 2)
    per_log_time = (half.loss - base[0].loss) / math.log(base[0].seconds / half.seconds)
    print(f"base: {base[0].tokens:,} tokens, {per_log_time:.3f} nats for each e-fold of time", flush=True)
    worst = 0.0
    for name, changes in TRICKS.items():
        text = files["train.py"].decode()
        for anchor, code in changes.items():
            assert text.count(anchor) == 1, anchor
            code = code.replace("{more}", str(round(1.12 * base[0].tokens)))
            text = text.replace(anchor, code.replace("{seconds}", str(Budget.parse(budget).amount)) + anchor)
        found = trials({**files, "train.py": text.encode()}, base[0].tokens)
        if any(t.loss is None for t in found):
            print(
                f"{name}: no loss ({found[-1].status}: {(found[-1].error or '').splitlines()[0]})", flush=True
            )
            continue
        plain = fmean(mine.loss - theirs.loss for mine, theirs in zip(found, base, strict=True))
        longer = math.log(fmean(t.seconds for t in found) / fmean(t.seconds for t in base))
        gain = -math.expm1(plain + per_log_time * longer)
        worst = max(worst, gain)
        print(
            f"{name}: bill {math.expm1(longer):+.1%} over the base's, perplexity {math.expm1(plain):+.1%}, "
            f"as a verdict charges it {-gain:+.1%}",
            flush=True,
        )
    sandbox.close()
    print(f"largest gain {worst:.2%}; the bar is {BAR:.0%}")
    sys.exit(worst >= BAR)


if __name__ == "__main__":
    main(*(cast(word) for cast, word in zip((str, int), sys.argv[1:], strict=False)))
