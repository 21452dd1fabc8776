"""Routes of stored spectra: which fibres there are, and one of them with its error, mask and sky."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from monitor.render.style import MASK, SERIES
from monitor.web.figures import panel_figure
from monitor.web.figures_encode import Json, plain, typed
from monitor.web.images_cache import Kept, state_of
from monitor.web.pages.exposure_asks import FiberLine, SpectraAnswer, SpectraAsk, SpectrumAnswer, SpectrumAsk
from monitor.web.pages.exposure_fibers import numbers_by_fiber, ranked
from monitor.web.routing import Route
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.linelist import SkyLines, shipped_lines
from quicklook.ccd.spectra import SpecMask
from quicklook.core.errors import NotReadyYet
from quicklook.core.hosting import FileRef, Host
from quicklook.core.plots import Axis, Line, Panel
from quicklook.io.spectrafile import read_frame, read_sky

_PRODUCTS = ("cframe", "frame", "sky")
"""Spectra that can be shown, the furthest first."""
_MOST_BYTES = 150_000_000
_LINES = 14
_PLACES = (("FIBERASSIGN_X", "FIBERASSIGN_Y"), ("FIBER_X", "FIBER_Y"))
_FACTS = ("TARGETID", "DESI_TARGET", "TARGET_RA", "TARGET_DEC", "FLUX_G", "FLUX_R", "FLUX_Z", "FIBERFLUX_R", "FIBERSTATUS", "LOCATION")


Arrays = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.uint32], npt.NDArray[np.float64]]
"""flux, ivar, mask, wave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectra:
    """Spectra as they are stored, [nfibre, nwave], and what each is worth: median S/N, part that is masked."""

    unit: str
    flux: npt.NDArray[np.float32]
    ivar: npt.NDArray[np.float32]
    mask: npt.NDArray[np.uint32]
    wave: npt.NDArray[np.float64]
    fiber: npt.NDArray[np.int64]
    fibermap: FiberMap | None
    snr: npt.NDArray[np.float64]
    masked: npt.NDArray[np.float64]
    numbered: bool = True
    """Whether the file says which fibre a row is of; else `fiber` counts the rows."""

    @property
    def bytes(self) -> int:
        """Memory that they take."""
        return self.flux.nbytes + self.ivar.nbytes + self.mask.nbytes + self.wave.nbytes

    def row(self, fiber: int) -> int | None:
        """Where a fibre is; None where it is not."""
        found = np.flatnonzero(self.fiber == fiber)
        return int(found[0]) if found.size else None


_KEPT: Kept[Spectra] = Kept(_MOST_BYTES, lambda s: s.bytes)


def spectra(host: Host, ask: SpectraAsk) -> SpectraAnswer:
    """Fibres of a camera, and in which order they are looked at."""
    refs = _refs(host, ask)
    found = _load(_chosen(refs, ask))
    worst = {"S/N": _order(found.fiber, found.snr), "masked": _order(found.fiber, -found.masked)}
    for qa in host.qas(ask.unit, ask.camera, ask.tag, ask.revision):
        worst |= {m.name: ranked(m) for m in qa.metrics if tuple(m.coords) == ("fiber",) and m.values and m.name not in ("fiber_x", "fiber_y")}
    return SpectraAnswer(product=_chosen(refs, ask).name, products=list(refs), unit=found.unit, fibers=_lines(found), worst=worst)


def _order(fiber: npt.NDArray[np.int64], by: npt.NDArray[np.float64]) -> list[int]:
    """Numbers of the fibres, the lowest first; what was not measured last."""
    return [int(f) for f in fiber[np.argsort(np.where(np.isfinite(by), by, np.inf), kind="stable")]]


def spectrum(host: Host, ask: SpectrumAsk) -> SpectrumAnswer:
    """A spectrum with its error, what is masked and why, and the sky that was taken off."""
    refs = _refs(host, ask)
    ref = _chosen(refs, ask)
    found = _load(ref)
    row = found.row(ask.fiber)
    if row is None:
        raise NotReadyYet(f"{ask.unit} {ask.part} has no fibre {ask.fiber} in its {ref.name}", what_next="Choose one of the list.")
    wave, flux, bad = found.wave[row], found.flux[row].astype(np.float64), found.mask[row] != 0
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(found.ivar[row] > 0, 1.0 / np.sqrt(found.ivar[row].astype(np.float64)), np.nan)
    good = np.where(bad | (found.ivar[row] <= 0), np.nan, flux)
    y = Axis(label="sky" if ref.name == "sky" else "flux", unit=found.unit, range=_range(good))
    line = Line(x=wave, y=good, label=f"{ref.name}, with its error", error=None if ref.name == "sky" else error)
    panel = panel_figure(Panel(x=Axis(label="wavelength (vacuum)", unit="Angstrom"), y=y, layers=(line,)))
    if panel["data"] is None:
        panel["message"] = "all of this spectrum is masked, or has no value"
        return SpectrumAnswer(fiber=ask.fiber, product=ref.name, panel=panel, facts=_facts(found, row), masks=_bits(found.mask[row]))
    _add_masked(panel, wave, flux, found.mask[row])
    _add_lines(panel, wave)
    if ref.name != "sky" and "sky" in refs:
        _add_sky(panel, _load(refs["sky"]), ask.fiber, row)
    return SpectrumAnswer(fiber=ask.fiber, product=ref.name, panel=panel, facts=_facts(found, row), masks=_bits(found.mask[row]))


