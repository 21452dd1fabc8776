"""Raw frames of a long slit with known truth, in the form of Kast's blue arm: what `configs/instruments/kast_blue.yaml` describes.

Places are those of the image as it is worked on, [ny, nx]: rows along the dispersion, columns along the slit. The slit is lit from edge to edge by a
lamp or by the sky, its image is tilted and curved, and an object lies across it. There are no cosmic rays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quicklook.sim.fitsfiles import empty_hdu, image_hdu, publish, table_hdu, write_hdus
from quicklook.sim.headers import Card
from quicklook.sim.instrument import DEFAULT_SEED
from quicklook.sim.lines import lamp_lines, sky_lines
from quicklook.sim.streams import Purpose, stream

Floats = NDArray[np.float64]
SlitFlavor = Literal["zero", "flat", "arc", "science"]

NY, NX, OVERSCAN = 2048, 350, 32
FIRST, LENGTH, TILT = 22.4, 305.0, 1.5
"""Column of the edge of the slit at row 0, and its length; how far it moves from the first row to the last (pixel)."""
MIDDLE, DISPERSION, BEND, CURVE = 4560.0, 1.02, 0.012, 1.6
"""Wavelength of the middle (vacuum Angstrom), Angstrom a row there, its relative change to the ends, bow of a line at the ends of the slit (rows)."""
SIGMA_Y, SIGMA_X, BLUR = 1.9, 4.0, 0.7
"""Gaussian sigma of lines, of the object along the slit, of the edges of the slit (pixel)."""
GAIN, READ_NOISE, PEDESTAL = (1.205, 1.243), (3.44, 3.36), (1012.0, 1041.0)
"""Of both amplifiers: electron/ADU, electron, ADU."""
LAMPS = ("Hg", "Cd", "He")
_KAST = 200
"""In place of the number of a camera in the random streams."""
_EXPTIME: dict[SlitFlavor, float] = {"zero": 0.0, "flat": 15.0, "arc": 30.0, "science": 600.0}
_LAMP_CARDS: dict[SlitFlavor, tuple[str, ...]] = {"flat": ("LAMPSTA1",), "arc": ("LAMPSTAF", "LAMPSTAG", "LAMPSTAK")}
_FLAT, _SKY, _OBJECT = 9000.0, 110.0, 5000.0
"""Electrons a pixel of the flat, a pixel of the sky and a row of the object, in the middle, in their exposures."""
_LINE, _SKY_LINE = 0.1, 2.0
"""Light of the lines in a pixel of the slit, in parts of what a fibre of the fibre-fed simulation gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlitExposure:
    """What is exposed. `moved`: pixels that the image of the slit lies off along the slit; `flexure`: rows that its lines lie off."""

    flavor: SlitFlavor
    number: int
    seed: int = DEFAULT_SEED
    moved: float = 0.0
    flexure: float = 0.0
    place: float = 0.55
    """Of the object, in parts of the slit."""
    object: float = 1.0
    """Light of the object, in units of the usual one; 0 for none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlitFrame:
    """A raw frame and its truth: expected `electrons` float64 [ny, nx] of the image, `first` and `last` column of the light of each row [ny]."""

    raw: NDArray[np.uint16]
    cards: tuple[Card, ...]
    electrons: Floats
    first: Floats
    last: Floats


def slit_wave(row: Floats, column: Floats) -> Floats:
    """Vacuum Angstrom at places of the image without flexure; rows rise with it."""
    t = (row - _bow(column) - 0.5 * (NY - 1)) / (0.5 * NY)
    return np.asarray(MIDDLE + 0.5 * NY * DISPERSION * (t + 0.5 * BEND * t**2))


def slit_row(wave: Floats, column: Floats) -> Floats:
    """Row of a wavelength at a column: the inverse of `slit_wave`."""
    s = (wave - MIDDLE) / (0.5 * NY * DISPERSION)
    return np.asarray(0.5 * (NY - 1) + 0.5 * NY * (np.sqrt(1.0 + 2.0 * BEND * s) - 1.0) / BEND + _bow(column))


def _bow(column: Floats) -> Floats:
    return np.asarray(CURVE * ((column - FIRST - 0.5 * LENGTH) / (0.5 * LENGTH)) ** 2)


def simulate_slit(planned: SlitExposure) -> SlitFrame:
    """Simulate a frame. The same plan gives the same frame."""
    row, column = np.arange(NY, dtype=np.float64), np.arange(NX, dtype=np.float64)
    first = FIRST - 0.5 + TILT * row / NY + planned.moved
    electrons = _expected(planned, column, first)
    rng = stream(planned.seed, Purpose.PHOTONS, _KAST, planned.number)
    collected = rng.poisson(electrons).astype(np.float64)
    return SlitFrame(raw=_read_out(planned, collected), cards=_cards(planned), electrons=electrons, first=first, last=first + LENGTH)


def _expected(planned: SlitExposure, column: Floats, first: Floats) -> Floats:
    if planned.flavor == "zero":
        return np.zeros((NY, NX))
    lit = _lit(column[None, :] - first[:, None])  # whatever the light is of: the slit is not equally wide everywhere
    moved = column - planned.moved
    along = np.linspace(-1.0, 1.0, NY)[:, None]
    if planned.flavor == "arc":
        lines = lamp_lines(*_range(), lamps=LAMPS)
        return lit * (2.0 + _LINE * _lines(*lines, moved, planned))
    if planned.flavor == "flat":
        return np.asarray(_FLAT * lit * np.exp(1.1 * along - 0.6 * along**2))
    sky = _SKY * (1.0 + 0.25 * along) + _SKY_LINE * _lines(*sky_lines(*_range()), moved, planned)
    centre = first + planned.place * LENGTH
    offset = (column[None, :] - centre[:, None]) / SIGMA_X
    light = _OBJECT * planned.object * (1.0 - 0.3 * along) / (np.sqrt(2.0 * np.pi) * SIGMA_X)
    return np.asarray(lit * (sky + light * np.exp(-0.5 * offset**2)))


def _range() -> tuple[float, float]:
    middle = np.array([FIRST + 0.5 * LENGTH])
    return float(slit_wave(np.array([-10.0]), middle)[0]), float(slit_wave(np.array([NY + 10.0]), middle)[0])


def _lit(beyond: Floats) -> Floats:
    """Part of the light that a slit lets through at places so many pixels `beyond` its first edge; the edges are blurred."""
    from scipy.special import ndtr

    place = np.clip(beyond / LENGTH, 0.0, 1.0)
    wide = 1.0 - 0.06 * (2.0 * place - 1.0) + 0.03 * np.sin(9.0 * place)
    return np.asarray(wide * (ndtr(beyond / BLUR) - ndtr((beyond - LENGTH) / BLUR)))


def _lines(wave: Floats, strength: Floats, column: Floats, planned: SlitExposure) -> Floats:
    """Electrons a pixel [ny, nx] of lines over the whole width of the image, each a Gaussian integrated over the rows."""
    from scipy.special import ndtr

    out = np.zeros((NY, NX))
    half = int(np.ceil(6.0 * SIGMA_Y))
    for one, rate in zip(wave, strength, strict=True):
        place = slit_row(np.full(NX, one), column) + planned.flexure
        nearest = np.rint(place).astype(np.int64)
        for offset in range(-half, half + 1):
            row = nearest + offset
            ok = (row >= 0) & (row < NY)
            share = ndtr((row + 0.5 - place) / SIGMA_Y) - ndtr((row - 0.5 - place) / SIGMA_Y)
            out[row[ok], np.flatnonzero(ok)] += rate * _EXPTIME[planned.flavor] * share[ok]
    return out


def _read_out(planned: SlitExposure, electrons: Floats) -> NDArray[np.uint16]:
    """Raw ADU: the image on its side, and behind it the overscans of both amplifiers."""
    rng = stream(planned.seed, Purpose.READOUT, _KAST, planned.number)
    half = NY // 2
    data, blank = [], []
    for amp, (gain, noise, level) in enumerate(zip(GAIN, READ_NOISE, PEDESTAL, strict=True)):
        own = electrons[amp * half : (amp + 1) * half].T
        data.append(level + (own + rng.normal(0.0, noise, own.shape)) / gain)
        blank.append(level + rng.normal(0.0, noise / gain, (NX, OVERSCAN)))
    return np.clip(np.rint(np.hstack([*data, *blank])), 0, 65535).astype(np.uint16)


def _cards(planned: SlitExposure) -> tuple[Card, ...]:
    start = datetime(2015, 5, 20, 4, 0, tzinfo=UTC) + timedelta(minutes=15 * planned.number)
    named = {"zero": "bias", "flat": "dome flat", "arc": "arc lamps", "science": "simulated star"}
    on = _LAMP_CARDS.get(planned.flavor, ())
    lamps = ("LAMPSTA1", "LAMPSTA2", "LAMPSTAF", "LAMPSTAG", "LAMPSTAK")
    return (
        Card("OBSNUM", planned.number, "number of the exposure"),
        Card("DATE-OBS", start.strftime("%Y-%m-%dT%H:%M:%S.00"), "start, UTC"),
        Card("EXPTIME", _EXPTIME[planned.flavor], "[s] exposure time"),
        Card("OBSTYPE", "DARK" if planned.flavor == "zero" else "OBJECT", "kind of exposure"),
        Card("OBJECT", named[planned.flavor], "what is exposed"),
        Card("AIRMASS", 1.2, "airmass"),
        *(Card(lamp, "on" if lamp in on else "off", "lamp") for lamp in lamps),
        Card("SIMSEED", planned.seed, "seed of the simulation"),
    )


def star_flux(wave: Floats) -> Floats:
    """The true spectrum of the object, as of a hot star, erg/(s cm2 Angstrom): what turns its electrons into a response."""
    return np.asarray(8e-15 * (wave / MIDDLE) ** -2.5)


def write_star(path: Path) -> Path:
    """The true spectrum of the object as a table of the form of CALSPEC: WAVELENGTH (vacuum Angstrom) and FLUX."""
    wave = np.arange(_range()[0] - 50.0, _range()[1] + 50.0, 5.0)
    table = np.zeros(wave.size, [("WAVELENGTH", "f8"), ("FLUX", "f8")])
    table["WAVELENGTH"], table["FLUX"] = wave, star_flux(wave)
    unit = Card("TUNIT2", "erg/(s cm2 Angstrom)", "unit of FLUX")
    publish(path, lambda hidden: write_hdus(hidden, [empty_hdu((Card("TARGETID", "simulated star", "name"),)), table_hdu("STAR", table, (unit,))]))
    return path


def write_slit(folder: Path, planned: SlitExposure) -> Path:
    """Simulate a frame and write it as ``b<number>.fits`` into a folder; returns its path."""
    frame = simulate_slit(planned)
    path = folder / f"b{planned.number}.fits"
    publish(path, lambda hidden: write_hdus(hidden, [image_hdu("", frame.raw, frame.cards)]))
    return path
