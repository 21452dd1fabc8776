"""The description of an instrument: one YAML file, and no Python, says where its frames appear, what their headers mean and how it is read out.

Words of this file: a *lookup* of the amplifiers is a literal (a number; a section such as ``[1:1024,:]``, where an end left out is that of the image)
or a header keyword, in which ``{amp}`` stands for the suffix of the amplifier, or a list of these, tried in order. A *field* of the
header is one keyword or a list of them, or a mapping with keywords, values, rules and a default.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat, field_validator, model_validator

from quicklook.core.errors import BadConfig
from quicklook.io.badamps import complaints, split_words
from quicklook.io.hardware import Mounted, contradictions
from quicklook.io.patterns import compile_pattern

Scalar = str | int | float | bool


def _as_tuple(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return text


_SLASHED = re.compile(r"/(.*)/i?\Z", re.DOTALL)


def between_slashes(text: str) -> str | None:
    """The regular expression in ``/.../``; None where a text is none."""
    match = _SLASHED.match(text)
    return match[1] if match else None


def _check_slashed(words: Iterable[object]) -> None:
    for word in words:
        if isinstance(word, str) and (pattern := between_slashes(word)) is not None:
            _regex(pattern)


def _check_conditions(conditions: Mapping[str, Condition]) -> Mapping[str, Condition]:
    _check_slashed(conditions)
    for condition in conditions.values():
        _check_slashed(condition if isinstance(condition, tuple) else (condition,))
    return conditions


Words = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Lookup = Annotated[tuple[str | float, ...], BeforeValidator(_as_tuple)]
Regex = Annotated[str, BeforeValidator(lambda v: _regex(v) if isinstance(v, str) else v)]


class Part(BaseModel):
    """Base of the parts of a description: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Site(Part):
    """Where the instrument stands, for the night that a time belongs to."""

    longitude_deg: float = Field(0.0, ge=-180, le=360, description="longitude, east positive, degree")
    night_change_hour: float = Field(
        12.0, ge=0, lt=24, description="local mean solar time, hour, at which the next night begins; 12: noon; 0 makes the night the date of the day"
    )
    utc_offset_hours: float = Field(
        0.0, ge=-14, le=14, description="time zone of the times in headers and file names, hours east of UTC; 0 where they are UTC"
    )


class Files(Part):
    """How files are named."""

    patterns: Words = Field(
        min_length=1,
        description="names of raw files, tried in order against the end of the path: with fields such as"
        " {night:8d}/{expid:8d}/x-{expid:8d}.fits"
        " and * for anything, or `regex:` and a regular expression with named groups (night, expid, camera, date, time, and any other)",
    )
    ignore: Words = Field((), description="names (with * and ?) of files that are not looked at; dot files and the usual temporary names never are")
    time_format: str = Field(
        "", description="format (strptime) of the groups date and time, put together, as in %Y%m%dT%H%M%S; empty: they are not used"
    )
    expid_from_time: bool = Field(False, description="number an exposure by its time, HHMMSS, where neither name nor header holds a number")

    @field_validator("patterns")
    @classmethod
    def _compiled(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            compile_pattern(pattern)
        return patterns


class Layout(Part):
    """Where in a file the cameras are."""

    camera_hdus: Regex | None = Field(
        None,
        description="a camera per HDU: regular expression on HDU names whose group `camera` (or whole match) is its name; null: one camera a file",
    )
    hdu: int | str | None = Field(None, description="one camera a file: HDU of its pixels; null: the first that holds an image")
    camera: str = Field(
        "",
        description="one camera a file: its name, where the file name has none; {KEYWORD} (with a format) is taken from"
        " the header, as in {IFUSLOT:03d}{CCDPOS}",
    )


class Cameras(Part):
    """The cameras of the instrument."""

    expected: tuple[str, ...] = Field((), description="cameras that every exposure has; empty: whatever comes is taken")
    tags: Regex = Field(
        "", description="regular expression on the name of a camera; its named groups become tags, as in (?P<arm>[brz])(?P<spectrograph>[0-9])"
    )
    case: Literal["lower", "upper", "keep"] = Field("keep", description="how the name of a camera is written, whatever the file has")
    fibres: int | None = Field(
        None, gt=0, description="fibres of a spectrograph: those of spectrograph n (its tag) have numbers from n times this; null: from 0 everywhere"
    )


class Range(Part):
    """A condition on a number, or on whether there is a value at all."""

    min: float | None = Field(None, description="smallest value that fits")
    max: float | None = Field(None, description="largest value that fits")
    present: bool | None = Field(None, description="true: there must be a value; false: there must be none")


Condition = Range | Scalar | tuple[Scalar, ...]
Conditions = Annotated[dict[str, Condition], AfterValidator(_check_conditions)]


class Rule(Part):
    """`value` is taken where all conditions of `when` hold."""

    value: str = Field(description="what the field is then")
    when: Conditions = Field(
        min_length=1,
        description="conditions by keyword (or /regular expression/: any of the keywords that match): a value, a list of"
        " values, a /regular expression/"
        " (upper and lower case are one), or {min, max, present}",
    )


class FieldSpec(Part):
    """How one fact is found in the header."""

    keywords: Words = Field((), description="keywords, tried in order")
    rules: tuple[Rule, ...] = Field((), description="rules, tried in order before the keywords")
    values: dict[str, str] = Field(
        {}, description="what a value means: value or /regular expression/ to the name used here; other values stay as they are"
    )
    default: str | None = Field(None, description="what it is where nothing else says")
    case: Literal["lower", "upper", "keep"] = Field("keep", description="how a text is written")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"keywords": data} if isinstance(data, str | list | tuple) else data

    @field_validator("values")
    @classmethod
    def _patterns(cls, values: dict[str, str]) -> dict[str, str]:
        _check_slashed(values)
        return values


