"""What is in a calibration, in numbers, and what must not be: a look at its values before it is believed.

Bounds are those of any detector in use, wide enough for a good calibration of any of them; what lies outside is broken, in another unit, or
of another kind. Each is written beside its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from quicklook.ccd.arrays import Float64
from quicklook.ccd.calibs import BadPixelMask, Bias, Dark, KnownFibers, PhotonTransfer, PixelFlat, ReferenceArc, ReferenceFlat
from quicklook.ccd.linelist import ArcLines, SkyLines
from quicklook.ccd.pixeltraces import PixelTraces
from quicklook.ccd.spectra import FiberFlat, FluxCalib, SkyModel, TraceSet
from quicklook.ccd.stars import Extinction, StdStars
from quicklook.core.product import Calibration
from quicklook.io.reviewfacts import Review, relative
from quicklook.io.reviewimages import SCATTER, bias_level, dark_level, even_rows, look_bias, look_dark, look_mask, look_pixflat, measurable
from quicklook.io.reviewspectra import look_extinction, look_fiberflat, look_fluxcal, look_sky, look_stdstar, response
from quicklook.io.reviewtables import look_fibers, look_lines, look_ptc, look_refarc, look_refflat
from quicklook.io.reviewtraces import look_pixeltraces, look_traces

GLANCE = 1 << 18
"""So many values, in whole rows, are looked at when one is loaded."""


def review(calibration: Calibration) -> Review:
    """Look at a calibration. Of a kind that is not known here nothing is said. 0.1 s for an image of 17 million pixels."""
    out = Review()
    look = next((_LOOKS[t] for t in type(calibration).__mro__ if t in _LOOKS), None)
    if look is not None:
        look(calibration, out)
    return out


def register_review(kind: type[Calibration], look: Callable[[Any, Review], None]) -> None:
    """Say how calibrations of a type are looked at."""
    _LOOKS[kind] = look


def glance(calibration: Calibration) -> list[str]:
    """What some rows say against a bias, dark, pixel flat (level, sign, scatter, damage) or flux calibration, when it is loaded: some milliseconds.

    How many are no numbers is judged where it is loaded and where it is used, not here: bad columns are masked. Of other kinds nothing is said.
    """
    out = Review()
    values = calibration.calib if isinstance(calibration, FluxCalib) else getattr(calibration, "pixels", None)
    level = next((_LEVELS[t] for t in type(calibration).__mro__ if t in _LEVELS), None)
    if level is not None and values is not None:
        rows = values.reshape(-1, values.shape[-1])
        some = rows[:: max(1, rows.size // GLANCE)]
        with np.errstate(invalid="ignore"):  # damaged numbers may be signalling ones
            flat = some.astype(np.float64).reshape(-1)
        level(np.sort(flat[np.isfinite(flat)]), out)
        if isinstance(calibration, Bias | Dark | PixelFlat):
            measurable(out, some, *SCATTER[type(calibration)])
        if isinstance(calibration, Bias | Dark):
            even_rows(out, some, whole=False)
    return out.wrong


_LOOKS: dict[type[Calibration], Callable[[Any, Review], None]] = {
    Bias: look_bias, Dark: look_dark, PixelFlat: look_pixflat, BadPixelMask: look_mask, TraceSet: look_traces, PixelTraces: look_pixeltraces,
    FiberFlat: look_fiberflat, FluxCalib: look_fluxcal, SkyModel: look_sky, PhotonTransfer: look_ptc, ReferenceArc: look_refarc,
    ReferenceFlat: look_refflat, SkyLines: look_lines, ArcLines: look_lines, KnownFibers: look_fibers, Extinction: look_extinction,
    StdStars: look_stdstar,
}  # fmt: skip

_LEVELS: dict[type[Calibration], Callable[[Float64, Review], None]] = {
    Bias: bias_level, Dark: dark_level, PixelFlat: lambda sample, out: relative(sample, out, "its pixels"), FluxCalib: response,
}  # fmt: skip


def facts_text(facts: Mapping[str, float | int | str]) -> dict[str, str]:
    """Statistics as they are shown."""
    return {k: f"{v:.6g}" if isinstance(v, float) else str(v) for k, v in facts.items()}
