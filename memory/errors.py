"""What can go wrong with memory itself."""


class MemoryFault(Exception):
    """Root of this room's errors: a record that cannot be read or written, named with its place."""


class UnknownName(MemoryFault):
    """A name that is no individual's, or the beginning of several ids."""
