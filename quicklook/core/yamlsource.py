"""YAML text to a `Document`: plain data with the line of every node, or one `BadConfig` that says what to edit.

The dialect is the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema), because what YAML 1.1 guesses
does harm in configurations of observatories: there `00055556` is octal, `1e3` is text, `12:30` is 750, `2026-01-02` is
no text, and a key `on` or `no` is a truth value. Keys are always text, as written. Anchors, aliases and merge keys work.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace as copy_with
from typing import Any

import yaml

from quicklook.core.document import Document, Path, Place, format_path, merge
from quicklook.core.errors import BadConfig
from quicklook.core.validation import validate

__all__ = ["Document", "Path", "Place", "format_path", "merge", "parse_value", "parse_yaml", "validate"]

MAX_CHARS = 4 * 1024 * 1024
"""A longer text is refused: no configuration is that long, but a data file named by mistake is."""
MAX_NODES = 200_000
"""More nodes than this, aliases written out, are refused (an alias bomb is a few lines long)."""
MAX_DEPTH = 50

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # both give the same events; the one in C is ten times faster
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)\Z")
_NAN = re.compile(r"\.(?:nan|NaN|NAN)\Z")
_UNQUOTED = re.compile(r"(?:[:,\[-]\s+|\[)([>@%`][^\"',}\]#]*)")
"""A value that begins with a sign that means something else in YAML: > begins a folded text."""
_TAG = "tag:yaml.org,2002:"
_TYPES = {_TAG + "str": str, _TAG + "int": int, _TAG + "float": float, _TAG + "bool": bool, _TAG + "null": type(None)}


def parse_yaml(text: str, source: str) -> Document:
    """The document of a configuration text; `source` is the name of the file for messages.

    Raises BadConfig, with file and line, for everything that is not one YAML mapping of plain values with unique keys.
    """
    node = _compose(text, source)
    if not isinstance(node.value, dict):
        found = "is empty" if node.value is None else f"holds {_kind(node.value)}"
        raise BadConfig(f"{source}:{node.line}: the file {found}; it must be a mapping, lines of the form `key: value`")
    places: dict[Path, Place] = {}
    data = _plain(node, (), source, places)
    return Document(data=data, source=source, places=places)


def parse_value(text: str, source: str) -> Any:
    """The plain value of a YAML text of any type, such as `7.0`, `[12, deg]`, `{b: 7, _default: 6}`. Raises BadConfig."""
    return _plain(_compose(text, source), (), source, {})


@dataclass(slots=True)
class _Node:
    """A scalar, a list of nodes, or a dict from key to (line of the key, node). `size`: nodes in it, aliases written out."""

    value: Any
    line: int
    size: int = 1


def _compose(text: str, source: str) -> _Node:
    if len(text) > MAX_CHARS:
        raise BadConfig(f"{source}: {len(text)} characters are too many for a configuration (at most {MAX_CHARS}); is it one?")
    text = text.removeprefix("\ufeff")
    odd = _FORBIDDEN.search(text)
    if odd:
        line = text.count("\n", 0, odd.start()) + 1
        raise BadConfig(f"{source}:{line}: character {odd.group()!r} cannot stand in YAML; remove it (is this a text file?)")
    composer = _Composer(source)
    try:
        return composer.document(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, source) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the parser in Python lets numbers in escapes through
        raise BadConfig(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None


def _syntax_error(error: yaml.MarkedYAMLError, text: str, source: str) -> BadConfig:
    mark = error.problem_mark or error.context_mark
    line = f":{mark.line + 1}" if mark else ""
    words = " ".join(part for part in (error.context, error.problem) if part)
    at_fault = "".join(text.splitlines()[mark.line : mark.line + 1]) if mark else ""
    if "\t" in at_fault[: len(at_fault) - len(at_fault.lstrip())]:
        words += "; indent with spaces, not with tabs"
    elif "mapping values are not allowed" in words:
        words += "; is the indentation right, and is text with a colon in quotes?"
    elif found := _UNQUOTED.search(at_fault):
        words += f"; put text that begins with {found[1][0]} in quotes: \"{found[1].strip()}\""
    return BadConfig(f"{source}{line}: not valid YAML: {words}")


class _Composer:
    """Builds nodes from the events of the parser. Written here because PyYAML's own drops lines and keeps duplicate keys."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.anchors: dict[str, _Node] = {}
        self.count = 0

    def document(self, events: Iterator[Any]) -> _Node:
        root: _Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise self.error(event, "a second document starts here; a file holds one (remove the line `---`)")
                root = self.node(next(events), events, 0)
        return root if root is not None else _Node(None, 1)

    def error(self, event: Any, message: str) -> BadConfig:
        return BadConfig(f"{self.source}:{_line(event)}: {message}")

    def node(self, event: Any, events: Iterator[Any], depth: int) -> _Node:
        if depth > MAX_DEPTH:
            raise self.error(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)
        if isinstance(event, yaml.ScalarEvent):
            node = _Node(self.scalar(event), _line(event))
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self.sequence(event, events, depth)
        else:
            node = self.mapping(event, events, depth)
        self.add(event, 1)
        if event.anchor:
            self.anchors[event.anchor] = node  # only now, so that an alias inside its own anchor is unknown
        return node

    def add(self, event: Any, size: int) -> None:
        self.count += size
        if self.count > MAX_NODES:
            raise self.error(event, f"more than {MAX_NODES} values once aliases are written out; too many for a configuration")

    def alias(self, event: Any) -> _Node:
        node = self.anchors.get(event.anchor)
        if node is None:
            raise self.error(event, f"alias *{event.anchor} has no anchor &{event.anchor} that ends before it")
        self.add(event, node.size)
        return copy_with(node, line=_line(event))

    def sequence(self, start: Any, events: Iterator[Any], depth: int) -> _Node:
        self.check_tag(start, "seq")
        items: list[_Node] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self.node(event, events, depth + 1))
        return _Node(items, _line(start), 1 + sum(item.size for item in items))

    def mapping(self, start: Any, events: Iterator[Any], depth: int) -> _Node:
        self.check_tag(start, "map")
        own: dict[str, tuple[int, _Node]] = {}
        merged: dict[str, tuple[int, _Node]] = {}
        merge_line = 0
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key, line = self.key(event), _line(event)
            if key == "<<" and event.implicit[0]:
                if merge_line:
                    raise self.error(event, f"a second merge key << (the first is in line {merge_line}); write <<: [*a, *b]")
                merge_line, merged = line, self.merge_value(self.node(next(events), events, depth + 1))
                continue
            if key in own:
                raise self.error(event, f"key '{key}' is written twice (first in line {own[key][0]}); remove one")
            own[key] = (line, self.node(next(events), events, depth + 1))
        entries = merged | own
        return _Node(entries, _line(start), 1 + sum(node.size for _, node in entries.values()))

    def key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self.error(event, "a key must be a plain word, not a list, a mapping or an alias")
        if event.tag not in (None, "!", _TAG + "str"):
            raise self.error(event, f"tag {event.tag} is not allowed on a key")
        return str(event.value)

    def merge_value(self, node: _Node) -> dict[str, tuple[int, _Node]]:
        parts = node.value if isinstance(node.value, list) else [node]
        merged: dict[str, tuple[int, _Node]] = {}
        for part in reversed(parts):  # the first in the list wins
            if not isinstance(part.value, dict):
                raise BadConfig(f"{self.source}:{part.line}: << merges mappings; here is {_kind(part.value)}")
            merged |= part.value
        return merged

    def check_tag(self, event: Any, name: str) -> None:
        if event.tag not in (None, "!", _TAG + name):
            raise self.error(event, f"tag {event.tag} is not allowed; write plain values, lists and mappings")

    def scalar(self, event: Any) -> Any:
        text, tag = str(event.value), event.tag
        if tag == "!" or (tag is None and not event.implicit[0]):
            return text
        if tag is not None and tag not in _TYPES:
            raise self.error(event, f"tag {tag} is not allowed; write plain values, lists and mappings")
        if tag == _TAG + "str":
            return text
        value = self.resolve(event, text)
        if tag is None or isinstance(value, _TYPES[tag]):
            return value
        if tag == _TAG + "float" and type(value) is int:
            return float(value)
        raise self.error(event, f"'{text[:40]}' is not of the type its tag says ({tag.removeprefix(_TAG)})")

    def resolve(self, event: Any, text: str) -> Any:
        """The value of a plain scalar by the core schema; numbers that Python or a double cannot hold are refused."""
        if _NULL.match(text):
            return None
        if _BOOL.match(text):
            return text[0] in "tT"
        if _INT.match(text):
            if len(text) > 100:
                raise self.error(event, f"the number {text[:20]}... has {len(text)} digits; put it in quotes if it is text")
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if _FLOAT.match(text):
            number = float(text)
            if math.isinf(number):
                raise self.error(event, f"the number {text[:40]} is too large; write .inf if infinity is meant")
            return number
        if found := _INFINITE.match(text):
            return -math.inf if found.group(1) == "-" else math.inf
        return math.nan if _NAN.match(text) else text


def _plain(node: _Node, path: Path, source: str, places: dict[Path, Place]) -> Any:
    places.setdefault(path, Place(source=source, line=node.line))
    if isinstance(node.value, list):
        return [_plain(item, (*path, index), source, places) for index, item in enumerate(node.value)]
    if isinstance(node.value, dict):
        result = {}
        for key, (line, item) in node.value.items():
            places[(*path, key)] = Place(source=source, line=line)  # of the key: that is where a person looks
            result[key] = _plain(item, (*path, key), source, places)
        return result
    return node.value


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _kind(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return f"the single value {str(value)[:40]!r}"
