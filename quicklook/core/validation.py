"""Validation of a document by a pydantic model, with all problems told at once, in words, each with its file and line."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from quicklook.core.document import Document, Path, has_step
from quicklook.core.errors import BadConfig
from quicklook.core.typewalk import Types, child, keys

M = TypeVar("M", bound=BaseModel)

_WHOLE = "must be a whole number"
_NUMBER = "must be a number"
_TRUTH = "must be true or false"
_MAPPING = "must be a mapping of keys to values"
_LIST = "must be a list, such as [a, b]"
_WORDS = {
    "missing": "is required and is not there",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "must be a finite number",
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "string_type": "must be text",
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dataclass_type": _MAPPING,
    "none_required": "must be null",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be {ge} or greater",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "multiple_of": "must be a multiple of {multiple_of}",
    "too_short": "must have at least {min_length} items, has {actual_length}",
    "too_long": "must have at most {max_length} items, has {actual_length}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "union_tag_invalid": "{discriminator} must be one of {expected_tags}",
    "union_tag_not_found": "{discriminator} is required: it says which kind this is",
}
_SHORT = ("too_short", "string_too_short")
_NO_VALUE = {"missing", "union_tag_not_found", "quantity"}  # nothing was given, or the message shows it already


_MANY, _NEAR = 30, 5
_LISTED = {"metrics": "quicklook list metrics"}


def validate(model: type[M], doc: Document, path: Path = (), data: Any = None) -> M:
    """The model made of the node of `doc` at `path`, or of `data` where it is given (`path` then says where it stands).

    Raises BadConfig with all problems, one a line: `file:line (path): what is wrong`, the value, and for a misspelt key
    the likely one and the valid ones.
    """
    given = doc.get(path) if data is None else data
    result, found = try_validate(model, {} if given is None else given, lambda inside: doc.where((*path, *inside)))
    raise_problems(found)
    assert result is not None  # no problems: there is a result
    return result


def try_validate(model: type[M], data: Any, where: Callable[[Path], str]) -> tuple[M | None, list[str]]:
    """The model made of `data`, or None and the problems; `where` gives the place of a path inside `data`."""
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        return None, _problems(model, data, error.errors(include_url=False), where)


def raise_problems(problems: Iterable[str]) -> None:
    """Raise one BadConfig with all problems, each once, one a line; nothing where there is none."""
    unique = list(dict.fromkeys(problems))
    if unique:
        raise BadConfig("\n".join(unique))


def suggest(word: str, valid: Sequence[str], *, noun: str) -> str:
    """`; did you mean 'width'? valid keys: a, b`: the end of a message about a word that is not one of `valid`.

    Of many valid words the nearest are named, and where all are listed.
    """
    close = difflib.get_close_matches(word, valid, n=1, cutoff=0.6)
    meant = f"; did you mean '{close[0]}'?" if close else ";"
    if not valid:
        return f"{meant} there are no valid {noun} here"
    if len(valid) <= _MANY:
        return f"{meant} valid {noun}: {', '.join(valid)}"
    near = [n for n in difflib.get_close_matches(word, valid, n=_NEAR + 1, cutoff=0.4) if n not in close][:_NEAR]
    listed = f"`{_LISTED[noun]}` shows them" if noun in _LISTED else f"as {', '.join(valid[:_NEAR])}"
    others = f"near it: {', '.join(near)}; " if near else ""
    return f"{meant} {others}there are {len(valid)} valid {noun}, {listed}"


def shorten(value: Any, width: int = 40) -> str:
    """The value for a message, written as in YAML, in at most `width` characters."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= width else text[: width - 3] + "..."


def _problems(model: type[BaseModel], data: Any, errors: list[ErrorDetails], where: Callable[[Path], str]) -> list[str]:
    grouped: dict[Path, list[ErrorDetails]] = {}
    for error in errors:
        if not _follows(error):
            grouped.setdefault(_real_path(data, error), []).append(error)
    return [f"{where(path)}: {_message(model, data, path, group)}" for path, group in grouped.items()]


def _follows(error: ErrorDetails) -> bool:
    """Whether a list is called too short for the items in it that are wrong: those are told by themselves."""
    context, given = error.get("ctx") or {}, error["input"]
    return error["type"] == "too_short" and isinstance(given, Sequence) and len(given) >= int(context.get("min_length", 0))


def _real_path(data: Any, error: ErrorDetails) -> Path:
    """The location without what pydantic adds to it (members of unions, `[key]`)."""
    path: list[str | int] = []
    node = data
    for step in error["loc"]:
        if has_step(node, step):
            path.append(step)
            node = node[step]
    if error["type"] == "missing":
        path.append(error["loc"][-1])
    return tuple(path)


def _message(model: type[BaseModel], data: Any, path: Path, group: list[ErrorDetails]) -> str:
    """One message for all errors at one path: the alternatives of a union are joined by `or`."""
    others = [error for error in group if error["type"] != "none_required"] or group
    texts = list(dict.fromkeys(_text(model, data, path, error) for error in others))
    message = " or ".join(texts)
    first = others[0]
    whole = first["type"] == "value_error" and isinstance(first["input"], Mapping | BaseModel)  # a validator of a model
    if first["type"] in _NO_VALUE or _unknown_key(first) or whole:
        return message
    return f"{message}; given {shorten(first['input'])}{_advice(first)}"


def _text(model: type[BaseModel], data: Any, path: Path, error: ErrorDetails) -> str:
    context = error.get("ctx") or {}
    if _unknown_key(error):
        return _unknown(model, data, path)
    if error["type"] in ("value_error", "assertion_error"):
        text = " ".join(str(context.get("error", error["msg"])).split())
    elif error["type"] in _SHORT and context.get("min_length") == 1:
        text = "must not be empty" if error["type"] == "too_short" else "must have at least one character"
    elif template := _WORDS.get(error["type"]):
        text = template.format(**context)
    else:
        text = error["msg"].replace("Input should be", "must be").replace("Input should", "must")
    return f"the key {text}" if error["loc"][-1:] == ("[key]",) else text


def _unknown_key(error: ErrorDetails) -> bool:
    return error["type"] in ("extra_forbidden", "unexpected_keyword_argument")


def _unknown(model: type[BaseModel], data: Any, path: Path) -> str:
    """The message about a key that the model does not know."""
    types: Types = (model,)
    node = data
    for step in path[:-1]:
        types, node = child(types, step), node[step]
    name = str(path[-1])
    return f"unknown key '{name}'{suggest(name, keys(types, node), noun='keys')}"


def _advice(error: ErrorDetails) -> str:
    """What to do about a value: `; did you mean ...?` for a word that is close to one of those allowed."""
    if error["type"] == "string_type" and isinstance(error["input"], int | float):
        return "; put it in quotes"
    if error["type"] not in ("literal_error", "enum") or not isinstance(error["input"], str):
        return ""
    allowed = re.findall(r"'([^']*)'", str((error.get("ctx") or {}).get("expected", "")))
    close = difflib.get_close_matches(error["input"], allowed, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""
