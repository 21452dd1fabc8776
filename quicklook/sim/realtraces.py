"""Traces of a real instrument for the simulator: all of them at full scale, a window of them at smaller ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.polynomial import legendre

from quicklook.core.errors import BadConfig, BadData, NotReadyYet
from quicklook.sim.geometry import Layout
from quicklook.sim.traces import Floats, Traces

_PLACES = 41
"""Wavelengths at which widths are compared."""


def read_traces_of(path: str, layout: Layout) -> Traces:
    """The traces in a PSF file, on an image of this layout.

    At full scale the file must have as many fibres and pixels. At a smaller scale a run of fibres from the middle and the rows from the middle are
    taken and moved onto the small image. Fibres whose width runs out of what the others have, as badly fitted ones do at the ends of the wavelength
    range, get the median width of all. Raises BadConfig, with what does not fit.
    """
    from quicklook.io.tracefile import read_traces

    try:
        given = read_traces(Path(path))
    except (BadData, NotReadyYet) as error:
        raise BadConfig(f"traces {path}: {error}") from error
    if given.xsig is None or given.ysig is None:
        raise BadConfig(f"traces {path} have no widths; give a file with XSIG and YSIG, or with the table PSF")
    if given.nfibre < layout.nfibre or given.npix_x < layout.nx or given.npix_y < layout.ny:
        raise BadConfig(
            f"traces {path} are {given.nfibre} fibres on {given.npix_x} x {given.npix_y} pixels; "
            f"{layout.arm} at scale {layout.scale} has {layout.nfibre} on {layout.nx} x {layout.ny}"
        )
    first = (given.nfibre - layout.nfibre) // 2 // layout.bundle * layout.bundle
    rows = slice(first, first + layout.nfibre)
    count = max(series.shape[1] for series in (given.x, given.y, given.xsig, given.ysig))
    x, y = (_padded(series[rows], count) for series in (given.x, given.y))
    sigma_x, sigma_y = (_padded(_usual(series)[rows], count) for series in (given.xsig, given.ysig))
    if layout.nfibre < given.nfibre:
        x[:, 0] -= np.round(x[:, 0].mean() - 0.5 * (layout.nx - 1))
        y[:, 0] -= np.round(0.5 * (given.npix_y - layout.ny))
    return Traces(wave_min=given.wavemin, wave_max=given.wavemax, x=x, y=y, sigma_x=sigma_x, sigma_y=sigma_y)


def _usual(series: Floats) -> Floats:
    """Widths as series, where those that leave half to twice the median over fibres anywhere are replaced by the median."""
    values = legendre.legval(np.linspace(-1.0, 1.0, _PLACES), series.T)
    median = np.median(values, axis=0)
    usual = ((values > 0.5 * median) & (values < 2.0 * median)).all(axis=1, keepdims=True)
    return np.where(usual, series, legendre.legfit(np.linspace(-1.0, 1.0, _PLACES), median, series.shape[1] - 1))


def _padded(series: Floats, count: int) -> Floats:
    """A series with zeros for the terms that it has not."""
    return np.pad(series, ((0, 0), (0, count - series.shape[1])))
