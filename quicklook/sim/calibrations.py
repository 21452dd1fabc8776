"""The calibrations of simulated cameras as a DESI tree: the truth of the hardware, but for a little noise in the fibre flat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quicklook.sim.faults import Fault, find_fault
from quicklook.sim.fitsfiles import image_hdu, publish, write_hdus
from quicklook.sim.headers import CCD_CONFIG, CCD_TIMING, Card, Cards
from quicklook.sim.instrument import SATURATION_ADU, SimInstrument
from quicklook.sim.plan import plan_exposure
from quicklook.sim.spectra import AIRMASS_TERM, FLAT_E_PER_ANGSTROM_S, REFERENCE_AIRMASS, REFERENCE_SEEING, SEEING_TERM, band_shape, calibration
from quicklook.sim.streams import Purpose, stream
from quicklook.sim.targets import fibre_throughput
from quicklook.sim.traces import Floats
from quicklook.sim.truthfiles import write_traces

WAVE_STEP = 0.8
"""Angstrom between the samples of spectral calibrations."""
FIBERFLAT_NOISE = 0.001
BLOCK_SHARE = 16
"""The side of the block that nan_calib puts into the pixel flat is its strength over this, in pixel (at most a quarter of the image)."""


def write_calibrations(out: Path, instruments: Sequence[SimInstrument], faults: Sequence[Fault] = ()) -> Path:
    """Write a calibration tree and return its folder, <out>/calib.

    spec/sm<SPECID>/: bias (ADU, raw shape, without the pedestal), dark (electron/s), pixflat, mask (PixelMask bits), psf (traces), fiberflat,
    fluxcalib (average, with airmass and seeing terms), and sm<SPECID>-<arm>.yaml that lists them; beside, fluxcalib-perfibre-<camera>.fits for a
    science exposure of the usual length, airmass and seeing. `faults`: nan_calib is put into the pixel flat, others have no effect here.
    """
    for instrument in instruments:
        folder = out / "calib" / "spec" / f"sm{instrument.specid}"
        _write_images(folder, instrument, faults)
        write_traces(folder / f"psf-{instrument.camera}.fits", instrument, instrument.hardware.traces)
        wave = spectral_grid(instrument)
        _write(folder / f"fiberflat-{instrument.camera}.fits", _fiberflat_hdus(instrument, wave))
        _write(folder / f"fluxcalib-{instrument.camera}.fits", _average_hdus(instrument, wave))
        _write(out / "calib" / f"fluxcalib-perfibre-{instrument.camera}.fits", _perfibre_hdus(instrument, wave))
        _write_yaml(folder / f"sm{instrument.specid}-{instrument.arm}.yaml", instrument)
    return out / "calib"


def _write(path: Path, hdus: list[Any]) -> None:
    publish(path, lambda hidden: write_hdus(hidden, hdus, sums=True))


def _write_images(folder: Path, instrument: SimInstrument, faults: Sequence[Fault]) -> None:
    hardware = instrument.hardware
    images: dict[str, tuple[NDArray[Any], str]] = {
        "bias": (hardware.bias, "ADU"),
        "dark": (hardware.dark, "electron/s"),
        "pixflat": (_pixel_flat(instrument, faults), ""),
        "mask": (hardware.mask, ""),
    }
    for kind, (data, unit) in images.items():
        cards = (*_identity(instrument), Card("BUNIT", unit))
        _write(folder / f"{kind}-{instrument.camera}.fits", [image_hdu("IMAGE", data, cards)])


def _identity(instrument: SimInstrument) -> Cards:
    return (Card("CAMERA", instrument.camera), Card("DETECTOR", instrument.detector))


def _pixel_flat(instrument: SimInstrument, faults: Sequence[Fault]) -> NDArray[np.float32]:
    flat, fault = instrument.hardware.pixflat, find_fault(faults, "nan_calib", instrument.camera)
    if fault is None:
        return flat
    flat = flat.copy()
    ny, nx = flat.shape
    side = min(round(fault.value / BLOCK_SHARE), ny // 4, nx // 4)
    flat[ny // 3 : ny // 3 + side, nx // 3 : nx // 3 + side] = np.nan
    rng = stream(instrument.seed, Purpose.HARDWARE, instrument.code, 1)
    count = round(fault.value)
    flat[rng.integers(0, ny, count), rng.integers(0, nx, count)] = np.nan
    return flat


def spectral_grid(instrument: SimInstrument) -> Floats:
    """Wavelengths of spectral calibrations, Angstrom: all that the traces reach."""
    traces = instrument.hardware.traces
    grid: Floats = np.arange(traces.wave_min, traces.wave_max, WAVE_STEP)
    return grid


def _fiberflat_hdus(instrument: SimInstrument, wave: Floats) -> list[Any]:
    """With noise of a thousandth, as from many exposures; the dead fibre has 1, no ivar and a mask."""
    flat = fibre_throughput(instrument, wave[np.newaxis, :])
    rng = stream(instrument.seed, Purpose.HARDWARE, instrument.code, 2)
    flat = flat + FIBERFLAT_NOISE * rng.standard_normal(flat.shape)
    ivar, mask = np.full(flat.shape, FIBERFLAT_NOISE**-2, np.float32), np.zeros(flat.shape, np.uint32)
    dead = instrument.layout.dead_fibre
    flat[dead], ivar[dead], mask[dead] = 1.0, 0.0, 1
    mean = FLAT_E_PER_ANGSTROM_S * band_shape(instrument.arm, wave)
    first = 500 * instrument.spectrograph
    cards = (*_identity(instrument), Card("BUNIT", ""), Card("FIBERMIN", first), Card("FIBERMAX", first + len(flat) - 1))
    return [
        image_hdu("FIBERFLAT", flat.astype(np.float32), cards),
        image_hdu("IVAR", ivar),
        image_hdu("MASK", mask),
        image_hdu("MEANSPEC", mean.astype(np.float32), (Card("BUNIT", "electron/Angstrom"),)),
        image_hdu("WAVELENGTH", wave, (Card("BUNIT", "Angstrom"),)),
    ]


def _average_hdus(instrument: SimInstrument, wave: Floats) -> list[Any]:
    """Electrons per 1e-17 erg/cm2 at the reference airmass and seeing."""
    planned = plan_exposure("science", 0, exptime=1.0, airmass=REFERENCE_AIRMASS, seeing=REFERENCE_SEEING)
    calib = calibration(instrument.arm, planned, wave)
    one = np.ones(len(wave), np.float32)
    return [
        image_hdu("FLUXCALIB", calib.astype(np.float32), (*_identity(instrument), Card("BUNIT", "10**+17 cm2 count / erg"))),
        image_hdu("ATERM", np.float32(AIRMASS_TERM) * one, (Card("PAIRMASS", REFERENCE_AIRMASS),)),
        image_hdu("STERM", np.float32(SEEING_TERM) * one, (Card("PSEEING", REFERENCE_SEEING),)),
        image_hdu("WAVELENGTH", wave, (Card("BUNIT", "Angstrom"),)),
    ]


def _perfibre_hdus(instrument: SimInstrument, wave: Floats) -> list[Any]:
    """Electrons per 1e-17 erg/(s cm2) of an exposure of the usual length: the exposure time is in it."""
    calib = calibration(instrument.arm, plan_exposure("science", 0), wave)
    every = np.ascontiguousarray(np.broadcast_to(calib, (instrument.layout.nfibre, len(wave))), np.float32)
    cards = (*_identity(instrument), Card("BUNIT", "10**+17 cm2 count s / erg"), Card("FIBERMIN", 500 * instrument.spectrograph))
    return [
        image_hdu("FLUXCALIB", every, cards),
        image_hdu("IVAR", np.full(every.shape, 100.0, np.float32)),
        image_hdu("MASK", np.zeros(every.shape, np.uint32)),
        image_hdu("WAVELENGTH", wave, (Card("BUNIT", "Angstrom"),)),
    ]


def _write_yaml(path: Path, instrument: SimInstrument) -> None:
    first = 500 * instrument.spectrograph
    low = ",".join(str(first + i) for i in instrument.low_fibres)
    kinds = ("bias", "dark", "pixflat", "mask", "psf", "fiberflat", "fluxcalib")
    entries = {kind.upper(): f"spec/sm{instrument.specid}/{kind}-{instrument.camera}.fits" for kind in kinds}
    entries |= {"DETECTOR": instrument.detector, "CCDCFG": CCD_CONFIG, "CCDTMING": CCD_TIMING}
    entries |= {"BROKENFIBERS": f"'{first + instrument.layout.dead_fibre}'"}
    entries |= {"LOWTRANSMISSIONFIBERS": f"'{low}'"} if low else {}
    entries |= {"DATE-OBS-BEGIN": "'20200101'", "DATE-OBS-END": "'20391231'"}
    entries |= {"SATURLEV" + name: str(SATURATION_ADU) for name in instrument.amp_names}
    listed = "".join(f"    {key}: {entries[key]}\n" for key in sorted(entries))
    text = f"sm{instrument.specid}-{instrument.arm}:\n  V20200101:\n{listed}"
    publish(path, lambda hidden: _write_text(hidden, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
