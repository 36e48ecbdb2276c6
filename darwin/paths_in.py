"""The paths that stand in a script, read from its source: joined, formatted, hung on settings; nothing is run."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Mapping
from typing import Any

ENDINGS = (".bin", ".pkl", ".txt", ".npy")
SPLITS = ("train", "val")
_SPLIT_NAMES = ("split", "part", "which", "subset", "name", "mode", "kind")


def paths(sources: Mapping[str, str], script: str, known: Mapping[str, Any]) -> list[str]:
    """Every path of a data file in the sources, relative to the folder, in order of first appearance.

    Args:
        known: values of settings by name.
    """
    found: dict[str, None] = {}
    for path, source in sources.items():
        tree = ast.parse(source)
        for split in SPLITS:
            names = {name: value for name, value in known.items() if isinstance(value, str)}
            names = {"__file__": path, **dict.fromkeys(_SPLIT_NAMES, split), **names}
            for node in ast.walk(tree):
                if (
                    isinstance(node, ast.Assign)
                    and len(node.targets) == 1
                    and (value := _value(node.value, names))
                ):
                    name = getattr(node.targets[0], "id", getattr(node.targets[0], "attr", ""))
                    if name not in known:
                        names[name] = value
            for node in ast.walk(tree):
                value = _value(node, names) if isinstance(node, ast.expr) else None
                if value and value.endswith(ENDINGS) and not value.startswith("."):
                    found[posixpath.normpath(value)] = None
    whole = [one for one in found if not any(other != one and other.endswith("/" + one) for other in found)]
    return [one for one in whole if one.rpartition("/")[2] not in ENDINGS]


def _value(node: ast.expr, names: Mapping[str, str]) -> str | None:
    """The text that an expression comes to, where that can be told from names alone."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.Name(id=name):
            return names.get(name)
        case ast.Attribute(attr="parent", value=below):
            inner = _value(below, names)
            return None if inner is None else posixpath.dirname(inner) or "."
        case ast.Attribute(attr=name, value=ast.Name()):
            return names.get(name)
        case ast.BinOp(op=ast.Add() | ast.Div(), left=left, right=right):
            return _joined(
                [_value(left, names), _value(right, names)], "" if isinstance(node.op, ast.Add) else "/"
            )
        case ast.JoinedStr(values=parts):
            return _joined(
                [_value(p.value if isinstance(p, ast.FormattedValue) else p, names) for p in parts], ""
            )
        case ast.Call(func=function, args=arguments):
            return _called(function, arguments, names)
    return None


def _called(function: ast.expr, arguments: list[ast.expr], names: Mapping[str, str]) -> str | None:
    name = getattr(function, "attr", getattr(function, "id", ""))
    inner = function.value if isinstance(function, ast.Attribute) else None
    values = [_value(argument, names) for argument in arguments]
    if name in ("join", "Path", "PurePath"):
        return _joined(values, "/")
    if name == "joinpath" and inner is not None:
        return _joined([_value(inner, names), *values], "/")
    if name in ("resolve", "absolute", "expanduser") and inner is not None and not arguments:
        return _value(inner, names)
    if name in ("abspath", "realpath", "str", "fspath") and len(values) == 1:
        return values[0]
    if name == "dirname" and len(values) == 1 and values[0] is not None:
        return posixpath.dirname(values[0]) or "."
    return None


def _joined(parts: list[str | None], between: str) -> str | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or not known:
        return None
    return posixpath.join(*known) if between else "".join(known)
