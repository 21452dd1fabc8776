"""Patterns of file names: with fields in braces, or regular expressions."""

from __future__ import annotations

import functools
import re

FIELD = re.compile(r"\{(\w+)(?::0?(\d*)d)?\}|(\*)")
"""A field such as {night:8d}, {expid:d} or {camera}, or a star."""


@functools.lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Regular expression of a pattern, to be searched at the end of a path. Raises ValueError where it is none."""
    body = pattern.removeprefix("regex:") if pattern.startswith("regex:") else _brace_regex(pattern)
    try:
        return re.compile(rf"(?:^|/){body}\Z")
    except re.error as error:
        raise ValueError(f"is no pattern of file names: {error}") from error


def _brace_regex(pattern: str) -> str:
    out, last, seen = "", 0, set()
    for match in FIELD.finditer(pattern):
        name, width, star = match.groups()
        out += re.escape(pattern[last : match.start()])
        last = match.end()
        if star:
            out += "[^/]*"
        elif name in seen:
            out += f"(?P={name})"
        else:
            seen.add(name)
            out += f"(?P<{name}>{_digits(match[0], width)})"
    return out + re.escape(pattern[last:])


def _digits(whole: str, width: str | None) -> str:
    """What a field matches: digits (at least as many as its width; numbers grow) or anything within a name."""
    if ":" not in whole:
        return "[^/]+?"
    return rf"\d{{{width},}}" if width else r"\d+"
