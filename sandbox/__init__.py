"""run: confine a process, train a candidate in it, and measure it from outside.

May touch: processes, temporary folders, ``darwin.memory.records``. Never
executes or unpickles anything a candidate wrote.
Start reading at ``trials.py``.
"""

from darwin.sandbox.contract import Contract
from darwin.sandbox.dataset import Dataset
from darwin.sandbox.errors import SandboxError
from darwin.sandbox.limits import Limits
from darwin.sandbox.process import ProcessSandbox
from darwin.sandbox.trials import Job, calibrate, evaluate

__all__ = [
    "Contract",
    "Dataset",
    "Job",
    "Limits",
    "ProcessSandbox",
    "SandboxError",
    "calibrate",
    "evaluate",
]