def _refs(host: Host, ask: SpectraAsk) -> dict[str, FileRef]:
    by_name = {f.name: f for f in host.files(ask.unit, ask.tag, "product", ask.camera, ask.revision)}
    return {name: by_name[name] for name in _PRODUCTS if name in by_name}


def _chosen(refs: dict[str, FileRef], ask: SpectraAsk) -> FileRef:
    chosen = refs.get(ask.product) if ask.product else next(iter(refs.values()), None)
    if chosen is None:
        raise NotReadyYet(f"no {ask.product or 'spectra'} of {ask.unit} {ask.part} are stored", what_next="The chain of its flavor may make none.")
    return chosen


def _load(ref: FileRef) -> Spectra:
    try:
        return _KEPT.get(state_of(ref.path), lambda: _read(ref))
    except OSError as error:
        raise NotReadyYet(f"{Path(ref.path).name} is not there any more") from error


def _read(ref: FileRef) -> Spectra:
    if ref.name == "sky":
        sky = read_sky(ref.path)
        fiber = np.arange(len(sky.flux)) if sky.fiber is None else np.asarray(sky.fiber)
        found = _spectra("electron/Angstrom", (sky.flux, sky.ivar, sky.mask, sky.wave), fiber, None)
        return replace(found, numbered=sky.fiber is not None)
    frame = read_frame(ref.path)
    return _spectra(frame.unit, (frame.flux, frame.ivar, frame.mask, frame.wave), np.asarray(frame.fibermap.fiber), frame.fibermap)


def _spectra(unit: str, arrays: Arrays, fiber: npt.NDArray[np.int64], fibermap: FiberMap | None) -> Spectra:
    flux, ivar, mask, wave = arrays
    good = (mask == 0) & (ivar > 0) & np.isfinite(flux)
    signal = np.where(good, flux * np.sqrt(np.where(good, ivar, 0.0)), np.nan)
    snr = np.array([float(np.nanmedian(row)) if np.isfinite(row).any() else math.nan for row in signal])
    return Spectra(
        unit=unit, flux=flux, ivar=ivar, mask=mask, wave=wave, fiber=np.asarray(fiber, np.int64),
        fibermap=fibermap, snr=snr, masked=1.0 - good.mean(axis=1),
    )  # fmt: skip


def _lines(found: Spectra) -> list[FiberLine]:
    x, y = _places(found.fibermap, len(found.fiber))
    objtype = found.fibermap.objtype if found.fibermap is not None else ("",) * len(found.fiber)
    target = _column(found.fibermap, "TARGETID", len(found.fiber))

    def line(i: int) -> FiberLine:
        known = {"x": _finite(x[i]), "y": _finite(y[i]), "snr": _finite(found.snr[i]), "masked": float(found.masked[i])}
        return FiberLine(fiber=int(found.fiber[i]), objtype=str(objtype[i]), target=target[i], **known)

    return [line(i) for i in range(len(found.fiber))]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _places(fibermap: FiberMap | None, n: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    for names in _PLACES:
        columns = [numbers_by_fiber(fibermap.columns.get(name)) for name in names] if fibermap is not None else [None]
        if all(c is not None for c in columns):
            return np.asarray(columns[0]), np.asarray(columns[1])
    return np.full(n, math.nan), np.full(n, math.nan)


def _column(fibermap: FiberMap | None, name: str, n: int) -> list[str]:
    column = fibermap.columns.get(name) if fibermap is not None else None
    return [""] * n if column is None or np.ndim(column) != 1 else [_text(v) for v in np.asarray(column).tolist()]


def _text(value: object) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value).strip()


def _facts(found: Spectra, row: int) -> dict[str, str]:
    n = len(found.fiber)
    facts = {name: _column(found.fibermap, name, n)[row] for name in _FACTS} if found.fibermap is not None else {}
    units = found.fibermap.units if found.fibermap is not None else {}
    said = {name: f"{text} {units.get(name, '')}".strip() for name, text in facts.items() if text}
    return {"OBJTYPE": str(found.fibermap.objtype[row]) if found.fibermap is not None else "", **said}


