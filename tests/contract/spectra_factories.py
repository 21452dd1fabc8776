"""Traces, frames and their calibrations for the contract suite, from the truth of the simulator at its tiny scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.geometry import Section
from quicklook.ccd.spectra import FiberFlat, FluxCalib, Frame, Scores, SkyModel, SpecMask, TraceSet
from quicklook.core.product import Product
from quicklook.sim import SimInstrument, SimulatedCamera, plan_exposure, simulate_exposure

INSTRUMENT = SimInstrument(camera="r0", scale="tiny", seed=11)
AIRMASS_TERM, SEEING_TERM = 0.12, 0.15


def _simulated(case: Any, number: int) -> SimulatedCamera:
    flavor = case.flavor if case.flavor in ("science", "arc", "flat") else "science"
    return simulate_exposure(INSTRUMENT, plan_exposure(flavor, 100 + number))


def trace_set(case: Any, number: int) -> TraceSet:
    traces, layout = INSTRUMENT.hardware.traces, INSTRUMENT.layout
    series = {"x": traces.x, "y": traces.y, "xsig": traces.sigma_x, "ysig": traces.sigma_y}
    return TraceSet(
        **{name: np.array(values, np.float64) for name, values in series.items()},
        wavemin=traces.wave_min,
        wavemax=traces.wave_max,
        npix_x=layout.nx,
        npix_y=layout.ny,
        fiber=np.arange(layout.nfibre, dtype=np.int32),
    )


def fibermap(nfibre: int) -> FiberMap:
    types = tuple("SKY" if i % 3 == 0 else "TGT" for i in range(nfibre))
    status, target = np.zeros(nfibre, np.int32), np.where(np.arange(nfibre) % 3 == 1, 1 << 33, 2).astype(np.int64)
    status[INSTRUMENT.layout.dead_fibre] = 1 << 2
    columns = {
        "FIBERSTATUS": status,
        "DESI_TARGET": target,
        "FLUX_R": np.geomspace(1.0, 100.0, nfibre),
        "FIBERASSIGN_X": np.linspace(-100.0, 100.0, nfibre),
    }
    return FiberMap(fiber=np.arange(nfibre, dtype=np.int32), objtype=types, columns=columns, source="simulated")


def frame(case: Any, number: int) -> Frame:
    """The expected counts with their noise. Bad cases: a case of a bad detector has an amplifier without ivar; NaN never reaches a frame."""
    truth = _simulated(case, number).truth
    width = np.gradient(truth.wave, axis=1)
    variance = truth.spectra.counts + 60.0
    noise = np.random.default_rng(5 + number).normal(size=variance.shape) * np.sqrt(variance)
    ivar, mask = width**2 / variance, np.zeros(variance.shape, np.uint32)
    if case.change is not None or case.faults:
        ivar[: len(ivar) // 2, : ivar.shape[1] // 2] = 0.0
        mask[ivar == 0] = SpecMask.ALLBADPIX
    return Frame(
        camera="r0",
        flux=((truth.spectra.counts + noise) / width).astype(np.float32),
        ivar=ivar.astype(np.float32),
        mask=mask,
        wave=np.ascontiguousarray(truth.wave),
        sigma=(truth.sigma_y * width).astype(np.float32),
        fibermap=fibermap(len(truth.wave)),
        amplifiers=_amplifiers(),
    )


def _amplifiers() -> dict[str, Section]:
    ny, nx = INSTRUMENT.layout.ny, INSTRUMENT.layout.nx
    y, x = (0, ny // 2, ny), (0, nx // 2, nx)
    return {name: Section(y[i // 2], y[i // 2 + 1], x[i % 2], x[i % 2 + 1]) for i, name in enumerate("ABCD")}


def fiberflat(case: Any, number: int) -> FiberFlat:
    wave = np.arange(INSTRUMENT.hardware.traces.wave_min, INSTRUMENT.hardware.traces.wave_max, 0.8)
    n = INSTRUMENT.layout.nfibre
    flat = (np.linspace(0.9, 1.1, n)[:, np.newaxis] + 1e-5 * (wave - wave.mean())).astype(np.float32)
    ivar, mask = np.full(flat.shape, 1e6, np.float32), np.zeros(flat.shape, np.uint32)
    dead = INSTRUMENT.layout.dead_fibre
    ivar[dead], mask[dead] = 0.0, SpecMask.BADFIBERFLAT
    return FiberFlat(flat=flat, ivar=ivar, mask=mask, wave=wave, meanspec=np.full(len(wave), 1e4, np.float32), fiber=np.arange(n, dtype=np.int32))


def sky_model(case: Any, number: int) -> SkyModel:
    made = frame(case, number)
    flux = np.broadcast_to(np.median(made.flux, axis=0), made.flux.shape).astype(np.float32)
    sky = tuple(int(f) for f, kind in zip(made.fibermap.fiber, made.fibermap.objtype, strict=True) if kind == "SKY")
    ivar, mask = np.full(flux.shape, 1.0, np.float32), np.zeros(flux.shape, np.uint32)
    return SkyModel(flux=flux, ivar=ivar, mask=mask, wave=made.wave.copy(), fibers=sky)


def flux_calib(case: Any, number: int) -> FluxCalib:
    wave = np.arange(INSTRUMENT.hardware.traces.wave_min, INSTRUMENT.hardware.traces.wave_max, 0.8)
    one = np.ones(len(wave), np.float32)
    return FluxCalib(calib=0.1 * one, wave=wave, aterm=np.float32(AIRMASS_TERM) * one, sterm=np.float32(SEEING_TERM) * one)


def scores(case: Any, number: int) -> Scores:
    n = INSTRUMENT.layout.nfibre
    columns = {"SUM_RAW_COUNT_R": np.linspace(1e3, 1e5, n), "MEAN_RAW_COUNT_R": np.linspace(1.0, 100.0, n)}
    return Scores(camera="r0", fiber=np.arange(n, dtype=np.int32), columns=columns, units=dict.fromkeys(columns, "electron"))


def calibrated(case: Any, number: int) -> Frame:
    """A frame of the last stage, for steps and QAs that look at calibrated spectra."""
    return replace(frame(case, number), unit="1e-17 erg/(s cm2 Angstrom)", stage="cframe")


FACTORIES: dict[type[Product], Callable[[Any, int], Product]] = {
    TraceSet: trace_set,
    Frame: frame,
    FiberFlat: fiberflat,
    SkyModel: sky_model,
    FluxCalib: flux_calib,
    Scores: scores,
}
