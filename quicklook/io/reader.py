"""Reading of raw frames: the contract of a reader, and the reader of FITS files that an `Instrument` describes."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import numpy as np

from quicklook.ccd.arrays import Raw
from quicklook.ccd.exposure import Arrival, Companion, Exposure, FiberMap
from quicklook.ccd.image import RawImage
from quicklook.ccd.pixeltraces import Spectrograph
from quicklook.ccd.strips import TOP_OF_CONVERTER
from quicklook.core.errors import BadConfig, BadData, QuicklookError
from quicklook.core.keys import Unit
from quicklook.core.product import Product
from quicklook.core.reading import Reading
from quicklook.core.registry import find
from quicklook.io import headerfacts as facts
from quicklook.io.amplifiers import Tile, build_amplifiers, choose_layout, orientation_of
from quicklook.io.badamps import marked
from quicklook.io.examine import Examined, examine, format_name
from quicklook.io.fibermap import read_fibermap, slit_fibermap
from quicklook.io.fitsfile import FitsFile, inspect, open_fits
from quicklook.io.hardware import disagreement, hardware_tags
from quicklook.io.headerfacts import Headers
from quicklook.io.instrument import CompanionSpec, Instrument
from quicklook.io.naming import is_temporary, locate, match_path, night_in_path
from quicklook.io.spectrograph import spectrograph_of

MIN_PIXELS = 64
"""A smaller image is no frame of a detector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peek:
    """What is known of a file by its headers alone.

    `cameras` are those in the file, `missing_cameras` those that every exposure of the instrument has and this file has not.
    """

    path: Path
    unit: Unit
    cameras: tuple[str, ...]
    missing_cameras: tuple[str, ...]
    exposure: Exposure
    arrival: Arrival
    tags: Mapping[str, str]

    @property
    def flavor(self) -> str:
        """science, arc, flat, zero, dark, ...; `unknown` where nothing says it."""
        return self.exposure.flavor

    @property
    def exptime(self) -> float:
        """Second; NaN where it is not known."""
        return self.exposure.exptime

    @property
    def start(self) -> datetime | None:
        """UTC."""
        return self.exposure.start

    @property
    def companions(self) -> tuple[Companion, ...]:
        """What should come with it, and whether it is there."""
        return self.arrival.companions

    @property
    def problems(self) -> Mapping[str, tuple[str, ...]]:
        """Sentences on what is missing or contradicts itself, by check (headers, hdus, night, companions)."""
        return self.arrival.problems


class Reader(ABC):
    """Base of a reader plugin (entry-point group `quicklook.readers`). It can be pickled, holds no open file, and several threads ask it.

    `provides` are the products that `read` may give; a chain is checked against them when it is loaded.
    """

    name: ClassVar[str] = ""
    provides: ClassVar[tuple[type[Product], ...]] = (RawImage, Exposure, Arrival)

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument

    def accepts(self, path: str | Path) -> bool:
        """Whether the name is that of a raw file of the instrument, and not that of a temporary file. The file is not looked at."""
        path = Path(path)
        return not is_temporary(path.name, self.instrument) and match_path(path, self.instrument) is not None

    def locate(self, root: str | Path, expid: int, night: int | None = None) -> tuple[Path, ...]:
        """Files under `root` whose names say that they belong to an exposure; of a night, where given, which the header tells where no name does."""
        found = locate(Path(root), self.instrument, night, expid)
        return tuple(path for path in found if night is None or self._of_night(path, night))

    def _of_night(self, path: Path, night: int) -> bool:
        """A file that cannot be read is not left out here: who reads it says what is wrong with it."""
        facts = match_path(path, self.instrument)
        if facts is not None and night_in_path(facts, self.instrument) is not None:
            return True
        try:
            return self.peek(path).unit.night == night
        except QuicklookError:
            return True

    @abstractmethod
    def peek(self, path: str | Path) -> Peek:
        """What the file is, by its headers. Raises NotReadyYet (not complete, not there), BadData, Transient."""

    @abstractmethod
    def read(self, path: str | Path, camera: str) -> Reading:
        """One camera of the file: its products and tags. Raises as `peek`; BadData also where the pixels cannot be processed."""

    def companions(self, path: str | Path) -> tuple[Companion, ...]:
        """What should come with the file, and whether it is there. Raises as `peek`."""
        return self.peek(path).companions


