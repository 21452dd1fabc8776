from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError, model_validator

from quicklook.core.conditional import ConditionalParams
from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.params import Params, get_default_config
from quicklook.core.quantity import Unit
from quicklook.core.yamlsource import parse_yaml


class Sub(Params):
    gain: float = Field(1.0, gt=0, description="gain")
    mode: str = Field("row", description="how")


class Boxcar(Params):
    width: Annotated[float, Unit("pixel")] = Field(7.0, gt=0, description="full width of the window")
    rows: tuple[int, int] = Field((0, 10), description="first and last row")
    delay: Annotated[float, Unit("s")] | None = Field(None, description="how long to wait [s]")
    sub: Sub = Field(Sub(), description="a part")
    weights: dict[str, float] = Field({"a": 1.0}, description="weight of each")
    free: Any = Field(None, description="anything")
    either: int | dict[str, int] = Field(1, description="one or many")
    low: float = Field(0.0, description="low")
    high: float = Field(100.0, description="high")

    @model_validator(mode="after")
    def _order(self) -> Boxcar:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


# the base class


def test_a_field_without_default_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Wrong\.width has no default"):

        class Wrong(Params):
            width: float = Field(description="w")


@pytest.mark.parametrize("text", [None, "", "  "])
def test_a_field_without_description_is_refused(text: str | None) -> None:
    with pytest.raises(TypeError, match=r"Wrong\.width has no description"):

        class Wrong(Params):
            width: float = Field(1.0, description=text)


def test_params_are_frozen_and_closed_and_defaults_are_checked() -> None:
    class Late(Params):
        width: Annotated[float, Unit("pixel")] = Field("9 pixel", description="w")  # type: ignore[assignment]

    assert Late().width == 9.0
    with pytest.raises(ValidationError):
        Boxcar().width = 3.0  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Boxcar(widht=3.0)  # type: ignore[call-arg]


def test_default_config_is_flat_with_units() -> None:
    rows = get_default_config(Boxcar)
    assert rows[:5] == [
        ("width", 7.0, "full width of the window [pixel]"),
        ("rows", (0, 10), "first and last row"),
        ("delay", None, "how long to wait [s]"),
        ("sub.gain", 1.0, "gain"),
        ("sub.mode", "row", "how"),
    ]


# conditional parameters


LOOKUP = ("arm", "program", "telescope")


def parse(text: str, lookup: tuple[str, ...] = LOOKUP) -> ConditionalParams[Boxcar]:
    doc = parse_yaml("params:\n" + "".join(f"  {line}\n" for line in text.splitlines()), "c.yaml")
    return ConditionalParams.parse(Boxcar, doc, ("params",), lookup, {"arm", "program", "telescope", "night"})


def refused(text: str, lookup: tuple[str, ...] = LOOKUP) -> list[str]:
    with pytest.raises(BadConfig) as caught:
        parse(text, lookup)
    return str(caught.value).splitlines()


WIDTH = "width:\n  b: 7.0\n  r: {dark: 6.0, _default: 7.5}\n  _default: 6.5"


@pytest.mark.parametrize(
    ("tags", "width"),
    [
        ({"arm": "b"}, 7.0),
        ({"arm": "b", "program": "dark"}, 7.0),
        ({"arm": "r", "program": "dark"}, 6.0),
        ({"arm": "r", "program": "bright"}, 7.5),
        ({"arm": "r"}, 7.5),
        ({"arm": "z", "program": "dark"}, 6.5),
        ({"arm": None}, 6.5),
        ({}, 6.5),
    ],
)
def test_the_example_of_the_manual(tags: Mapping[str, str], width: float) -> None:
    params = parse(WIDTH)
    assert params.is_conditional
    assert params.resolve(tags).width == width


def test_tags_are_tried_in_the_order_of_lookup() -> None:
    text = "width: {dark: 1, b: 2}"
    tags = {"arm": "b", "program": "dark"}
    assert parse(text, ("arm", "program")).resolve(tags).width == 2
    assert parse(text, ("program", "arm")).resolve(tags).width == 1
    assert parse(text, ("program",)).resolve(tags).width == 1


