"""A configuration text as data that remembers where each value was written.

Errors about a configuration are of use only when they name the file and the line; a `Document` is the data of one or
more files and the place of every node, so that whatever is found wrong later can still be shown where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
"""Keys (str) and list indices (int) from the top of a document to a node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a node was written: the display name of the source and the line, counted from 1.

    `line` is None where there are no lines (an option of the command line, data made in Python): `source` says all.
    """

    source: str
    line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Data of a configuration and the place of every node in it.

    `data` holds plain types alone (dict with str keys, list, str, int, float, bool, None) and is not to be changed.
    `source` is the name that a person knows the file by. A merged document has places in several sources.
    """

    data: dict[str, Any]
    source: str
    places: Mapping[Path, Place]

    @classmethod
    def from_data(cls, data: Mapping[str, Any], source: str) -> Document:
        """A document of data that no file holds (made in Python): `where` gives `source` and the path."""
        return cls(data=dict(data), source=source, places={})

    def get(self, path: Path, default: Any = None) -> Any:
        """The value at `path`, or `default` where there is none."""
        node: Any = self.data
        for step in path:
            if not has_step(node, step):
                return default
            node = node[step]
        return node

    def place(self, path: Path) -> Place | None:
        """The place of the node, or of its nearest ancestor that has one; None where none has."""
        for length in range(len(path), -1, -1):
            found = self.places.get(path[:length])
            if found is not None:
                return found
        return None

    def line(self, path: Path) -> int:
        """The line (from 1) of the node or of its nearest ancestor; 0 where there are no lines."""
        place = self.place(path)
        return (place.line if place is not None else None) or 0

    def where(self, path: Path = ()) -> str:
        """For messages, such as `chains/zero.yaml:12 (steps[1].params.width)`, or `-c preproc.width=x`."""
        place = self.place(path)
        if place is not None and place.line is None:
            return place.source
        start = f"{place.source}:{place.line}" if place is not None else self.source
        return f"{start} ({format_path(path)})" if path else start

    def with_value(self, path: Path, value: Any, source: str) -> Document:
        """A copy whose node at `path` is `value`, written in `source`, which has no lines.

        Mappings that are missing on the way are made; `path` must not lead through a scalar nor past the end of a list.
        Raises KeyError where it does.
        """
        places = {known: place for known, place in self.places.items() if known[: len(path)] != path}
        places[path] = Place(source=source, line=None)
        return Document(data=replaced(self.data, path, value), source=self.source, places=places)


def has_step(node: Any, step: str | int) -> bool:
    """Whether `node` is a mapping with the key `step`, or a list with the index `step`."""
    if isinstance(node, Mapping):
        return step in node
    return isinstance(node, list | tuple) and isinstance(step, int) and 0 <= step < len(node)


def format_path(path: Iterable[str | int]) -> str:
    """`("steps", 1, "params")` as `steps[1].params`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def replaced(node: Any, path: Path, value: Any) -> Any:
    """A copy of `node` with `value` at `path`; only what lies on the path is copied. None on the way is a mapping.

    Raises KeyError with the part of the path that cannot be entered.
    """
    if not path:
        return value
    step, rest = path[0], path[1:]
    if node is None or isinstance(node, Mapping):
        mapping = dict(node or {})
        mapping[str(step)] = _inner(mapping.get(str(step)), path, rest, value)
        return mapping
    if isinstance(node, list) and has_step(node, step):
        items: list[Any] = list(node)
        items[int(step)] = _inner(items[int(step)], path, rest, value)
        return items
    raise KeyError(path)


def _inner(node: Any, path: Path, rest: Path, value: Any) -> Any:
    try:
        return replaced(node, rest, value)
    except KeyError:
        raise KeyError(path) from None


def merge(base: Document, over: Document) -> Document:
    """`over` laid over `base`: mappings are merged key by key, at any depth; everything else, lists too, is replaced.

    Each value keeps the place of the file it came from.
    """
    taken: set[Path] = set()
    data = _merged(base.data, over.data, (), taken)
    places = {path: place for path, place in base.places.items() if not _under(path, taken)}
    places |= {path: over.place(path) or Place(source=over.source, line=None) for path in taken}
    places |= {path: place for path, place in over.places.items() if _under(path, taken)}
    return Document(data=data, source=f"{base.source} + {over.source}", places=places)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any], path: Path, taken: set[Path]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        here = (*path, key)
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            result[key] = _merged(base[key], value, here, taken)
        else:
            result[key] = value
            taken.add(here)
    return result


def _under(path: Path, roots: set[Path]) -> bool:
    return any(path[:length] in roots for length in range(1, len(path) + 1))