def _fields(*keywords: str, **more: Any) -> Any:
    description = more.pop("description")
    return Field(default_factory=lambda: FieldSpec(keywords=keywords, **more), description=description)


class HeaderMap(Part):
    """What the header says, by keyword. A keyword is looked up in the HDU of the camera first, then in the primary HDU."""

    expid: FieldSpec = _fields("EXPID", description="number of the exposure, where the file name has none; checked against it where it has")
    night: FieldSpec = _fields("NIGHT", description="night, YYYYMMDD; checked against the path and the time of exposure")
    camera: FieldSpec = _fields("CAMERA", description="name of the camera; checked against HDU and file name")
    start: Words = Field(
        ("DATE-OBS+TIME-OBS", "DATE-OBS+UT", "DATE-OBS", "MJD-OBS"),
        description="start of the exposure: keywords tried in order; A+B is a date in A and a time in B; a number is a modified Julian date",
    )
    exptime: FieldSpec = _fields("EXPTIME", "EXPOSURE", description="exposure time, second")
    flavor: FieldSpec = _fields("FLAVOR", case="lower", description="science, arc, flat, zero, dark, ...")
    program: FieldSpec = _fields("PROGRAM", case="lower", description="dark, bright, ...")
    airmass: FieldSpec = _fields("AIRMASS", description="airmass")
    seeing: FieldSpec = _fields("SEEING", description="seeing, arcsec")
    transparency: FieldSpec = _fields("TRANSPAR", description="transparency of the sky, from guide cameras; 1 on a clear night")
    temperature: FieldSpec = _fields("DETTEMP", "CCDTEMP", description="temperature of the detector, degree Celsius")
    ra: FieldSpec = _fields("RA", description="right ascension: degree as a number, hours as a text with colons")
    dec: FieldSpec = _fields("DEC", description="declination, degree")
    object: FieldSpec = _fields("OBJECT", description="name of the target")
    tags: dict[str, FieldSpec] = Field({}, description="further tags, by name, for limits, parameters and calibrations to be chosen by")
    required: tuple[str, ...] = Field((), description="keywords that must be there; a missing one is a problem of the header")


class AmplifierSpec(Part):
    """Read-out of one amplifier; in `each`, what all have in common."""

    suffixes: Words = Field((), description="what {amp} stands for, tried in order; empty: the name of the amplifier")
    hdu: int | str | None = Field(None, description="HDU of its pixels, where every amplifier has one of its own; they are put side by side along x")
    data: Lookup = Field(("[:,:]",), description="section of the raw image that holds its pixels; default all of it")
    overscan: Lookup = Field((), description="section read out after the pixels of each row")
    prescan: Lookup = Field((), description="section read out before the pixels of each row")
    parallel_overscan: Lookup = Field((), description="section of rows read out after the last one")
    ccd: Lookup = Field((), description="section of the trimmed image; empty: the data sections are put together as they lie")
    gain: Lookup = Field((), description="gain; unit: gain_unit of the layout")
    read_noise: Lookup = Field((), description="expected read noise; unit: read_noise_unit of the layout")
    saturation: Lookup = Field((65535,), description="raw value from which on a pixel is saturated, ADU")
    corner: Literal["ll", "lr", "ul", "ur"] | None = Field(None, description="corner that is read out first; null: the outer corner of its section")
    crosstalk: dict[str, float] = Field({}, description="fraction of the signal of another amplifier, by its name, that appears in this one")