class FitsReader(Reader):
    """Reads FITS files, as the description of the instrument says."""

    name = "fits"
    provides = (RawImage, Exposure, Arrival, FiberMap, Spectrograph)

    def peek(self, path: str | Path) -> Peek:
        """See `Reader.peek`. A few milliseconds for thirty cameras."""
        examined = examine(self.instrument, inspect(path))
        missing = tuple(c for c in self.instrument.cameras.expected if c not in examined.cameras)
        if missing and self.instrument.layout.camera_hdus is None:
            missing = ()  # one camera a file: the others come in files of their own
        if missing:
            examined.problems.add("hdus", f"expected and not there: camera {', '.join(missing)}")
        return Peek(
            path=Path(path), unit=examined.unit, cameras=tuple(examined.cameras), missing_cameras=missing, exposure=examined.exposure,
            arrival=self._arrival(examined, None), tags=self._tags(examined, None),
        )  # fmt: skip

    def read(self, path: str | Path, camera: str) -> Reading:
        """See `Reader.read`. Everything but the pixels that is wrong becomes a problem of the Arrival. BadConfig: see `marked`."""
        camera = self.instrument.camera_name(camera)
        with open_fits(path) as f:
            examined = examine(self.instrument, f.structure, camera)
            raw = self._raw(f, examined, camera)
        tags = self._tags(examined, camera) | _shapes(raw)
        if bad := [a.name for a in raw.amplifiers if a.bad]:
            tags["bad_amplifiers"] = ",".join(bad)
        fibermap = self._fibermap(examined, camera, tags)
        arrival = self._arrival(examined, camera)
        products: tuple[Product, ...] = (arrival, examined.exposure, raw, spectrograph_of(self.instrument, camera, tags))
        degraded = arrival.problems.get("companions", ())
        return Reading(products=products if fibermap is None else (*products, fibermap), tags=tags, degraded=degraded)

    def _raw(self, f: FitsFile, examined: Examined, camera: str) -> RawImage:
        hdu = examined.cameras[camera]
        primary = examined.structure.hdus[0].header
        layout = choose_layout(self.instrument, camera, (hdu.header, primary), _two_axes(hdu.shape))
        hdus = {name: spec.hdu for name, spec in layout.specs().items()}
        if any(h is not None for h in hdus.values()):
            pixels, tiles = _side_by_side(f, {n: h for n, h in hdus.items() if h is not None})
        else:
            pixels = _checked(_as_raw(f.pixels(hdu.index, narrow=True)), f"{examined.structure.path.name}, {hdu.label}")
            one = Tile(headers=examined.headers, shape=_two_axes(pixels.shape))
            tiles = dict.fromkeys(layout.amplifiers, one)
        amplifiers = marked(self.instrument, camera, build_amplifiers(camera, layout, tiles, examined.problems))
        if hdu.header.get("BITPIX") == 32 and pixels.dtype == np.uint16 and any((a.saturation or 0) > TOP_OF_CONVERTER for a in amplifiers):
            pixels = pixels.astype(np.int32)  # the top of uint16 would be taken for saturated
        return RawImage(camera=camera, pixels=pixels, amplifiers=amplifiers, header=hdu.header, orientation=orientation_of(self.instrument, layout))

    def _arrival(self, examined: Examined, camera: str | None) -> Arrival:
        structure, problems = examined.structure, examined.problems
        companions = tuple(self._companion(examined, spec, camera or "") for spec in self.instrument.companions)
        for c in companions:
            if c.required and not c.present:
                problems.add("companions", f"{c.role} {c.name} is not there")
        own = (examined.cameras[camera].name,) if camera and self.instrument.layout.camera_hdus else ()
        expected = self.instrument.expected_hdus + own
        for name in expected:
            if structure.find(name) is None:
                problems.add("hdus", f"HDU {name} is not there")
        missing = tuple(k for k in self.instrument.header.required if examined.headers.get(k) is None)
        if missing:
            problems.add("headers", f"not in the header: {', '.join(missing)}")
        return Arrival(
            file=structure.path.name, size=structure.size, hdus=structure.names, expected_hdus=expected, missing_keywords=missing,
            companions=companions, night_of_header=examined.nights.header, night_of_time=examined.nights.time,
            night_of_path=examined.nights.path, problems=problems.frozen(),
        )  # fmt: skip

    def _companion(self, examined: Examined, spec: CompanionSpec, camera: str) -> Companion:
        required = "all" in spec.required_for or examined.exposure.flavor in spec.required_for
        path, _ = _companion_place(examined, spec, camera)
        name = format_name(spec.file, examined, camera) if spec.file else f"HDU {spec.hdu}"
        shown = name if path is None else path.name
        return Companion(role=spec.role, name=shown, present=path is not None, required=required)

    def _tags(self, examined: Examined, camera: str | None) -> dict[str, str]:
        exposure, instrument = examined.exposure, self.instrument
        tags = {
            "instrument": instrument.name, "telescope": instrument.telescope, "flavor": exposure.flavor, "program": exposure.program,
            "night": f"{exposure.unit.night:08d}", "expid": str(exposure.unit.expid), "object": exposure.object,
        }  # fmt: skip
        if not math.isnan(exposure.exptime):
            tags["exptime"] = f"{exposure.exptime:g}"
        if exposure.start is not None:
            tags["start"] = exposure.start.isoformat()
        for name, spec in instrument.header.tags.items():
            tags[name] = facts.text_of(spec, examined.headers)
        if camera is not None:
            tags |= {"camera": camera} | camera_tags(instrument, camera)
            if instrument.cameras.fibres and tags.get("spectrograph", "").isdigit():
                tags["first_fibre"] = str(instrument.cameras.fibres * int(tags["spectrograph"]))
            mounted = hardware_tags(instrument, camera, exposure.unit.night)
            tags = mounted | {k: v for k, v in tags.items() if v}
            if other := disagreement(tags, mounted):
                examined.problems.add("headers", other)
            if bound := [t for t in instrument.bound_to if tags.get(t)]:
                tags["bound_to"] = ",".join(bound)
        return {k: v for k, v in tags.items() if v}

    def _fibermap(self, examined: Examined, camera: str, tags: Mapping[str, str]) -> FiberMap | None:
        """The fibre map, None where there is none or it cannot be used: then a problem says why."""
        if self.instrument.apertures is not None:
            return slit_fibermap(self.instrument.apertures)
        spec = next((s for s in self.instrument.companions if s.role == "fibermap"), None)
        path, hdu = _companion_place(examined, spec, camera) if spec else (None, "")
        if spec is None or path is None:
            return None
        select = {column: int(tags[tag]) for column, tag in spec.select.items() if tags.get(tag, "").isdigit()}
        try:
            fibermap, header, left_out = read_fibermap(path, hdu or "FIBERMAP", select)
        except QuicklookError as error:
            examined.problems.add("companions", f"the fibre map cannot be used: {error}")
            return None
        stated = facts.whole_field("number of an exposure", self.instrument.header.expid, Headers(header), examined.problems, 1e15)
        if stated is not None and stated != examined.unit.expid:
            examined.problems.add("companions", f"the fibre map {path.name} is of exposure {stated}, not of {examined.unit.expid}; it is not used")
            return None
        for sentence in left_out:
            examined.problems.add("companions", sentence)
        return fibermap


