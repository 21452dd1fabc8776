"""What a field of a pydantic model may hold, one step down at a time.

Used to tell a mapping that is a value from one that is a choice between values, and to list the keys that are valid at
a place. Types are handled as a tuple of alternatives (the members of a union, without None).
"""

from __future__ import annotations

import collections.abc
import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

Types = tuple[Any, ...]


def alternatives(annotation: Any) -> Types:
    """The members of a union, without None; `Annotated` is taken off. A type that is no union is its own member."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return alternatives(get_args(annotation)[0])
    if origin is Union or origin is types.UnionType:
        return tuple(member for part in get_args(annotation) for member in alternatives(part))
    return () if annotation is type(None) else (annotation,)


def models(candidates: Types) -> tuple[type[BaseModel], ...]:
    """Those alternatives that are pydantic models."""
    return tuple(one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel))


def admits_mapping(candidates: Types) -> bool:
    """Whether a mapping may be a value of one of the types (a model, a dict, a dataclass, Any)."""
    return any(_is_mapping(one) for one in candidates)


def _is_mapping(one: Any) -> bool:
    if one is Any or one is object:
        return True
    base = get_origin(one) or one
    if not isinstance(base, type):
        return False
    return issubclass(base, BaseModel | collections.abc.Mapping) or dataclasses.is_dataclass(base) or typing.is_typeddict(base)


def child(candidates: Types, step: str | int) -> Types:
    """The types that the key or index `step` of a value may have; empty where there is no such key."""
    found: list[Any] = []
    for one in candidates:
        found += [member for member in _child(one, step) if member not in found]
    return tuple(found)


def _child(one: Any, step: str | int) -> Types:
    if models((one,)):
        return next((alternatives(field.annotation) for name, field in _fields(one) if name == step), ())
    base, args = get_origin(one) or one, get_args(one)
    if _is_mapping(one) and not isinstance(step, int):
        return alternatives(args[1]) if len(args) == 2 else (Any,)
    if not isinstance(step, int) or base is Literal:
        return ()
    if base is tuple and Ellipsis not in args:
        return alternatives(args[step]) if step < len(args) else ()
    return tuple(member for part in args if part is not Ellipsis for member in alternatives(part))


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        yield name, field
        if field.alias and field.alias != name:
            yield field.alias, field


def keys(candidates: Types, data: Any) -> list[str]:
    """The keys that the models among the types know, in order; of a tagged union, those of the models that fit `data`."""
    found: dict[str, None] = {}
    known = models(candidates)
    for model in [one for one in known if _fits(one, data)] or known:
        found |= dict.fromkeys(field.alias or name for name, field in model.model_fields.items())
    return list(found)


def _fits(model: type[BaseModel], data: Any) -> bool:
    """False where `data` names another member of a tagged union (a Literal field with a value that is none of its own)."""
    if not isinstance(data, Mapping):
        return True
    for name, field in _fields(model):
        if get_origin(field.annotation) is Literal and name in data and data[name] not in get_args(field.annotation):
            return False
    return True
