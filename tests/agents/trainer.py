"""Train genomes on made-up tokens and look for leaks; run as a program, one JSON line a folder.

    python trainer.py DATA TOKENS FOLDER...

It imports torch once and forks for each folder, so that twenty genomes cost ten CPU seconds.
"""

import json
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any


def main(data: str, tokens: str, *folders: str) -> None:
    """Print folder and what ``report`` says of it; the traceback under ``error`` if its script fails."""
    import torch

    torch.set_num_threads(1)
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    for folder in folders:
        sys.stdout.flush()
        if os.fork() == 0:
            try:
                found = report(data, tokens, folder)
            except BaseException:
                found = {"error": traceback.format_exc()}
            line = json.dumps({"folder": Path(folder).name, **found})
            os.write(3, line.encode() + b"\n")
            os._exit(0)
        os.wait()


def report(data: str, tokens: str, folder: str) -> dict[str, Any]:
    """The losses of a short training run, and how far logits move when they should not, or should."""
    import torch

    os.chdir(folder)
    sys.path.insert(0, folder)
    sys.argv = ["train.py", f"--data_dir={data}", "--out_dir=out", "--seed=3", f"--max_tokens={tokens}"]
    runpy.run_path("train.py", run_name="__main__")
    lines = Path("out/metrics.jsonl").read_text().splitlines()
    saved = torch.load("out/ckpt.pt", weights_only=True)
    noise = torch.Generator().manual_seed(0)
    for tensor in saved["model"].values():  # what begins at zero must not hide a leak
        tensor += 0.2 * torch.randn(tensor.shape, generator=noise)
    torch.save(saved, "out/noisy.pt")
    import model  # type: ignore[import-not-found]

    logits = model.load("out/noisy.pt", "cpu")
    windows = torch.randint(11, (4, 64), generator=noise)
    other = windows.clone()
    other[:, 40:] = torch.randint(11, (4, 24), generator=noise)
    before, after = logits(windows), logits(other)
    return {
        "losses": [json.loads(line)["loss"] for line in lines],
        "shape": list(before.shape),
        "dtype": str(before.dtype),
        "past": (before - after)[:, :40].abs().max().item(),
        "future": (before - after)[:, 40:].abs().max().item(),
        "alone": (before[:1] - logits(windows[:1])).abs().max().item(),
        "earlier": (before[:, 30] - logits(windows[:, :31])[:, 30]).abs().max().item(),
    }


if __name__ == "__main__":
    os.dup2(1, 3)
    os.dup2(2, 1)  # what the scripts print is not the answer
    main(*sys.argv[1:])
