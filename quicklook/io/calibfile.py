"""Calibration files: how each kind is loaded and checked, and the cache of what a process has loaded.

A further kind of calibration is added by `register_loader`; the indexes know nothing of kinds.
"""

from __future__ import annotations

import hashlib
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from quicklook.ccd.arrays import Float32, Raw
from quicklook.ccd.calibs import BadPixelMask, Bias, Dark, KnownFibers, PixelFlat
from quicklook.ccd.linelist import ArcLines, LampLines, LineList, SkyLines, parse_lines
from quicklook.ccd.mask import PixelMask
from quicklook.ccd.pixeltraces import PixelTraces
from quicklook.ccd.spectra import FiberFlat, FluxCalib, TraceSet
from quicklook.core.errors import BadConfig, BadData, MissingCalibration, NotReadyYet
from quicklook.core.product import Calibration
from quicklook.core.yamlsource import validate
from quicklook.io.calibreview import glance, review
from quicklook.io.calibtables import read_pixeltraces, read_ptc, read_refarc, read_refflat
from quicklook.io.coaddfile import read_coadd
from quicklook.io.configfiles import read_config
from quicklook.io.fitsfile import FitsFile, inspect, open_fits
from quicklook.io.fitssum import WRITE_AGAIN, wrong_sums
from quicklook.io.flatfile import read_fiberflat, read_fluxcalib
from quicklook.io.hdu import HduInfo
from quicklook.io.prepared import Ready, is_mapped, ready_folder
from quicklook.io.spectrafile import read_sky
from quicklook.io.starfile import read_extinction, read_stdstars
from quicklook.io.tracefile import read_traces

Loader = Callable[[Path], Calibration]
Check = Callable[[Calibration, Mapping[str, str]], str]
"""What is wrong with a calibration for a part with these tags; empty where nothing is."""
Adapt = Callable[[Any, Mapping[str, str]], Calibration]
"""A calibration as it is for a part with these tags: the file of a spectrograph may number its fibres from 0."""

_UNITS = {
    "bias": ("adu", "count", "counts", "dn"),
    "dark": ("electron/s", "electrons/s", "e/s", "e-/s", "electron s-1", "electrons/second", "electron/sec"),
    "pixflat": ("", "1", "none", "relative", "dimensionless", "adimensional"),
}
MAX_LOST = 0.5
"""A calibration image of which more than this is no number is not used. Fewer are masked in the frame, and counted by a QA."""
MAX_HIGH_BITS = 1e-4
"""Fraction of the pixels of a mask that may have bits above 15: masks in use have fewer than sixteen kinds of bad pixels."""
_FEW_PIXELS = 8
MOST_KEPT = 600
"""Thirty cameras have some three hundred calibrations."""
DARK_MATTERS = 0.3e-3
"""Error of a pixel of a dark, electron/s, below which it adds less than 1 % to the variance of a read noise of 3 electron in 1000 s."""
_REVIEWED = ("psf", "pixeltraces", "fiberflat", "sky")
"""Kinds whose values are all looked at whenever they are loaded: it takes a few hundredths of a second. Of images some are (`glance`)."""
_TABLE: dict[str, tuple[Loader, Check, Adapt]] = {}


def register_loader(kind: str, loader: Loader, check: Check | None = None, adapt: Adapt | None = None) -> None:
    """Say how calibrations of a kind are loaded, checked against the tags of a part, and made to fit it.

    `loader` raises BadData where the file is not what it should be.
    """
    _TABLE[kind] = (loader, check or (lambda _calibration, _tags: ""), adapt or (lambda calibration, _tags: calibration))


def loadable_kinds() -> tuple[str, ...]:
    """Kinds of calibrations that can be loaded."""
    return tuple(_TABLE)


def read_kind(path: Path, kind: str, *, sha256: str = "") -> Calibration:
    """The calibration of a kind in a file, from the cache of the process where it is unchanged.

    Raises MissingCalibration (a kind that nothing can load), BadData (what is wrong with it, also that it has not the checksum `sha256`),
    NotReadyYet, OSError.
    """
    if kind not in _TABLE:
        raise MissingCalibration(f"calibrations of kind {kind!r} cannot be loaded: nothing is registered for them")
    loader = _TABLE[kind][0]
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise BadData("it is no regular file")
    key = (kind, str(path.resolve()), status.st_mtime_ns, status.st_size, sha256)
    return _CACHE.get(key, lambda: _ready(key, lambda: _checked(path, loader, sha256)))


