"""drive: command line, configuration, the loop, variation, selection, verdicts, gate, lineage.

May touch: every room. Start reading at ``loop.py``.
"""
