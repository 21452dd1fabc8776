"""The QA of the calibrations that a frame was processed with."""

from __future__ import annotations

import math
from typing import Any

import pytest

from qa.calibrations import Calibrations, CalibrationsParams
from quicklook.core.calibration import Absence, CalibrationsUsed, CalibrationUsed
from quicklook.core.errors import NotApplicable
from quicklook.core.judge import Judge
from quicklook.core.limits import load_limits
from quicklook.core.results import MetricResult
from quicklook.core.status import Status
from quicklook.io.configfiles import find_config
from quicklook.service.site import declared_metrics


def used(kind: str, age: float | None, stale: float | None = None, renewal: str = "") -> CalibrationUsed:
    return CalibrationUsed(kind=kind, source=f"/calib/{kind}.fits", age_days=age, stale_days=stale, renewal=renewal)


def judged(seen: CalibrationsUsed, **params: Any) -> dict[str, MetricResult]:
    measures = Calibrations(CalibrationsParams(**params)).measure(seen)
    limits = load_limits([find_config("limits", "default")], declared_metrics(), {"flavor", "camera", "arm"})
    return {m.name: m for m in Judge(limits).measures(Calibrations.metrics, measures, {"flavor": "science"})}


def test_a_stale_one_is_a_warning_that_says_what_makes_another() -> None:
    found = judged(CalibrationsUsed(used=(used("bias", 31.0, 30.0, "`make bias` makes one"), used("psf", 3.0, 7.0), used("dark", 1e4))))
    assert found["calibration_age"].values == [31.0, 3.0, 1e4]
    assert found["calibration_age"].status is None
    assert found["calibration_stale"].statuses == [Status.WARNING, Status.NORMAL, Status.NORMAL]
    assert "bias: bias.fits is 31 days old, it may be 30 days old; `make bias` makes one" in found["calibration_stale"].reason
    assert found["calibration_lacking"].status is Status.NORMAL


def test_one_without_a_night_may_be_stale() -> None:
    found = judged(CalibrationsUsed(used=(used("bias", None, 30.0), used("psf", None))))
    assert found["calibration_age"].values == [None, None]
    assert found["calibration_stale"].statuses == [Status.WARNING, Status.NORMAL]
    assert "is of an unknown night" in found["calibration_stale"].reason


def test_a_provisional_one_is_a_warning_in_every_verdict() -> None:
    seen = CalibrationsUsed(used=(used("bias", 1.0), used("fluxcal", 1.0).model_copy(update={"quality": "provisional"})))
    found = judged(seen)["calibration_provisional"]
    assert found.statuses == [Status.NORMAL, Status.WARNING]
    assert "fluxcal: fluxcal.fits is provisional" in found.reason
    assert judged(CalibrationsUsed(used=(used("bias", 1.0),)))["calibration_provisional"].status is Status.NORMAL
    absent = CalibrationsUsed(absent={"bias": Absence(why="none", what_next="")})
    assert judged(absent)["calibration_provisional"].not_applicable == "no calibration was used"


def test_what_should_be_there_and_is_not() -> None:
    absent = {
        "dark": Absence(why="1 of r0 in calib.yaml, none usable", what_next="`make dark` makes one", expected=True),
        "mask": Absence(why="none", what_next=""),
    }
    seen = CalibrationsUsed(used=(used("bias", 1.0),), absent=absent)
    found = judged(seen)["calibration_lacking"]
    assert dict(zip(found.coords["kind"], found.statuses, strict=True)) == {"bias": Status.NORMAL, "dark": Status.WARNING, "mask": Status.NORMAL}
    assert "dark: 1 of r0 in calib.yaml, none usable; `make dark` makes one" in found.reason
    assert judged(seen, ignore=["dark"])["calibration_lacking"].status is Status.NORMAL


def test_none_was_used() -> None:
    found = judged(CalibrationsUsed(absent={"bias": Absence(why="none", what_next="")}))
    assert found["calibration_age"].not_applicable == "no calibration was used"
    assert found["calibration_lacking"].values == [0.0]
    with pytest.raises(NotApplicable, match="no calibration was asked for"):
        Calibrations().measure(CalibrationsUsed())
    with pytest.raises(NotApplicable):
        Calibrations(CalibrationsParams(ignore=("bias",))).measure(CalibrationsUsed(used=(used("bias", 1.0),)))


def test_ages_are_drawn() -> None:
    plot = Calibrations().measure(CalibrationsUsed(used=(used("bias", 2.0), used("psf", None)))).plots[0]
    layer: Any = plot.panels[0].layers[0]
    assert layer.names == ("bias", "psf")
    assert layer.heights[0] == 2.0
    assert math.isnan(layer.heights[1])
