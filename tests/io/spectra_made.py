"""Small spectra, traces and calibrations for the tests of their files."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from quicklook.ccd.exposure import Exposure, FiberMap
from quicklook.ccd.geometry import Section
from quicklook.ccd.spectra import FiberFlat, Frame, Scores, SkyModel, TraceSet
from quicklook.core.keys import Unit

START = datetime(2022, 1, 2, 6, 2, tzinfo=UTC)
EXPOSURE = Exposure(
    unit=Unit(20220101, 102), instrument="desi", flavor="science", program="dark", exptime=900.0, start=START, airmass=1.2, seeing=1.25
)
NFIBRE, NWAVE = 6, 40


def fibermap(first: int = 0) -> FiberMap:
    columns = {
        "TARGETID": np.arange(NFIBRE, dtype=np.int64) + 39_000_000_000_000,
        "FLUX_R": np.linspace(0.5, 3.0, NFIBRE),
        "FIBERSTATUS": np.array([0, 0, 4, 0, 0, 0], np.int32),
        "PHOTSYS": np.array(["S", "N", "", "S", "S", "N"]),
        "DESI_TARGET": np.array([2, 1 << 32, 2, 1 << 33, 1, 4], np.int64),
    }
    types = ("TGT", "SKY", "BAD", "TGT", "TGT", "TGT")
    return FiberMap(fiber=np.arange(first, first + NFIBRE, dtype=np.int32), objtype=types, columns=columns, source="fibermap-00000102.fits")


def frame(stage: str = "frame", unit: str = "electron/Angstrom") -> Frame:
    rng = np.random.default_rng(3)
    wave = 9000.0 + np.linspace(0.0, 0.011, NFIBRE)[:, np.newaxis] + 0.6 * np.arange(NWAVE)
    mask = rng.integers(0, 1 << 31, (NFIBRE, NWAVE)).astype(np.uint32)
    mask[:, 5:] = 0
    mask[2, 7] = np.uint32(1 << 31)
    return Frame(
        camera="r0",
        flux=rng.normal(10.0, 1.0, (NFIBRE, NWAVE)).astype(np.float32),
        ivar=np.full((NFIBRE, NWAVE), 0.25, np.float32),
        mask=mask,
        wave=wave,
        sigma=np.full((NFIBRE, NWAVE), 0.65, np.float32),
        fibermap=fibermap(),
        unit=unit,
        stage=stage,
        assumed=("airmass 1.0", "seeing 1.1 arcsec, as when the calibration was made"),
        amplifiers={"D": Section(0, 40, 0, 20), "upper left": Section(40, 80, 0, 20)},
    )


def scores() -> Scores:
    columns = {"TSNR2_ELG_R": np.arange(6.0), "SUM_RAW": np.arange(6.0)}
    return Scores(camera="r0", fiber=np.arange(NFIBRE, dtype=np.int32), columns=columns, units={"SUM_RAW": "electron"})


def sky() -> SkyModel:
    one = frame()
    planes = {name: getattr(one, name).copy() for name in ("flux", "ivar", "mask", "wave")}
    return SkyModel(**planes, fibers=(1, 4), rejected=(3,), leave_one_out=True, line_error=0.01)


def fiberflat() -> FiberFlat:
    rng = np.random.default_rng(4)
    shape = (NFIBRE, NWAVE)
    return FiberFlat(
        flat=rng.normal(1.0, 0.05, shape).astype(np.float32),
        ivar=np.full(shape, 1e4, np.float32),
        mask=np.zeros(shape, np.uint32),
        wave=9000.0 + 0.8 * np.arange(NWAVE),
        meanspec=np.full(NWAVE, 1e4, np.float32),
        fiber=np.arange(NFIBRE, dtype=np.int32),
    )


def traces(widths: bool = True, fiber: np.ndarray | None = None) -> TraceSet:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(NFIBRE, 4)), rng.normal(size=(NFIBRE, 4))
    x[:, 0] += 8.0 + 8.0 * np.arange(NFIBRE)
    y[:, :2] += (55.0, 50.0)
    return TraceSet(
        x=x,
        y=y,
        wavemin=5543.0,
        wavemax=7826.0,
        npix_x=60,
        npix_y=110,
        fiber=np.arange(NFIBRE, dtype=np.int32) if fiber is None else fiber,
        xsig=np.full((NFIBRE, 2), 1.1) if widths else None,
        ysig=np.full((NFIBRE, 3), 1.2) if widths else None,
    )
