from __future__ import annotations

import math
import subprocess
import sys
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.quantity import Unit, check_unit, to_number
from quicklook.core.validation import validate

EXACT = 1e-12  # a conversion is one product of doubles


class Window(BaseModel):
    width: Annotated[float, Unit("pixel")] = Field(7.0, gt=0)
    seeing: Annotated[float, Unit("arcsec")] = 1.0
    wait: Annotated[float, Unit("s")] | None = None
    steps: list[Annotated[float, Unit("deg")]] = []
    rows: Annotated[int, Unit("pixel"), Field(ge=2)] = 3


@pytest.mark.parametrize(
    ("value", "unit", "number"),
    [
        (100, "arcsec", 100.0),
        (1.5, "arcsec", 1.5),
        (np.float32(1.5), "arcsec", 1.5),
        ("100 arcsec", "arcsec", 100.0),
        ("100arcsec", "deg", 100 / 3600),
        ("100", "arcsec", 100.0),
        (" 1e2 ", "arcsec", 100.0),
        ("1.5e3 s", "min", 25.0),
        ("-.5 deg", "arcmin", -30.0),
        ([12, "deg"], "arcmin", 720.0),
        ((12, "deg"), "deg", 12.0),
        ([12, ""], "deg", 12.0),
        ("7 pixel", "pixel", 7.0),
        ("7 pixels", "pixel", 7.0),
        ("3 ADU", "adu", 3.0),
        ("3 e-", "electron", 3.0),
        ("2 electron / s", "electron/s", 2.0),
        ("2 electron / ms", "electron/s", 2000.0),
        ("-100 deg_C", "K", 173.15),
        ("173.15 K", "deg_C", -100.0),
        ("5 %", "", 0.05),
        ("5", "", 5.0),
        ("20 mmag", "mag", 0.02),
        ("3 1e-17 erg/(s cm2 Angstrom)", "1e-17 erg/(s cm2 Angstrom)", 3.0),
        ("3e-17 erg/(s cm2 Angstrom)", "1e-17 erg/(s cm2 Angstrom)", 3.0),
        ("1 um", "Angstrom", 1e4),
        ("3 cm**2 s**-1", "m2/s", 3e-4),
        ("3 10**3 s", "s", 3000.0),
        (math.inf, "s", math.inf),
    ],
)
def test_quantities_become_numbers_in_the_default_unit(value: Any, unit: str, number: float) -> None:
    got = to_number(value, unit)
    assert type(got) is float
    assert got == pytest.approx(number, rel=EXACT)


@pytest.mark.parametrize(
    ("value", "unit", "message"),
    [
        ("3 s", "pixel", "'3 s' is a time, width needs pixel"),
        ("3 deg", "s", "'3 deg' is an angle, width needs s"),
        ("3 adu", "electron", "'3 adu' is in adu, width needs electron"),
        ("3 %", "s", "'3 %' is dimensionless, width needs s"),
        ([3, "s"], "", "[3, s] is a time, width needs a number without unit"),
        ("3 arcsex", "arcsec", "'arcsex' is not a unit that astropy knows; did you mean arcsec"),
        ("3 4 s", "s", "'4 s' is not a unit"),
        ("3 " + "m" * 500, "s", "is not a unit"),
        ("3 10**999999999 s", "s", "is not a unit"),
        ("3 ((10**999)**999)**999 s", "s", "is not a unit"),
        ("3 10**9**9**9 s", "s", "is not a unit"),
        ("s", "s", "width must be a number in s, or a quantity such as '7 s' or [7, s]; given 's'"),
        ("", "s", "must be a number"),
        ([1, 2], "s", "must be a number"),
        ([True, "s"], "s", "must be a number"),
        ({"a": 1}, "s", "must be a number"),
        (True, "s", "must be a number"),
        (math.nan, "s", "NaN"),
        ([math.nan, "s"], "s", "NaN"),
        ("nan s", "s", "must be a number"),
        ("1e999 s", "s", "too large"),
        ("1e308 km", "Angstrom", "too large"),
    ],
)
def test_what_is_no_quantity_is_refused_in_words(value: Any, unit: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        to_number(value, unit, "width")
    assert message.lower() in str(caught.value).lower()


def test_marker_in_a_model() -> None:
    window = Window(width="9 pixel", seeing=[1, "arcmin"], wait="2 min", steps=["60 arcmin", 2], rows="4 pixel")
    assert window == Window(width=9.0, seeing=60.0, wait=120.0, steps=[1.0, 2.0], rows=4)
    assert window.model_dump_json() == '{"width":9.0,"seeing":60.0,"wait":120.0,"steps":[1.0,2.0],"rows":4}'
    assert Window(wait=None).wait is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"width": "3 s"}, "d (width): '3 s' is a time, width needs pixel"),
        ({"width": "-3 pixel"}, "must be greater than 0"),
        ({"width": True}, "width must be a number in pixel"),
        ({"width": math.nan}, "NaN"),
        ({"wait": "3 pixel"}, "'3 pixel' is in pix, wait needs s"),
        ({"steps": [1, "2 s"]}, "d (steps[1]): '2 s' is a time"),
        ({"rows": "1 pixel"}, "must be 2 or greater"),
        ({"rows": "2.5 pixel"}, "must be a whole number"),
    ],
)
def test_problems_of_a_model_are_told_with_the_field(data: dict[str, Any], message: str) -> None:
    with pytest.raises(BadConfig) as caught:
        validate(Window, Document.from_data(data, "d"))
    assert message in str(caught.value)


