"""Amplifiers of a camera, from the layout of the instrument and the header."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quicklook.ccd.geometry import Amplifier, Corner, Orientation, Section
from quicklook.ccd.image import Header
from quicklook.core.errors import BadData
from quicklook.io.headerfacts import Headers, Problems, all_hold, number_of
from quicklook.io.instrument import AmplifierLayout, AmplifierSpec, Instrument, Lookup

_OPEN = re.compile(r"\[\s*(\d*)\s*:\s*(\d*)\s*,\s*(\d*)\s*:\s*(\d*)\s*\]\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Where the pixels of an amplifier come from: its headers, the shape of its HDU, and its first column in the raw image."""

    headers: Headers
    shape: tuple[int, int]
    x0: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """One amplifier as far as it has been read."""

    name: str
    spec: AmplifierSpec
    suffix: str
    headers: Headers
    data: Section
    overscan: Section | None
    prescan: Section | None
    parallel: Section | None
    ccd: Section | None


def choose_layout(instrument: Instrument, camera: str, headers: Sequence[Header], shape: tuple[int, int]) -> AmplifierLayout:
    """The first layout whose conditions hold. Raises BadData where none does."""
    facts = Header({"NAXIS1": shape[1], "NAXIS2": shape[0], "CAMERA": camera})
    found = next((one for one in instrument.layouts if all_hold(one.when, Headers(facts, *headers))), None)
    if found is None:
        wanted = "; ".join(", ".join(f"{k} = {v}" for k, v in one.when.items()) for one in instrument.layouts)
        size = f"{shape[1]} x {shape[0]} pixels"
        raise BadData(f"camera {camera}: no layout of instrument {instrument.name} fits its image of {size} (layouts: {wanted})")
    return found


def orientation_of(instrument: Instrument, layout: AmplifierLayout) -> Orientation:
    """Orientation of a camera that is read out by `layout`."""
    base = instrument.orientation
    return Orientation(
        transpose=base.transpose if layout.transpose is None else layout.transpose,
        flip_x=base.flip_x if layout.flip_x is None else layout.flip_x,
        flip_y=base.flip_y if layout.flip_y is None else layout.flip_y,
    )


def build_amplifiers(camera: str, layout: AmplifierLayout, tiles: Mapping[str, Tile], problems: Problems) -> tuple[Amplifier, ...]:
    """The amplifiers of a camera; `tiles` says by amplifier where its pixels come from.

    An amplifier of which the header says nothing at all is left out, and is a problem of the header. Raises BadData where a section
    or gain is missing or impossible.
    """
    read: list[_Read] = []
    for name, spec in layout.specs().items():
        found = _read(camera, name, spec, tiles[name])
        if found is None:
            problems.add("headers", f"amplifier {name} of camera {camera} is not described in the header; it is left out")
        else:
            read.append(found)
    if not read:
        raise BadData(f"camera {camera}: the header describes none of the amplifiers {', '.join(layout.amplifiers)} ({_wanted(layout)} missing)")
    ccd = _ccd_sections(camera, layout, read)
    amplifiers = tuple(_amplifier(camera, layout, one, ccd[one.name], _corner(one, ccd), problems) for one in read)
    _check_cover(camera, amplifiers, problems)
    _check_strips(camera, layout, amplifiers, problems)
    return amplifiers


def _check_strips(camera: str, layout: AmplifierLayout, amplifiers: Sequence[Amplifier], problems: Problems) -> None:
    """An amplifier without the overscan that others of its camera have is a fault of the header, not a choice of the instrument."""
    if not any(a.overscan for a in amplifiers):
        return
    for amp in amplifiers:
        if amp.overscan is None and layout.specs()[amp.name].overscan:
            problems.add("headers", f"amplifier {amp.name} of camera {camera} has no overscan section, others have one")


def _wanted(layout: AmplifierLayout) -> str:
    name, spec = next(iter(layout.specs().items()))
    return ", ".join(_fill(c, s) for c in spec.data for s in spec.suffixes if isinstance(c, str)) or name


