"""Train genomes on made-up tokens, look for leaks and try behaviours; run as a program, one JSON line a folder.

    python trainer.py DATA TOKENS FOLDER...

It imports torch once and forks for each folder, so that twenty genomes cost ten CPU seconds. A folder's file
``behaviours`` names functions of behaviours.py, one a line.
"""

import copy
import json
import os
import runpy
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace
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
    """The losses of a short training run, how far logits move when they should not, or should, and behaviours."""
    os.chdir(folder)
    sys.path.insert(0, folder)
    sys.argv = ["train.py", f"--data_dir={data}", "--out_dir=out", "--seed=3", f"--max_tokens={tokens}"]
    script = trained()
    lines = Path("out/metrics.jsonl").read_text().splitlines()
    names = Path("behaviours").read_text().split()
    return {
        "losses": [json.loads(line)["loss"] for line in lines],
        **leaks(script.module),
        "behaviours": {name: behaves(name, script, alone=len(names) == 1) for name in names},
    }


def trained() -> SimpleNamespace:
    """The globals of train.py after its run, and what was seen of it on the way (behaviours.py says what)."""
    import model  # type: ignore[import-not-found]
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    seen: list[tuple[int, ...]] = []
    low: list[bool] = []
    trail: list[torch.Tensor] = []
    clips: list[float] = []
    forward, clip = model.GPT.forward, torch.nn.utils.clip_grad_norm_

    def watched(self: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(tokens.shape))
        low.append(torch.is_autocast_enabled("cpu"))
        return forward(self, tokens)

    def clipped(parameters: Any, longest: float) -> torch.Tensor:
        clips.append(longest)
        return clip(parameters, longest)

    def stepped(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        first = optimizer.param_groups[0]["params"][0]
        if first.shape[0] == 11:  # the embedding's optimizer
            trail.append(first.detach().clone())

    model.GPT.forward, torch.nn.utils.clip_grad_norm_ = watched, clipped
    hook = register_optimizer_step_post_hook(stepped)
    found = runpy.run_path("train.py", run_name="__main__")
    model.GPT.forward = forward
    hook.remove()
    return SimpleNamespace(**found, module=model, seen=seen, trail=trail, clipped=len(clips), low=all(low))


def behaves(name: str, script: SimpleNamespace, alone: bool) -> bool | str:
    """What one behaviour says of a script, or how it failed; with others to come, on a copy of the model."""
    import behaviours

    given = script if alone else SimpleNamespace(**{**vars(script), "model": copy.deepcopy(script.model)})
    try:
        return bool(getattr(behaviours, name)(given))
    except Exception:
        return traceback.format_exc()


def leaks(model: Any) -> dict[str, Any]:
    """How far logits of the saved model move when later tokens, batch-mates or the length change."""
    import torch

    saved = torch.load("out/ckpt.pt", weights_only=True)
    noise = torch.Generator().manual_seed(0)
    for tensor in saved["model"].values():  # what begins at zero must not hide a leak
        tensor += 0.2 * torch.randn(tensor.shape, generator=noise)
    torch.save(saved, "out/noisy.pt")
    logits = model.load("out/noisy.pt", "cpu")
    windows = torch.randint(11, (4, 64), generator=noise)
    other = windows.clone()
    other[:, 40:] = torch.randint(11, (4, 24), generator=noise)
    before, after = logits(windows), logits(other)
    return {
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
