import json
import os  # noqa: F401 (for what the tests put in)
import sys
from pathlib import Path

import numpy as np
import torch
from model import Tiny

options = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
data_dir, out_dir = Path(options["data_dir"]), Path(options["out_dir"])
seed, max_tokens, device = int(options["seed"]), int(options["max_tokens"]), options["device"]
# anchor: settings

vocab = json.loads((data_dir / "meta.json").read_text())["vocab_size"]
data = np.fromfile(data_dir / "train.bin", dtype=np.uint16).astype(np.int64)
torch.manual_seed(seed)
model = Tiny(vocab).to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
for step in range(max(1, max_tokens // 256)):
    window = torch.from_numpy(data[step * 256 % (len(data) - 257) :][:257]).to(device)
    logits = model(window[None, :-1])
    loss = torch.nn.functional.cross_entropy(logits[0], window[1:])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with (out_dir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, "tokens": 256 * (step + 1), "loss": loss.item()}) + "\n")
# anchor: before saving
torch.save({"vocab": vocab, "model": model.state_dict()}, out_dir / "ckpt.pt")
# anchor: end
print("done")
