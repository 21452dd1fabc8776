from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quicklook.core.errors import BadConfig
from quicklook.core.overrides import apply, apply_to, parse_override
from quicklook.core.yamlsource import merge, parse_yaml


@pytest.mark.parametrize(
    ("text", "target", "path", "value"),
    [
        ("preproc.width=7.0", "preproc", ("width",), 7.0),
        ("preproc.sub.width=[12, deg]", "preproc", ("sub", "width"), [12, "deg"]),
        ("preproc.gain=true", "preproc", ("gain",), True),
        ("preproc.width=100 arcsec", "preproc", ("width",), "100 arcsec"),
        ("preproc.width={b: 7, _default: 6}", "preproc", ("width",), {"b": 7, "_default": 6}),
        ("preproc.expr=a=b", "preproc", ("expr",), "a=b"),
        ("read-noise_2.regions[1].low=3", "read-noise_2", ("regions", "1", "low"), 3),
        ("a.regions.1=null", "a", ("regions", "1"), None),
        ("a.b = 'x: y'", "a", ("b",), "x: y"),
        ("a.b=''", "a", ("b",), ""),
    ],
)
def test_overrides_are_read(text: str, target: str, path: tuple[str, ...], value: Any) -> None:
    override = parse_override(text)
    assert (override.target, override.path, override.value) == (target, path, value)
    assert type(override.value) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        "preproc",
        "preproc=1",
        "preproc.width",
        "preproc.width=",
        "preproc..x=1",
        ".x=1",
        "a.b[x]=1",
        "a b.c=1",
        "a.b=[1, 2",
        "a.b=x: y",
        "a.b=- 1",
        "a.b=# red",
        "a.b=!!python/name:os x",
        "a.b=*c",
        "a.b={x: 1, x: 2}",
        "a.b=\x00",
    ],
)
def test_what_cannot_be_read_is_refused_with_the_right_form(text: str) -> None:
    with pytest.raises(BadConfig) as caught:
        parse_override(text)
    assert "-c step.param=value, for example -c preproc.width=7.0" in str(caught.value)
    assert str(caught.value).startswith(f"-c {text}")


@settings(max_examples=150, deadline=None)
@given(text=st.one_of(st.text(max_size=20), st.builds("a.b={}".format, st.text("ab1:-[]{}&*!'\"# ,", max_size=12))))
def test_any_text_is_an_override_or_refused(text: str) -> None:
    try:
        override = parse_override(text)
    except BadConfig:
        return
    assert override.path


@pytest.mark.parametrize(
    ("data", "text", "result"),
    [
        ({"width": 1, "x": 2}, "p.width=3", {"width": 3, "x": 2}),
        ({}, "p.a.b.c=3", {"a": {"b": {"c": 3}}}),
        (None, "p.a=3", {"a": 3}),
        ({"a": None}, "p.a.b=3", {"a": {"b": 3}}),
        ({"a": [1, {"low": 2}]}, "p.a[1].low=3", {"a": [1, {"low": 3}]}),
        ({"a": {"1": 0}}, "p.a.1=3", {"a": {"1": 3}}),
        ({"a": {"b": 1}}, "p.a=3", {"a": 3}),
    ],
)
def test_apply_gives_a_changed_copy(data: Any, text: str, result: Any) -> None:
    before = repr(data)
    assert apply(data, parse_override(text)) == result
    assert repr(data) == before


@pytest.mark.parametrize(
    ("data", "text"),
    [({"a": 7.0}, "p.a.b=1"), ({"a": [1]}, "p.a[1]=2"), ({"a": [1]}, "p.a.x=2"), ({"a": [1]}, "p.a[0].x=2")],
)
def test_a_way_that_is_barred_is_refused(data: Any, text: str) -> None:
    with pytest.raises(BadConfig, match="is in the way"):
        apply(data, parse_override(text))
    with pytest.raises(BadConfig, match="is in the way"):
        apply_to(parse_yaml("steps: [{}]", "c.yaml").with_value(("steps", 0), data, "x"), ("steps", 0), parse_override(text))


CHAIN = "steps:\n  - use: preproc\n  - use: boxcar\n    params:\n      width:\n        b: 1\n      rows: [1, 2]\n"


def test_applied_to_a_document_the_option_is_the_place() -> None:
    doc = parse_yaml(CHAIN, "c.yaml")
    new = apply_to(doc, ("steps", 1, "params"), parse_override("boxcar.width=3"))
    new = apply_to(new, ("steps", 1, "params"), parse_override("boxcar.rows[1]=5"))
    new = apply_to(new, ("steps", 0, "params"), parse_override("preproc.gain=false"))
    assert new.data["steps"] == [
        {"use": "preproc", "params": {"gain": False}},
        {"use": "boxcar", "params": {"width": 3, "rows": [1, 5]}},
    ]
    assert new.where(("steps", 1, "params", "width")) == "-c boxcar.width=3"
    assert new.where(("steps", 1, "params", "width", "b")) == "-c boxcar.width=3"
    assert new.where(("steps", 1, "params", "rows", 1)) == "-c boxcar.rows[1]=5"
    assert new.where(("steps", 1, "params", "rows", 0)) == "c.yaml:7 (steps[1].params.rows[0])"
    assert new.where(("steps", 0, "params", "gain")) == "-c preproc.gain=false"
    assert doc.where(("steps", 1, "params", "width", "b")) == "c.yaml:6 (steps[1].params.width.b)"


def test_document_of_an_override() -> None:
    doc = parse_override("preproc.width=x").document()
    assert doc.data == {"preproc": {"width": "x"}}
    assert doc.where(("preproc", "width")) == "-c preproc.width=x"
    merged = merge(parse_yaml("preproc: {width: 1, gain: 2}", "s.yaml"), doc)
    assert merged.data == {"preproc": {"width": "x", "gain": 2}}
    assert merged.where(("preproc", "width")) == "-c preproc.width=x"
    assert merged.where(("preproc", "gain")) == "s.yaml:1 (preproc.gain)"