class AmplifierLayout(Part):
    """A way in which a detector is read out. The first layout whose conditions hold is taken."""

    when: Conditions = Field(
        {}, description="conditions by keyword, as in a rule (NAXIS1 and NAXIS2 are those of the image, CAMERA the camera); empty: always"
    )
    each: AmplifierSpec = Field(default_factory=AmplifierSpec, description="what all amplifiers have in common")
    amplifiers: dict[str, AmplifierSpec] = Field(
        min_length=1, description="the amplifiers by name ({KEYWORD} in it is taken from the header); what is given here wins over `each`"
    )
    gain_unit: Literal["electron/ADU", "ADU/electron"] = Field("electron/ADU", description="unit of the gains")
    read_noise_unit: Literal["electron", "ADU"] = Field("electron", description="unit of the read noises")
    ccd_binning: str = Field("", description="keyword of the binning (as in '2 1', x first) where the ccd sections count unbinned pixels")
    transpose: bool | None = Field(None, description="as `orientation.transpose`, for this layout")
    flip_x: bool | None = Field(None, description="as `orientation.flip_x`, for this layout")
    flip_y: bool | None = Field(None, description="as `orientation.flip_y`, for this layout")

    def specs(self) -> dict[str, AmplifierSpec]:
        """The amplifiers with what they have in common filled in."""
        out = {}
        for name, own in self.amplifiers.items():
            merged = {f: getattr(own if f in own.model_fields_set else self.each, f) for f in AmplifierSpec.model_fields}
            out[name] = AmplifierSpec(**{**merged, "suffixes": merged["suffixes"] or (name,)})
        return out


class OrientationSpec(Part):
    """How a raw image is turned so that wavelength runs along y: transposed first, then flipped."""

    transpose: bool = Field(False, description="exchange x and y: for dispersion along x")
    flip_x: bool = Field(False, description="then reverse x")
    flip_y: bool = Field(False, description="then reverse y, so that wavelength grows with y")


class CompanionSpec(Part):
    """A file (or HDU) that comes with an exposure."""

    role: str = Field(description="what it is; `fibermap` is read and handed on")
    file: str = Field(
        "", description="its name, relative to the folder of the raw file, with {night:08d}, {expid:08d}, {camera}, {stem}; * and ? allowed"
    )
    hdu: str = Field("", description="name of an HDU of the raw file that does instead")
    required_for: tuple[str, ...] = Field((), description="flavors that cannot be called good without it; `all` for all")
    select: dict[str, str] = Field({}, description="fibre map: column that must equal a tag of the camera, as in PETAL_LOC: spectrograph")


class Apertures(Part):
    """Apertures of a slit, for an instrument without fibres: contiguous, of equal width."""

    count: int = Field(1, ge=1, description="number of apertures")
    sky: tuple[int, ...] = Field((), description="numbers (from 0) of those on the sky")


class Spectra(Part):
    """The spectra on the cameras, roughly: what the builders of traces and wavelengths start from. A number, or one by arm or camera."""

    fibres: int | None = Field(None, gt=0, description="fibres on a camera; null: as in cameras.fibres, apertures.count, or not known")
    bundle: int = Field(0, ge=0, description="fibres of a bundle, with wider gaps between bundles; 0: there are no bundles")
    dispersion: float | dict[str, float] | None = Field(None, description="Angstrom per pixel; null: not known")
    dispersion_error: float = Field(0.06, gt=0, le=0.5, description="relative error of that")
    centre: float | dict[str, float] | None = Field(None, description="vacuum wavelength at the middle of the detector, Angstrom; null: not known")
    centre_error: float = Field(200.0, gt=0, description="error of that, Angstrom")
    lamps: tuple[str, ...] | dict[str, tuple[str, ...]] = Field((), description="elements in the arc lamps, as in [Hg, Cd, Ne]; empty: any")


