"""What a script carries is read in the threads of the trials; what is found is the red team's to say."""

from __future__ import annotations

import ast
import threading
import time

from darwin.sandbox.carried import carries
from tests.tiny import tiny_files


def test_scripts_of_trials_that_begin_together_are_parsed_one_after_the_other(dataset, monkeypatch):
    """Python 3.11 raises a SystemError, now and then, where two threads parse at once."""
    parse, within, together = ast.parse, [], []

    def slowly(*arguments, **named):
        within.append(1)
        together.append(len(within))
        time.sleep(0.02)
        within.pop()
        return parse(*arguments, **named)

    monkeypatch.setattr(ast, "parse", slowly)
    files = {path: text.encode() if isinstance(text, str) else text for path, text in tiny_files().items()}
    threads = [threading.Thread(target=carries, args=(files, dataset, 1 << 20)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(together) >= len(threads) and set(together) == {1}
