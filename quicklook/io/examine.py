"""What the headers and the path of a file say of an exposure: its key, its cameras, its facts, and what contradicts itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from quicklook.ccd.exposure import Exposure
from quicklook.ccd.image import Header
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.keys import Unit
from quicklook.io import headerfacts as facts
from quicklook.io.fitsfile import FitsStructure
from quicklook.io.hdu import HduInfo
from quicklook.io.headerfacts import Headers, Problems
from quicklook.io.instrument import FieldSpec, Instrument
from quicklook.io.naming import PathFacts, match_path, night_of

_MAX_EXPID = 1e15


@dataclass(frozen=True, slots=True, kw_only=True)
class Nights:
    """The night by the header, by the time of the exposure, and by the path; None where it is not said.

    `sure` says that the time can be trusted with it: the place of the instrument is known.
    """

    header: int | None
    time: int | None
    path: int | None
    sure: bool = False

    @property
    def chosen(self) -> int:
        """The night under which the exposure is filed; 0 if none is known.

        That of the path; else as computed from the time, since headers are wrong at the change of the day; else that of the header.
        """
        order = (self.path, self.time, self.header) if self.sure else (self.path, self.header, self.time)
        return next((n for n in order if n is not None), 0)

    @property
    def source(self) -> str:
        """Where the chosen night comes from."""
        return "the path" if self.path is not None else "the header" if self.chosen == self.header else "the time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A file whose headers have been looked at. `cameras` gives the HDU of each camera."""

    structure: FitsStructure
    path: PathFacts
    cameras: dict[str, HduInfo]
    exposure: Exposure
    nights: Nights
    headers: Headers
    problems: Problems = field(default_factory=Problems)

    @property
    def unit(self) -> Unit:
        """Key of the exposure."""
        return self.exposure.unit


def examine(instrument: Instrument, structure: FitsStructure, camera: str | None = None) -> Examined:
    """Look at the headers of a file, for one camera of it or (None) for the exposure as a whole.

    Raises BadData where the file has no such camera, no camera at all, or no number.
    """
    problems = Problems()
    for sentence in structure.problems:
        problems.add("hdus", sentence)
    path = match_path(structure.path, instrument) or PathFacts()
    cameras = cameras_of(instrument, structure, path, problems)
    if camera is not None and camera not in cameras:
        raise BadData(f"{structure.path.name} has no camera {camera}; it has {', '.join(cameras)}")
    hdu = cameras[camera] if camera is not None else next(iter(cameras.values()))
    each = [hdu.header] if hdu.index == 0 else [hdu.header, structure.hdus[0].header]
    headers = Headers(*each)
    start = facts.start_of(instrument, headers, problems) or path.start
    expid = _expid(instrument, structure, each, path, start, problems)
    nights = _nights(instrument, each, path, start, problems)
    if camera is not None:
        _check_camera(instrument, camera, Headers(hdu.header), problems)
    exposure = _exposure(instrument, headers, Unit(nights.chosen, expid), start, problems)
    return Examined(structure=structure, path=path, cameras=cameras, exposure=exposure, nights=nights, headers=headers, problems=problems)


def cameras_of(instrument: Instrument, structure: FitsStructure, path: PathFacts, problems: Problems) -> dict[str, HduInfo]:
    """The HDU of each camera in a file. Raises BadData where there is none."""
    if instrument.layout.camera_hdus is None:
        hdu = _only_hdu(instrument, structure)
        return {_only_camera(instrument, structure, hdu, path): hdu}
    pattern, found = re.compile(instrument.layout.camera_hdus, re.IGNORECASE), dict[str, HduInfo]()
    for hdu in structure.hdus:
        match = pattern.fullmatch(hdu.name)
        if not match:
            continue
        camera = instrument.camera_name(match.groupdict().get("camera") or match[0])
        if not hdu.is_image:
            problems.add("hdus", f"{hdu.label} holds no image")
        elif camera in found:
            problems.add("hdus", f"{found[camera].label} and {hdu.label} are of one camera; the first is taken")
        else:
            found[camera] = hdu
    if not found:
        raise BadData(f"{structure.path.name} holds no camera of {instrument.name}: its HDUs are {', '.join(structure.names)}")
    return found


def _only_hdu(instrument: Instrument, structure: FitsStructure) -> HduInfo:
    if instrument.layout.hdu is not None:
        hdu = structure.hdu(instrument.layout.hdu)
    else:
        images = [h for h in structure.hdus if h.is_image]
        if not images:
            raise BadData(f"{structure.path.name} holds no image: its HDUs are {', '.join(structure.names)}")
        hdu = images[0]
    if not hdu.is_image:
        raise BadData(f"{structure.path.name}: {hdu.label} holds no image")
    return hdu


def _only_camera(instrument: Instrument, structure: FitsStructure, hdu: HduInfo, path: PathFacts) -> str:
    """Name of the camera of a file with one: from the path, by the template, from the header, or the name of the instrument."""
    if path.camera:
        return path.camera
    headers = Headers(hdu.header, structure.hdus[0].header)
    if instrument.layout.camera:
        name = _fill_camera(instrument.layout.camera, headers, path, structure.path.name)
    else:
        name = facts.text_of(instrument.header.camera, headers)
    name = re.sub(r"[^A-Za-z0-9_.+-]+", "_", name.strip()).strip("_")
    return instrument.camera_name(name or instrument.name)


