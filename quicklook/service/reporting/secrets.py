"""What must not leave the house: addresses with credentials, tokens and passwords in configuration, logs and commands. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from quicklook.core.results import Record

R = TypeVar("R", bound=Record)

REMOVED = "(removed)"
_NAMES = re.compile(
    r"token|passw|passphrase|(?:^|_)pass$|pwd|secret|credential|api[_-]?key|access[_-]?key|private|webhook|url|dsn|auth|cookie|^x-", re.IGNORECASE
)
_KEPT = ("env:", "file:")
"""Values that say where a secret is, and not what it is."""
_IN_ADDRESS = re.compile(r"(?P<scheme>(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,40}://)[^\s'\"<>]{1,500}@")
"""Up to the last @ of the word: a password may have one, or a slash. All repeats here have an end: a text may be long, and hostile."""
_WORD = (
    r"(?:[a-z0-9_-]{0,40}(?:token|passw(?:or)?d|passphrase|pwd|secret|api[_-]?key|access[_-]?key|private[_-]?key)|(?:[a-z0-9_-]{0,40}[_-])?pass"
    r"|authorization|(?:set-)?cookie)"
)
_ASSIGNED = re.compile(
    rf"(?P<name>(?:\b{_WORD}(?:\\?[\"'])?\s{{0,9}}[=:]|--{_WORD}\s)\s{{0,9}})"
    r"(?:(?P<mark>\\?[\"'])(?P<quoted>(?:(?!(?P=mark))[^\n]){0,500})(?P=mark)|(?P<value>[\"']?(?:(?:bearer|basic|token|digest|bot) )?[^\s,;\"'&<]+))",
    re.IGNORECASE,
)
_FLAG = re.compile(rf"--{_WORD}", re.IGNORECASE)
_BEARER = re.compile(r"(?P<name>\bbearer )[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_IN_QUERY = re.compile(r"(?P<name>[?&](?:p|u|user|key|sig|code|auth)=)[^&\s\"'<]+", re.IGNORECASE)
_IN_PATH = re.compile(
    r"(?P<start>https?://[^\s/\"']{1,300}/)[^\s\"']{0,300}(?:webhook|services|bot|hooks|token|[A-Za-z0-9_-]{24})[^\s\"']*", re.IGNORECASE
)


def without_secrets(data: Any, name: str = "") -> Any:
    """Plain data of a configuration in which values that are secret by their name, or look so, are replaced."""
    if isinstance(data, dict):
        return {k: without_secrets(v, name if _NAMES.search(name) else str(k)) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return list(_each(data, name))
    if isinstance(data, str):
        return REMOVED if _NAMES.search(name) and data and not data.startswith(_KEPT) else clean_text(data)
    return REMOVED if _NAMES.search(name) and isinstance(data, int | float) and not isinstance(data, bool) else data


def _each(data: Sequence[Any], name: str) -> Iterator[Any]:
    """Of a list; what follows a flag of a command line, as in ``--token``, is its value."""
    flag = False
    for value in data:
        yield REMOVED if flag and isinstance(value, str) and not value.startswith(_KEPT) else without_secrets(value, name)
        flag = isinstance(value, str) and _FLAG.fullmatch(value) is not None


def clean_text(text: str) -> str:
    """A text in which credentials in addresses, and what is assigned to a name of a secret, are replaced."""
    text = _IN_ADDRESS.sub(lambda found: f"{found['scheme']}{REMOVED}@", text)
    text = _IN_PATH.sub(lambda found: f"{found['start']}{REMOVED}", text)
    text = _IN_QUERY.sub(lambda found: f"{found['name']}{REMOVED}", text)
    text = _ASSIGNED.sub(_unassigned, text)
    return _BEARER.sub(lambda found: f"{found['name']}{REMOVED}", text)


def _unassigned(found: re.Match[str]) -> str:
    mark = found["mark"] or ""
    value = found["quoted"] if mark else found["value"].strip("\"'")
    return found[0] if value.startswith(_KEPT) or not value else f"{found['name']}{mark}{REMOVED}{mark}"


def clean_record(record: R) -> R:
    """A document, or a page, whose texts are cleaned: what a log or a failure says goes into it as it was said."""
    return type(record).model_validate(_cleaned(record.model_dump(mode="json")))


def _cleaned(data: Any) -> Any:
    if isinstance(data, dict):
        return {k: v if k == "path" else _cleaned(v) for k, v in data.items()}
    if isinstance(data, list):
        return [_cleaned(v) for v in data]
    return clean_text(data) if isinstance(data, str) else data