def test_values_of_tags_are_compared_as_text() -> None:
    params = parse("width: {0: 1, 1: 2, true: 3}")
    assert params.resolve({"arm": 0}).width == 1
    assert params.resolve({"arm": "1"}).width == 2


def test_a_tag_cannot_name_a_reserved_key() -> None:
    params = parse("width: {b: 1, _default: 2}")
    assert params.resolve({"arm": "_default"}).width == 2


def test_without_conditions_there_is_one_object() -> None:
    params = parse("width: 9 pixel\nsub: {gain: 2}")
    assert not params.is_conditional
    assert params.resolve({"arm": "b"}) is params.resolve({})
    assert params.resolve({}) == Boxcar(width=9, sub=Sub(gain=2))


@pytest.mark.parametrize("text", ["params: {}", "params:", "other: 1"])
def test_nothing_written_means_defaults(text: str) -> None:
    params = ConditionalParams.parse(Boxcar, parse_yaml(text, "c.yaml"), ("params",), LOOKUP)
    assert params.resolve({}) == Boxcar()


def test_a_mapping_may_be_the_value() -> None:
    params = parse("weights: {b: 2, r: {dark: 3, _default: 4}}\nsub: {gain: {b: 2, _default: 3}, mode: x}")
    got = params.resolve({"arm": "b", "program": "dark"})
    assert got.weights == {"b": 2.0, "r": 3.0}
    assert got.sub == Sub(gain=2.0, mode="x")
    assert params.resolve({}).sub == Sub(gain=3.0, mode="x")


def test_a_choice_between_mappings_needs_default() -> None:
    params = parse("sub: {b: {gain: 2}, _default: {mode: y, gain: {dark: 4, _default: 5}}}")
    assert params.resolve({"arm": "b"}).sub == Sub(gain=2)
    assert params.resolve({"arm": "r", "program": "dark"}).sub == Sub(gain=4, mode="y")
    assert "unknown key 'b'" in refused("sub: {b: {gain: 2}}")[0]


def test_stop_here_is_the_value_itself() -> None:
    params = parse("free: {_stop_here: true, _default: 1, b: 2}\neither: {b: {_stop_here: 1, x: 3}, _default: 4}")
    assert params.resolve({"arm": "b"}).free == {"_default": 1, "b": 2}
    assert params.resolve({"arm": "b"}).either == {"x": 3}
    assert params.resolve({"arm": "r"}).either == 4


def test_no_branch_for_the_tags() -> None:
    with pytest.raises(BadConfig) as caught:
        parse("width:\n  b: 1\n  r: 2").resolve({"arm": "z", "program": "dark"})
    assert str(caught.value) == (
        "c.yaml:2 (params.width): no value for arm=z, program=dark, telescope=not known; keys here: b, r; add one for it, or _default"
    )


def test_every_branch_is_checked_at_load() -> None:
    text = "width:\n  b: -1\n  r:\n    dark: 3 s\n    _default: 1\n  z: wide\nsub:\n  gain:\n    b: 0\n    _default: 1\nwidht: {b: 1}"
    assert sorted(line.partition(")")[0] + ")" for line in refused(text)) == [
        "c.yaml:10 (params.sub.gain.b)",
        "c.yaml:12 (params.widht)",
        "c.yaml:3 (params.width.b)",
        "c.yaml:5 (params.width.r.dark)",
        "c.yaml:7 (params.width.z)",
    ]
    assert "'3 s' is a time, width needs pixel" in "\n".join(refused(text))


@pytest.mark.parametrize(
    ("text", "lookup", "message"),
    [
        ("width: {b: 1}", (), "c.yaml:2 (params.width): 'width' takes no mapping"),
        ("width: {}", LOOKUP, "c.yaml:2 (params.width): 'width' is an empty mapping"),
        ("width: {b: 1, _defalt: 2}", LOOKUP, "unknown key '_defalt'; did you mean '_default'?"),
        ("width: {b: 1, _default: 2}", ("arms",), "unknown tag 'arms'; did you mean 'arm'? valid tags: arm, night"),
        ("rows:\n  b: [1, 2]\n  r: [1, x]", LOOKUP, 'c.yaml:4 (params.rows.r[1]): must be a whole number; given "x"'),
        ("low: {b: 1, r: 200}", LOOKUP, "c.yaml:1 (params): low must be below high (with r)"),
        ("_default: {width: 1}", LOOKUP, "unknown key '_default'"),
    ],
)
def test_what_cannot_be_chosen_is_refused(text: str, lookup: tuple[str, ...], message: str) -> None:
    assert message in "\n".join(refused(text, lookup))


