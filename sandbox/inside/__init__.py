"""The only part of this room that runs in a trial's container: standard library, numpy and torch alone.

``server.py`` is started as a file; the rest it loads by path, under the name ``darwin_inside``.
"""