@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_schema_has_the_unit(mode: Any) -> None:
    fields = Window.model_json_schema(mode=mode)["properties"]
    assert fields["width"]["unit"] == "pixel"
    assert fields["steps"]["items"]["unit"] == "deg"
    kinds = {one["type"] for one in fields["width"].get("anyOf", [fields["width"]])}
    assert kinds == ({"number", "string", "array"} if mode == "validation" else {"number"})


def test_marker_on_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="marks a float"):
        TypeAdapter(Annotated[list[float], Unit("s")])


def test_without_a_model_the_value_has_no_name() -> None:
    with pytest.raises(ValidationError, match="the value needs s"):
        TypeAdapter(Annotated[float, Unit("s")]).validate_python("3 deg")


def test_check_unit() -> None:
    for name in ("pixel", "adu", "electron", "electron/s", "", "K", "deg_C", "arcsec", "1e-17 erg/(s cm2 Angstrom)"):
        check_unit(name)
    with pytest.raises(ValueError, match="not a unit"):
        check_unit("arcsecc")


@settings(max_examples=150, deadline=None)
@given(
    value=st.one_of(
        st.text(max_size=12),
        st.builds("{} {}".format, st.floats(), st.text("smdegpixl*/^()-0129 .", max_size=10)),
        st.lists(st.one_of(st.text(max_size=5), st.floats(), st.booleans()), max_size=3),
        st.floats(),
    )
)
def test_any_value_is_a_number_or_refused(value: Any) -> None:
    try:
        number = to_number(value, "s")
    except ValueError as error:
        assert str(error)  # noqa: PT017
    else:
        assert not math.isnan(number)


@given(number=st.floats(-1e9, 1e9), unit=st.sampled_from(["s", "min", "h"]))
@settings(max_examples=50, deadline=None)
def test_text_and_list_are_the_same(number: float, unit: str) -> None:
    assert to_number(f"{number!r}{unit}", "s") == to_number([number, unit], "s")


def test_numbers_cost_no_import() -> None:
    code = (
        "import sys; from typing import Annotated; from pydantic import TypeAdapter\n"
        "import quicklook.core.conditional, quicklook.core.overrides\n"
        "from quicklook.core.quantity import Unit\n"
        "one = TypeAdapter(Annotated[float, Unit('s')])\n"
        "assert (one.validate_python(3), one.validate_python('3 s'), one.validate_python([3, 's'])) == (3, 3, 3)\n"
        "print([name for name in ('astropy', 'numpy', 'scipy', 'numba', 'matplotlib') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
