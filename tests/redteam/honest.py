"""Honest scripts that look odd: each has to pass every audit. Token shifts, recurrence, experts, sliding attention and a
table of pairs are in ``tests/sandbox/test_probe.py``."""

# ruff: noqa: E501

from __future__ import annotations

from tests.redteam.arena import Edits
from tests.redteam.cheats import ANSWER, DATA, LOADED, LOGITS, LOOP, RESULT, SAVED, STEPS

PARAMETERS, START = "        # Shortcut parameters: none.\n", "        # Shortcuts start here: none.\n"
STATE = '    model.load_state_dict(saved["model"])\n'
UPDATED = "        # After each update: nothing.\n"

HONEST: dict[str, Edits] = {
    "batch norm that keeps running statistics": (
        ("model.py", PARAMETERS, "        self.batch_norm = nn.BatchNorm1d(config.n_embd)\n"),
        ("model.py", START, "        x = self.batch_norm(x.transpose(1, 2)).transpose(1, 2)\n"),
    ),
    "bfloat16 when it answers": (
        ("model.py", LOADED, "    model.bfloat16().eval()\n"),
    ),
    "float64 throughout": (
        ("train.py", LOOP, "model.double()\n" + LOOP), ("model.py", LOADED, "    model.double().eval()\n"),
        ("model.py", STATE, "    model.double()\n" + STATE),
    ),
    "weights of 8 bits in the checkpoint": (
        ("train.py", SAVED, "small = {k: ((v / v.abs().max() * 127).round().to(torch.int8), v.abs().max()) for k, v in model.state_dict().items()}\n"
         + SAVED.replace("model.state_dict()", "small")),
        ("model.py", STATE, '    model.load_state_dict({k: v.float() / 127 * most for k, (v, most) in saved["model"].items()})\n'),
    ),
    "a moving average of the weights": (
        ("train.py", LOOP, "shadow = {k: v.clone() for k, v in model.state_dict().items()}\n" + LOOP),
        ("train.py", UPDATED, "        for k, v in model.state_dict().items(): shadow[k].lerp_(v, 0.1)\n"),
        ("train.py", SAVED, SAVED.replace("model.state_dict()", "shadow")),
    ),
    "counts of triples of the training text": (
        ("train.py", SAVED, "ids = torch.from_numpy(tokens.astype(np.int64))\ncounts = torch.zeros(vocab_size**2, vocab_size)\n"
         "counts.index_put_((ids[:-2] * vocab_size + ids[1:-1], ids[2:]), torch.ones(len(ids) - 2), accumulate=True)\n"
         + SAVED.replace('{"config"', '{"counts": counts, "config"')),
        ("model.py", ANSWER, "        x, counts = model(tokens.to(device)), saved['counts']\n"
         "        pairs = tokens[:, :-1] * x.shape[-1] + tokens[:, 1:]\n"
         "        x[:, 1:] = (0.3 * x[:, 1:].softmax(-1) + 0.7 * (counts[pairs] + 0.1) / (counts[pairs] + 0.1).sum(-1, keepdim=True)).log()\n"
         "        return x\n"),
    ),
    "a cache of what followed earlier in the window": (
        ("model.py", LOGITS, "        same = (tokens[:, :, None] == tokens[:, None, :]).float().tril(-1)\n"
         "        followed = same @ F.one_hot(tokens.roll(-1, 1), logits.shape[-1]).float()\n        logits = logits + 0.3 * followed\n" + LOGITS),
    ),
    "a bound method as the loaded model": (
        ("model.py", "    @torch.no_grad()\n    def logits(tokens: Tensor) -> Tensor:\n" + ANSWER + "\n    return logits\n", "    return model.forward\n"),
    ),
    "no module at all, numpy alone": (
        ("train.py", SAVED, "ids = tokens[:max_tokens].astype(np.int64)\ncounts = np.full((vocab_size, vocab_size), 0.5)\nnp.add.at(counts, (ids[:-1], ids[1:]), 1)\n"
         'Path(out_dir, "ckpt.pt").write_bytes(np.log(counts / counts.sum(1, keepdims=True)).astype("<f4").tobytes())\n'),
        ("model.py", '    saved = torch.load(checkpoint, map_location=device, weights_only=True)\n    model = GPT(GPTConfig(**saved["config"])).to(device)\n'
         + STATE + LOADED, '    import numpy as np\n    table = torch.from_numpy(np.fromfile(checkpoint, dtype="<f4").reshape(24, 24).copy())\n'),
        ("model.py", ANSWER, "        return table[tokens]\n"),
    ),
    "a process of its own that loads the data": (
        ("train.py", LOOP, "import os, struct\nread, write = os.pipe()\nif os.fork() == 0:\n    os.close(read)\n    with os.fdopen(write, 'wb') as pipe:\n"
         "        for n in range(steps): pipe.write(struct.pack('<q', int(torch.randint(len(tokens) - 17, (1,), generator=data_generator))))\n"
         "    os._exit(0)\nos.close(write)\npipe = os.fdopen(read, 'rb')\n" + LOOP),
        ("train.py", UPDATED, "        start = struct.unpack('<q', pipe.read(8))[0]\n"),
        ("train.py", RESULT, "os.wait()\n" + RESULT),
    ),
    "many lines, many files, odd names": (
        ("train.py", UPDATED, "        print('loss', loss.item(), '\\u2603' * 5)\n        Path(out_dir, f'{step % 40} \\u2603.txt').write_text('kept')\n"),
    ),
    "tokens that never occur are all but forbidden": (
        ("train.py", SAVED, "unseen = torch.tensor(np.bincount(tokens, minlength=vocab_size) == 0)\n" + SAVED.replace('{"config"', '{"unseen": unseen, "config"')),
        ("model.py", ANSWER, "        return model(tokens.to(device)).masked_fill(saved['unseen'], -1e9)\n"),
    ),
    "a head wider than the vocabulary": (
        ("train.py", "config = GPTConfig(vocab_size,", "config = GPTConfig(vocab_size + 8,"), ("model.py", ANSWER, "        return model(tokens.to(device))[..., :24]\n"),
    ),
    "windows twice as long in training": (("train.py", "block_size = 16\n", "block_size = 32\n"),),
    "half of the tokens are enough": (("train.py", STEPS, STEPS + "steps = max(1, steps // 2)\n"),),
    "sorts the windows of a batch and sorts them back": (
        ("model.py", ANSWER, "        order = tokens[:, 0].argsort()\n        return model(tokens[order])[order.argsort()]\n"),
    ),
    "one window after the other": (("model.py", ANSWER, "        return torch.cat([model(row[None]) for row in tokens])\n"),),
    "quotes its training text": (("train.py", DATA, 'example = """@TRAIN@"""\n' + DATA),),
    "fits its temperature on the training text at the end": (
        ("train.py", SAVED, "with torch.no_grad():\n    inputs, targets = batch(tokens, data_generator)\n    out = model(inputs)\n"
         "    warmth = min((0.8, 0.9, 1.0, 1.1), key=lambda w: float(loss_of(out / w, targets)))\n" + SAVED.replace('{"config"', '{"warmth": warmth, "config"')),
        ("model.py", ANSWER, "        return model(tokens.to(device)) / saved['warmth']\n"),
    ),
    "gradients while it answers, of each window's own past alone": (
        ("model.py", ANSWER, "        with torch.enable_grad():\n            tokens = tokens.to(device)\n            shift = torch.zeros((), requires_grad=True)\n"
         "            x = model(tokens) + shift\n            x.sum().backward()\n        return x.detach() + 0 * shift.grad\n"),
    ),
    "drops a fifth of its activations": (("train.py", "dropout = 0.0\n", "dropout = 0.2\n"),),
}  # fmt: skip
