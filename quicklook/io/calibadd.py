"""Adding a calibration to an index: only one that was read to its last byte, looked at, and compared with the others of its camera."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from pathlib import Path

from quicklook.ccd.arrays import Raw
from quicklook.core.errors import BadData, MissingCalibration, QuicklookError
from quicklook.core.product import Calibration
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibfile import checksum, loadable_kinds, misfit, read_kind
from quicklook.io.calibreview import Review, review
from quicklook.io.calibstore import CalibIndexStore, FolderStore
from quicklook.io.fitsfile import inspect

NOTHING_ADDED = "Nothing was added. Make the calibration again, or correct what is said of it."
_RAW_KINDS = ("bias",)
_IMAGES = ("bias", "dark", "pixflat", "mask")
_FIBRES = {"psf": ("XTRACE",), "fiberflat": ("FIBERFLAT",), "pixeltraces": ("XPIXEL",)}


def add_calibration(index: str | Path | CalibIndexStore, entry: CalibEntry, tags: Mapping[str, str] | None = None) -> CalibEntry:
    """Check the file of an entry and add it to an index; returns the entry as it was added, with its checksum.

    `index` is a folder (it and its `calib.yaml` are made where need be) or a store; one of the same kind and path is replaced. `tags` are those of a
    reading of the camera (raw_shape, image_shape, ...), where one is at hand. Nothing is added where it raises: BadData (the file is broken, is
    not of its kind, holds what no such calibration holds, or is of another size than the camera), BadConfig and Transient (the index).
    """
    store = FolderStore(index, create=True) if isinstance(index, str | Path) else index
    path = store.locate(entry)
    try:
        sha256 = checksum(path)
        calibration = examine(path, entry.of_kind, tags or {}, sha256=sha256).calibration
    except OSError as error:
        raise BadData(f"{entry.kind} {path} is not added: it cannot be read: {error.strerror or error}", what_next=NOTHING_ADDED) from error
    except QuicklookError as error:
        raise BadData(f"{entry.kind} {path.name} is not added: {error}", what_next=NOTHING_ADDED) from error
    if other := _size_misfit(store, entry, calibration):
        raise BadData(f"{entry.kind} {path.name} is not added: {other}", what_next=NOTHING_ADDED)
    added = entry.model_copy(update={"sha256": sha256})
    store.add(added)
    return added


class Examined:
    """A calibration that was found in order, and what is in it."""

    __slots__ = ("calibration", "found")

    def __init__(self, calibration: Calibration, found: Review) -> None:
        self.calibration, self.found = calibration, found


def examine(path: Path, kind: str, tags: Mapping[str, str], *, sha256: str = "") -> Examined:
    """Load a calibration and look at it. Raises BadData (unreadable, not what it should be, or not fit for the tags), MissingCalibration."""
    try:
        calibration = read_kind(path, kind, sha256=sha256)
    except OSError as error:
        raise BadData(f"it cannot be read: {error.strerror or error}") from error
    found, other = review(calibration), misfit(calibration, tags)
    if wrong := [*found.wrong, *([other] if other else [])]:
        raise BadData("; ".join(wrong))
    return Examined(calibration, found)


def _size_misfit(store: CalibIndexStore, entry: CalibEntry, calibration: Calibration) -> str:
    """What others of the same camera and time contradict its size; empty where none does."""
    own_image, own_fibres = image_shape(calibration), fibre_count(calibration)
    for other in store.entries():
        if other.quality == "bad" or (other.of_kind, other.path) == (entry.of_kind, entry.path) or not together(entry, other):
            continue
        shape, fibres = _header_sizes(store.locate(other), other.of_kind)
        if shape and own_image and not _agree(own_image, shape, entry.of_kind, other.of_kind):
            return f"it has {_size(own_image)} pixels, {other.path} of the same camera has {_size(shape)}; {_CHANGED}"
        if fibres and own_fibres and fibres != own_fibres:
            return f"it has {own_fibres} fibres, {other.path} of the same camera has {fibres}; {_CHANGED}"
    return ""


_CHANGED = "if the detector has changed, let the other one end before this one begins (valid_to, valid_from), or name their hardware (serial, when)"


def _agree(own: tuple[int, int], other: tuple[int, int], kind: str, other_kind: str) -> bool:
    """Equal; or one of them is a bias of the raw shape, which has no fewer pixels than the image, however that is turned."""
    if own == other or kind == other_kind:
        return own == other
    return (kind in _RAW_KINDS and _holds(own, other)) or (other_kind in _RAW_KINDS and _holds(other, own))


def _holds(raw: tuple[int, int], image: tuple[int, int]) -> bool:
    """Whether a raw frame of that shape can hold that image: strips may be added, at most as much again; without any it may still be turned."""
    big, small = sorted(raw), sorted(image)
    return all(s <= b <= 2 * s for b, s in zip(big, small, strict=True))


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[1]} x {shape[0]}"


def image_shape(calibration: Calibration) -> tuple[int, int] | None:
    """Pixels [ny, nx] of the detector that it belongs to; None where it does not say."""
    pixels: Raw | None = getattr(calibration, "pixels", None)
    if pixels is not None and pixels.ndim == 2:
        return (int(pixels.shape[0]), int(pixels.shape[1]))
    size = (getattr(calibration, "npix_y", 0), getattr(calibration, "npix_x", 0))
    return size if all(size) else None


def fibre_count(calibration: Calibration) -> int:
    """Number of fibres; 0 where it has none of its own."""
    fibre = getattr(calibration, "fiber", None) if calibration.kind in _FIBRES else None
    return 0 if fibre is None else len(fibre)


def _header_sizes(path: Path, kind: str) -> tuple[tuple[int, int] | None, int]:
    """The same of a file, by its headers alone; nothing where it cannot be read: then it contradicts nobody."""
    if kind not in _IMAGES and kind not in _FIBRES:
        return None, 0
    try:
        structure = inspect(path)
    except QuicklookError:
        return None, 0
    if kind in _IMAGES:
        images = [h for h in structure.hdus if h.is_image and len(h.shape) == 2]
        named = [h for h in images if h.name in (kind.upper(), "IMAGE")]
        return ((named or images)[0].shape[0], (named or images)[0].shape[1]) if images else None, 0
    hdu = next((h for h in structure.hdus if h.name in _FIBRES[kind] and len(h.shape) == 2), None)
    if hdu is None:
        return None, 0
    nx, ny = (next((h.header[k] for h in structure.hdus if isinstance(h.header.get(k), int)), 0) for k in ("NPIX_X", "NPIX_Y"))
    return (int(ny), int(nx)) if kind != "fiberflat" and nx and ny else None, hdu.shape[0]


def together(one: CalibEntry, other: CalibEntry) -> bool:
    """Whether a frame could meet both: camera, hardware and nights have something in common."""
    apart = (one.valid_to or 99_999_999) < (other.valid_from or 0) or (other.valid_to or 99_999_999) < (one.valid_from or 0)
    if bool(one.serial) != bool(other.serial) and ("*",) in (one.camera, other.camera):
        return False  # what follows its hardware says nothing of the camera where that stands
    tags = [(one.instrument, other.instrument), (one.camera, other.camera)]
    tags += [(one.serial, other.serial)] if one.serial and other.serial else []
    tags += [(one.when[t], other.when[t]) for t in one.when if t in other.when]
    return not apart and all(_overlap(a, b) for a, b in tags)


def _overlap(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    pairs: Iterator[tuple[str, str]] = ((a.lower(), b.lower()) for a in one for b in other)
    return any(fnmatch.fnmatchcase(a, b) or fnmatch.fnmatchcase(b, a) for a, b in pairs)


def check_kind(kind: str) -> None:
    """Raises MissingCalibration for a kind that nothing can load."""
    if kind not in loadable_kinds():
        raise MissingCalibration(f"there is no kind of calibration {kind!r}; there are {', '.join(sorted(loadable_kinds()))}")
