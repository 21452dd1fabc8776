"""Cut-outs of raw frames around what was found: the amplifiers and fibres that are not within their limits."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quicklook.ccd.arrays import Raw
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.image import RawImage
from quicklook.ccd.spectra import TraceSet
from quicklook.core.errors import QuicklookError, describe
from quicklook.core.plots import Axis, Image, Panel, Plot
from quicklook.core.results import PartResult
from quicklook.core.status import Status
from quicklook.io.fitswrite import Card, write_image_hdu
from quicklook.io.products import product_name
from quicklook.io.reader import Reader
from quicklook.io.tracefile import read_traces

SIDE = 400
"""Pixels of a cut-out along x and y."""
MOST = 12
_PER_CAMERA = 4
_AMPLIFIER, _FIBER = "amp", "fiber"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Something that was found at a place of a camera: an amplifier or a fibre by its name, and the metrics that say so, the worst first."""

    camera: str
    kind: str
    name: str
    metrics: tuple[str, ...]
    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOut:
    """A piece of a raw frame, [ny, nx] in ADU; `x0`, `y0` are the raw column and row of its first pixel, from 0.

    The frame is turned so that wavelength runs along y.
    """

    spot: Spot
    pixels: Raw
    x0: int
    y0: int

    @property
    def name(self) -> str:
        """What its files are called."""
        plain = "".join(c if c.isalnum() and c.isascii() else "_" for c in f"{self.spot.camera}-{self.spot.kind}-{self.spot.name}")
        return plain[:80]

    def fits(self) -> bytes:
        """As a FITS file, with the place in its header."""
        out = io.BytesIO()
        cards: list[Card] = [("CAMERA", self.spot.camera), ("FOUNDAT", f"{self.spot.kind} {self.spot.name}"[:60]), ("BUNIT", "adu")]
        cards += [("X0", self.x0, "raw column of the first pixel, from 0"), ("Y0", self.y0, "raw row of the first pixel, from 0")]
        cards += [("LTV1", -self.x0), ("LTV2", -self.y0)]
        write_image_hdu(out, self.pixels, cards=cards, primary=True)
        return out.getvalue()

    def plot(self) -> Plot:
        """As a plot."""
        ny, nx = self.pixels.shape
        image = Image(
            values=self.pixels.astype(np.float32), extent=(self.x0 - 0.5, self.x0 + nx - 0.5, self.y0 - 0.5, self.y0 + ny - 0.5),
            c_axis=Axis(label="raw value", unit="adu"),
        )  # fmt: skip
        panel = Panel(x=Axis(label="raw column", unit="pix"), y=Axis(label="raw row", unit="pix"), layers=(image,))
        title = f"Camera {self.spot.camera}, {self.spot.kind} {self.spot.name}: raw pixels"
        return Plot(name="cutout", title=title, panels=(panel,), caption=f"Not within limits: {', '.join(self.spot.metrics[:6])}.")


def spots_of(results: Sequence[PartResult]) -> list[Spot]:
    """Amplifiers and fibres at which something was found, the worst first."""
    found: dict[tuple[str, str, str], list[tuple[Status, str]]] = {}
    for result in results:
        for metric in (m for q in result.qas for m in q.metrics if m.status not in (None, Status.NORMAL)):
            kinds = [k for k in metric.coords if k in (_AMPLIFIER, _FIBER)]
            for at, status in zip(itertools.product(*metric.coords.values()), metric.statuses, strict=False):
                if status not in (None, Status.NORMAL):
                    for kind in kinds:
                        name = str(at[list(metric.coords).index(kind)])
                        found.setdefault((result.part, kind, name), []).append((status or Status.UNKNOWN, metric.name))
    spots = []
    for (camera, kind, name), told in found.items():
        told.sort(key=lambda one: -one[0].severity)
        spots.append(Spot(camera=camera, kind=kind, name=name, metrics=tuple(dict.fromkeys(m for _, m in told)), status=told[0][0]))
    return sorted(spots, key=lambda s: (-s.status.severity, -len(s.metrics)))


def cut_out(reader: Reader, raw: Path, folder: Path, spots: Sequence[Spot], expid: int) -> Iterator[CutOut | str]:
    """A cut-out for each spot, a few of each camera; or in a sentence why there is none."""
    left = 0
    for camera, of_camera in itertools.groupby(sorted(spots, key=lambda s: s.camera), key=lambda s: s.camera):
        wanted = list(of_camera)
        left += max(len(wanted) - _PER_CAMERA, 0)
        try:
            image = next(p for p in reader.read(raw, camera).products if isinstance(p, RawImage)).oriented()
        except (QuicklookError, StopIteration, OSError) as error:
            yield f"no cut-out of {camera}: {describe(error)}"
            continue
        traces = _traces(folder, camera, expid)
        for spot in wanted[:_PER_CAMERA]:
            place = _place(image, traces, spot)
            yield _cut(image, spot, place) if place is not None else f"no cut-out of {camera}, {spot.kind} {spot.name}: where it lies is not known"
    if left:
        yield f"{left} more places were found, and are not cut out ({_PER_CAMERA} of each camera are)"


def _traces(folder: Path, camera: str, expid: int) -> TraceSet | None:
    try:
        return read_traces(folder / product_name("psf", camera, expid))
    except (QuicklookError, OSError):
        return None


def _place(image: RawImage, traces: TraceSet | None, spot: Spot) -> tuple[int, int] | None:
    """Row and column of the raw frame about which is cut: where data and overscan of an amplifier meet, the middle of a trace."""
    if spot.kind == _AMPLIFIER:
        amp = next((a for a in image.amplifiers if a.name == spot.name), None)
        return _edge(amp) if amp is not None else None
    if traces is None:
        return None
    rows = np.flatnonzero(traces.fiber.astype(str) == spot.name)
    if not len(rows):
        return None
    middle = np.array([0.5 * (traces.wavemin + traces.wavemax)])
    x, y = (round(float(traces.evaluate(c, middle)[rows[0], 0])) for c in (traces.x, traces.y))
    for amp in image.amplifiers:
        if amp.ccd.y0 <= y < amp.ccd.y1 and amp.ccd.x0 <= x < amp.ccd.x1:
            return y - amp.ccd.y0 + amp.data.y0, x - amp.ccd.x0 + amp.data.x0
    return None


def _edge(amp: Amplifier) -> tuple[int, int]:
    data, over = amp.data, amp.overscan
    row, column = (data.y0 + data.y1) // 2, (data.x0 + data.x1) // 2
    if over is None:
        return row, column
    if amp.serial_axis == 1:
        return row, data.x1 if over.x0 >= data.x1 else data.x0
    return data.y1 if over.y0 >= data.y1 else data.y0, column


def _cut(image: RawImage, spot: Spot, place: tuple[int, int]) -> CutOut:
    ny, nx = image.shape
    y0, x0 = (min(max(c - SIDE // 2, 0), max(n - SIDE, 0)) for c, n in zip(place, (ny, nx), strict=True))
    return CutOut(spot=spot, pixels=np.ascontiguousarray(image.pixels[y0 : y0 + SIDE, x0 : x0 + SIDE]), x0=x0, y0=y0)
