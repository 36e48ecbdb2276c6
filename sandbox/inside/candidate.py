"""What a forked child does with a candidate's code. Everything here shares its process: nothing of it is believed."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import importlib
import json
import os
import random
import runpy
import struct
import sys
import threading
import time
from collections.abc import Callable
from inspect import unwrap
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

Model = Callable[[torch.Tensor], torch.Tensor]
_LENGTH = struct.Struct(">I")


def warm_up() -> None:
    """In the server, before any fork: what every child would import again. No backward, no thread pool."""
    torch.set_num_threads(1)
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])


def train(genome: Path, arguments: list[str], seed: int) -> None:
    """Run ``python FILE.py options``. The global generators are seeded, for a script that forgets to."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    sys.argv = list(arguments)
    sys.path.insert(0, str(genome))
    code: object = 0
    try:
        runpy.run_path(str(genome / arguments[0]), run_name="__main__")
    except SystemExit as leaving:
        code = leaving.code
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    raise SystemExit(code)


def inspect(genome: Path, how: dict[str, Any], checkpoint: Path, answer: int) -> None:
    """Load the model and say its ``parameters`` (or None), FLOPs per token in matrix products, and a digest of
    its logits on a fixed window, by which one sees whether training changed it."""
    model = _load(genome, how, checkpoint, answer)
    module = _module_of(model)
    parameters = None if module is None else sum(parameter.numel() for parameter in module.parameters())
    tokens = (torch.arange(how["context"]) % how["vocab_size"]).unsqueeze(0).to(how["device"])  # (1, T)
    _answer(answer, {"stage": "forward"})
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        logits = model(tokens)  # (1, T, V)
        problem = _problem(logits, (1, how["context"], how["vocab_size"]))
        forward = counter.get_total_flops()
        flops = 3 * forward  # a backward pass multiplies twice for each product of the forward pass
        with contextlib.suppress(
            RuntimeError
        ):  # a model that is loaded for evaluation alone has none to count
            if problem is None and logits.requires_grad:
                logits.float().sum().backward()
                flops = counter.get_total_flops()
    odd = problem is not None or not bool(torch.isfinite(logits).all())
    digest = None if odd else hashlib.sha256(logits.detach().float().cpu().numpy().tobytes()).hexdigest()
    done = {"stage": "done", "problem": problem, "parameters": parameters, "digest": digest}
    _answer(answer, {**done, "flops_per_token": flops / how["context"]})


def judge(genome: Path, how: dict[str, Any], checkpoint: Path, request: int, answer: int) -> None:
    """Load the model, read one batch of uint16 tokens (B, T), answer float32 logits (B, T, V)."""
    model = _load(genome, how, checkpoint, answer)
    with open(request, "rb") as pipe:
        data = pipe.read()
    windows = np.frombuffer(data, dtype="<u2").reshape(-1, how["context"]).astype(np.int64)
    tokens = torch.from_numpy(windows).to(how["device"])  # (B, T)
    _answer(answer, {"stage": "forward"})
    with torch.no_grad():
        logits = model(tokens)
    problem = _problem(logits, (*windows.shape, how["vocab_size"]))
    payload = b"" if problem else logits.detach().to("cpu", torch.float32).contiguous().numpy()
    _answer(answer, {"stage": "done", "problem": problem}, payload)


def calibrate(answer: int, device: str = "cpu", size: int = 512, repeats: int = 60) -> None:
    """Peak FLOP/s of a float32 product of two (size, size) matrices: on this one thread by CPU time; on another
    device by wall time, of larger ones, with the device's name."""
    on_cpu = device == "cpu"
    size = size if on_cpu else 16 * size
    clock, wait = (time.process_time, float) if on_cpu else (time.perf_counter, torch.cuda.synchronize)
    name = device if on_cpu else torch.cuda.get_device_name(device)
    left, right = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    result = torch.empty(size, size, device=device)
    best = float("inf")
    for _ in range(repeats):
        wait()
        start = clock()
        for _ in range(4):
            torch.mm(left, right, out=result)
        wait()
        best = min(best, clock() - start)
    _answer(answer, {"stage": "done", "peak_flops": 4 * 2 * size**3 / best, "name": name})


def read_answer(data: bytearray) -> tuple[dict[str, Any], memoryview]:
    """In the server: the last of the answers in ``data`` and the bytes after it; ({}, nothing) if there is
    none.

    Children answer in steps, so that the last one tells how far a child came that ended on the way.
    """
    last: dict[str, Any] = {}
    at = 0
    while at + _LENGTH.size <= len(data) and last.get("stage") != "done":
        (length,) = _LENGTH.unpack_from(data, at)
        try:
            step = json.loads(bytes(data[at + _LENGTH.size : at + _LENGTH.size + min(length, 4096)]))
        except (ValueError, RecursionError):
            break
        if not isinstance(step, dict):
            break
        last = step
        at += _LENGTH.size + length
    return last, memoryview(data)[at:]


def _answer(fd: int, step: dict[str, Any], payload: Any = b"") -> None:
    text = json.dumps(step).encode()
    for part in (_LENGTH.pack(len(text)) + text, payload):
        left = memoryview(part).cast("B") if len(part) else memoryview(b"")
        while left:
            left = left[os.write(fd, left) :]


def _load(genome: Path, how: dict[str, Any], checkpoint: Path, answer: int) -> Model:
    """Call the genome's ``module:callable``."""
    _answer(answer, {"stage": "load"})
    sys.path.insert(0, str(genome))
    module, _, name = how["load"].partition(":")
    model: Model = getattr(importlib.import_module(module), name)(str(checkpoint), how["device"])
    return model


def _problem(logits: object, shape: tuple[int, ...]) -> str | None:
    """What is wrong with a model's answer, in one sentence, or None."""
    if not isinstance(logits, torch.Tensor):
        return f"The model gave {type(logits).__name__}, expected a float tensor of shape {shape}."
    if tuple(logits.shape) != shape:
        return f"The model gave logits of shape {tuple(logits.shape)}, expected {shape}."
    if not logits.is_floating_point():
        return f"The model gave logits of type {logits.dtype}, expected floats."
    return None


def _module_of(model: object) -> torch.nn.Module | None:
    """The module behind a callable: itself, or what it is bound to, wraps or encloses."""
    if isinstance(model, functools.partial):
        model = model.func
    if not isinstance(model, torch.nn.Module) and callable(model):
        model = unwrap(getattr(model, "__self__", model))
    if isinstance(model, torch.nn.Module):
        return model
    for cell in getattr(model, "__closure__", None) or ():
        if isinstance(cell.cell_contents, torch.nn.Module):
            return cell.cell_contents
    return None
