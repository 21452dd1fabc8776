"""Declaration and values of metrics."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from quicklook.core.metrics import Measures, MetricDef, measured, not_applicable


@pytest.mark.parametrize("name", ["", "Read Noise", "readNoise", "2nd", "read-noise", "noise\n"])
def test_a_metric_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="lower-case"):
        MetricDef(name, "electron", doc="what it is")


def test_a_metric_has_a_doc() -> None:
    with pytest.raises(ValueError, match="noise: doc is empty"):
        MetricDef("noise", "electron", doc="  ")


def test_values_have_one_axis_per_coordinate() -> None:
    got = measured("noise", [[1, 2, 3], [4, 5, 6]], amp=("A", "B"), line=(1, 2, 3))
    assert got.values.dtype == np.float64
    assert got.coords == {"amp": ("A", "B"), "line": (1, 2, 3)}
    with pytest.raises(ValueError, match=r"noise: values of shape \(2,\), coordinates of \(3,\)"):
        measured("noise", [1, 2], amp=("A", "B", "C"))
    with pytest.raises(ValueError, match="coordinates of"):
        measured("noise", 1.0, amp=("A",))


def test_a_scalar_has_no_coordinates() -> None:
    assert measured("noise", 3).values.shape == ()


def test_values_are_a_read_only_copy() -> None:
    mine = np.array([1.0, 2.0])
    got = measured("noise", mine, amp=("A", "B"))
    mine[0] = 99.0
    assert got.values[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        got.values[0] = 3.0


def test_a_remark_may_be_keyed_by_the_bare_coordinate() -> None:
    got = measured("noise", [1.0, 2.0], amp=("A", "B"), remarks={"A": "odd", ("B",): "odder"})
    assert got.remarks == {("A",): "odd", ("B",): "odder"}


def test_what_does_not_apply_has_no_values() -> None:
    got = not_applicable("noise", "no fibre is lit")
    assert got.values.size == 0
    assert got.not_applicable == "no fibre is lit"


def test_measures_are_found_by_name_and_can_be_pickled() -> None:
    measures = Measures((measured("noise", [1.0, np.nan], amp=("A", "B")),), facts={"file": "x"})
    again = pickle.loads(pickle.dumps(measures))
    np.testing.assert_array_equal(again["noise"].values, [1.0, np.nan])
    with pytest.raises(KeyError, match="other"):
        measures["other"]
