"""Where calibrations come from: a folder with an index `calib.yaml`, or a DESI calibration tree, read as it is."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from quicklook.ccd.calibs import KnownFibers
from quicklook.core.calibration import CalibrationSource, CalibrationUsed, NoCalibrations
from quicklook.core.errors import BadConfig, MissingCalibration
from quicklook.core.keys import PartKey
from quicklook.core.product import Calibration
from quicklook.core.yamlsource import validate
from quicklook.io.configfiles import read_config

if TYPE_CHECKING:
    from quicklook.core.document import Document

INDEX = "calib.yaml"
_ALIASES = {"traces": "psf", "fluxcalib": "fluxcal"}
"""Other names of kinds in an index."""


def _night(value: Any) -> Any:
    """A night from 20200131, '20200131' or 2020-01-31; None and empty are without end."""
    if value is None or value == "":
        return None
    text = str(value).strip().replace("-", "")
    if isinstance(value, bool) or not re.fullmatch(r"\d{8}", text):
        raise ValueError("is no night; write it as 2020-01-31 or 20200131")
    try:
        datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError("is no date of the calendar") from error
    return int(text)


def _words(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


Night = Annotated[int | None, BeforeValidator(_night)]
Names = Annotated[tuple[str, ...], BeforeValidator(_words)]


class CalibEntry(BaseModel):
    """One calibration of the index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field(description="bias, dark, pixflat, mask, psf (or traces), fiberflat, fluxcal, fibers, ...")
    instrument: Names = Field(("*",), description="names of instruments; * and ? allowed")
    camera: Names = Field(("*",), description="names of cameras; * and ? allowed, as in r*")
    when: dict[str, Names] = Field({}, description="further tags that the frame must have, as in {detector: SN22797}")
    valid_from: Night = Field(None, description="first night (2020-01-31 or 20200131); empty: since ever")
    valid_to: Night = Field(None, description="last night; empty: until further notice")
    path: str = Field(min_length=1, description="file, relative to the folder of the index")
    quality: Literal["good", "provisional", "bad"] = Field("good", description="a bad one is never used")
    made_from: tuple[int | str, ...] = Field((), description="exposures that it was made from")
    default: bool = Field(False, description="used where no other one is valid, whatever the night")
    comment: str = Field("", description="anything worth knowing")

    def fits(self, wanted: type[Calibration], tags: Mapping[str, str]) -> bool:
        """Whether it is of that kind and for a part with these tags, the night apart."""
        return (
            _ALIASES.get(self.kind, self.kind) == wanted.kind
            and self.quality != "bad"
            and _matches(self.instrument, tags.get("instrument", ""))
            and _matches(self.camera, tags.get("camera", ""))
            and all(_matches(names, tags.get(tag, "")) for tag, names in self.when.items())
        )

    def valid(self, night: int) -> bool:
        """Whether it is valid on a night."""
        return (self.valid_from or 0) <= night <= (self.valid_to or 99_999_999)


class CalibIndex(BaseModel):
    """The index of a folder of calibrations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calibrations: tuple[CalibEntry, ...] = Field(description="the calibrations")


def _matches(patterns: Iterable[str], value: str) -> bool:
    return any(fnmatch.fnmatchcase(value.lower(), p.lower()) for p in patterns)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A file that could be used."""

    path: Path
    valid_from: int | None
    valid_to: int | None
    quality: str = "good"


def _pick(candidates: list[_Candidate], wanted: type[Calibration], part: PartKey, tags: Mapping[str, str]) -> tuple[Calibration, CalibrationUsed]:
    """Load the first candidate; the others are alternatives."""
    chosen = candidates[0]
    used = CalibrationUsed(
        kind=wanted.kind,
        source=str(chosen.path),
        valid_from=str(chosen.valid_from or ""),
        valid_to=str(chosen.valid_to or ""),
        age_days=_age(chosen.valid_from, part.unit.night, tags.get("start", "")),
        quality=chosen.quality,
        alternatives=tuple(str(c.path) for c in candidates[1:]),
    )
    from quicklook.io.calibfile import load_calibration

    return load_calibration(chosen.path, wanted, tags), used


