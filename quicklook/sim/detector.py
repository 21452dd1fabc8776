"""From expected electrons to raw ADU: photon noise, cosmic rays, amplifiers, read-out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quicklook.sim.faults import Fault, find_fault
from quicklook.sim.geometry import Layout, Section
from quicklook.sim.instrument import FULL_WELL_E, SATURATION_ADU, SimInstrument
from quicklook.sim.plan import PlannedExposure
from quicklook.sim.streams import Purpose, stream

COSMICS_PER_PIXEL_S = 1.1e-7
"""Tracks per pixel and second, that of DESI's thick CCDs (some two a second on a full image)."""
READOUT_S = 60.0
"""Seconds during which the image collects cosmic rays although the shutter is closed."""
TRACK_E_PER_PIXEL = 450.0
_STEP = 0.25  # pixel between the points of a track


def cosmic_rays(instrument: SimInstrument, expid: int, exptime: float, faults: Sequence[Fault] = ()) -> tuple[NDArray[np.int32], int]:
    """Electrons of cosmic rays [ny, nx], int32, and the number of tracks; the fault cosmics_storm has more of them.

    Straight tracks of exponential length (long ones are rare), charge per pixel log-normal, each point of a track
    spread by diffusion.
    """
    layout = instrument.layout
    rng = stream(instrument.seed, Purpose.COSMICS, instrument.code, expid)
    storm = find_fault(faults, "cosmics_storm", instrument.camera)
    rate = COSMICS_PER_PIXEL_S * (storm.value if storm else 1.0)
    count = int(rng.poisson(rate * layout.ny * layout.nx * (exptime + READOUT_S)))
    length = 1.0 + rng.exponential(np.where(rng.uniform(size=count) < 0.9, 7.0, 50.0))
    angle, charge = rng.uniform(0.0, 2.0 * np.pi, count), rng.lognormal(np.log(TRACK_E_PER_PIXEL), 0.6, count)
    y0, x0 = rng.uniform(0, layout.ny, count), rng.uniform(0, layout.nx, count)
    points = np.ceil(length / _STEP).astype(np.int64)
    track = np.repeat(np.arange(count), points)
    along = _STEP * (np.arange(len(track)) - np.repeat(np.cumsum(points) - points, points))
    jitter = rng.normal(0.0, 0.25, (2, len(track)))
    y = np.rint(y0[track] + along * np.sin(angle)[track] + jitter[0]).astype(np.int64)
    x = np.rint(x0[track] + along * np.cos(angle)[track] + jitter[1]).astype(np.int64)
    deposit = charge[track] * _STEP * rng.gamma(4.0, 0.25, len(track))  # energy loss fluctuates along the track
    ok = (y >= 0) & (y < layout.ny) & (x >= 0) & (x < layout.nx)
    image = np.bincount(y[ok] * layout.nx + x[ok], weights=deposit[ok], minlength=layout.ny * layout.nx)
    return np.rint(image).astype(np.int32).reshape(layout.ny, layout.nx), count


def detect(instrument: SimInstrument, expid: int, expected: NDArray[np.float32], cosmics: NDArray[np.int32]) -> NDArray[np.float32]:
    """Electrons collected in the pixels [ny, nx], float32: Poisson about the expected ones, cosmic rays, full well."""
    rng = stream(instrument.seed, Purpose.PHOTONS, instrument.code, expid)
    electrons = rng.poisson(expected).astype(np.float32) if expected.any() else np.zeros(expected.shape, np.float32)
    electrons += cosmics
    return np.minimum(electrons, np.float32(FULL_WELL_E), out=electrons)


def read_noise(instrument: SimInstrument, planned: PlannedExposure) -> tuple[float, ...]:
    """True read noise of the four amplifiers in an exposure, electrons."""
    noise = [n * planned.noise_factor for n in instrument.hardware.rdnoise]
    fault = find_fault(planned.faults, "hot_noise_amp", instrument.camera)
    if fault is not None:
        noise[fault.amp_index] *= fault.value
    return tuple(noise)


def read_out(instrument: SimInstrument, planned: PlannedExposure, electrons: NDArray[np.float32]) -> NDArray[np.int32]:
    """Raw image [raw shape], int32 ADU from 0 to 65535: bias, drift, gain, read noise, then the faults of amplifiers."""
    layout, hardware = instrument.layout, instrument.hardware
    rng = stream(instrument.seed, Purpose.READOUT, instrument.code, planned.expid)
    raw = rng.standard_normal(layout.raw_shape, dtype=np.float32)
    noise = read_noise(instrument, planned)
    drift = bias_drift(instrument, planned.expid)
    for amp in layout.amps:
        gain = hardware.gain[amp.index]
        area = raw[amp.area.slices]
        area *= np.float32(noise[amp.index] / gain)
        area += hardware.bias[amp.area.slices]
        area += (hardware.pedestal[amp.index] + drift[amp.index][:, np.newaxis]).astype(np.float32)
        raw[amp.data.slices] += electrons[amp.ccd.slices] / np.float32(gain)
    _add_bias_step(raw, instrument, planned.faults)
    adu = np.clip(np.rint(raw, out=raw), 0, SATURATION_ADU, out=raw).astype(np.int32)
    _kill_amps(adu, instrument, planned.faults)
    return adu


def bias_drift(instrument: SimInstrument, expid: int) -> NDArray[np.float64]:
    """Drift of the bias of each amplifier along its rows, ADU [4, raw rows / 2]; zero unless the instrument has it."""
    rows = np.linspace(0.0, 1.0, instrument.layout.raw_shape[0] // 2)
    if instrument.bias_drift == 0.0:
        return np.zeros((4, len(rows)))
    rng = stream(instrument.seed, Purpose.DRIFT, instrument.code, expid)
    slope, phase = rng.uniform(-1.0, 1.0, (4, 1)), rng.uniform(0.0, 2.0 * np.pi, (4, 1))
    shape = slope * rows + 0.4 * np.sin(3.0 * np.pi * rows + phase)
    shape -= shape.mean(axis=1, keepdims=True)
    drift: NDArray[np.float64] = instrument.bias_drift * shape / np.ptp(shape, axis=1, keepdims=True)
    return drift


def late_half(layout: Layout, index: int) -> Section:
    """The half of an amplifier's area that is read last: its rows away from the edge of the detector."""
    area = layout.amps[index].area
    middle = (area.y0 + area.y1 + 1) // 2
    return Section(x0=area.x0, x1=area.x1, y0=area.y0 if index >= 2 else middle, y1=middle - 1 if index >= 2 else area.y1)


def _add_bias_step(raw: NDArray[np.float32], instrument: SimInstrument, faults: Sequence[Fault]) -> None:
    fault = find_fault(faults, "bias_step", instrument.camera)
    if fault is not None:
        raw[late_half(instrument.layout, fault.amp_index).slices] += np.float32(fault.value)


def _kill_amps(adu: NDArray[np.int32], instrument: SimInstrument, faults: Sequence[Fault]) -> None:
    for fault in faults:
        if not fault.hits(instrument.camera) or fault.name not in ("dead_amp", "saturated_amp"):
            continue
        constant = SATURATION_ADU if fault.name == "saturated_amp" else round(instrument.hardware.pedestal[fault.amp_index])
        adu[instrument.layout.amps[fault.amp_index].area.slices] = constant
