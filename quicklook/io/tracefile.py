"""Trace sets on disk: PSF files of the DESI data model, read in the forms that are in use and written in one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.polynomial import legendre

from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.image import HeaderValue
from quicklook.ccd.spectra import TraceSet
from quicklook.core.errors import BadData
from quicklook.io.atomic import atomic
from quicklook.io.fitswrite import Card, cards_of, write_image_hdu
from quicklook.io.hdus import Hdus
from quicklook.io.headercards import exposure_cards
from quicklook.io.tablefile import write_table_hdu

_NODES = 64
"""Wavelengths at which the dispersion is taken where widths are given in Angstrom: many more than any series has terms."""


def read_traces(path: str | Path) -> TraceSet:
    """The trace set in a PSF file.

    HDUs XTRACE and YTRACE [nfibre, ncoef] with WAVEMIN, WAVEMAX. Widths, in pixel: HDUs XSIG or XSIGMA, YSIG or YSIGMA, WSIGMA (Angstrom,
    turned into pixel by the dispersion), or GHSIGX and GHSIGY of a table PSF, whose higher Gauss-Hermite terms are left out; series of
    another wavelength domain are carried over to that of the traces. Fibres: a table FIBERMAP, or from FIBERMIN on, or from 0 on.
    Raises BadData (what is missing or contradicts itself), and as `quicklook.io.fitsfile.inspect`.
    """
    hdus = Hdus(path)
    x, y = hdus.array("XTRACE", np.float64), hdus.array("YTRACE", np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise BadData(f"{hdus.path.name}: its traces hold values that are not finite")
    domain = _domain(hdus, "XTRACE", 0, "YTRACE", "PSF")
    other = _domain(hdus, "YTRACE", "XTRACE", 0)
    y = y if other == domain else carry(y, other, domain)
    traces = TraceSet(
        x=x,
        y=y,
        wavemin=domain[0],
        wavemax=domain[1],
        npix_x=_count(hdus, "NPIX_X"),
        npix_y=_count(hdus, "NPIX_Y"),
        fiber=_fibres(hdus, len(x)),
    )
    xsig, ysig = _widths(hdus, traces)
    return replace(traces, xsig=xsig, ysig=ysig)


def _domain(hdus: Hdus, *names: str | int) -> tuple[float, float]:
    low, high = hdus.card("WAVEMIN", *names), hdus.card("WAVEMAX", *names)
    if not isinstance(low, int | float) or not isinstance(high, int | float) or not low < high:
        raise BadData(f"{hdus.path.name}: WAVEMIN = {low} and WAVEMAX = {high} are no wavelength domain")
    return float(low), float(high)


def _count(hdus: Hdus, key: str) -> int:
    value = hdus.card(key, "XTRACE", 0, "PSF", "YTRACE")
    return value if isinstance(value, int) else 0


def _fibres(hdus: Hdus, n: int) -> Raw:
    if hdus.has("FIBERMAP") and "FIBER" in (table := hdus.table("FIBERMAP")):
        return np.asarray(table["FIBER"], dtype=np.int32)
    first = hdus.card("FIBERMIN", "XTRACE", 0, "PSF")
    return np.arange(n, dtype=np.int32) + np.int32(first if isinstance(first, int) else 0)


def carry(series: Float64, old: tuple[float, float], new: tuple[float, float]) -> Float64:
    """Legendre series [nfibre, ncoef] in one wavelength domain, as series in another: the same polynomial, without loss."""
    degree = series.shape[1] - 1
    nodes = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    wave = new[0] + 0.5 * (nodes + 1.0) * (new[1] - new[0])
    values = legendre.legval(2.0 * (wave - old[0]) / (old[1] - old[0]) - 1.0, series.T)
    return np.ascontiguousarray(legendre.legfit(nodes, values.T, degree).T, np.float64)


def _widths(hdus: Hdus, traces: TraceSet) -> tuple[Float64 | None, Float64 | None]:
    domain = (traces.wavemin, traces.wavemax)
    named = [_series(hdus, traces, hdus.first(names)) for names in (("XSIG", "XSIGMA"), ("YSIG", "YSIGMA"))]
    if named[1] is None and hdus.has("WSIGMA"):
        named[1] = _in_pixel(traces, _series(hdus, traces, "WSIGMA"))
    if hdus.has("PSF") and None in named:
        table = hdus.table("PSF")
        named = [one if one is not None else _parameter(hdus, table, key, domain) for one, key in zip(named, ("GHSIGX", "GHSIGY"), strict=True)]
    return named[0], named[1]


def _series(hdus: Hdus, traces: TraceSet, name: str | None) -> Float64 | None:
    if name is None:
        return None
    values = hdus.array(name, np.float64, ndim=(1, 2))
    values = values[:, np.newaxis] if values.ndim == 1 else values
    header = hdus.header(name)
    domain = (traces.wavemin, traces.wavemax)
    own = (header.get("WAVEMIN"), header.get("WAVEMAX"))
    if all(isinstance(v, int | float) for v in own) and own != domain:
        return carry(values, (float(str(own[0])), float(str(own[1]))), domain)
    return np.ascontiguousarray(values)


def _in_pixel(traces: TraceSet, wsigma: Float64 | None) -> Float64 | None:
    """Widths in Angstrom as widths in pixel: times dy/dw, fitted by a series with as many terms as y has."""
    if wsigma is None:
        return None
    t = np.linspace(-1.0, 1.0, _NODES)
    slope = legendre.legval(t, legendre.legder(traces.y.T, axis=0)) * 2.0 / (traces.wavemax - traces.wavemin)
    pixel = legendre.legval(t, wsigma.T) * slope
    degree = min(_NODES - 1, traces.y.shape[1] + wsigma.shape[1] - 2)  # a product of polynomials: nothing is lost
    return np.ascontiguousarray(legendre.legfit(t, pixel.T, degree).T, np.float64)


def _parameter(hdus: Hdus, table: Mapping[str, Raw], name: str, domain: tuple[float, float]) -> Float64 | None:
    rows = [i for i, key in enumerate(table.get("PARAM", ())) if str(key).strip().upper() == name]
    if not rows or "COEFF" not in table:
        return None
    values = np.ascontiguousarray(table["COEFF"][rows[0]], np.float64)
    own = (table["WAVEMIN"][rows[0]], table["WAVEMAX"][rows[0]]) if "WAVEMIN" in table else _domain(hdus, "PSF", "XTRACE", 0)
    old = (float(own[0]), float(own[1]))
    return values if old == domain else carry(values, old, domain)


def write_traces(
    path: str | Path, traces: TraceSet, exposure: Exposure, camera: str, provenance: Mapping[str, HeaderValue] | None = None, *, sync: bool = True
) -> None:
    """Write a trace set: HDUs XTRACE, YTRACE, and XSIG, YSIG (pixel) where they are known, [nfibre, ncoef] float64.

    Fibres that are not in one run get a table FIBERMAP with their numbers.
    """
    with atomic(path, sync=sync) as f:
        put_traces(f, traces, [*exposure_cards(exposure, camera), *cards_of(provenance or {})])


def put_traces(f: BinaryIO, traces: TraceSet, more: Iterable[Card]) -> None:
    """The HDUs of a trace set, see `write_traces`; `more` are cards of the first."""
    domain: list[Card] = [("WAVEMIN", float(traces.wavemin), "Angstrom"), ("WAVEMAX", float(traces.wavemax), "Angstrom")]
    cards: list[Card] = [("PSFTYPE", "boxcar"), ("NPIX_X", int(traces.npix_x)), ("NPIX_Y", int(traces.npix_y))]
    cards += [("FIBERMIN", int(traces.fiber[0])), ("FIBERMAX", int(traces.fiber[-1])), *domain]
    write_image_hdu(f, traces.x, name="XTRACE", cards=[*cards, *more], primary=True)
    write_image_hdu(f, traces.y, name="YTRACE", cards=domain)
    for name, series in (("XSIG", traces.xsig), ("YSIG", traces.ysig)):
        if series is not None:
            write_image_hdu(f, series, name=name, cards=[("BUNIT", "pixel"), *domain])
    if not np.array_equal(traces.fiber, traces.fiber[0] + np.arange(traces.nfibre)):
        write_table_hdu(f, {"FIBER": np.asarray(traces.fiber, np.int32)}, name="FIBERMAP")