def _ready(key: tuple[object, ...], load: Callable[[], Calibration]) -> Calibration:
    """From what is kept ready for all processes, where that is wanted; what is not there is loaded, and kept."""
    if _READY is None:
        return load()
    found = _READY.find(key)
    return found if found is not None else _READY.keep(key, load())


def misfit(calibration: Calibration, tags: Mapping[str, str]) -> str:
    """Why a calibration cannot be used for a part with these tags (its size); empty where it can."""
    return _TABLE[calibration.kind][1](calibration, tags)


def _checked(path: Path, loader: Loader, sha256: str) -> Calibration:
    """Loaded, where it is the file that was added. One that cannot be read is told as such: that says more than its checksum."""
    made = loader(path)
    if wrong := review(made).wrong if made.kind in _REVIEWED else glance(made):
        raise BadData("; ".join(wrong))
    if not sha256 and (damage := damaged(path)):
        raise BadData(damage)
    if sha256 and checksum(path) != sha256:
        raise BadData("it is not the file that was added to the index, its checksum differs; restore it, or add it again with `quicklook calib add`")
    return made


def damaged(path: Path) -> str:
    """What the sums in a FITS file say against it, and what to do; empty where they hold, where it has none, and for other files."""
    try:
        wrong = wrong_sums(path)
    except BadData:  # lists of lines and fibres are text
        return ""
    return f"{wrong}. {WRITE_AGAIN}" if wrong else ""


def follows(path: Path) -> str:
    """What stands behind the last HDU of a FITS file and belongs to none, and what to do; empty where nothing does, and for other files."""
    try:
        odd = [p for p in inspect(path).problems if "belong to no HDU" in p]
    except BadData:  # lists of lines and fibres are text
        return ""
    return f"{odd[0]}: two files were run together, or it was not written to its end. {WRITE_AGAIN}" if odd else ""