def _age(valid_from: int | None, night: int, start: str) -> float | None:
    """Days from the first night of validity to the frame (negative for a default that is of a later night)."""
    if valid_from is None or not night:
        return None
    begin = datetime.strptime(str(valid_from), "%Y%m%d").replace(tzinfo=UTC)
    try:
        time = datetime.fromisoformat(start) if start else datetime.strptime(str(night), "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return None
    return round((time - begin).total_seconds() / 86400, 2)


class CalibFolder:
    """A folder with `calib.yaml`. A changed index is taken up at the next frame.

    Raises BadConfig, with file and line, where the index cannot be used.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._stamp: tuple[int, int] | None = None
        self._entries: tuple[CalibEntry, ...] = ()
        self.entries()

    def entries(self) -> tuple[CalibEntry, ...]:
        """The entries of the index as it is now."""
        path = self.folder / INDEX
        try:
            status = path.stat()
        except OSError as error:
            raise BadConfig(f"{path} cannot be read: {error.strerror or error}") from error
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            self._entries = validate(CalibIndex, read_config(path)).calibrations
            self._stamp = stamp
        return self._entries

    def find(self, wanted: type[Calibration], part: PartKey, tags: Mapping[str, str]) -> tuple[Calibration, CalibrationUsed] | None:
        """See `CalibrationSource.find`: of those valid on the night the one with the latest begin, and of these the last in the file."""
        tags = {"camera": part.part, **tags}
        fitting = [(e.valid_from or 0, i, e) for i, e in enumerate(self.entries()) if e.fits(wanted, tags)]
        valid = sorted((x for x in fitting if x[2].valid(part.unit.night)), key=lambda x: (not x[2].default, x[0], x[1]), reverse=True)
        valid = valid or sorted((x for x in fitting if x[2].default), reverse=True, key=lambda x: x[:2])
        candidates = [_Candidate(path=self.folder / e.path, valid_from=e.valid_from, valid_to=e.valid_to, quality=e.quality) for _, _, e in valid]
        return _pick(candidates, wanted, part, tags) if candidates else None


_DESI_KEYS = {"fluxcal": "FLUXCALIB"}
"""Names of our kinds in a DESI tree, where they are not the kind in upper case."""


class DesiCalibTree:
    """A DESI calibration tree: `spec/sm4/sm4-r.yaml`, by the spectrograph's serial number (SPECID) and arm.

    A version holds for the nights from DATE-OBS-BEGIN to DATE-OBS-END, and, where both it and the header say them, for one DETECTOR, CCDCFG
    and CCDTMING. The tags specid, detector, ccdcfg, ccdtiming of a reading are used.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._documents: dict[Path, tuple[int, Document]] = {}

    def find(self, wanted: type[Calibration], part: PartKey, tags: Mapping[str, str]) -> tuple[Calibration, CalibrationUsed] | None:
        """See `CalibrationSource.find`: of the versions that hold the one with the latest begin."""
        path = self._index(part, tags)
        if path is None:
            return None
        key = _DESI_KEYS.get(wanted.kind, wanted.kind.upper())
        found: list[_Candidate] = []
        for version in self._versions(path):
            begin, end = _bound(path, version, "DATE-OBS-BEGIN"), _bound(path, version, "DATE-OBS-END")
            inside = (begin or 0) <= part.unit.night <= (end or 99_999_999)
            if wanted is KnownFibers and inside and _same_detector(version, tags):
                used = CalibrationUsed(kind=wanted.kind, source=str(path), valid_from=str(begin or ""), valid_to=str(end or ""))
                return _fibres_of(path, version), used
            if inside and version.get(key) and _same_detector(version, tags):
                found.append(_Candidate(path=self.root / str(version[key]), valid_from=begin, valid_to=end))
        found.sort(key=lambda c: c.valid_from or 0, reverse=True)
        return _pick(found, wanted, part, tags) if found else None

    def _index(self, part: PartKey, tags: Mapping[str, str]) -> Path | None:
        arm = tags.get("arm") or part.part[:1]
        specid = tags.get("specid", "")
        if specid:
            path = self.root / "spec" / f"sm{specid}" / f"sm{specid}-{arm}.yaml"
            return path if path.is_file() else None
        paths = sorted(self.root.glob(f"spec/sm*/sm*-{arm}.yaml"))
        if len(paths) > 1:
            raise MissingCalibration(f"{part}: the header has no SPECID, and {self.root}/spec has {len(paths)} spectrographs of arm {arm}")
        return paths[0] if paths else None

    def _versions(self, path: Path) -> list[Mapping[str, Any]]:
        stamp = path.stat().st_mtime_ns
        known = self._documents.get(path)
        if known is None or known[0] != stamp:
            known = (stamp, read_config(path))
            self._documents[path] = known
        top = next(iter(known[1].data.values()), None)
        if not isinstance(top, Mapping) or not all(isinstance(v, Mapping) for v in top.values()):
            raise BadConfig(f"{path} is no DESI calibration index: it must read sm4-r: {{V20200101: {{BIAS: ..., DATE-OBS-BEGIN: ...}}}}")
        return list(top.values())


def _fibres_of(path: Path, version: Mapping[str, Any]) -> KnownFibers:
    """The fibres that a version lists by number, separated by commas."""
    listed: dict[str, tuple[int, ...]] = {}
    for key in ("BROKENFIBERS", "LOWTRANSMISSIONFIBERS"):
        words = [w for w in re.split(r"[\s,]+", str(version.get(key) or "")) if w]
        if not all(w.isdigit() for w in words):
            raise BadConfig(f"{path}: {key} = {version.get(key)} is no list of fibre numbers")
        listed[key] = tuple(int(w) for w in words)
    return KnownFibers(broken=listed["BROKENFIBERS"], low=listed["LOWTRANSMISSIONFIBERS"])


def _bound(path: Path, version: Mapping[str, Any], key: str) -> int | None:
    value = version.get(key)
    try:
        night: int | None = _night(None if str(value).strip().lower() == "none" else value)
    except ValueError as error:
        raise BadConfig(f"{path}: {key} = {value} {error}") from error
    return night


def _same_detector(version: Mapping[str, Any], tags: Mapping[str, str]) -> bool:
    for key, tag in (("DETECTOR", "detector"), ("CCDCFG", "ccdcfg"), ("CCDTMING", "ccdtiming")):
        wanted, stated = str(version.get(key) or "").strip(), tags.get(tag, "").strip()
        if wanted and stated and wanted != stated:
            return False
    return True


def open_calibrations(path: str | Path | None) -> CalibrationSource:
    """The calibrations in a folder, of whichever of the two forms it is; none where `path` is None.

    Raises BadConfig where it is neither.
    """
    if path is None:
        return NoCalibrations()
    folder = Path(path)
    if folder.name == INDEX:
        folder = folder.parent
    if (folder / INDEX).is_file():
        return CalibFolder(folder)
    if any(folder.glob("spec/sm*/sm*-*.yaml")):
        return DesiCalibTree(folder)
    what = "is not there" if not folder.exists() else f"holds neither {INDEX} nor a DESI tree (spec/sm4/sm4-r.yaml)"
    raise BadConfig(f"calibration folder {folder} {what}")
