"""remember: the records, their store, and the lessons drawn from them.

May touch: the workspace's ``memory/`` folder and its notes; imports none of our other rooms.
Start reading at ``records.py``.
"""

from darwin.memory.errors import MemoryFault, UnknownName
from darwin.memory.memory import Memory

__all__ = ["Memory", "MemoryFault", "UnknownName"]