def checksum(path: Path) -> str:
    """SHA-256 of a file, read to its last byte. Raises OSError, BadData for what is no regular file: a pipe would be waited for."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise BadData("it is no regular file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_calibration(path: Path, wanted: type[Calibration], tags: Mapping[str, str], *, sha256: str = "") -> Calibration:
    """The calibration in a file, from the cache of the process where it is unchanged.

    Raises MissingCalibration, with path and what to do, where it cannot be used for a part with these tags, or is not what was added (`sha256`).
    """
    kind = wanted.kind
    try:
        calibration = read_kind(path, kind, sha256=sha256)
    except OSError as error:
        raise MissingCalibration(f"{kind} {path} cannot be read: {error.strerror or error}; restore the file or correct the index") from error
    except (BadData, NotReadyYet) as error:
        raise MissingCalibration(f"{kind} {path} cannot be used: {error}; replace the file or choose another in the index") from error
    if not isinstance(calibration, wanted):
        raise MissingCalibration(f"{path} gives a {type(calibration).__name__}, not a {wanted.__name__}")
    _, check, adapt = _TABLE[kind]
    if wrong := check(calibration, tags):
        raise MissingCalibration(f"{kind} {path} cannot be used: {wrong}; make one for this read-out or correct the index")
    adapted = adapt(calibration, tags)
    if not isinstance(adapted, wanted):
        raise MissingCalibration(f"{path} gives a {type(adapted).__name__}, not a {wanted.__name__}")
    return adapted


class CalibrationCache:
    """What was loaded last, up to a number of bytes. A file that has changed is loaded again."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[tuple[object, ...], tuple[Calibration, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[object, ...], load: Callable[[], Calibration]) -> Calibration:
        """The calibration of that key, loaded if need be."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
        made = load()
        with self._lock:
            self._kept[key] = (made, _nbytes(made))
            while len(self._kept) > 1 and (sum(n for _, n in self._kept.values()) > self.max_bytes or len(self._kept) > MOST_KEPT):
                self._kept.popitem(last=False)
        return made

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()


def _nbytes(calibration: Calibration) -> int:
    """Memory of this process alone: what is mapped is not."""
    values = (getattr(calibration, name) for cls in type(calibration).__mro__ for name in getattr(cls, "__slots__", ()))
    return sum(v.nbytes for v in values if isinstance(v, np.ndarray) and not is_mapped(v))


_CACHE = CalibrationCache(max_bytes=640 << 20)
"""Two full cameras with bias, dark, pixel flat and mask take 490 MB."""


_READY: Ready | None = None


def keep_ready(max_bytes: int) -> None:
    """Keep what is loaded ready for all processes from now on, in the cache folder, up to so many bytes; 0: no longer."""
    global _READY  # noqa: PLW0603
    _READY = Ready(folder=ready_folder(), max_bytes=max_bytes) if max_bytes else None


def set_cache_bytes(max_bytes: int) -> None:
    """Bytes of calibrations that a process keeps."""
    _CACHE.max_bytes = max_bytes


def read_image(path: Path, kind: str, names: tuple[str, ...] = ("IMAGE",)) -> tuple[Raw, HduInfo]:
    """Pixels and HDU of a calibration image: the HDU named after the kind, one of `names`, or the first that holds an image. Raises BadData."""
    with open_fits(path) as f:
        hdu = _image_hdu(f, (kind.upper(), *names))
        return f.pixels(hdu.index), hdu


def _image_hdu(f: FitsFile, names: tuple[str, ...]) -> HduInfo:
    images = [h for h in f.structure.hdus if h.is_image]
    named = [h for name in names for h in images if h.name == name]
    if not images:
        raise BadData(f"it holds no image: its HDUs are {', '.join(f.structure.names)}")
    return (named or images)[0]


def _float_image(path: Path, kind: str) -> Float32:
    pixels, hdu = read_image(path, kind)
    unit = str(hdu.header.get("BUNIT") or "").strip().lower().replace(" / ", "/")
    allowed = _UNITS[kind]
    if unit and unit not in allowed:
        raise BadData(f"its unit (BUNIT) is {unit!r}, it must be {allowed[0] or 'a pure number'}")
    out: Float32 = np.ascontiguousarray(pixels, dtype=np.float32)
    known = np.count_nonzero(np.isfinite(out)) / out.size
    if known <= 1.0 - MAX_LOST:
        raise BadData("it holds no finite pixel" if not known else f"{100 * (1 - known):.3g} % of its pixels are no numbers")
    return out


def _mask(path: Path) -> BadPixelMask:
    """Bits 0 to 8 are those of the DESI data model and ours; any higher one means BAD here."""
    pixels, hdu = read_image(path, "mask")
    if pixels.dtype.kind not in "iu":
        raise BadData(f"{hdu.label} holds {pixels.dtype}, a mask holds whole numbers")
    known = 2 * PixelMask.BADREADNOISE - 1
    high = np.count_nonzero(pixels >> 16) if pixels.dtype.itemsize > 2 else 0
    if high > max(_FEW_PIXELS, MAX_HIGH_BITS * pixels.size):
        raise BadData(f"{high} of its pixels are negative or have bits above 15, which no mask has; the file is damaged")
    out = (pixels & known).astype(np.uint16)
    out[(pixels & ~np.array(known, dtype=pixels.dtype)) != 0] |= np.uint16(PixelMask.BAD)
    return BadPixelMask(pixels=out)


def _shape(text: str | None) -> tuple[int, ...] | None:
    return tuple(int(n) for n in text.split(",")) if text else None


def _check_shape(calibration: Calibration, tags: Mapping[str, str]) -> str:
    """Against the tags raw_shape and image_shape of a reading, where they are given."""
    pixels: Raw = calibration.pixels  # type: ignore[attr-defined]
    wanted = [s for s in (_shape(tags.get("image_shape")),) if s]
    if isinstance(calibration, Bias):
        wanted += [s for s in (_shape(tags.get("raw_shape")),) if s]
    if not wanted or pixels.shape in wanted:
        return ""
    sizes = " or ".join(f"{s[1]} x {s[0]}" for s in wanted)
    return f"it has {pixels.shape[1]} x {pixels.shape[0]} pixels, the camera has {sizes}"


def _bias(path: Path) -> Bias:
    """With its variance where it has an IVAR; NaN where that is 0."""
    pixels = _float_image(path, "bias")
    with open_fits(path) as f:
        ivar = f.pixels("IVAR") if f.structure.find("IVAR") is not None else None
    if ivar is None:
        return Bias(pixels=pixels)
    variance = np.full(ivar.shape, np.nan, np.float32)
    np.divide(1.0, ivar, out=variance, where=ivar > 0)
    return Bias(pixels=pixels, variance=variance)


register_loader("bias", _bias, _check_shape)
def _dark(path: Path) -> Dark:
    """With temperature and exposure time where the header states them, and with its variance where that can matter (it has an IVAR)."""
    pixels = _float_image(path, "dark")
    with open_fits(path) as f:
        header = f.structure.hdus[_image_hdu(f, ("DARK", "IMAGE")).index].header
        ivar = f.pixels("IVAR") if f.structure.find("IVAR") is not None else None
    stated = {key: header.get(key) for key in ("DETTEMP", "EXPTIME")}
    temperature, seconds = (float(v) if isinstance(v, int | float) and not isinstance(v, bool) else None for v in stated.values())
    return Dark(pixels=pixels, variance=_that_matters(ivar), temperature_c=temperature, seconds=seconds)


def _that_matters(ivar: Raw | None) -> Float32 | None:
    """The variance of a dark, 0 where it is not known; None where the dark adds no noise to an exposure of 1000 s: it need not be held with it."""
    some = np.zeros(0) if ivar is None else ivar[:: max(1, ivar.shape[0] // 256), :: max(1, ivar.shape[-1] // 256)]
    some = some[np.isfinite(some) & (some > 0)]
    if ivar is None or not some.size or 1 / float(np.median(some)) < DARK_MATTERS**2:
        return None
    return np.divide(np.float32(1), ivar, out=np.zeros(ivar.shape, np.float32), where=ivar > 0)


register_loader("dark", _dark, _check_shape)
register_loader("pixflat", lambda path: PixelFlat(pixels=_float_image(path, "pixflat")), _check_shape)
register_loader("mask", _mask, _check_shape)


def _check_traces(traces: Calibration, tags: Mapping[str, str]) -> str:
    """Against the size of the image, where both are known."""
    wanted = _shape(tags.get("image_shape"))
    if not isinstance(traces, TraceSet | PixelTraces) or not wanted or not traces.npix_x or not traces.npix_y:
        return ""
    if (traces.npix_y, traces.npix_x) == wanted:
        return ""
    return f"its traces are of an image of {traces.npix_x} x {traces.npix_y} pixels, the camera has {wanted[1]} x {wanted[0]}"


def _lines(path: Path, wanted: type[LineList]) -> LineList:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadData(f"it is no text: {error}") from error
    return parse_lines(text, wanted)


class _FibersFile(BaseModel):
    """A file of known bad fibres."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    broken: tuple[int, ...] = Field((), description="numbers of fibres without light")
    low: tuple[int, ...] = Field((), description="numbers of fibres with too little light to be used")