def _fill(candidate: str, suffix: str) -> str:
    return candidate.replace("{amp}", suffix)


def _read(camera: str, name: str, spec: AmplifierSpec, tile: Tile) -> _Read | None:
    suffix = next((s for s in spec.suffixes if _described(spec, s, tile.headers)), None)
    if suffix is None:
        return None
    where = f"amplifier {name} of camera {camera}"

    def section(lookup: Lookup, required: bool = False) -> Section | None:
        found = _section(where, lookup, suffix, tile.headers, tile.shape)
        if found is None and required:
            keywords = ", ".join(_fill(c, suffix) for c in lookup if isinstance(c, str))
            raise BadData(f"{where}: the header has no section {keywords}")
        return found

    def shifted(found: Section | None) -> Section | None:
        return found and Section(found.y0, found.y1, found.x0 + tile.x0, found.x1 + tile.x0)

    data = shifted(section(spec.data, required=True))
    assert data is not None
    over, pre, parallel = (shifted(section(one)) for one in (spec.overscan, spec.prescan, spec.parallel_overscan))
    own = _name(where, name, tile.headers)
    return _Read(
        name=own, spec=spec, suffix=suffix, headers=tile.headers, data=data, overscan=over, prescan=pre, parallel=parallel, ccd=section(spec.ccd)
    )


def _name(where: str, template: str, headers: Headers) -> str:
    """Name of an amplifier; {KEYWORD} in it is taken from the header."""
    values = {key: headers.get(key) for key in re.findall(r"\{(\w+)", template)}
    if absent := [key for key, value in values.items() if value is None]:
        raise BadData(f"{where}: the header has no {', '.join(absent)}, by which it is named")
    try:
        return template.format(**values) if values else template
    except (ValueError, KeyError, IndexError, AttributeError) as error:
        raise BadData(f"{where} cannot be named from {values}: {error}") from error


def _described(spec: AmplifierSpec, suffix: str, headers: Headers) -> bool:
    """Whether the header has any of the keywords of an amplifier, or needs none of its own."""
    templates = [c for one in (spec.data, spec.overscan, spec.ccd, spec.gain) for c in one if isinstance(c, str) and "{amp}" in c]
    return not templates or any(headers.get(_fill(t, suffix)) is not None for t in templates)


def _section(where: str, lookup: Lookup, suffix: str, headers: Headers, shape: tuple[int, int]) -> Section | None:
    for candidate in lookup:
        text: object = candidate
        if isinstance(candidate, str) and not candidate.lstrip().startswith("["):
            text = headers.get(_fill(candidate, suffix))
        if text is None:
            continue
        try:
            return _parse(str(text), shape)
        except BadData as error:
            source = "" if text is candidate else f" ({_fill(str(candidate), suffix)})"
            raise BadData(f"{where}: {error}{source}") from error
    return None


def _parse(text: str, shape: tuple[int, int]) -> Section:
    """A section whose open ends are those of an image of `shape`."""
    if match := _OPEN.match(text.strip()):
        x0, x1, y0, y1 = match.groups()
        text = f"[{x0 or 1}:{x1 or shape[1]},{y0 or 1}:{y1 or shape[0]}]"
    return Section.parse(text)


