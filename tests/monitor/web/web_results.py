"""Results and products of an exposure as the daemon would have stored them, small: for tests of what pages show."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from quicklook.ccd.exposure import Exposure, FiberMap
from quicklook.ccd.spectra import Frame, Scores, SkyModel, SpecMask
from quicklook.core.keys import Unit
from quicklook.core.results import LimitUsed, MetricResult, PartResult, Provenance, QAResult
from quicklook.core.status import Status
from quicklook.io.spectrafile import write_frame, write_sky

NIGHT, FIBERS, WAVES = 20220101, 6, 300


def metric(name: str, values: list[float | None], *, unit: str = "electron", normal: tuple[float, float] = (0, 4), **coords: list[Any]) -> MetricResult:
    statuses = [None if not normal else Status.UNKNOWN if v is None else Status.NORMAL if normal[0] <= v <= normal[1] else Status.ALARM for v in values]
    worst = max(range(len(values)), key=lambda i: statuses[i].severity if statuses[i] else -1)
    limit = LimitUsed(normal=normal, warning=(normal[0] - 1, normal[1] + 1))
    return MetricResult(name=name, unit=unit, coords=coords, values=values, status=statuses[worst], statuses=statuses, limits=[limit],
                        limit_of=[0] * len(values), worst=worst)  # fmt: skip


def result(expid: int, camera: str, noise: list[float | None], tag: str = "live") -> PartResult:
    number = int(camera[1:])
    fibers = list(range(100 * number, 100 * number + FIBERS))
    qas = [
        QAResult(name="read_noise", step="read", group="CCDs", status=Status.NORMAL, seconds=0.1, metrics=[metric("read_noise", noise, amp=["A", "B"])]),
        QAResult(name="places", step="read", group="Fibres", status=None, seconds=0.1, metrics=[
            metric("fiber_x", [float(i) for i in range(FIBERS)], unit="mm", normal=(-999, 999), fiber=fibers),
            metric("fiber_y", [float(i * i) for i in range(FIBERS)], unit="mm", normal=(-999, 999), fiber=fibers),
            metric("delta_mag", [0.1, None, 0.3, -5.0, 0.2, 0.2], unit="mag", normal=(-1, 1), fiber=fibers),
            metric("sky_peak", [float(i) for i in range(2 * FIBERS)], normal=(-99, 99), line=[5577.0, 6300.0], fiber=fibers),
        ]),
    ]  # fmt: skip
    tags = {"flavor": "science", "start": f"2022-01-02T03:{expid:02d}:00+00:00"}
    return PartResult(night=NIGHT, expid=expid, part=camera, tag=tag, revision=0, tags=tags, status=Status.NORMAL, reasons=[], measured=2, expected=2,
                      steps=[], qas=qas, provenance=Provenance(versions={}, chain="science", config_sha256=tag, limits_sha256=""))  # fmt: skip


def write_spectra(folder: Path, expid: int, scores: Scores | None = None, first_of_sky: int = 0) -> None:
    """A frame and a sky of r0; the sky is that of the fibres from one on."""
    rng = np.random.default_rng(1)
    wave = np.tile(np.linspace(5600.0, 7600.0, WAVES), (FIBERS, 1))
    flux = rng.normal(10, 1, (FIBERS, WAVES)).astype(np.float32)
    ivar, mask = np.ones_like(flux), np.zeros(flux.shape, np.uint32)
    mask[2, 10:20] = int(SpecMask.COSMIC)
    ivar[3] = 0
    flux[4] = 0.1
    fibermap = FiberMap(fiber=np.arange(FIBERS, dtype=np.int32), objtype=("TGT",) * 5 + ("SKY",), source="test",
                        columns={"FIBERASSIGN_X": np.arange(FIBERS) * 1.0, "FIBERASSIGN_Y": np.arange(FIBERS) * 2.0})  # fmt: skip
    frame = Frame(camera="r0", flux=flux, ivar=ivar, mask=mask, wave=wave, sigma=np.ones_like(flux), fibermap=fibermap, unit="electron/Angstrom", stage="frame")
    taken = Exposure(unit=Unit(NIGHT, expid), instrument="desi", flavor="science", exptime=900.0)
    write_frame(folder / f"frame-r0-{expid:08d}.fits", frame, taken, scores=scores)
    sky = SkyModel(flux=flux * 3, ivar=ivar, mask=mask, wave=wave, fibers=(5,), rejected=(), leave_one_out=False, line_error=0.0, wave_error=0.0,
                   wave_noise=math.inf, fiber=np.arange(first_of_sky, first_of_sky + FIBERS, dtype=np.int32))  # fmt: skip
    write_sky(folder / f"sky-r0-{expid:08d}.fits", sky, taken, "r0", fibermap=fibermap)
