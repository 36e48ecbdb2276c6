"""drive: command line, configuration, the loop, variation, selection, verdicts, gate, lineage.

May touch: every room. Start reading at ``loop.py``.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
"""Before numpy is imported: our matrices are small, threads would only cost, and equal runs give equal last bits."""