def _ccd_sections(camera: str, layout: AmplifierLayout, read: Sequence[_Read]) -> dict[str, Section]:
    """Sections of the trimmed image: as given, or the data sections put together as they lie."""
    given = {one.name: one.ccd for one in read if one.ccd is not None}
    if not given:
        return _together(camera, read)
    if missing := [one.name for one in read if one.ccd is None]:
        raise BadData(f"camera {camera}: the header has no CCD section of amplifier {', '.join(missing)}")
    bx, by = _binning(layout, read[0].headers)
    return {name: Section(s.y0 // by, s.y1 // by, s.x0 // bx, s.x1 // bx) for name, s in given.items()}


def _binning(layout: AmplifierLayout, headers: Headers) -> tuple[int, int]:
    if not layout.ccd_binning:
        return 1, 1
    value = headers.get(layout.ccd_binning)
    numbers = [int(n) for n in re.findall(r"\d+", str(value))]
    if not 1 <= len(numbers) <= 2 or min(numbers) < 1:
        raise BadData(f"{layout.ccd_binning} = {value} is no binning; it must be as in '2 1'")
    return numbers[0], numbers[-1]


def _together(camera: str, read: Sequence[_Read]) -> dict[str, Section]:
    """Data sections moved together, columns and rows between them left out. They must lie in rows and columns."""
    columns = _packed(camera, {(one.data.x0, one.data.x1) for one in read})
    rows = _packed(camera, {(one.data.y0, one.data.y1) for one in read})
    return {
        one.name: Section(rows[one.data.y0, one.data.y1], rows[one.data.y0, one.data.y1] + one.data.shape[0],
                          columns[one.data.x0, one.data.x1], columns[one.data.x0, one.data.x1] + one.data.shape[1])
        for one in read
    }  # fmt: skip


def _packed(camera: str, intervals: set[tuple[int, int]]) -> dict[tuple[int, int], int]:
    out, at, last = {}, 0, 0
    for start, stop in sorted(intervals):
        if start < last:
            raise BadData(f"camera {camera}: the data sections overlap or do not lie in rows and columns; give the ccd sections")
        out[start, stop] = at
        at, last = at + stop - start, stop
    return out


def _corner(one: _Read, ccd: Mapping[str, Section]) -> Corner:
    if one.spec.corner:
        return one.spec.corner
    mine = ccd[one.name]
    upper, right = mine.y0 > min(s.y0 for s in ccd.values()), mine.x0 > min(s.x0 for s in ccd.values())
    corners: dict[tuple[bool, bool], Corner] = {(False, False): "ll", (False, True): "lr", (True, False): "ul", (True, True): "ur"}
    return corners[upper, right]


def _value(where: str, what: str, lookup: Lookup, one: _Read, problems: Problems) -> float | None:
    """The first candidate that is a positive number; a header value that is none is a problem."""
    for candidate in lookup:
        value = one.headers.get(_fill(candidate, one.suffix)) if isinstance(candidate, str) else candidate
        number = number_of(value)
        if number is not None and math.isfinite(number) and number > 0:
            return number
        if value is not None:
            problems.add("headers", f"{where}: {_fill(str(candidate), one.suffix)} = {value} is no {what}")
    return None


def _amplifier(camera: str, layout: AmplifierLayout, one: _Read, ccd: Section, corner: Corner, problems: Problems) -> Amplifier:
    where, spec = f"amplifier {one.name} of camera {camera}", one.spec
    gain = _value(where, "gain", spec.gain, one, problems)
    if gain is None:
        wanted = " or ".join(_fill(str(c), one.suffix) for c in spec.gain) or "nothing"
        raise BadData(f"{where} has no usable gain ({wanted} was looked up); state one in the description of the instrument")
    gain = 1 / gain if layout.gain_unit == "ADU/electron" else gain
    noise = _value(where, "read noise", spec.read_noise, one, problems)
    if noise is not None and layout.read_noise_unit == "ADU":
        noise *= gain
    return Amplifier(
        name=one.name, data=one.data, ccd=ccd, overscan=one.overscan, prescan=one.prescan, parallel_overscan=one.parallel, gain=gain,
        read_noise=noise, saturation=_value(where, "saturation level", spec.saturation, one, problems), corner=corner, crosstalk=dict(spec.crosstalk),
    )  # fmt: skip


def _check_cover(camera: str, amplifiers: Sequence[Amplifier], problems: Problems) -> None:
    area = sum(a.ccd.shape[0] * a.ccd.shape[1] for a in amplifiers)
    whole = max(a.ccd.y1 for a in amplifiers) * max(a.ccd.x1 for a in amplifiers)
    if area < whole:
        problems.add("headers", f"the amplifiers of camera {camera} cover {100 * area / whole:.0f} % of its image")
