"""The size of a calibration, compared with what is known of its camera before it is believed: a wrong one is found when it is added.

What tells the size, in this order: a reading of the camera (tags raw_shape and image_shape), the sizes that others of the camera were compared
with, the others themselves, and whatever else the caller knows (`CameraFacts`: the description of the instrument, a raw frame).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from quicklook.ccd.arrays import Raw
from quicklook.ccd.pixeltraces import Spectrograph
from quicklook.core.errors import QuicklookError
from quicklook.core.product import Calibration
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibfile import misfit
from quicklook.io.calibstore import CalibIndexStore, FolderStore
from quicklook.io.desitree import PATTERN, DesiCalibTree
from quicklook.io.fitsfile import inspect

_RAW_KINDS = ("bias",)
_IMAGES = ("bias", "dark", "pixflat", "mask")
_FIBRES = {"psf": ("XTRACE",), "fiberflat": ("FIBERFLAT",), "pixeltraces": ("XPIXEL",)}
_CHANGED = "if the detector has changed, let the other one end before this one begins (valid_to, valid_from), or name their hardware (serial, when)"
Sizes = tuple[tuple[int, int] | None, int]
"""Pixels [ny, nx] and number of fibres; None and 0 where a file does not say."""


class CameraFacts(Protocol):
    """What is known of cameras beside their calibrations."""

    def sizes(self, entry: CalibEntry) -> Sequence[Mapping[str, str]]:
        """Sizes that the camera of an entry may have: tags raw_shape and image_shape, each `ny,nx`. Empty where nothing tells."""
        ...

    def spectra(self, entry: CalibEntry) -> Spectrograph | None:
        """What is stated of its spectra; None where nothing is."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeCheck:
    """Whether the size was compared with anything (`known`), what is wrong with it (empty: nothing), and with which sizes it was compared."""

    known: bool
    wrong: str = ""
    shapes: Mapping[str, str] = field(default_factory=dict)


def shapes_of(tags: Mapping[str, str]) -> dict[str, str]:
    """The sizes among the tags of a reading."""
    return {k: tags[k] for k in ("raw_shape", "image_shape") if tags.get(k)}


def check_size(
    store: CalibIndexStore, entry: CalibEntry, calibration: Calibration, tags: Mapping[str, str], facts: CameraFacts | None = None
) -> SizeCheck:
    """Compare the size of a calibration with what is known of its camera. What has no size of a detector of its own needs nobody to tell it."""
    told = shapes_of(tags)
    others = [o for o in others_of(store, entry) if not (told and o.size_unchecked)]
    sizes = {o.path: header_sizes(store.locate(o), o.of_kind) for o in others}
    if wrong := _contradiction(entry, calibration, others, sizes):
        return SizeCheck(known=True, wrong=wrong)
    own = image_shape(calibration)
    if own is None or told:
        return SizeCheck(known=True, wrong=misfit(calibration, told), shapes=told)
    if recorded := [o for o in others if o.shapes]:
        return _compared(calibration, [o.shapes for o in recorded], f"; {recorded[0].path} was made for that size")
    shapes = [(sizes[o.path][0], o.of_kind) for o in others]
    if any(s == own and (k == entry.of_kind or k not in _RAW_KINDS) for s, k in shapes):
        return SizeCheck(known=True)
    if elsewhere := list(facts.sizes(entry)) if facts is not None else []:
        return _compared(calibration, elsewhere, "")
    roughly = any(s is not None for s, _ in shapes)  # a raw frame that may hold that image, or the other way round
    return SizeCheck(known=roughly or _in_tree(store, entry, own))


def _compared(calibration: Calibration, possible: Sequence[Mapping[str, str]], more: str) -> SizeCheck:
    """With sizes of which any one will do."""
    wrong = [misfit(calibration, shapes) for shapes in possible]
    fitting = next((shapes for shapes, why in zip(possible, wrong, strict=True) if not why), None)
    return SizeCheck(known=True, wrong=f"{wrong[0]}{more}" if fitting is None else "", shapes=dict(fitting or {}))


def others_of(store: CalibIndexStore, entry: CalibEntry) -> list[CalibEntry]:
    """Others of the same camera and time in the index."""
    others = (o for o in store.entries() if o.quality != "bad" and (o.of_kind, o.path) != (entry.of_kind, entry.path))
    return [o for o in others if together(entry, o)]


def _contradiction(entry: CalibEntry, calibration: Calibration, others: Sequence[CalibEntry], sizes: Mapping[str, Sizes]) -> str:
    own_image, own_fibres = image_shape(calibration), fibre_count(calibration)
    for other in others:
        shape, fibres = sizes[other.path]
        if shape and own_image and not _agree(own_image, shape, entry.of_kind, other.of_kind):
            return f"it has {_size(own_image)} pixels, {other.path} of the same camera has {_size(shape)}; {_CHANGED}"
        if fibres and own_fibres and fibres != own_fibres:
            return f"it has {own_fibres} fibres, {other.path} of the same camera has {fibres}; {_CHANGED}"
    return ""


def _in_tree(store: CalibIndexStore, entry: CalibEntry, own: tuple[int, int]) -> bool:
    """Whether a DESI tree beside the index has calibrations of that camera of such a size."""
    if not isinstance(store, FolderStore) or not any(store.folder.glob(PATTERN)):
        return False
    tree = DesiCalibTree(store.folder)
    try:
        beside = [e for e in tree.entries() if together(entry, e)]
    except QuicklookError:  # who uses the tree is told what is wrong with it
        return False
    shapes = ((header_sizes(tree.locate(e), e.of_kind)[0], e.of_kind) for e in beside)
    return any(s is not None and (s == own or _agree(own, s, entry.of_kind, k)) for s, k in shapes)


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


def header_sizes(path: Path, kind: str) -> Sizes:
    """Pixels and fibres of a file, by its headers alone; nothing where it cannot be read: then it contradicts nobody."""
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
