"""What is measured of one amplifier before the fused pass: overscan levels and read noise.

Sections are turned so that the overscan lies beside the data: lines are rows then, whatever the real direction of the read-out.
Imported inside `Preproc.run`, because it loads the compiled kernels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from algorithms.kernels import overscan as kernel
from algorithms.kernels.overscan import Level, Lines
from quicklook.ccd.arrays import Float32, Raw
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.strips import trimmed

_NO_NOISE = 1e9
"""A scatter of so many ADU is that of a broken file, not of a detector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the overscan is used; the parameters of the same names of `Preproc`."""

    overscan: Literal["row", "median", "none"]
    source: Literal["auto", "overscan", "prescan", "both"]
    trim: tuple[int, int]
    window: int
    order: int
    adaptive: bool
    orsec: Literal["none", "smooth", "column"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One amplifier as measured.

    `rows` and `cols` are the levels to subtract, by row and by column of its section (ADU). `read_noise` is the Gaussian sigma,
    `scatter` the total scatter of a pixel (with quantisation), electron, NaN if unknown. `dead` says why it is dead, "" if it lives.
    `notes`: what was wanted and could not be done, by name.
    """

    amp: Amplifier
    rows: Level
    cols: Level | None
    level: float
    read_noise: float
    scatter: float
    dead: str
    notes: dict[str, str]


def _turned(section: Section) -> Section:
    return Section(section.x0, section.x1, section.y0, section.y1)


class _View:
    """The raw pixels and sections of one amplifier, turned so that the overscan lies beside the data."""

    def __init__(self, pixels: Raw, bias: Float32 | None, amp: Amplifier, settings: Settings) -> None:
        self.turn = amp.serial_axis == 0
        self.pixels = pixels.T if self.turn else pixels
        self.bias = bias if bias is None else bias.T if self.turn else bias
        self.data = _turned(amp.data) if self.turn else amp.data
        self.parallel = self._own(amp.parallel_overscan)
        over, pre = amp.overscan, amp.prescan
        chosen = {"auto": (over or pre,), "overscan": (over,), "prescan": (pre,), "both": (over, pre)}[settings.source]
        kept = [self._own(trimmed(s, amp, settings.trim)) for s in chosen if s is not None]
        self.serial = [s for s in kept if s is not None]

    def _own(self, section: Section | None) -> Section | None:
        return _turned(section) if section is not None and self.turn else section

    def cut(self, y0: int, y1: int, x0: int, x1: int) -> Float32:
        """Pixels minus bias, float32, contiguous."""
        block = self.pixels[y0:y1, x0:x1].astype(np.float32, order="C")
        if self.bias is not None:
            block -= self.bias[y0:y1, x0:x1]
        return block

    def lines(self, y0: int, y1: int) -> Lines | None:
        """Robust mean of the serial overscan for rows y0 to y1; rows that it does not cover have no sample. None if it covers none."""
        first = max([y0, *(s.y0 for s in self.serial)])
        last = min([y1, *(s.y1 for s in self.serial)])
        if not self.serial or last <= first:
            return None
        block = np.concatenate([self.cut(first, last, s.x0, s.x1) for s in self.serial], axis=1)
        found = kernel.measure_lines(block)
        mean, used = np.full(y1 - y0, math.nan), np.zeros(y1 - y0, np.int64)
        mean[first - y0 : last - y0], used[first - y0 : last - y0] = found.mean, found.used
        return Lines(mean, used, found.scatter)


def _zero(n: int) -> Level:
    return Level(np.zeros(n, np.float32), np.zeros(n, np.float32))


def _columns(view: _View, settings: Settings, level: float) -> Level | None:
    """Residual level by column from the rows of parallel overscan, after their own serial level."""
    section = view.parallel
    if section is None:
        return None
    data = view.data
    first, last = max(section.x0, data.x0), min(section.x1, data.x1)
    if last <= first:
        return None
    corner = view.lines(section.y0, section.y1) if settings.overscan != "none" else None
    own = float(np.nanmedian(corner.mean)) if corner is not None and np.isfinite(corner.mean).any() else level
    found = kernel.measure_lines(np.ascontiguousarray((view.cut(section.y0, section.y1, first, last) - np.float32(own)).T))
    mean, used = np.full(data.x1 - data.x0, math.nan), np.zeros(data.x1 - data.x0, np.int64)
    mean[first - data.x0 : last - data.x0], used[first - data.x0 : last - data.x0] = found.mean, found.used
    window = settings.window if settings.orsec == "smooth" else 0
    return kernel.level_of(Lines(mean, used, found.scatter), "line", window=window, order=settings.order, adaptive=settings.adaptive)


def measure(pixels: Raw, bias: Float32 | None, amp: Amplifier, settings: Settings, dead: str = "") -> Measured:
    """Measure one amplifier of the raw `pixels` [ny, nx]; `bias` (ADU, of the same shape, or None) is subtracted first. `dead`: why it is dead."""
    view = _View(pixels, bias, amp, settings)
    notes: dict[str, str] = {}
    lines = view.lines(view.data.y0, view.data.y1)
    serial = _zero(view.data.y1 - view.data.y0)
    if settings.overscan != "none" and lines is None:
        notes["overscan"] = f"amplifier {amp.name} has no {'overscan' if settings.source == 'auto' else settings.source} section"
    elif settings.overscan != "none" and lines is not None:
        mode: Literal["line", "median"] = "line" if settings.overscan == "row" else "median"
        serial = kernel.level_of(lines, mode, window=settings.window, order=settings.order, adaptive=settings.adaptive)
    level = float(np.median(serial.level.astype(np.float64)))
    across = _columns(view, settings, level) if settings.orsec != "none" else None
    if settings.orsec != "none" and across is None:
        notes["orsec"] = f"amplifier {amp.name} has no parallel overscan section"
    noise, scatter = _noise(lines, amp, pixels.dtype.kind in "iu", dead, notes)
    rows, cols = serial, across
    if view.turn:
        rows, cols = across or _zero(view.data.x1 - view.data.x0), serial
    known = math.nan if lines is None or not np.isfinite(lines.mean).any() else level
    return Measured(amp=amp, rows=rows, cols=cols, level=known, read_noise=noise, scatter=scatter, dead=dead, notes=notes)


def _noise(lines: Lines | None, amp: Amplifier, integers: bool, dead: str, notes: dict[str, str]) -> tuple[float, float]:
    """Read noise and total scatter, electron: as measured, else the expected read noise, else NaN; NaN for a dead amplifier."""
    if dead:
        return math.nan, math.nan
    scatter = lines.scatter if lines is not None else math.nan
    if 0 < scatter < _NO_NOISE:  # NaN and 0 (an overscan that holds one value) are no measurement
        return kernel.read_noise(scatter, integers) * amp.gain, scatter * amp.gain
    if amp.read_noise is None:
        notes["read noise"] = f"amplifier {amp.name}: neither measured nor stated by the instrument"
        return math.nan, math.nan
    notes["read noise"] = f"amplifier {amp.name}: could not be measured in the overscan, the expected {amp.read_noise:g} electron is used"
    quantum = amp.gain * math.sqrt(kernel.QUANTISATION) if integers else 0.0
    return amp.read_noise, math.hypot(amp.read_noise, quantum)
