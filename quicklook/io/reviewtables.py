"""A look at what is given by amplifier, fibre or line: photon transfer, reference arcs and flats, line lists, known fibres."""

from __future__ import annotations

import numpy as np

from quicklook.ccd.calibs import KnownFibers, PhotonTransfer, ReferenceArc, ReferenceFlat
from quicklook.ccd.linelist import LineList
from quicklook.io.reviewfacts import MAX_NEGATIVE, Review, rising


def look_ptc(ptc: PhotonTransfer, out: Review) -> None:
    """Gain and read noise of each amplifier."""
    for name, values in (("gain", ptc.gain), ("read_noise", ptc.read_noise)):
        out.facts |= {f"{name}_{a}": float(v) for a, v in zip(ptc.amp, values, strict=True)}
        known = values[np.isfinite(values)]
        out.demand(known.size > 0, f"no amplifier has a {name}")
        out.demand((known > 0).all(), f"a {name} is not positive")


def look_refarc(arc: ReferenceArc, out: Review) -> None:
    """Lines and areas of a reference arc."""
    known = np.isfinite(arc.area)
    out.facts |= {"fibres": len(arc.fiber), "lines": len(arc.wave), "measured_fraction": float(known.mean())}
    out.demand(known.mean() > 0.5, "less than half of its lines are measured")
    out.demand((arc.area[known] > 0).mean() > 1 - MAX_NEGATIVE if known.any() else False, "areas of its lines are not positive")
    rising(out, arc.wave)


def look_refflat(flat: ReferenceFlat, out: Review) -> None:
    """Levels of the fibres of a reference flat."""
    known = flat.level[np.isfinite(flat.level)]
    out.facts |= {"fibres": len(flat.fiber), "measured": int(known.size), "median": float(np.median(known)) if known.size else "none"}
    out.demand(known.size > 0.5 * len(flat.fiber), "less than half of its fibres have a level")
    out.demand(known.size == 0 or float(np.median(known)) > 0, "its median level is not positive")


def look_lines(lines: LineList, out: Review) -> None:
    """Number and range of the lines of a list."""
    out.facts |= {"lines": len(lines.wave), "wave": f"{lines.wave.min():.1f} to {lines.wave.max():.1f} Angstrom"}


def look_fibers(fibers: KnownFibers, out: Review) -> None:
    """Fibres known as broken or low."""
    out.facts |= {"broken": len(fibers.broken), "low": len(fibers.low)}
    out.demand(all(n >= 0 for n in (*fibers.broken, *fibers.low)), "a fibre number is negative")