def _fill_camera(template: str, headers: Headers, path: PathFacts, file: str) -> str:
    names = re.findall(r"\{(\w+(?:-\w+)*)", template)
    values = {n: path.groups.get(n, headers.get(n)) for n in names}
    if absent := [n for n, v in values.items() if v is None]:
        raise BadData(f"{file}: the header has no {', '.join(absent)}, by which its camera is named ({template})")
    try:
        return template.format(**values)
    except (ValueError, KeyError, IndexError, AttributeError) as error:
        raise BadData(f"{file}: no camera can be named by {template} from {values}: {error}") from error


def _expid(
    instrument: Instrument, structure: FitsStructure, each: Sequence[Header], path: PathFacts, start: datetime | None, problems: Problems
) -> int:
    spec = instrument.header.expid
    stated = _stated(spec, each, "number of an exposure", problems, _MAX_EXPID)
    expid = path.expid if path.expid is not None else next(iter(stated.values()), None)
    if expid is None and instrument.files.expid_from_time and start is not None:
        expid = int(start.strftime("%H%M%S"))
    if expid is None:
        wanted = "/".join(spec.keywords) or "its name"
        raise BadData(f"{structure.path.name} has no number of an exposure: neither its name nor its header ({wanted}) has one")
    source = "the file name" if path.expid is not None else "the first header"
    for what, value in stated.items():
        if value != expid:
            problems.add("headers", f"{what} = {value}, but {source} says {expid}")
    return expid


def _stated(spec: FieldSpec, each: Sequence[Header], what: str, problems: Problems, high: float) -> dict[str, int]:
    """The whole number that each header gives for a field, by words that say where it stands."""
    out: dict[str, int] = {}
    for i, header in enumerate(each):
        value = facts.whole_field(what, spec, Headers(header), problems, high)
        if value is not None:
            where = "/".join(spec.keywords) + (" of the primary HDU" if i else "")
            out[where] = value
    return out


def _is_date(night: int) -> bool:
    try:
        return datetime.strptime(f"{night:08d}", "%Y%m%d").year >= 1900
    except ValueError:
        return False


def _nights(instrument: Instrument, each: Sequence[Header], path: PathFacts, start: datetime | None, problems: Problems) -> Nights:
    stated = _stated(instrument.header.night, each, "night", problems, 99_991_231)
    header = next((n for n in stated.values() if _is_date(n)), None)
    computed = night_of(start, instrument.site) if start is not None else None
    nights = Nights(header=header, time=computed, path=path.night, sure="longitude_deg" in instrument.site.model_fields_set)
    chosen, source = nights.chosen, nights.source
    for what, value in stated.items():
        if value != chosen:
            problems.add("night", f"{what} = {value}, but {source} says {chosen}")
    if computed is not None and computed != chosen and start is not None:
        problems.add("night", f"{start:%Y-%m-%dT%H:%M:%S} UTC belongs to the night {computed}, but {source} says {chosen}")
    if chosen == 0:
        problems.add("night", "the night is not known: neither path nor header nor a time of exposure says it")
    return nights


def _check_camera(instrument: Instrument, camera: str, headers: Headers, problems: Problems) -> None:
    spec = instrument.header.camera
    stated = facts.text_of(spec, headers)
    if stated and stated.casefold() != camera.casefold():
        problems.add("headers", f"{'/'.join(spec.keywords)} = {stated}, but this is camera {camera}")


def _exposure(instrument: Instrument, headers: Headers, unit: Unit, start: datetime | None, problems: Problems) -> Exposure:
    h = instrument.header
    flavor = facts.text_of(h.flavor, headers)
    if not flavor:
        problems.add("headers", "the flavor of the exposure is not known")
    elif flavor not in instrument.flavors:
        known = ", ".join(instrument.flavors)
        problems.add("headers", f"flavor {flavor[:40]!r} is none of {known}; limits and chains may not know it (`flavors` of the instrument)")
    exptime = facts.number_field("exposure time", h.exptime, headers, problems, 0, 1e6)
    if exptime is None and flavor == "zero":
        exptime = 0.0
    on_sky = problems if flavor == "science" else Problems()  # of a lamp or a closed shutter these may be anything
    return Exposure(
        unit=unit,
        instrument=instrument.name,
        flavor=flavor or "unknown",
        program=facts.text_of(h.program, headers),
        exptime=float("nan") if exptime is None else exptime,
        start=start,
        airmass=facts.number_field("airmass", h.airmass, headers, on_sky, 0.99, 60),
        seeing=facts.number_field("seeing in arcsec", h.seeing, headers, on_sky, 0.05, 30),
        transparency=facts.number_field("transparency", h.transparency, headers, on_sky, 0.0, 3.0),
        temperature_c=facts.number_field("temperature of the detector", h.temperature, headers, Problems(), -273.15, 100.0),
        object=facts.text_of(h.object, headers),
        ra_deg=facts.angle_field("right ascension", h.ra, headers, on_sky, hours=True),
        dec_deg=facts.angle_field("declination", h.dec, headers, on_sky, hours=False),
        fibre_area_arcsec2=instrument.fibre_area_arcsec2,
        pixel_area_um2=None if instrument.pixel_size_um is None else instrument.pixel_size_um[0] * instrument.pixel_size_um[1],
    )


def format_name(template: str, examined: Examined, camera: str = "") -> str:
    """A file name by a template with {night:08d}, {expid:08d}, {camera}, {stem} and the fields of the path. Raises BadConfig."""
    stem = examined.structure.path.name.split(".")[0]
    unit = examined.unit
    values = {**examined.path.groups, "night": unit.night, "expid": unit.expid, "camera": camera or examined.path.camera, "stem": stem}
    try:
        return template.format(**values)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise BadConfig(f"companion {template!r} cannot be named: {error!s} (known: {', '.join(values)})") from error