def _fibers(path: Path) -> KnownFibers:
    try:
        listed = validate(_FibersFile, read_config(path))
    except BadConfig as error:
        raise BadData(str(error)) from error
    return KnownFibers(broken=listed.broken, low=listed.low)


def number_fibres(calibration: TraceSet | FiberFlat | FluxCalib, tags: Mapping[str, str]) -> Calibration:
    """With fibres numbered as in the whole instrument, where the file counts those of its spectrograph from 0 (tag first_fibre)."""
    first = int(tags.get("first_fibre") or 0)
    if calibration.fiber is None or not first or int(calibration.fiber.max()) >= first:
        return calibration
    return replace(calibration, fiber=calibration.fiber + calibration.fiber.dtype.type(first))


register_loader("psf", read_traces, _check_traces, number_fibres)
register_loader("fiberflat", read_fiberflat, adapt=number_fibres)
register_loader("fluxcal", read_fluxcalib, adapt=number_fibres)
register_loader("sky", read_sky)
register_loader("fibers", _fibers)
register_loader("stdstar", read_stdstars)
register_loader("extinction", read_extinction)
register_loader("skylines", lambda path: _lines(path, SkyLines))
register_loader("arclines", lambda path: _lines(path, ArcLines))
register_loader("lamplines", lambda path: _lines(path, LampLines))
register_loader("pixeltraces", read_pixeltraces, _check_traces)
register_loader("ptc", read_ptc)
register_loader("coadd", read_coadd)
register_loader("refarc", read_refarc)
register_loader("refflat", read_refflat)
