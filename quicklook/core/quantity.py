"""Numbers with a unit: `Annotated[float, Unit("pixel")]`.

A value may be written as a number in the default unit, as `'100 arcsec'`, or as `[12, deg]`. What the program sees, and
what is written out again, is a number in the default unit. Names of units are those of astropy.units, which is imported
only when a text or a list was given: numbers cost nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from numbers import Real
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from quicklook.core.typewalk import alternatives

_NUMBER = re.compile(r"\s*([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*\Z", re.ASCII | re.DOTALL)
_SCALED = re.compile(r"10(?:\*\*|\^)|1[eE][-+]?\d")  # units such as 1e-17 erg/(s cm2 Angstrom) begin with a number
_MAX_UNIT = 80
# Powers are worked out by the parser of units: 10**999999999 would keep it busy for ever.
_HUGE_POWER = re.compile(r"\d{4}|\)\s*(?:\*\*|\^).*\)\s*(?:\*\*|\^)|(?:\*\*|\^)[^*^\s]*(?:\*\*|\^)", re.DOTALL)
# As they are written at telescopes and not known to astropy by that name.
_ALIASES = {
    "ADU": "adu",
    "DN": "adu",
    "px": "pixel",
    "pixels": "pixel",
    "e-": "electron",
    "electrons": "electron",
    "sec": "s",
    "seconds": "s",
    "minutes": "min",
    "hours": "h",
    "degrees": "deg",
    "degC": "deg_C",
    "°C": "deg_C",
    "%": "percent",
}


@dataclass(frozen=True, slots=True)
class Unit:
    """The default unit of a float (or int) field, by its astropy name; `""` is dimensionless. Positional, as it is read.

    A wrong dimension, an unknown unit, a truth value and NaN are refused. In the JSON schema it is the key `unit`.
    Temperatures are converted with their zero points (deg_C to K): give a field that holds a difference no other unit than K.
    """

    name: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        if any(part not in (float, int) for part in alternatives(source)):
            raise TypeError(f"Unit({self.name!r}) marks a float or an int, not {source}; write list[Annotated[float, Unit(...)]]")
        inner = handler(source)
        written = core_schema.union_schema([inner, core_schema.str_schema(), core_schema.list_schema()])
        return core_schema.with_info_before_validator_function(self._validate, inner, json_schema_input_schema=written)

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "unit": self.name}

    def _validate(self, value: Any, info: core_schema.ValidationInfo) -> Any:
        if value is None or (type(value) is float and value == value) or type(value) is int:
            return value
        try:
            return to_number(value, self.name, what=info.field_name or "the value")
        except ValueError as error:
            raise PydanticCustomError("quantity", "{text}", {"text": str(error)}) from None


def to_number(value: Any, unit: str, what: str = "the value") -> float:
    """The number of `value` in `unit`: of a number, of text such as '100 arcsec', of a list such as [12, 'deg'].

    Raises ValueError, with `what` as the name of the thing, where it is none, or cannot be converted.
    """
    number, given = _split(value, unit, what)
    if math.isnan(number):
        raise ValueError(f"{what} is not a number (NaN); write a number{_in(unit)}")
    if given is None or given == unit:
        return number
    return _convert(number, given, unit, what, _shown(value))


def check_unit(name: str) -> None:
    """Raises ValueError where `name` is no unit. For tests of plugins: a marker does not look its unit up by itself."""
    _astropy_unit(name)


def _split(value: Any, unit: str, what: str) -> tuple[float, str | None]:
    """Number and unit as written; the unit is None where none was."""
    if isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[1], str) and _is_number(value[0]):
        return float(value[0]), value[1].strip() or None
    if _is_number(value):
        return float(value), None
    found = _NUMBER.match(value) if isinstance(value, str) else None
    if found is None:
        example = f"'7 {unit}' or [7, {unit}]" if unit else "7"
        raise ValueError(f"{what} must be a number{_in(unit)}, or a quantity such as {example}; given {_shown(value)}")
    number = float(found.group(1))
    if math.isinf(number):
        raise ValueError(f"the number of {_shown(value)} is too large")
    return number, found.group(2) or None


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _in(unit: str) -> str:
    return f" in {unit}" if unit else ""


def _shown(value: Any) -> str:
    text = f"'{value}'" if isinstance(value, str) else repr(value).replace("'", "")
    return text if len(text) <= 60 else text[:57] + "..."


def _astropy_unit(name: str) -> Any:
    from astropy import units

    if len(name) > _MAX_UNIT or (name[:1].isdigit() and not _SCALED.match(name)) or _HUGE_POWER.search(name):
        raise ValueError(f"'{name[:40]}' is not a unit")
    try:
        return units.Unit(_ALIASES.get(name, name))
    except (ValueError, TypeError, ArithmeticError) as error:
        found = re.search(r"Did you mean ([^?]+)\?", str(error))
        hint = f"; did you mean {found.group(1).strip()}?" if found else ""
        raise ValueError(f"'{name}' is not a unit that astropy knows{hint}") from None


def _convert(number: float, given: str, unit: str, what: str, shown: str) -> float:
    from astropy import units

    try:
        source = _astropy_unit(given)
    except ValueError as error:
        raise ValueError(f"{error}, in {shown}") from None
    target = _astropy_unit(unit)
    try:
        result = float(source.to(target, number, equivalencies=units.temperature()))
    except (units.UnitsError, units.UnitTypeError, TypeError):
        raise ValueError(f"{shown} is {_kind(source)}, {what} needs {unit or 'a number without unit'}") from None
    if not math.isfinite(result):
        raise ValueError(f"{shown} is too large in {unit}")
    return result


def _kind(unit: Any) -> str:
    """`a time`, `an angle`; `in adu` where the dimension has no name."""
    name = str(unit.physical_type).split("/")[0]
    if name == "unknown":
        return f"in {unit}"
    return name if name == "dimensionless" else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