def _bits(mask: npt.NDArray[np.uint32]) -> dict[str, int]:
    """How many samples have each bit."""
    counts = {bit.name or "": int(np.count_nonzero(mask & bit)) for bit in SpecMask}
    return {name: n for name, n in counts.items() if n}


def _range(good: npt.NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Of the flux axis: what all but the outermost samples fill, so that one spike does not hide the rest; zooming out shows all."""
    seen = good[np.isfinite(good)]
    if seen.size < 10:
        return None, None
    low, high = (float(v) for v in np.percentile(seen, (0.5, 99.5)))
    room = 0.15 * (high - low)
    return (low - room, high + room) if high > low else (None, None)


def _add_masked(panel: Json, wave: npt.NDArray[np.float64], flux: npt.NDArray[np.float64], mask: npt.NDArray[np.uint32]) -> None:
    """Samples that are masked, as crosses that say why."""
    bad = np.flatnonzero((mask != 0) & np.isfinite(flux))
    if not bad.size:
        return
    why = {int(v): ", ".join(b.name or "" for b in SpecMask if int(v) & b) or f"bits {int(v)}" for v in np.unique(mask[bad])}
    panel["data"].append({
        "type": "scatter", "mode": "markers", "x": typed(wave[bad]), "y": typed(flux[bad]), "showlegend": False,
        "text": [plain(why[int(v)]) for v in mask[bad]], "hovertemplate": "masked: %{text}<br>%{x} Angstrom<br>%{y}<extra></extra>",
        "marker": {"symbol": "x-thin", "size": 5, "color": MASK, "line": {"width": 1, "color": MASK}},
    })  # fmt: skip
    entry = {"text": f"masked ({bad.size} of {len(mask)})", "mark": "x-thin", "colour": MASK, "traces": [len(panel["data"]) - 1]}
    panel["legend"].append(entry)


def _add_lines(panel: Json, wave: npt.NDArray[np.float64]) -> None:
    """The strongest lines of the night sky, marked along the upper edge."""
    lines = shipped_lines(SkyLines)
    inside = np.flatnonzero((lines.wave > np.nanmin(wave)) & (lines.wave < np.nanmax(wave)))
    strong = inside[np.argsort(-lines.strength[inside])][:_LINES]
    if not strong.size:
        return
    panel["layout"]["yaxis3"] = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
    panel["data"].append({
        "type": "scatter", "mode": "markers", "x": typed(lines.wave[strong]), "y": [0.985] * len(strong), "yaxis": "y3", "showlegend": False,
        "text": [plain(lines.name[i]) for i in strong], "hovertemplate": "sky line %{text}<br>%{x:.2f} Angstrom<extra></extra>",
        "marker": {"symbol": "triangle-down", "size": 8, "color": SERIES[3]},
    })  # fmt: skip
    panel["legend"].append({"text": "strong sky lines", "mark": "triangle-down", "colour": SERIES[3], "traces": [len(panel["data"]) - 1]})


def _add_sky(panel: Json, sky: Spectra, fiber: int, row: int) -> None:
    """The model of the sky, on an axis of its own below the spectrum."""
    at = sky.row(fiber) if sky.numbered else row
    if at is None or at >= len(sky.flux):
        return
    panel["data"].append({
        "type": "scatter", "mode": "lines", "x": typed(sky.wave[at]), "y": typed(np.asarray(sky.flux[at], np.float64)), "yaxis": "y2",
        "showlegend": False, "line": {"color": SERIES[4], "width": 1},
        "hovertemplate": f"sky<br>%{{x}} Angstrom<br>%{{y}} {plain(sky.unit)}<extra></extra>",
    })  # fmt: skip
    panel["layout"]["yaxis"]["domain"] = [0.3, 1.0]
    panel["layout"]["yaxis2"] = {"domain": [0.0, 0.24], "anchor": "x", "title": {"text": "sky<br>[e/Angstrom]"}, "rangemode": "tozero"}
    panel["layout"]["xaxis"]["anchor"] = "y2"
    panel["legend"].append({"text": "model of the sky", "mark": "solid", "colour": SERIES[4], "traces": [len(panel["data"]) - 1]})
    panel["height"] = 440


_SPECTRA = "/exposures/{night}/{expid}/spectra/{part}"
ROUTES = (
    Route("GET", _SPECTRA, spectra, "Spectra of a camera that are stored, their fibres, and which are the worst"),
    Route("GET", _SPECTRA + "/{fiber}", spectrum, "A spectrum as a panel for plotly"),
)
