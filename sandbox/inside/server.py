"""Start a trial server: ``python -s -P -B -u server.py FOLDER [WRITABLE ...]``, frames on standard input and
output; or the nursery that forks such servers: ``server.py --nursery DESCRIPTOR``, requests on a socket.

FOLDER is the server's own; the candidate runs in folders below it. WRITABLE are further folders to be emptied
between phases (a container's /tmp and /dev/shm). This file only finds its neighbours, which need no
installation.
"""

import importlib
import importlib.util
import socket
import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        "darwin_inside", here / "__init__.py", submodule_search_locations=[str(here)]
    )
    assert spec is not None
    sys.modules["darwin_inside"] = importlib.util.module_from_spec(spec)
    if sys.argv[1] == "--nursery":
        nursery = importlib.import_module("darwin_inside.nursery")
        sys.exit(nursery.main(socket.socket(fileno=int(sys.argv[2]))))
    sys.exit(importlib.import_module("darwin_inside.serving").main(sys.argv[1:]))
