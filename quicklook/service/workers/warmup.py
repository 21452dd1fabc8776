"""Getting warm: a small made-up frame goes through the chains, so that kernels are compiled before the first real one comes."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from quicklook.ccd.calibs import BadPixelMask, Bias, Dark, PixelFlat
from quicklook.ccd.exposure import Arrival, Exposure
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import RawImage
from quicklook.ccd.spectra import TraceSet
from quicklook.core.calibration import Absence, CalibrationSource, CalibrationUsed
from quicklook.core.chain import Chain
from quicklook.core.contract import contract_of
from quicklook.core.judge import Judge
from quicklook.core.keys import PartKey, Unit
from quicklook.core.limits import LimitSet
from quicklook.core.product import Calibration
from quicklook.core.reading import Read, Reading
from quicklook.core.runner import ChainRunner

log = logging.getLogger("quicklook.warmup")

NY, NX, STRIP = 96, 128, 32
WARM_NIGHT = 20210101
_RAW = (NY, NX + STRIP)
_PREFIX = "quicklook-warm-"
_STALE_S = 600.0
"""A process of that number may live where this one cannot see it (a container): its folder is left alone for so long."""
_TYPES: tuple[Literal["int32", "uint16"], ...] = ("int32", "uint16")
"""Types of raw pixels that frames commonly have; each has kernels of its own."""


class _Made:
    """Calibrations that change nothing, of the shape of the made-up frame."""

    def find(self, wanted: type[Calibration], part: PartKey, tags: Mapping[str, str]) -> tuple[Calibration, CalibrationUsed] | None:
        del part, tags
        made: dict[type[Calibration], Any] = {
            Bias: lambda: Bias(pixels=np.zeros(_RAW, np.float32)),
            Dark: lambda: Dark(pixels=np.zeros((NY, NX), np.float32)),
            PixelFlat: lambda: PixelFlat(pixels=np.ones((NY, NX), np.float32)),
            BadPixelMask: lambda: BadPixelMask(pixels=np.zeros((NY, NX), np.uint16)),
        }
        make = made.get(wanted)
        return (make(), CalibrationUsed(kind=wanted.kind, source="made up")) if make else None

    def absence(self, wanted: type[Calibration], part: PartKey, tags: Mapping[str, str]) -> Absence:
        del wanted, part, tags
        return Absence(why="none is made up", what_next="nothing")


def _reading(dtype: str, flavor: str) -> Reading:
    pixels = np.random.default_rng(1).normal(1000.0, 3.0, _RAW).round().astype(dtype)
    amp = Amplifier(
        name="A",
        data=Section(0, NY, 0, NX),
        ccd=Section(0, NY, 0, NX),
        overscan=Section(0, NY, NX, NX + STRIP),
        gain=1.0,
        read_noise=3.0,
        saturation=65535.0,
    )
    unit = Unit(WARM_NIGHT, 1)
    return Reading(
        products=(
            RawImage(camera="warm-up", pixels=pixels, amplifiers=(amp,)),
            Exposure(unit=unit, instrument="warm-up", flavor=flavor, exptime=10.0),
            Arrival(file="warm-up", size=pixels.nbytes, hdus=(), expected_hdus=()),
        ),
        tags={"flavor": flavor},
    )


def _folder() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder named after this process. What workers that were killed meanwhile have left of theirs is removed first."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        pid = left.name.removeprefix(_PREFIX).partition("-")[0]
        with suppress(OSError):
            status = left.lstat()
            is_ours = status.st_uid == os.getuid() and time.time() - status.st_mtime > _STALE_S
            if is_ours and pid.isdigit() and not Path("/proc", pid).exists():
                shutil.rmtree(left)
    return tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-")


def warm_chains(chains: Mapping[str, Chain], limits: LimitSet) -> None:
    """Run every chain on a made-up frame, for each type of raw pixels. What fails is logged and nothing else: a real frame tells better.

    A chain that takes traces gets a small simulated exposure with its calibrations, any other a frame of noise.
    """
    spectral = {flavor: chain for flavor, chain in chains.items() if _takes_traces(chain)}
    for flavor, chain in chains.items():
        if flavor not in spectral:
            for dtype in _TYPES:
                _run(chain, limits, _Made(), lambda d=dtype, f=flavor: _reading(d, f or "science"))  # type: ignore[misc]
    if spectral:
        _warm_spectral(spectral, limits)


def _run(chain: Chain, limits: LimitSet, calibrations: CalibrationSource, read: Read, part: str = "warm-up") -> None:
    runner = ChainRunner(chain=chain, judge=Judge(limits), calibrations=calibrations, clock=time.perf_counter)
    outcome = runner.run(PartKey(Unit(WARM_NIGHT, 1), part), read)
    _tell(chain.name, [s.failure.message for s in outcome.result.steps if s.failure])


def _takes_traces(chain: Chain) -> bool:
    needs = (need for step in chain.steps if step.plugin is not None for need in contract_of(step.plugin).inputs)
    return any(need.type is TraceSet for need in needs)


def _warm_spectral(chains: Mapping[str, Chain], limits: LimitSet) -> None:
    """Simulated exposures go through files and reader as real ones do. Without traces in a chain nothing of this is imported."""
    from quicklook.io.calib import open_calibrations
    from quicklook.io.instrument import load_instrument
    from quicklook.io.reader import open_reader
    from quicklook.sim import FLAVORS, WriteOptions, plan_exposure, sim_instruments, write_calibrations, write_exposure

    reader = open_reader(load_instrument("desi"))
    with _folder() as top:
        for flavor, chain in chains.items():
            folder, scale = Path(top) / (flavor or "any"), "small" if flavor == "arc" else "tiny"  # the tiny image has too few lines for a fit
            cameras = sim_instruments(("r0",), scale=scale)  # type: ignore[arg-type]
            calibrations = open_calibrations(write_calibrations(folder, cameras))
            planned = plan_exposure(flavor if flavor in FLAVORS else "science", 1, night=WARM_NIGHT)  # type: ignore[arg-type]
            for dtype in _TYPES:
                path = write_exposure(folder, planned, cameras, WriteOptions(truth=False, raw_type=dtype))
                _run(chain, limits, calibrations, lambda p=path: reader.read(p, "r0"), "r0")  # type: ignore[misc]


def _tell(chain: str, failures: Iterable[str]) -> None:
    for failure in failures:
        log.info("warm-up of chain %s did not get through: %s", chain, failure)


def warm_decompression() -> None:
    """Read one small tile-compressed file of each type, as frames are read."""
    import fitsio

    from quicklook.io.fitsfile import read_pixels

    with _folder() as folder:
        for dtype in _TYPES:
            path = Path(folder) / f"{dtype}.fits.fz"
            fitsio.write(str(path), np.full((8, 64), 1000, dtype), compress="RICE")
            read_pixels(path, 1)
