"""The fibre flat of several flat exposures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from algorithms.apply_fiberflat import match
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.leftout import LeftOut
from quicklook.ccd.spectra import FiberFlat, SpecMask
from quicklook.core.errors import BadData
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

Array = npt.NDArray[Any]
_FEW = 3
_STRETCHES = 8
_ODD = 4.0


class AverageFiberflatsParams(Params):
    """Parameters of `average_fiberflats`."""

    clip: float = Field(4.0, gt=1.0, description="of three flats or more, a value that lies off the median by more is left out [sigma]")
    floor: float = Field(0.002, gt=0, description="relative error that a single flat has at least")
    drift: float = Field(
        0.01, gt=0, description="of three flats or more, one whose throughputs scatter by more about the median is left out: its lamp drifted"
    )


class AverageFiberflats(PipelineAlg[AverageFiberflatsParams]):
    """Average the fibre flats of single exposures, outliers left out; an exposure whose lamp drifted is left out as a whole, and named."""

    name = "average_fiberflats"

    def run(self, flats: Sequence[FiberFlat], exposures: Sequence[Exposure]) -> tuple[FiberFlat, LeftOut]:
        """The weighted mean, on the wavelengths of the first, and which exposures are not in it.

        Fibres are matched by number. ivar counts what was left.

        Raises BadData where there is no flat, or one of them is on other fibres than the first.
        """
        every = list(flats)
        if not every:
            raise BadData("there is no fibre flat to average")
        first = every[0]
        if len(every) == 1:
            return first, LeftOut()
        values, weights = (np.stack(a) for a in zip(*(_on(first, one) for one in every), strict=True))
        kept, scatter = self._steady(values, weights)
        left_out = self._left_out(kept, scatter, exposures)
        values, weights, every = values[kept], weights[kept], [one for one, keep in zip(every, kept, strict=True) if keep]
        weights = np.where(weights > 0, 1.0 / (1.0 / np.where(weights > 0, weights, 1.0) + self.params.floor**2), 0.0)
        if len(every) >= _FEW:
            middle = np.median(np.where(weights > 0, values, np.nan), axis=0) if (weights > 0).all() else _median(values, weights)
            weights = np.where(np.abs(values - middle) * np.sqrt(weights) <= self.params.clip, weights, 0.0)
        total = weights.sum(axis=0)
        known = total > 0
        mean = np.where(known, (weights * values).sum(axis=0) / np.where(known, total, 1.0), 1.0)
        lamps = np.stack([np.interp(_grid(first), _grid(one), one.meanspec) for one in every])
        flat = FiberFlat(
            flat=mean.astype(np.float32),
            ivar=total.astype(np.float32),
            mask=np.where(known, 0, int(SpecMask.BADFIBERFLAT)).astype(np.uint32),
            wave=first.wave,
            meanspec=lamps.mean(axis=0).astype(np.float32),
            fiber=first.fiber,
        )
        return flat, left_out

    def _left_out(self, kept: Array, scatter: Array, exposures: Sequence[Exposure]) -> LeftOut:
        odd = {
            exposures[int(i)].unit: f"left out: its lamp drifted; its throughputs scatter by {100 * scatter[i]:.2g} % about those of the others"
            for i in np.flatnonzero(~kept)
        }
        for unit, why in odd.items():
            self.log.warning("flat %s %s", unit, why)
        return LeftOut(units=tuple(map(str, odd)), why=tuple(odd.values()))

    def _steady(self, values: Array, weights: Array) -> tuple[Array, Array]:
        """Which exposures lit the fibres as the median of all did, in stretches of wavelength, and the scatter of each, relative; all, where there
        are fewer than three."""
        every = np.ones(len(values), np.bool_), np.zeros(len(values))
        if len(values) < _FEW:
            return every
        n = max(1, values.shape[2] // _STRETCHES)
        edges = np.arange(0, values.shape[2], n)
        known = weights > 0
        count = np.maximum(np.add.reduceat(known, edges, axis=2), 1)
        levels = np.add.reduceat(np.where(known, values, 0.0), edges, axis=2) / count
        seen = np.add.reduceat(known, edges, axis=2).min(axis=0) > n // 2
        if not seen.any():
            return every
        ratio = levels[:, seen] / np.median(levels[:, seen], axis=0)
        scatter = 1.4826 * np.median(np.abs(ratio - 1.0), axis=1)
        return np.asarray(scatter <= max(self.params.drift, _ODD * float(np.median(scatter)))), scatter


def _median(values: Array, weights: Array) -> Array:
    """Median over flats of the values with weight; 1 where there is none."""
    ordered = np.sort(np.where(weights > 0, values, np.inf), axis=0)
    count = (weights > 0).sum(axis=0)
    at = np.clip((count - 1) // 2, 0, None)[None]
    low, high = np.take_along_axis(ordered, at, 0)[0], np.take_along_axis(ordered, np.clip(count // 2, 0, len(values) - 1)[None], 0)[0]
    return np.where(count > 0, 0.5 * (low + np.where(np.isfinite(high), high, low)), 1.0)


def _grid(flat: FiberFlat) -> Array:
    """One grid of wavelengths: that of all fibres, or of the first."""
    return flat.wave if flat.wave.ndim == 1 else flat.wave[0]


def _on(first: FiberFlat, one: FiberFlat) -> tuple[Array, Array]:
    """Values and weights of a flat on the fibres and wavelengths of the first."""
    rows = match(first.fiber, one.fiber)
    if (rows < 0).any():
        raise BadData("the fibre flats are of different fibres; average those of one camera")
    weight = np.where(one.mask == 0, one.ivar, 0.0).astype(np.float64)[rows]
    value = one.flat.astype(np.float64)[rows]
    if one.wave.shape == first.wave.shape and np.array_equal(one.wave, first.wave):
        return value, weight
    target = np.broadcast_to(first.wave, first.flat.shape)
    own = np.broadcast_to(one.wave, one.flat.shape)[rows]
    flats = np.stack([np.interp(t, w, v, left=1.0, right=1.0) for t, w, v in zip(target, own, value, strict=True)])
    known = np.stack([np.interp(t, w, v, left=0.0, right=0.0) for t, w, v in zip(target, own, weight, strict=True)])
    return flats, known
