"""What can go wrong with memory itself."""


class MemoryFault(Exception):
    """Root of this room's errors: a record that cannot be read or written, named with its place."""


class NewerFormat(MemoryFault):
    """Records of a newer darwin: nothing is wrong with them, and nothing may be mended."""


class UnknownName(MemoryFault):
    """A name that is no individual's, or the beginning of several ids."""
