"""Example frames of an instrument: their headers, what they seem to be, and their pixels when they are needed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from quicklook.ccd.arrays import Raw
from quicklook.ccd.image import HeaderValue
from quicklook.core.errors import BadData, QuicklookError, describe
from quicklook.io.fitsfile import FitsStructure, inspect, read_pixels
from quicklook.io.hdu import HduInfo
from quicklook.io.headerfacts import Headers, number_of

MIN_SIDE = 32
"""Pixels; a smaller image is no frame of a detector."""
WORDS = (
    ("zero", re.compile(r"bias|\bzero\b|\bzro\b", re.IGNORECASE)),
    ("dark", re.compile(r"\b(dark|drk)", re.IGNORECASE)),
    ("flat", re.compile(r"flat|\b(flt|twi|twilight|dome|quartz|halogen)\b", re.IGNORECASE)),
    (
        "arc",
        re.compile(
            r"\barc(s|\b|_|lamp)|\b(comp|cmp|line|wave)\b|comparison|wavecal|lamp|\b(hgcd|hene|hear|cuar|thar|fear|hgne|near$)", re.IGNORECASE
        ),
    ),
    ("science", re.compile(r"\b(science|sci|object|obj|target|star|std|standard|sky|spectrum)\b", re.IGNORECASE)),
)
"""What words say of a frame, in the order in which they are tried."""
TYPE_KEYWORDS = (
    "FLAVOR", "IMAGETYP", "IMGTYPE", "OBSTYPE", "OBS_TYPE", "IMTYPE", "EXPTYPE", "FRAMETYP", "KOAIMTYP", "ESO DPR TYPE", "DPR TYPE", "TYPE",
)  # fmt: skip
NAME_KEYWORDS = ("OBJECT", "TARGNAME", "TARGET", "TITLE")
TIME_KEYWORDS = ("EXPTIME", "EXPOSURE", "EXPTM", "EXP_TIME", "ITIME", "ELAPTIME", "TEXPTIME", "EXPOSED", "INTTIME", "TTIME", "SHUTTIME", "REXPTIME")
_SHORTEST = 0.01
"""Exposure time, second, below which the shutter stayed shut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One file. `hdus` are its images; `headers` those of the first image and of the primary HDU; `flavor` what it seems to be, "" if unknown."""

    path: Path
    structure: FitsStructure
    hdus: tuple[HduInfo, ...]
    headers: Headers
    flavor: str = ""

    def get(self, keyword: str) -> HeaderValue:
        """A header value, of the image or else of the primary HDU."""
        return self.headers.get(keyword)

    def number(self, keyword: str) -> float | None:
        """A header value as a number; None where it is none."""
        return number_of(self.get(keyword))

    @property
    def exptime(self) -> float | None:
        """Exposure time in second by the usual keywords."""
        return next((n for k in TIME_KEYWORDS if (n := self.number(k)) is not None), None)

    def pixels(self, hdu: HduInfo | None = None) -> Raw:
        """Pixels of an image (default: the first), [ny, nx]. Raises BadData, NotReadyYet."""
        return read_pixels(self.path, (hdu or self.hdus[0]).index)


@dataclass(slots=True)
class Unsure:
    """What is not certain, in sentences, each once; `left_out` are files that could not be used, and why."""

    sentences: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, sentence: str) -> None:
        """Note one."""
        if sentence not in self.sentences:
            self.sentences.append(sentence)


def load_examples(files: Iterable[str | Path], unsure: Unsure) -> tuple[Example, ...]:
    """The examples that can be read; the others are left out, with the reason. Raises BadData where none is left."""
    found = list[Example]()
    for file in files:
        path = Path(file)
        try:
            found.append(_example(path))
        except QuicklookError as error:
            unsure.left_out.append(describe(error) if path.name in str(error) else f"{path.name}: {describe(error)}")
    if not found:
        raise BadData("none of the files can be used: " + "; ".join(unsure.left_out or ["no file is given"]), what_next="Give raw FITS frames.")
    return _of_one_shape(found, unsure)


def _example(path: Path) -> Example:
    if not path.is_file():
        raise BadData(f"{path.name} is not there, or is no file")
    if not str(path).isprintable() or path.name.encode(errors="replace").decode() != path.name:
        raise BadData(f"the name {path.name!a} is no text that a description could hold; rename the file")
    structure = inspect(path)
    images = tuple(h for h in structure.hdus if h.is_image and len(h.shape) >= 2 and min(h.shape[-2:]) >= MIN_SIDE)
    if not images:
        raise BadData(f"{path.name} holds no image of {MIN_SIDE} x {MIN_SIDE} pixels or more; its HDUs are {', '.join(structure.names)}")
    headers = Headers(images[0].header, structure.hdus[0].header)
    one = Example(path=path, structure=structure, hdus=images, headers=headers)
    read_pixels(path, images[0].index)  # to the last byte: a damaged file must not come in
    return Example(path=path, structure=structure, hdus=images, headers=headers, flavor=flavor_by_words(one))


def flavor_by_words(one: Example) -> str:
    """What a frame seems to be by the words of its header; "" where they say nothing. `object` is said of nearly everything: others go first."""
    kinds = [_flavor(str(one.get(k) or "")) for k in TYPE_KEYWORDS]
    named = [_flavor(str(one.get(k) or "")) for k in NAME_KEYWORDS]
    told = next((f for f in (*kinds, *named) if f and f != "science"), "")
    shut = one.exptime is not None and one.exptime < _SHORTEST
    if shut and told in ("", "dark", "zero"):
        return "zero"
    if told:
        return told
    known = any(kinds) or any(str(one.get(k) or "").strip() for k in NAME_KEYWORDS)
    return "science" if known else ""


def _flavor(text: str) -> str:
    return next((name for name, words in WORDS if words.search(text)), "")


def _of_one_shape(found: Sequence[Example], unsure: Unsure) -> tuple[Example, ...]:
    """The examples whose images have the shape that most have."""
    shapes = [tuple(h.shape[-2:] for h in e.hdus) for e in found]
    common = max(set(shapes), key=lambda s: (shapes.count(s), s))
    for e, shape in zip(found, shapes, strict=True):
        if shape != common:
            ny, nx = shape[0]
            unsure.left_out.append(f"{e.path.name}: {len(shape)} image(s) of {nx} x {ny} pixels, most files have {common[0][1]} x {common[0][0]}")
    if any(s != common for s in shapes):
        unsure.add("the files are read out in several ways; the layout is that of most of them, describe the others as further layouts")
    return tuple(e for e, s in zip(found, shapes, strict=True) if s == common)
