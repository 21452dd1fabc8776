"""The parameters of a plugin: a pydantic model in which everything has a default and a description."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from quicklook.core.quantity import Unit


class Params(BaseModel):
    """Base of the parameters of a plugin.

    Frozen, unknown keys refused, defaults validated. Every field must have a default and a description that is not
    empty: TypeError, naming the field, when a subclass is made without. Quantities are `Annotated[float, Unit("pixel")]`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, arbitrary_types_allowed=False, protected_namespaces=())

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            if field.is_required():
                raise TypeError(f"{cls.__module__}.{cls.__qualname__}.{name} has no default; every parameter needs one")
            if not (field.description or "").strip():
                raise TypeError(f"{cls.__module__}.{cls.__qualname__}.{name} has no description; every parameter needs one")


def get_default_config(params: type[Params]) -> list[tuple[str, Any, str]]:
    """(name, default, description) of every parameter, in the order of the class.

    Nested parameters are flattened (`window.width`). The default is as the plugin sees it, a number in its default unit,
    and the description then ends with the unit in brackets. Raises pydantic.ValidationError where a default is invalid.
    """
    return _flattened(params(), "")


def _flattened(values: Params, prefix: str) -> list[tuple[str, Any, str]]:
    rows: list[tuple[str, Any, str]] = []
    for name, field in type(values).model_fields.items():
        value = getattr(values, name)
        if isinstance(value, Params):
            rows += _flattened(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, value, describe_field(field)))
    return rows


def describe_field(field: FieldInfo) -> str:
    """The description of a field; ` [pixel]` at its end where it has a unit."""
    text = " ".join((field.description or "").split())
    unit = unit_of(field)
    return text if not unit or text.endswith(f"[{unit}]") else f"{text} [{unit}]"


def unit_of(field: FieldInfo) -> str | None:
    """The default unit of a field, or of the members of its list or union; None where it has none."""
    found = next((mark.name for mark in field.metadata if isinstance(mark, Unit)), None)
    return found if found is not None else _unit_in(field.annotation)


def _unit_in(annotation: Any) -> str | None:
    for part in get_args(annotation):
        if isinstance(part, Unit):
            return part.name
        found = _unit_in(part)
        if found is not None:
            return found
    return None
