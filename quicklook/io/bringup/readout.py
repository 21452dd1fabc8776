"""How a detector is read out, as a layout of the description: by sections of the header where there are, else by statistics of the frames."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quicklook.ccd.arrays import Raw
from quicklook.ccd.geometry import Section
from quicklook.core.errors import BadData
from quicklook.io.bringup.examples import Example, Unsure
from quicklook.io.bringup.sections import Found, brightness, find_amplifiers
from quicklook.io.hdu import HduInfo

_SECTIONS = {"data": "DATASEC", "overscan": "BIASSEC", "prescan": "PRESEC", "parallel_overscan": "ORSEC", "ccd": "CCDSEC"}
_NUMBERS = {"gain": ("GAIN", "EGAIN"), "read_noise": ("RDNOISE", "READNOIS", "RON", "ENOISE"), "saturation": ("SATURLEV", "SATURATE")}
_FULL = 60000


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """A layout of the description (plain data, gains not yet given: `gainless` amplifiers), remarks, where in a file the cameras are."""

    layout: dict[str, Any]
    place: dict[str, Any]
    by_header: bool
    remark: str = ""


def propose_readout(examples: Sequence[Example], unsure: Unsure) -> Readout:
    """The layout of the examples, all of one shape. Raises BadData where an image cannot be read."""
    first = examples[0]
    suffixes = _suffixes(first.hdus[0])
    if suffixes:
        return Readout(layout=_by_suffix(first.hdus[0], suffixes, unsure), place=_cameras(first, unsure), by_header=True, remark="by the header")
    if len(first.hdus) > 1:
        return _several(examples, unsure)
    return Readout(layout=_of_one(examples, first.hdus[0], unsure), place=_one_camera(first, unsure), by_header=_plain(first.hdus[0]))


def _suffixes(hdu: HduInfo) -> list[str]:
    """Endings of DATASEC of amplifiers: A, B, ..., or 1, 2, ..."""
    found = (re.fullmatch(r"DATASEC([A-Z0-9])", key) for key in hdu.header)
    return [m[1] for m in found if m and hdu.header.get(f"BIASSEC{m[1]}")]


def _by_suffix(hdu: HduInfo, suffixes: Sequence[str], unsure: Unsure) -> dict[str, Any]:
    each: dict[str, Any] = {field: f"{stem}{{amp}}" for field, stem in _SECTIONS.items() if any(f"{stem}{s}" in hdu.header for s in suffixes)}
    for field, stems in _NUMBERS.items():
        stem = next((t for t in stems if all(_positive(hdu, f"{t}{s}") for s in suffixes)), None)
        if stem:
            each[field] = f"{stem}{{amp}}" if field != "saturation" else [f"{stem}{{amp}}", 65535]
        elif field == "gain":
            unsure.add("layouts: the header gives no gain of the amplifiers")
    return {"each": each, "amplifiers": {s: {} for s in suffixes}}


def _positive(hdu: HduInfo, key: str) -> bool:
    value = hdu.header.get(key)
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _plain(hdu: HduInfo) -> bool:
    """Whether DATASEC and BIASSEC of the header are sections of the image that do not overlap."""
    try:
        data, bias = (Section.parse(str(hdu.header.get(k))) for k in ("DATASEC", "BIASSEC"))
    except BadData:
        return False
    ny, nx = hdu.shape[-2:]
    apart = data.x1 <= bias.x0 or bias.x1 <= data.x0 or data.y1 <= bias.y0 or bias.y1 <= data.y0
    return data.fits_in((ny, nx)) and bias.fits_in((ny, nx)) and apart


def _of_one(examples: Sequence[Example], hdu: HduInfo, unsure: Unsure) -> dict[str, Any]:
    if not _plain(hdu):
        return _by_statistics(examples, 0, unsure)
    each: dict[str, Any] = {"data": "DATASEC", "overscan": "BIASSEC"}
    for field, stems in _NUMBERS.items():
        stem = next((t for t in stems if all(_positive(e.hdus[0], t) for e in examples)), None)
        if stem:
            each[field] = stem if field != "saturation" else [stem, 65535]
    _check_header(examples, hdu, unsure)
    return {"each": each, "amplifiers": {"A": {"corner": "ll"}}}


def _check_header(examples: Sequence[Example], hdu: HduInfo, unsure: Unsure) -> None:
    """Whether the overscan of the header does not follow the light."""
    bright, dark = _pair(examples, 0)
    if bright is None or dark is None:
        unsure.add("layouts: the sections are those of the header; there is no flat and zero by which to see whether the overscan is one")
        return
    data, over = Section.parse(str(hdu.header["DATASEC"])), Section.parse(str(hdu.header["BIASSEC"]))
    light = float(np.median(bright[data.slices])) - float(np.median(dark[data.slices]))
    rise = float(np.median(bright[over.slices])) - float(np.median(dark[over.slices]))
    if abs(rise) > 0.02 * max(light, 1.0) and light > 100:
        unsure.add(f"layouts: BIASSEC {hdu.header['BIASSEC']} of the header follows the light ({rise:.0f} of {light:.0f} ADU); it may be no overscan")


def _by_statistics(examples: Sequence[Example], which: int, unsure: Unsure) -> dict[str, Any]:
    bright, dark = _pair(examples, which)
    image = bright if bright is not None else dark
    if image is None:
        image = np.asarray(examples[0].pixels(examples[0].hdus[which]), np.float32)
        unsure.add("layouts: neither a flat nor a zero is among the files; the sections rest on what there is")
    if bright is None:
        unsure.add("layouts: no frame with light is among the files, so overscan cannot be told from data: all is taken for data")
    found = find_amplifiers(image, dark, _stated_data(examples[0].hdus[which]))
    for sentence in found.unsure if bright is not None else ():
        unsure.add(sentence)
    ny, nx = image.shape
    amplifiers = {a["name"]: {k: v for k, v in a.items() if k != "name"} for a in _described(found, (ny, nx))}
    return {"when": {"NAXIS1": nx, **({} if all(a.data.y1 - a.data.y0 == ny for a in found.amps) else {"NAXIS2": ny})}, "amplifiers": amplifiers}


def _stated_data(hdu: HduInfo) -> Section | None:
    """What the header says to be data (DATASEC, TRIMSEC): a section of the image, smaller than all of it; None where it says nothing of use."""
    ny, nx = hdu.shape[-2:]
    for key in ("DATASEC", "TRIMSEC"):
        try:
            section = Section.parse(str(hdu.header.get(key)))
        except BadData:
            continue
        if section.fits_in((ny, nx)) and section.shape != (ny, nx) and section.shape[0] * section.shape[1] > 0.5 * ny * nx:
            return section
    return None


def _described(found: Found, shape: tuple[int, int]) -> list[dict[str, Any]]:
    out = []
    for amp in found.amps:
        sections = {"data": amp.data, "overscan": amp.overscan, "prescan": amp.prescan, "parallel_overscan": amp.parallel}
        out.append({"name": amp.name, **{k: _open(s, shape) for k, s in sections.items() if s is not None}, "corner": amp.corner})
    return out


def _open(section: Section, shape: tuple[int, int]) -> str:
    """A section in words; an axis that it covers whole is left open, so that other windows of the detector fit too."""
    x = ":" if (section.x0, section.x1) == (0, shape[1]) else f"{section.x0 + 1}:{section.x1}"
    y = ":" if (section.y0, section.y1) == (0, shape[0]) else f"{section.y0 + 1}:{section.y1}"
    return f"[{x},{y}]"


def _pair(examples: Sequence[Example], which: int) -> tuple[Raw | None, Raw | None]:
    """The frame with most light that is not full, and one without; None where there is none."""
    zero = next((e for flavor in ("zero", "dark") for e in examples if e.flavor == flavor), None)
    dark = None if zero is None else np.asarray(zero.pixels(zero.hdus[which]), np.float32)
    best, light = None, 5.0
    lit = [e for flavor in ("flat", "science", "arc", "") for e in examples if e.flavor == flavor]
    for e in lit[:8]:
        pixels = np.asarray(e.pixels(e.hdus[which]), np.float32)
        value = brightness(pixels, dark) * (1.0 if float(np.mean(pixels[::5, ::5] > _FULL)) < 0.01 else 0.3)
        if value > light:
            best, light = pixels, value
    return best, dark


def _several(examples: Sequence[Example], unsure: Unsure) -> Readout:
    """Several images in a file, without amplifiers in their headers: taken for amplifiers of one camera."""
    first = examples[0]
    unsure.add(
        f"layouts: the files hold {len(first.hdus)} images without sections of several amplifiers; they are taken for the amplifiers of one camera,"
        " side by side along x, which may have to be turned or put in another order"
    )
    amplifiers: dict[str, Any] = {}
    for k, hdu in enumerate(first.hdus):
        name = re.sub(r"[^A-Za-z0-9_]", "", hdu.name) or f"A{hdu.index}"
        amplifiers[name if name not in amplifiers else f"A{hdu.index}"] = {"hdu": hdu.name or hdu.index, **_of_hdu(examples, k, hdu, unsure)}
    return Readout(layout={"amplifiers": amplifiers}, place=_one_camera(first, unsure), by_header=_plain(first.hdus[0]))


def _of_hdu(examples: Sequence[Example], which: int, hdu: HduInfo, unsure: Unsure) -> dict[str, Any]:
    if _plain(hdu):
        numbers = {f: t for f, stems in _NUMBERS.items() for t in stems[:1] if _positive(hdu, t) and f != "saturation"}
        return {"data": "DATASEC", "overscan": "BIASSEC", **numbers}
    found = _by_statistics(examples, which, unsure)["amplifiers"]
    if len(found) > 1:
        unsure.add(f"layouts: {hdu.label} seems to be read out by {len(found)} amplifiers; the first alone is described")
    return dict(next(iter(found.values())))


def _cameras(first: Example, unsure: Unsure) -> dict[str, Any]:
    """Cameras by the names of the HDUs, where these are names such as R0; else one camera a file."""
    names = [h.name for h in first.hdus]
    if first.hdus[0].index == 0 or not all(re.fullmatch(r"[A-Z]+[0-9]+", n) for n in names):
        return _one_camera(first, unsure)
    letters = sorted({re.sub(r"\d+", "", n) for n in names})
    digits = max(len(re.sub(r"\D+", "", n)) for n in names)
    stem = f"[{''.join(letters)}]" if all(len(x) == 1 for x in letters) else f"(?:{'|'.join(letters)})"
    pattern = stem + "[0-9]" + ("" if digits == 1 else f"{{1,{digits}}}")
    unsure.add(f"layout.camera_hdus: {pattern} covers the cameras of these files ({', '.join(names[:6])}); add the letters of others")
    return {"camera_hdus": pattern, "tags": f"(?P<arm>{''.join(letters).lower() and '[' + ''.join(letters).lower() + ']'})(?P<spectrograph>[0-9]+)"}


def _one_camera(first: Example, unsure: Unsure) -> dict[str, Any]:
    del unsure
    return {} if first.hdus[0].index == 0 else {"hdu": first.hdus[0].name or first.hdus[0].index}