def camera_tags(instrument: Instrument, camera: str) -> dict[str, str]:
    """Tags that the name of a camera gives (arm, spectrograph, ...)."""
    match = re.fullmatch(instrument.cameras.tags, camera) if instrument.cameras.tags else None
    return {k: v for k, v in match.groupdict().items() if v is not None} if match else {}


def _companion_place(examined: Examined, spec: CompanionSpec, camera: str) -> tuple[Path | None, str]:
    """File and HDU of a companion: beside the raw file, or within it; (None, "") where it is not there."""
    raw = examined.structure.path
    if spec.file:
        name = format_name(spec.file, examined, camera)
        beside = sorted(raw.parent.glob(name)) if any(c in name for c in "*?[") else [raw.parent / name]
        for path in beside:
            if path.is_file() and path.stat().st_size > 0:
                return path, spec.hdu
    if spec.hdu and examined.structure.find(spec.hdu) is not None:
        return raw, spec.hdu
    return None, ""


def _two_axes(shape: tuple[int, ...]) -> tuple[int, int]:
    """The last two axes; (0, 0) where there are fewer, which the reading of pixels refuses with its reason."""
    return (shape[-2], shape[-1]) if len(shape) >= 2 else (0, 0)


def _side_by_side(f: FitsFile, hdus: Mapping[str, str | int]) -> tuple[Raw, dict[str, Tile]]:
    """The images of amplifiers that have an HDU each, put together along x."""
    structure, parts, tiles, x0 = f.structure, list[Raw](), dict[str, Tile](), 0
    for name, which in hdus.items():
        hdu = structure.hdu(which)
        part = _as_raw(f.pixels(hdu.index))
        if parts and part.shape[0] != parts[0].shape[0]:
            raise BadData(f"{structure.path.name}: {hdu.label} has {part.shape[0]} rows, the first amplifier has {parts[0].shape[0]}")
        tiles[name] = Tile(headers=Headers(hdu.header, structure.hdus[0].header), shape=_two_axes(part.shape), x0=x0)
        parts.append(part)
        x0 += part.shape[1]
    return _checked(np.hstack(parts), structure.path.name), tiles


