"""Plots as data: to a skeleton and arrays, and back."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from quicklook.core.plots import Axis, Band, Bars, FocalPlane, Image, Line, Panel, Plot, Scatter, Table, pack, unpack

X = np.arange(3.0)
LAYERS = (
    Line(x=X, y=np.array([1.0, np.nan, 3.0]), label="with a gap"),
    Scatter(x=X, y=X, c=X**2, c_axis=Axis(label="squared", unit="adu2")),
    Scatter(x=X, y=X),
    Bars(names=("A", "B"), heights=np.array([1.0, np.inf])),
    Bars(names=("A", "B"), heights=np.array([1.0, np.nan]), words=("", "dead"), statuses=("NORMAL", "UNKNOWN")),
    Table(header=("check", "found"), rows=(("night", "good"), ("header", "2"))),
    Image(
        values=np.ones((2, 3), np.float32),
        extent=(0, 3, 0, 2),
        c_axis=Axis(label="counts", unit="electron"),
        mask=np.zeros((2, 3), np.uint16),
        stretch="asinh",
    ),
    FocalPlane(x=X, y=X, c=X, c_axis=Axis(label="flux", unit="electron")),
    Line(x=np.empty(0), y=np.empty(0)),
)
BANDS = (Band(low=None, high=4.0, kind="normal"), Band(low=-1.0, high=5.0, kind="warning", label="warning"))


def example() -> tuple[Plot, ...]:
    panel = Panel(
        x=Axis(label="row", unit="pixel", range=(None, 9.0)), y=Axis(label="level", unit="adu", log=True), layers=LAYERS, bands=BANDS, metric="level"
    )
    return (Plot(name="one", title="One", panels=(panel, panel), columns=2, caption="words"), Plot(name="none", title="No panel", panels=()))


def same(a: Any, b: Any) -> bool:
    """Equal in every field, types and dtypes included."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


def test_every_layer_survives_the_way_through_json() -> None:
    skeleton, arrays = pack(example())
    again = unpack(json.loads(json.dumps(skeleton, allow_nan=False)), arrays)
    assert same(again, example())


def test_the_skeleton_holds_no_array() -> None:
    skeleton, arrays = pack(example())
    text = json.dumps(skeleton, allow_nan=False)
    assert len(arrays) == text.count("$array")
    assert all(isinstance(a, np.ndarray) for a in arrays.values())


def test_a_skeleton_of_something_else_is_refused() -> None:
    with pytest.raises(KeyError):
        unpack([{"$type": "Plot", "name": {"$array": "a99"}}], {})
    with pytest.raises(KeyError):
        unpack([{"$type": "os.system"}], {})
    with pytest.raises(TypeError):
        unpack([{"$type": "Axis", "colour": "red"}], {})