def test_only_default_needs_no_lookup() -> None:
    assert parse("width: {_default: 3}", ()).resolve({}).width == 3


def test_parameters_that_are_no_mapping() -> None:
    with pytest.raises(BadConfig, match=r"c.yaml:1 \(params\): parameters must be a mapping"):
        ConditionalParams.parse(Boxcar, parse_yaml("params: [1]", "c.yaml"), ("params",), LOOKUP)


@pytest.mark.parametrize(
    "text",
    [
        "low: {b: 1, r: 110}\nhigh: {b: 50, r: 200}",
        "low: {b: 110, _default: 1}\nhigh: {b: 200, _default: 50}",
        "low: {r: 1, b: 110}\nhigh: {b: 200, _default: 50}",
        "high: {b: 200, _default: 50}\nlow: {b: 110, r: 1}",
    ],
)
def test_branches_that_belong_together_are_checked_together(text: str) -> None:
    params = parse(text)
    for arm in ("b", "r"):
        got = params.resolve({"arm": arm})
        assert got.low < got.high


def test_values_that_exclude_each_other_are_found_when_taken() -> None:
    params = parse("low: {b: 1, r: 60}\nhigh: {bright: 70, dark: 50}")
    assert params.resolve({"arm": "r", "program": "bright"}).low == 60
    with pytest.raises(BadConfig, match=r"low must be below high \(with arm=r, program=dark\)"):
        params.resolve({"arm": "r", "program": "dark"})


def test_conditional_params_can_be_pickled() -> None:
    params = pickle.loads(pickle.dumps(parse(WIDTH)))
    assert params.resolve({"arm": "b"}).width == 7.0


def test_expand_writes_every_default_and_keeps_choices() -> None:
    params = parse(WIDTH + "\nsub: {gain: 2}\nfree: {_stop_here: 1, b: 2}")
    assert params.expand() == {
        "width": {"b": 7.0, "r": {"dark": 6.0, "_default": 7.5}, "_default": 6.5},
        "rows": [0, 10],
        "delay": None,
        "sub": {"gain": 2, "mode": "row"},
        "weights": {"a": 1.0},
        "free": {"b": 2, "_stop_here": True},
        "either": 1,
        "low": 0.0,
        "high": 100.0,
    }


NUMBERS = st.integers(1, 50)
CHOICES = st.recursive(NUMBERS, lambda inner: st.dictionaries(st.sampled_from(["b", "r", "dark", "_default"]), inner, min_size=1), max_leaves=6)
SETTINGS = st.fixed_dictionaries({}, optional={"width": CHOICES, "sub": st.fixed_dictionaries({}, optional={"gain": CHOICES}), "either": CHOICES})


@settings(max_examples=150, deadline=None)
@given(data=SETTINGS, arm=st.sampled_from("brz"), program=st.sampled_from(["dark", "bright"]))
def test_expanded_parameters_mean_the_same(data: dict[str, Any], arm: str, program: str) -> None:
    doc = Document.from_data({"params": data}, "d")
    try:
        params = ConditionalParams.parse(Boxcar, doc, ("params",), LOOKUP)
    except BadConfig:
        return  # `either` admits a mapping, so that some of these are not numbers all the way down
    again = ConditionalParams.parse(Boxcar, Document.from_data({"params": params.expand()}, "d"), ("params",), LOOKUP)
    tags = {"arm": arm, "program": program}
    try:
        expected = params.resolve(tags)
    except BadConfig:
        with pytest.raises(BadConfig):
            again.resolve(tags)
    else:
        assert again.resolve(tags) == expected
        assert set(again.expand()) == set(Boxcar.model_fields)