def _as_raw(pixels: Raw) -> Raw:
    """As one of the types that kernels know: uint16, int16, int32, float32. A type is widened where need be, never narrowed with loss."""
    if pixels.dtype.str[1:] in ("u2", "i2", "i4", "f4"):
        return pixels
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32)
    if pixels.dtype.itemsize == 1:
        return pixels.astype(np.int16)
    low, high = int(pixels.min()), int(pixels.max())
    limits = np.iinfo(np.int32)
    return pixels.astype(np.int32 if limits.min <= low and high <= limits.max else np.float32)


def _checked(pixels: Raw, where: str) -> Raw:
    if pixels.size < MIN_PIXELS:
        raise BadData(f"{where} has {pixels.shape[1]} x {pixels.shape[0]} pixels; that is no frame of a detector")
    return pixels


def _shapes(raw: RawImage) -> dict[str, str]:
    """Tags by which the shape of a calibration is checked: of the raw image, and of the trimmed one as it is turned, each `ny,nx`."""
    ny, nx = raw.image_shape
    if raw.orientation.transpose:
        ny, nx = nx, ny
    return {"raw_shape": f"{raw.shape[0]},{raw.shape[1]}", "image_shape": f"{ny},{nx}"}


def open_reader(instrument: Instrument) -> Reader:
    """The reader that an instrument names. Raises BadConfig where its plugin is not there or is no reader."""
    plugin = find("reader", instrument.reader).load()
    if not (isinstance(plugin, type) and issubclass(plugin, Reader)):
        raise BadConfig(f"instrument {instrument.name}: the plugin {instrument.reader!r} is registered as a reader and is none")
    return plugin(instrument)
