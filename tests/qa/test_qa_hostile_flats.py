"""No spectrum makes a QA of lamps and fibres raise anything but NotApplicable, or state a value that is no number without saying so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import qa_spectra as s

from qa.fiber_throughput import FiberThroughput
from qa.flat_level import FlatLevel
from qa.good_fibers import GoodFibers
from qa.lamp_state import LampState
from quicklook.ccd.calibs import ReferenceFlat
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import FiberFlat, Frame, SkyModel
from quicklook.core.errors import NotApplicable
from quicklook.core.keys import Unit
from quicklook.core.metrics import Measures
from quicklook.core.plots import pack

NUMBER = np.arange(500, 500 + s.NFIBRE, dtype=np.int32)
BAD = (np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0, -1.0)


def spoilt(value: float, part: float, what: str, seed: int) -> Frame:
    rng = np.random.default_rng(seed)
    hit = rng.uniform(size=(s.NFIBRE, s.NWAVE)) < part
    frame = s.extracted(seed)
    flux, ivar = frame.flux.copy(), frame.ivar.copy()
    (flux if what == "flux" else ivar)[hit] = value
    return replace(frame, flux=flux, ivar=ivar)


def all_of(frame: Frame) -> list[Measures]:
    shape = (s.NFIBRE, 40)
    flat = FiberFlat(
        flat=np.ones(shape, np.float32), ivar=np.ones(shape, np.float32), mask=np.zeros(shape, np.uint32),
        wave=np.linspace(5990, 6210, 40), meanspec=np.ones(40, np.float32), fiber=NUMBER.copy(),
    )  # fmt: skip
    sky = SkyModel(
        flux=np.tile(s.sky_spectrum(), (s.NFIBRE, 1)).astype(np.float32), ivar=np.ones(frame.flux.shape, np.float32),
        mask=np.zeros(frame.flux.shape, np.uint32), wave=frame.wave, fibers=(500,), fiber=NUMBER.copy(),
    )  # fmt: skip
    reference = ReferenceFlat(fiber=NUMBER.copy(), level=np.ones(s.NFIBRE))
    out = []
    for flavor in ("arc", "flat", "science"):
        exposure = Exposure(unit=Unit(20220101, 1), instrument="desi", flavor=flavor, exptime=10.0)
        for qa, args in (
            (FiberThroughput(), (frame, exposure, flat, sky)), (FlatLevel(), (frame, exposure, None, flat)),
            (FlatLevel(), (frame, exposure, reference, None)), (LampState(), (frame,)), (GoodFibers(), (frame, exposure)),
        ):  # fmt: skip
            try:
                out.append(qa.measure(*args))
            except NotApplicable:
                continue
    return out


@pytest.mark.parametrize("what", ["flux", "ivar"])
@pytest.mark.parametrize("part", [0.01, 0.6, 1.0])
@pytest.mark.parametrize("value", BAD)
def test_any_spectra(value: float, part: float, what: str) -> None:
    for measures in all_of(spoilt(value, part, what, seed=1)):
        pack(measures.plots)
        assert all(m.not_applicable or m.remarks for m in measures.metrics if np.isnan(m.values).any())