class Instrument(Part):
    """An instrument."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$", description="its name in tags, results and configuration")
    description: str = Field("", description="a sentence on what it is")
    telescope: str = Field("", description="its telescope")
    reader: str = Field("fits", description="name of the reader plugin")
    reader_options: dict[str, Any] = Field({}, description="options of a reader of one's own")
    site: Site = Field(default_factory=Site, description="where it stands")
    files: Files = Field(description="how its files are named")
    layout: Layout = Field(default_factory=Layout, description="where in a file the cameras are")
    cameras: Cameras = Field(default_factory=Cameras, description="its cameras")
    expected_hdus: tuple[str, ...] = Field((), description="HDUs that every file has, beside those of the cameras")
    header: HeaderMap = Field(default_factory=HeaderMap, description="what the header says")
    layouts: tuple[AmplifierLayout, ...] = Field((), min_length=1, description="ways in which a detector is read out; `reader: fits` needs one")
    orientation: OrientationSpec = Field(default_factory=OrientationSpec, description="how wavelength comes to run along y")
    bad_amplifiers: Annotated[tuple[str, ...], BeforeValidator(split_words)] = Field(
        (), description="amplifiers known to be bad: masked, and never judged; camera and amplifier in one word, as in b7D, or CCD1:E"
    )
    companions: tuple[CompanionSpec, ...] = Field((), description="what comes with an exposure")
    apertures: Apertures | None = Field(None, description="apertures of a slit; null for an instrument with fibres")
    spectra: Spectra = Field(default_factory=Spectra, description="the spectra on its cameras, roughly")
    bound_to: tuple[str, ...] = Field(
        ("serial",), description="tags of the hardware that calibrations made here belong to, as in [specid, detector]: no other gets them"
    )
    hardware: tuple[Mounted, ...] = Field(
        (), description="which hardware is mounted where, from when to when: serial numbers and further tags, by which calibrations are chosen"
    )
    builders: dict[str, str] = Field({}, description="builder by the kind of calibration that is asked for, where it is not the one of that name")
    chains: dict[str, str] = Field({}, description="chain by flavor, where the site names none; default: `zero` for zeros, `raw` for all others")
    flavors: tuple[str, ...] = Field(
        ("science", "arc", "flat", "zero", "dark"), description="flavors of its exposures; any other is a problem"
    )
    pixel_size_um: tuple[PositiveFloat, PositiveFloat] | None = Field(
        None, description="size of a pixel as it is read out (binned), [x, y], micrometre; null: not known, and no rate per cm2 is measured"
    )
    fibre_area_arcsec2: float | None = Field(None, gt=0, description="area on the sky of a fibre (or aperture), square arcsec")
    zero_points_mag: dict[str, float] = Field({}, description="by arm or camera: AB magnitude that gives one electron a second")

    @field_validator("layouts")
    @classmethod
    def _one_kind(cls, layouts: tuple[AmplifierLayout, ...]) -> tuple[AmplifierLayout, ...]:
        for layout in layouts:
            own = [spec.hdu is not None for spec in layout.specs().values()]
            if any(own) and not all(own):
                raise ValueError("some amplifiers of a layout have an `hdu` and others have none")
        return layouts

    def camera_name(self, text: str) -> str:
        """The name of a camera as it is written here."""
        return change_case(text.strip(), self.cameras.case)

    @model_validator(mode="after")
    def _amplifiers_there_are(self) -> Instrument:
        if self.reader == "fits" and not self.layouts:
            raise ValueError("layouts: at least one is needed, with its amplifiers")
        if wrong := complaints(self, self.bad_amplifiers):
            raise ValueError(f"bad_amplifiers: {'; '.join(wrong)}")
        if wrong := contradictions(self.hardware):
            raise ValueError(f"hardware: {'; '.join(wrong)}")
        return self


def change_case(text: str, case: str) -> str:
    """`text` in lower or upper case, or kept."""
    return text.lower() if case == "lower" else text.upper() if case == "upper" else text


def load_instrument(name_or_path: str | Path, extra: Iterable[str | Path] = ()) -> Instrument:
    """The instrument of that name, or in that file. `extra` are folders searched before those that are installed.

    A file that has `extends: <name>` gives the differences to another instrument. Raises BadConfig with file and line.
    """
    from quicklook.core.yamlsource import merge, validate
    from quicklook.io.configfiles import find_config

    doc = find_config("instruments", name_or_path, extra)
    seen = [doc.source]
    while base_name := doc.data.get("extends"):
        base = find_config("instruments", str(base_name), extra)
        if base.source in seen:
            raise BadConfig(f"{doc.where(('extends',))}: {' extends '.join([*seen, base.source])}, in a circle")
        seen.append(base.source)
        own = {k: v for k, v in doc.data.items() if k != "extends"}
        doc = merge(base, type(doc)(data=own, source=doc.source, places=doc.places))
    return validate(Instrument, doc)


def make_instrument(data: Mapping[str, Any], source: str = "instrument") -> Instrument:
    """An instrument described by plain data. Raises BadConfig."""
    from quicklook.core.document import Document
    from quicklook.core.yamlsource import validate

    return validate(Instrument, Document.from_data(data, source))
