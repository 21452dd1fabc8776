"""Divide the spectra by the fibre flat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

from quicklook.ccd.arrays import Float32, Raw
from quicklook.ccd.spectra import FiberFlat, Frame, SpecMask
from quicklook.core.errors import MissingCalibration
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg


class ApplyFiberFlatParams(Params):
    """Parameters of `apply_fiberflat`."""

    lowest: float = Field(0.1, ge=0.0, lt=1.0, description="a fibre flat below this is flagged LOWFLAT and given no weight")


class ApplyFiberFlat(PipelineAlg[ApplyFiberFlatParams]):
    """Divide every fibre by its flat, found by the number of the fibre and brought to the fibre's own wavelengths."""

    name = "apply_fiberflat"

    def run(self, frame: Frame, fiberflat: FiberFlat) -> Frame:
        """The flat-fielded frame (stage fframe), the variance of the flat added.

        A fibre that the flat does not hold, or holds without weight, gets BADFIBERFLAT and ivar 0. Raises MissingCalibration where the flat
        holds none of the fibres.
        """
        from algorithms.kernels import resample

        rows = match(frame.fibermap.fiber, fiberflat.fiber)
        if (rows < 0).all():
            has, wanted = _span(fiberflat.fiber), _span(frame.fibermap.fiber)
            raise MissingCalibration(f"camera {frame.camera}: the fibre flat holds fibres {has}, the frame {wanted}; certify another")
        flat = resample.tabulate(fiberflat.wave, fiberflat.flat)
        variance = _variance(fiberflat)
        if variance.shape != flat.values.shape:
            variance = resample.tabulate(fiberflat.wave, variance).values
        out = resample.empty_like(frame.flux)
        arrays = (frame.flux, frame.ivar, frame.mask, frame.wave, rows)
        constants = (flat.first, flat.step, flat.values, variance, np.float32(self.params.lowest), *_BITS)

        def divide(a: int, b: int) -> None:
            resample.divide_flat(*(x[a:b] for x in arrays), *constants, resample.new_room(frame.flux.shape[1]), *(x[a:b] for x in out))

        resample.by_blocks(len(rows), divide)
        return replace(frame, flux=out[0], ivar=out[1], mask=out[2], stage="fframe")


_BITS = (np.uint32(SpecMask.LOWFLAT), np.uint32(SpecMask.BADFIBERFLAT))


def match(wanted: Raw, has: Raw) -> Raw:
    """Row of each fibre number in `has`, int64 [len(wanted)]; -1 where it is not there."""
    if len(wanted) == len(has) and np.array_equal(wanted, has):
        return np.arange(len(wanted))
    row = {int(number): i for i, number in enumerate(has)}
    return np.array([row.get(int(number), -1) for number in wanted], np.int64)


def _variance(fiberflat: FiberFlat) -> Float32:
    """Variance of the flat; infinite where it is masked or without weight."""
    usable = (fiberflat.ivar > 0) & (fiberflat.mask == 0) & np.isfinite(fiberflat.flat)
    return np.divide(np.float32(1), fiberflat.ivar, out=np.full(fiberflat.ivar.shape, np.inf, np.float32), where=usable)


def _span(numbers: Raw) -> str:
    return f"{int(np.min(numbers))}-{int(np.max(numbers))}"
