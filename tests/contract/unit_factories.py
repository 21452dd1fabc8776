"""The parts of a whole exposure for the contract suite: four spectrographs of three arms, with the metrics that QAs over cameras look at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np

from quicklook.core.hkframes import STATISTICS, ChannelDuring, Excursion, ExposureHousekeeping
from quicklook.core.keys import Unit
from quicklook.core.product import Product
from quicklook.core.results import MetricResult, QAResult
from quicklook.core.severity import Severity
from quicklook.core.status import Status
from quicklook.core.unitparts import PartSummary, UnitParts

ARMS, NUMBERS, NFIBRE = "brz", (0, 3, 5, 8), 30


def metric(name: str, unit: str, values: Any, **coords: Any) -> MetricResult:
    """As a judge without limits leaves it; NaN is null."""
    flat = [None if not np.isfinite(v) else float(v) for v in np.ravel(values)]
    listed = {k: list(v) for k, v in coords.items()}
    return MetricResult(name=name, unit=unit, coords=listed, values=flat, status=None, statuses=[None] * len(flat))


def camera(arm: str, number: int, rng: np.random.Generator, **levels: float) -> PartSummary:
    """A camera whose fibres fill its sector of the focal plane; `levels` are added: mag to delta_mag (by `dim`)."""
    fiber = list(range(500 * number, 500 * number + NFIBRE))
    radius, angle = 400 * np.sqrt((np.arange(NFIBRE) + 1) / NFIBRE), np.deg2rad(36 * (number + np.linspace(0.05, 0.95, NFIBRE) * 7 % 1))
    delta = rng.normal(0.0, 0.05, NFIBRE) + levels.get("dim", 0.0)
    metrics = [
        metric("fiber_x", "mm", radius * np.cos(angle), fiber=fiber),
        metric("fiber_y", "mm", radius * np.sin(angle), fiber=fiber),
        metric("delta_mag", "mag", delta, fiber=fiber),
        metric("sky_light", "", 10 ** (-0.4 * levels.get("dim", 0.0))),
    ]
    qa = QAResult(name="made", step="read", group="Fibres", status=Status.NORMAL, seconds=0.0, metrics=metrics)
    return PartSummary(part=f"{arm}{number}", status=Status.NORMAL, tags={"arm": arm, "spectrograph": str(number)}, qas=(qa,))


def unit_parts(case: Any, number: int) -> UnitParts:
    """Science exposures have what fibres give; of other cases one camera has nothing, and one did not come."""
    rng = np.random.default_rng(100 + number)
    cameras = [camera(arm, n, rng) for arm in ARMS for n in NUMBERS]
    if case.flavor != "science":
        cameras = cameras[1:]
        cameras[0] = PartSummary(part=cameras[0].part, status=None, tags=cameras[0].tags)
    expected = tuple(f"{arm}{n}" for arm in ARMS for n in NUMBERS)
    return UnitParts(unit=Unit(20220101, 100 + number), tags={"flavor": case.flavor}, parts=tuple(cameras), expected=expected)


def exposure_housekeeping(case: Any, number: int) -> ExposureHousekeeping:
    """A channel in order, one that was out of its range, one without a value, one of words; of science exposures nothing could be read of the last two."""
    rng = np.random.default_rng(200 + number)
    values = -120 + rng.normal(0, 0.1, 60)
    about: dict[str, Any] = {"unit": "degC", "samples": 60, "invalid": 2, "away_s": 0.0, "times": np.arange(60.0), "values": values}
    out = Excursion(limit="cold", severity=Severity.ALARM, value=-110.0, bound=-119.0, unit="degC", text="too warm", since=0.0, overlap=0.5)
    numbers = dict(zip(STATISTICS, (-120.0, -120.0, 0.1, 0.4), strict=True))
    channels = (
        ChannelDuring(channel="CCD_TEMP", judged=True, numbers=numbers, **about),
        ChannelDuring(channel="OD_V", judged=True, numbers=numbers, out=(out,), **{**about, "unit": "mV"}),
        ChannelDuring(channel="GONE", unit="furlong", judged=False, note="it has no sample", late=True),
        ChannelDuring(channel="COVER", text=True, samples=3, invalid=1, away_s=0.0),
    )
    found = channels[:2] if case.flavor == "science" else channels
    return ExposureHousekeeping(start=datetime(2022, 1, 2, 3, number, tzinfo=UTC), exptime_s=60.0, channels=found)


FACTORIES: dict[type[Product], Callable[[Any, int], Product]] = {UnitParts: unit_parts, ExposureHousekeeping: exposure_housekeeping}
