"""Master bias: what is left in zeros after their overscan, pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from quicklook.ccd.arrays import Float32, Raw
from quicklook.ccd.calibs import Bias
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.health import health
from quicklook.ccd.image import RawImage
from quicklook.ccd.leftout import LeftOut
from quicklook.core.errors import BadData
from quicklook.core.keys import Unit
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

if TYPE_CHECKING:
    from algorithms.amplifiers import Measured

_PRIOR_WEIGHT = 10.0
"""The scatter of a pixel is drawn towards that of its amplifier with the weight of so many exposures."""
_BOX = 32
_FEWEST = 3


class MasterBiasParams(Params):
    """Levels are taken from the overscan as the preprocessing takes them; what it is told otherwise is to be said here too."""

    overscan: Literal["row", "median"] = Field("row", description="overscan level that is subtracted: one per row, or one per amplifier (median)")
    overscan_smooth: int = Field(51, ge=0, description="rows of the Savitzky-Golay window over the row levels; 0: each row its own mean")
    clip: float = Field(5.0, gt=2, description="values farther than this from the median of the pixel are left out, sigma")
    head: int = Field(7, ge=3, le=15, description="exposures that the median is made from (an odd number)")
    odd: float = Field(
        1.0, gt=0.2, description="a zero of which the median of some box of 32 pixels is off that of the others by more is left out, sigma of a pixel"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """A section of the raw image and the levels that are subtracted from it, by row and by column, ADU."""

    section: Section
    by_row: Float32
    by_column: Float32


class MasterBias(PipelineAlg[MasterBiasParams]):
    """Clipped mean of zeros after their overscan, in the shape and the orientation of the raw image, with its variance.

    Overscan and prescan are part of it: when the preprocessing subtracts it, the structure goes out of the overscan before the level is
    measured there. Pixels of no section are 0. The memory is that of `head` exposures and six more, whatever their number.

    A zero that differs from most of the others over whole boxes of pixels (light, a step of the level) is left out and named, with the reason:
    clipping pixel by pixel cannot tell it, where two of five have it.
    """

    name = "master_bias"

    def run(self, raws: Sequence[RawImage], exposures: Sequence[Exposure]) -> tuple[Bias, LeftOut]:
        """The bias, and which exposures are not in it. Raises BadData for fewer than three exposures that agree, or where they differ
        in shape or sections."""
        from algorithms.kernels import stacking

        if len(raws) < 3:
            raise BadData(f"a master bias is made from three zeros at least, these are {len(raws)}", what_next="Take more zeros.")
        size = stacking.head_size(len(raws), self.params.head)
        stack: _Stack | None = None
        for index, (raw, exposure) in enumerate(zip(raws, exposures, strict=True)):
            stack = stack or _Stack(raw, self.params, size)
            stack.units.append(exposure.unit)
            if index < size:
                stack.put(index, raw)
            if index == size - 1:
                stack.use_head()
            if index >= size:
                stack.add(raw)
        assert stack is not None
        for unit, why in stack.left_out.items():
            self.log.warning("zero %s %s: left out of the master bias", unit, why)
        return stack.result(), LeftOut(units=tuple(map(str, stack.left_out)), why=tuple(stack.left_out.values()))


class _Stack:
    """The arrays of a stack that grows exposure by exposure."""

    def __init__(self, first: RawImage, params: MasterBiasParams, size: int) -> None:
        self.params = params
        self.shape, self.amplifiers, self.layout = first.shape, first.amplifiers, _layout(first)
        self.head: Float32 = np.zeros((size, *first.shape), np.float32)
        self.units: list[Unit] = []
        self.left_out: dict[Unit, str] = {}
        self.usual: dict[str, Float32] = {}
        self.noise: dict[str, float] = {}
        self.centre, self.scale, self.total, self.square = (np.zeros(first.shape, np.float32) for _ in range(4))
        self.count = np.zeros(first.shape, np.uint16)

    def _pieces(self, raw: RawImage) -> list[list[_Piece]]:
        """The sections of each amplifier with their levels in this exposure. Raises BadData for an exposure of another read-out."""
        from algorithms import amplifiers as amps

        if raw.shape != self.shape or _layout(raw) != self.layout:
            raise BadData(f"the zeros of {raw.camera} are of different read-outs: {raw.shape} pixels against {self.shape}, or other sections")
        p = self.params
        settings = amps.Settings(
            overscan=p.overscan, source="auto", trim=(3, 3), window=p.overscan_smooth, order=2, adaptive=True, orsec="none"
        )
        measured = [amps.measure(raw.pixels, None, a, settings, health(raw.pixels, a).dead) for a in raw.amplifiers]
        return [_pieces_of(m) for m in measured]

    def put(self, index: int, raw: RawImage) -> None:
        """Take an exposure into the head."""
        from algorithms.kernels import stacking

        for piece in (p for pieces in self._pieces(raw) for p in pieces):
            cut = piece.section.slices
            stacking.subtract_levels(raw.pixels[cut], piece.by_row, piece.by_column, self.head[index][cut])

    def use_head(self) -> None:
        """Centre and scale from the head; then its exposures are added, and it is given up."""
        from algorithms.kernels import stacking

        for amp in self.amplifiers:
            rows, cols = amp.data.slices
            noise = stacking.pair_noise(self.head[0, rows, cols], self.head[-1, rows, cols])
            self.noise[amp.name] = noise if math.isfinite(noise) and noise > 0 else 1.0
        self._drop_odd()
        middle = len(self.head) - 1 + len(self.head) % 2
        for amp in self.amplifiers:
            for section in _sections(amp):
                rows, cols = section.slices
                stacking.middle(self.head[:middle, rows, cols], self.noise[amp.name], self.centre[rows, cols], self.scale[rows, cols])
                levels = np.zeros(section.shape[0], np.float32), np.zeros(section.shape[1], np.float32)
                for levelled in self.head:
                    self._add(_Piece(section=section, by_row=levels[0], by_column=levels[1]), levelled)
        self.head = self.head[:0].copy()

    def _drop_odd(self) -> None:
        """Leave those out of the head that differ from most. Raises BadData where fewer than three, or no more than half, are left."""
        maps = [{a.name: _boxes(levelled[a.data.slices]) for a in self.amplifiers if not a.bad} for levelled in self.head]
        self.usual = {name: np.median([m[name] for m in maps], axis=0) for name in maps[0]}
        odd = [self._odd(m) for m in maps]
        self.left_out = {unit: why for unit, why in zip(self.units, odd, strict=True) if why}
        kept = [i for i, why in enumerate(odd) if not why]
        if len(kept) < max(_FEWEST, len(odd) // 2 + 1):
            alike = f"of {len(odd)} zeros {len(kept)} are alike, a master bias is made from {_FEWEST} and from more than half"
            odd_ones = "; ".join(f"zero {unit.expid} {why}" for unit, why in self.left_out.items())
            raise BadData(f"{alike}; {odd_ones}", what_next="Look at them for light and steps; leave those out, or take others.")
        for place, index in enumerate(kept):
            if place != index:
                self.head[place] = self.head[index]
        self.head = self.head[: len(kept)]

    def _odd(self, boxes: dict[str, Float32]) -> str:
        """How an exposure differs from the usual one; empty where it does not."""
        for name, values in boxes.items():
            off = values - self.usual[name]
            y, x = np.unravel_index(int(np.argmax(np.abs(off))), off.shape)
            if abs(off[y, x]) > self.params.odd * self.noise[name]:
                return f"differs from the others by {off[y, x]:.3g} ADU (amplifier {name}, around row {_BOX * y}, column {_BOX * x} of its data)"
        return ""

    def add(self, raw: RawImage) -> None:
        """Add one exposure, unless it is an odd one."""
        pieces = self._pieces(raw)
        first = {a.name: p[0] for a, p in zip(self.amplifiers, pieces, strict=True) if not a.bad}
        boxes = {k: _boxes(raw.pixels[p.section.slices] - p.by_row[:, None] - p.by_column) for k, p in first.items()}
        if why := self._odd(boxes):
            self.left_out[self.units[-1]] = why
            return
        for piece in (p for of_amp in pieces for p in of_amp):
            self._add(piece, raw.pixels)

    def _add(self, piece: _Piece, pixels: Raw) -> None:
        from algorithms.kernels import stacking

        cut, clip = piece.section.slices, np.float32(self.params.clip)
        stacking.add_levelled(
            pixels[cut], piece.by_row, piece.by_column, self.centre[cut], self.scale[cut], clip, self.total[cut], self.square[cut], self.count[cut]
        )

    def result(self) -> Bias:
        """The bias and its variance."""
        from algorithms.kernels import stacking

        mean, variance = self.scale, np.zeros_like(self.scale)  # the scale has done its work
        mean[:] = 0.0
        for amp in self.amplifiers:
            noise, weight = np.float32(self.noise[amp.name]), np.float32(_PRIOR_WEIGHT)
            for section in _sections(amp):
                cut = section.slices
                stacking.finish_mean(
                    self.centre[cut], self.total[cut], self.square[cut], self.count[cut], noise, weight, mean[cut], variance[cut]
                )
        return Bias(pixels=mean, variance=variance)


def _boxes(values: Raw) -> Float32:
    """Medians of boxes of 32 x 32 pixels (of every second one along each axis); what is left over at the far edges is not looked at."""
    ny, nx = values.shape
    tall, wide = min(_BOX, ny), min(_BOX, nx)
    cut = values[: ny // tall * tall, : nx // wide * wide].reshape(ny // tall, tall, nx // wide, wide)[:, ::2, :, ::2]
    return np.median(cut, axis=(1, 3)).astype(np.float32)


def _layout(raw: RawImage) -> list[tuple[object, ...]]:
    return [(a.name, a.data, a.overscan, a.prescan, a.parallel_overscan) for a in raw.amplifiers]


def _sections(amp: Amplifier) -> list[Section]:
    return [s for s in (amp.data, amp.overscan, amp.prescan, amp.parallel_overscan) if s is not None]


def _pieces_of(measured: Measured) -> list[_Piece]:
    return [_piece(s, measured) for s in _sections(measured.amp)]


def _piece(section: Section, measured: Measured) -> _Piece:
    """A section with the levels of its lines: those of the data, at the ends the nearest; the median where the overscan does not reach."""
    amp = measured.amp
    across = amp.serial_axis == 0
    level = measured.cols.level if across and measured.cols is not None else measured.rows.level
    first, start, stop = (amp.data.x0, section.x0, section.x1) if across else (amp.data.y0, section.y0, section.y1)
    lines = level[np.clip(np.arange(start, stop) - first, 0, level.size - 1)]
    if section == amp.parallel_overscan and not _covers(amp, start, stop, across):
        lines = np.full(stop - start, np.median(level), np.float32)
    ny, nx = section.shape
    none = np.zeros(ny if across else nx, np.float32)
    return _Piece(section=section, by_row=none if across else lines, by_column=lines if across else none)


def _covers(amp: Amplifier, start: int, stop: int, across: bool) -> bool:
    """Whether the overscan (or prescan) has the lines start to stop."""
    strip = amp.overscan or amp.prescan
    first, last = (0, 0) if strip is None else (strip.x0, strip.x1) if across else (strip.y0, strip.y1)
    return first <= start and stop <= last
