"""Which keywords of the header say what: time, number, flavor, lamps, by the values that the example frames have."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quicklook.ccd.image import HeaderValue
from quicklook.io.bringup.examples import NAME_KEYWORDS, TIME_KEYWORDS, TYPE_KEYWORDS, Example, Unsure, flavor_by_words
from quicklook.io.headerfacts import number_of

_START = (("DATE-OBS", "TIME-OBS"), ("DATE-OBS", "UT"), ("DATE-OBS", "UTSTART"), ("DATE-OBS", "UTC"), ("DATE-OBS", "UTC-OBS"), ("DATE-OBS", "UTSHUT"))
_SINGLE = ("DATE-BEG", "DATE-OBS", "UTSHUT", "DATE_OBS", "OBSDATE")
_NUMERIC = ("MJD-OBS", "MJD", "MJD-BEG")
_NUMBERS = ("EXPID", "OBSNUM", "FRAMENO", "FRAMENUM", "EXPNUM", "OBSNO", "RUN", "SEQNUM", "IMGNUM", "EXPNO", "OBSID")
_CAMERAS = ("CAMERA", "CAM", "ARM", "CHANNEL", "SPECTROG", "CCDNAME", "DETNAME", "INSTRUME")
_LONGITUDE = ("SITELONG", "LONGITUD", "OBS-LONG", "GEOLON", "LONG-OBS", "OBSGEO-L", "HIERARCH ESO TEL GEOLON", "ESO TEL GEOLON")
_SEEING = ("SEEING", "FWHM", "DIMM", "AGFWHM", "ESO TEL AMBI FWHM START")
_AIRMASS = ("AIRMASS", "SECZ", "AMASS", "ESO TEL AIRM START")
_ON = {"on", "true", "t", "yes", "in"}
_OFF = {"off", "false", "f", "no", "out"}
_LAMPS = re.compile(r"LAMP|LMP|ARC|COMP", re.IGNORECASE)
_ELEMENTS = ("Hg", "Cd", "Ne", "Ar", "He", "Kr", "Xe", "Zn", "Th", "Fe", "Cu")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderProposal:
    """The parts `header` and `site` of a description as plain data, remarks by key, and what else the headers say."""

    header: dict[str, Any]
    remarks: dict[str, str]
    longitude: float | None
    camera: str
    lamps: tuple[str, ...]
    setup: dict[str, str]


def propose_header(examples: Sequence[Example], unsure: Unsure, numbered_by_name: bool, placed: bool = False) -> HeaderProposal:
    """What the headers of the examples are read by. `placed`: the longitude is known otherwise."""
    header, remarks, required = dict[str, Any](), dict[str, str](), list[str]()
    exptime = _first(examples, TIME_KEYWORDS, numeric=True)
    if exptime is None:
        unsure.add("header.exptime: no keyword of an exposure time was found (looked for " + ", ".join(TIME_KEYWORDS[:6]) + ", ...)")
    else:
        header["exptime"] = exptime
        required.append(exptime)
    start = _start(examples)
    if start:
        header["start"] = start
        required += start[0].split("+")
    else:
        unsure.add("header.start: no time of an exposure was found; without it the night is not known")
    number = next((k for k in _NUMBERS if _tells_apart(examples, k)), None)
    header["expid"] = number or []
    if number is None and not numbered_by_name:
        unsure.add("header.expid: neither the names of the files nor the header number the exposures")
    if any(e.get("NIGHT") is not None for e in examples) and not all(_is_night(e.get("NIGHT")) for e in examples):
        header["night"] = []
    if len({str(e.get("PROGRAM")) for e in examples if e.get("PROGRAM") is not None}) == 1 and len(examples) > 1:
        header["program"], remarks["program"] = [], "the keyword PROGRAM says the same in all files"
    for fact, keywords in (("airmass", _AIRMASS), ("seeing", _SEEING), ("object", NAME_KEYWORDS)):
        found = _first(examples, keywords, numeric=fact != "object")
        if found and found != keywords[0]:
            header[fact] = found
    flavor, remark = _flavor(examples, exptime, unsure)
    header["flavor"] = flavor
    if remark:
        remarks["flavor"] = remark
    header["required"] = list(dict.fromkeys([*required, *_flavor_keywords(flavor)]))
    longitude = next((n for k in _LONGITUDE for e in examples if (n := _longitude(e.get(k))) is not None), None)
    if longitude is None and not placed:
        unsure.add("site.longitude_deg: the header does not say where the telescope is, so nights change at noon UTC; give it with --longitude")
    return HeaderProposal(
        header=header, remarks=remarks, longitude=longitude, camera=_camera(examples), lamps=_elements(examples), setup=_setup(examples)
    )


def _is_night(value: HeaderValue) -> bool:
    return bool(re.fullmatch(r"(19|20)\d{6}", str(value).strip()))


def _first(examples: Sequence[Example], keywords: Sequence[str], numeric: bool) -> str | None:
    """The first keyword that most examples have, with numbers where they must be."""
    for keyword in keywords:
        known = sum((e.number(keyword) if numeric else e.get(keyword)) is not None for e in examples)
        if 2 * known > len(examples):
            return keyword
    return None


def _tells_apart(examples: Sequence[Example], keyword: str) -> bool:
    """Whether a keyword holds a whole number, another one in every exposure."""
    values = [e.number(keyword) for e in examples]
    if any(v is None or v != int(v) or v < 0 for v in values):
        return False
    return len(set(values)) == len(values) > 1 or (len(values) == 1 and keyword in ("EXPID", "OBSNUM", "FRAMENO"))


def _start(examples: Sequence[Example]) -> list[str]:
    def given(keyword: str, pattern: str) -> bool:
        return all(re.match(pattern, str(e.get(keyword) or "").strip()) for e in examples)

    out = [k for k in _SINGLE if given(k, r"\d{4}-\d\d-\d\d[T ]\d\d:")]
    if not out:
        out = [f"{a}+{b}" for a, b in _START if given(a, r"\d{4}-\d\d-\d\d|\d\d/\d\d/\d\d") and given(b, r"\d?\d:\d\d")]
    numeric = [k for k in _NUMERIC if all(10_000 < (e.number(k) or 0) < 200_000 for e in examples)]
    return [*out[:2], *numeric[:1]]


def _longitude(value: HeaderValue) -> float | None:
    number = number_of(value)
    if number is None and isinstance(value, str) and (m := re.match(r"([+-]?)(\d+)[: ](\d+)[: ]([\d.]+)", value.strip())):
        number = (int(m[2]) + int(m[3]) / 60 + float(m[4]) / 3600) * (-1 if m[1] == "-" else 1)
    return number if number is not None and -180 <= number <= 360 and number != 0 else None


def _camera(examples: Sequence[Example]) -> str:
    """The camera by the header: a word, the same in all examples."""
    for keyword in _CAMERAS:
        values = {str(e.get(keyword) or "").strip() for e in examples}
        if len(values) == 1 and re.fullmatch(r"[A-Za-z][A-Za-z0-9_.+-]{0,15}", value := values.pop()):
            return value
    return ""


def _flavor(examples: Sequence[Example], exptime: str | None, unsure: Unsure) -> tuple[dict[str, Any], str]:
    """The field `flavor`: a keyword whose values say it, or rules."""
    unknown = [e.path.name for e in examples if not e.flavor]
    if unknown:
        unsure.add(f"header.flavor: nothing in the header says what {', '.join(unknown[:5])} is; it is taken for science")
    for keyword in TYPE_KEYWORDS:
        values: dict[str, set[str]] = {}
        for e in examples:
            values.setdefault(str(e.get(keyword) or "").strip().lower(), set()).add(e.flavor or "science")
        if "" not in values and all(len(f) == 1 for f in values.values()) and (len(values) > 1 or len(examples) == 1 or _plain(values)):
            mapped = {v: f for v, fs in values.items() if (f := next(iter(fs))) != v}
            usual = {w: f for w, f in _USUAL.items() if w not in values}
            return {"keywords": [keyword], "case": "lower", "values": {**mapped, **usual}}, "the values in the files, and the usual words"
    return _rules(examples, exptime, unsure), "rules are tried in this order"


_USUAL = {"bias": "zero", "zro": "zero", "object": "science", "target": "science", "comp": "arc", "sky": "science", "twilight": "flat"}


def _plain(values: Mapping[str, set[str]]) -> bool:
    """Whether the one value is a word that says what the frames are; `object` is said of nearly everything."""
    return all(v not in ("object", "obj") for v in values)


def _flavor_keywords(flavor: Mapping[str, Any]) -> list[str]:
    keys = list(flavor.get("keywords", ())) + [k for rule in flavor.get("rules", ()) for k in rule["when"] if not k.startswith("/")]
    return [k for k in dict.fromkeys(keys) if not _LAMPS.search(k)]


def _rules(examples: Sequence[Example], exptime: str | None, unsure: Unsure) -> dict[str, Any]:
    rules = list[dict[str, Any]]()
    zeros, others = [e for e in examples if e.flavor == "zero"], [e for e in examples if e.flavor != "zero"]
    if exptime and zeros and all(e.number(exptime) == 0 for e in zeros) and all((e.number(exptime) or 0) > 0 for e in others):
        rules.append({"value": "zero", "when": {exptime: 0}})
    for keyword in TYPE_KEYWORDS:
        for value in dict.fromkeys(str(e.get(keyword) or "").strip() for e in examples):
            flavors = {e.flavor or "science" for e in examples if str(e.get(keyword) or "").strip() == value}
            if value and len(flavors) == 1 and (f := flavors.pop()) not in ("science", ""):
                rules.append({"value": "dark" if f == "zero" and "dark" in value.lower() else f, "when": {keyword: value}})
    rules += _lamp_rules(examples, unsure)
    name = _first(examples, NAME_KEYWORDS, numeric=False)
    if name:
        rules += [{"value": f, "when": {name: w}} for f, w in (("zero", "/bias|zero/"), ("arc", r"/\barcs?\b|comparison/"), ("flat", "/flat/"))]
        unsure.add(f"header.flavor: told from words in {name} too, which people type; a target of such a name would be taken for a lamp")
    return {"rules": rules, "default": "science"}


def _switches(examples: Sequence[Example]) -> dict[str, list[str]]:
    """Keywords of lamps that are on in one file or another: the flavors of the files where they are."""
    out: dict[str, list[str]] = {}
    for keyword in dict.fromkeys(k for e in examples for h in (e.hdus[0].header, e.structure.hdus[0].header) for k in h):
        values = [str(e.get(keyword)).strip().lower() for e in examples if e.get(keyword) is not None]
        if _LAMPS.search(keyword) and values and set(values) <= _ON | _OFF and set(values) & _ON and set(values) & _OFF:
            out[keyword] = [e.flavor for e in examples if str(e.get(keyword)).strip().lower() in _ON]
    return out


def _lamp_rules(examples: Sequence[Example], unsure: Unsure) -> list[dict[str, Any]]:
    """A rule for each lamp that was on in arcs, or in flats, alone; for a family of lamps (letters for lines, digits for flats) one together."""
    seen = {k: f.pop() for k, flavors in _switches(examples).items() if len(f := set(flavors)) == 1 and f & {"arc", "flat"}}
    rules, families = list[dict[str, Any]](), dict[tuple[str, bool], set[str]]()
    for keyword, flavor in seen.items():
        families.setdefault((keyword[:-1], keyword[-1].isdigit()), set()).add(flavor)
    done = set()
    for keyword, flavor in sorted(seen.items(), key=lambda item: item[1]):
        family = (keyword[:-1], keyword[-1].isdigit())
        brothers = _brothers(examples, *family)
        value = _on_value(examples, keyword)
        if len(families[family]) == 1 and len(brothers) > 2:
            if family in done:
                continue
            done.add(family)
            rules.append({"value": flavor, "when": {f"/{re.escape(family[0])}[{'0-9' if family[1] else 'A-Z'}]/": value}})
            unsure.add(f"header.flavor: {', '.join(brothers)} are all taken for lamps of {flavor}s, since {keyword} is one in these files")
        else:
            rules.append({"value": flavor, "when": {keyword: value}})
            unsure.add(f"header.flavor: lamps that were not on in these files are not known ({keyword} is one of {flavor}s)")
    return rules


def _brothers(examples: Sequence[Example], stem: str, digit: bool) -> list[str]:
    """Keywords of one stem with another last letter (or digit) that are switches too."""
    header = {k for e in examples for h in (e.hdus[0].header, e.structure.hdus[0].header) for k in h}
    own = sorted(k for k in header if len(k) == len(stem) + 1 and k.startswith(stem) and k[-1].isdigit() == digit)
    return [k for k in own if all(str(e.get(k)).strip().lower() in _ON | _OFF for e in examples if e.get(k) is not None)]


def _on_value(examples: Sequence[Example], keyword: str) -> Any:
    value = next(e.get(keyword) for e in examples if str(e.get(keyword)).strip().lower() in _ON)
    return value if isinstance(value, bool) else str(value).strip()


def _elements(examples: Sequence[Example]) -> tuple[str, ...]:
    """Elements named for the lamps that are on in arcs: LAMPNAMG = 'Hg-Cd' where LAMPSTAG is on; else in the name of the object."""
    found = list[str]()
    for e in (e for e in examples if flavor_by_words(e) == "arc"):
        on = [k for k, flavors in _switches(examples).items() if "arc" in flavors and str(e.get(k)).strip().lower() in _ON]
        names = [str(v) for k in on for other in _named_like(e, k) if isinstance(v := e.get(other), str)]
        words = names or [str(e.get(k) or "") for k in ("LAMPNAME", "LAMP", "LAMPS", "COMPLAMP", *NAME_KEYWORDS)]
        found += [el for word in words for el in re.findall("|".join(_ELEMENTS), word)]
    return tuple(dict.fromkeys(found))


def _named_like(one: Example, keyword: str) -> list[str]:
    """Keywords that begin as this one does and end with its last letter."""
    keys = {k for h in (one.hdus[0].header, one.structure.hdus[0].header) for k in h}
    return sorted(k for k in keys if k != keyword and k[:4] == keyword[:4] and k[-1] == keyword[-1] and len(k) == len(keyword))


def _setup(examples: Sequence[Example]) -> dict[str, str]:
    """Grating, grism and the like, as the header names them: a hint at dispersion and central wavelength."""
    out = {}
    for keyword in dict.fromkeys(k for h in (examples[0].hdus[0].header, examples[0].structure.hdus[0].header) for k in h):
        value = examples[0].get(keyword)
        if re.match(r"GRISM|GRATING|GRATNG|GRNAME|DISPERS|GRAT|CENWAVE|WAVELEN", keyword) and isinstance(value, str) and value.strip():
            out[keyword] = value.strip()
    return dict(list(out.items())[:4])
