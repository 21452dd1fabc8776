"""Names of channels: patterns with * and ?, and aliases."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from quicklook.core.errors import BadConfig


@functools.lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = {"*": "(.*)", "?": "(.)"}
    return re.compile("".join(parts.get(c, re.escape(c)) for c in pattern), re.DOTALL)


def is_pattern(name: str) -> bool:
    """Whether it stands for more than one name."""
    return "*" in name or "?" in name


def matched(pattern: str, name: str) -> str | None:
    """What the first * or ? stands for where the whole name matches (the name itself where there is none), or None."""
    if not is_pattern(pattern):
        return name if pattern == name else None
    found = _compiled(pattern).fullmatch(name)
    return None if found is None else found.group(1)


def select(patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    """The names that match one of the patterns, in the order of the patterns, each once."""
    known = list(names)
    return list(dict.fromkeys(n for p in patterns for n in known if matched(p, n) is not None))


class Aliases:
    """From names as sources give them to those of the configuration; spaces around a name are no part of it."""

    def __init__(self, aliases: Iterable[tuple[str, str]]) -> None:
        self._names: dict[str, str] = {}
        for alias, name in aliases:
            if self._names.setdefault(alias, name) != name:
                raise BadConfig(f"{alias!r} is an alias of {self._names[alias]!r} and of {name!r}; leave one of them")
        self._rows: dict[tuple[str, ...], tuple[str, ...]] = {}

    def of(self, name: str) -> str:
        """The name of one channel."""
        plain = name.strip()
        return self._names.get(plain, plain)

    def of_all(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The names of the channels of a row; the same row comes again and again."""
        found = self._rows.get(names)
        if found is None:
            if len(self._rows) > 1000:
                self._rows.clear()
            found = self._rows[names] = tuple(self.of(n) for n in names)
        return found
