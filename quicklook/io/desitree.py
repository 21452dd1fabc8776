"""A DESI calibration tree, read as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quicklook.ccd.calibs import KnownFibers
from quicklook.core.errors import BadConfig, MissingCalibration
from quicklook.core.keys import PartKey
from quicklook.io.calibchoice import Candidate, Chooser, nights_misfit
from quicklook.io.calibentry import CalibEntry, as_night
from quicklook.io.configfiles import read_config

if TYPE_CHECKING:
    from quicklook.core.document import Document

_KEYS = {"fluxcal": "FLUXCALIB"}
"""Names of our kinds in a DESI tree, where they are not the kind in upper case."""
_KINDS = ("bias", "dark", "pixflat", "mask", "psf", "fiberflat", "fluxcal")
PATTERN = "spec/sm*/sm*-*.yaml"


class DesiCalibTree(Chooser):
    """A DESI calibration tree: `spec/sm4/sm4-r.yaml`, by the spectrograph's serial number (SPECID) and arm.

    A version holds for the nights from DATE-OBS-BEGIN to DATE-OBS-END, and, where both it and the header say them, for one DETECTOR, CCDCFG
    and CCDTMING. Of several that hold the latest begin counts, of these the one listed last; it counts for all kinds, so that versions are never
    mixed. The tags specid, detector, ccdcfg, ccdtiming of a reading are used.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._documents: dict[Path, tuple[int, Document]] = {}

    @property
    def name(self) -> str:
        """See `Chooser.name`."""
        return str(self.root)

    def candidates(self, kind: str, part: PartKey, tags: Mapping[str, str]) -> Sequence[Candidate]:
        """See `Chooser.candidates`: the versions of this spectrograph and arm that name one."""
        path = self._index(part, tags)
        return [] if path is None else list(self._candidates(path, kind, part.unit.night, tags))

    def _candidates(self, path: Path, kind: str, night: int, tags: Mapping[str, str]) -> Iterator[Candidate]:
        key = _KEYS.get(kind, kind.upper())
        versions = self._versions(path)
        bounds = {name: (_bound(path, v, "DATE-OBS-BEGIN"), _bound(path, v, "DATE-OBS-END")) for name, v in versions.items()}
        others = {name: _other_detector(v, tags) for name, v in versions.items()}
        holding = [name for name in versions if not others[name] and not nights_misfit(*bounds[name], night)]
        valid = max(reversed(holding), key=lambda name: bounds[name][0] or 0, default="")
        for name, version in versions.items():
            (begin, end), other = bounds[name], others[name]
            why = other or nights_misfit(begin, end, night) or ("" if name == valid else f"is of {name}, which {valid} replaces")
            made = Candidate(kind=kind, path=path, valid_from=begin, valid_to=end, quality="", why_not=why, elsewhen=bool(why and not other))
            if kind == KnownFibers.kind:
                yield replace(made, calibration=None if why else _fibres_of(path, version))
            elif version.get(key):
                yield replace(made, path=self.root / str(version[key]), quality="good")

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

    def _versions(self, path: Path) -> dict[str, Mapping[str, Any]]:
        stamp = path.stat().st_mtime_ns
        known = self._documents.get(path)
        if known is None or known[0] != stamp:
            known = (stamp, read_config(path))
            self._documents[path] = known
        top = next(iter(known[1].data.values()), None)
        if not isinstance(top, Mapping) or not all(isinstance(v, Mapping) for v in top.values()):
            raise BadConfig(f"{path} is no DESI calibration index: it must read sm4-r: {{V20200101: {{BIAS: ..., DATE-OBS-BEGIN: ...}}}}")
        return {str(name): version for name, version in top.items()}

    def entries(self) -> tuple[CalibEntry, ...]:
        """Everything that the tree names, as entries of an index: for lists and checks. Raises BadConfig."""
        return tuple(e for path in sorted(self.root.glob(PATTERN)) for e in self._listed(path))

    def _listed(self, path: Path) -> Iterator[CalibEntry]:
        found = re.fullmatch(r"sm(.+)-(.+)", path.stem)
        specid, arm = (found[1], found[2]) if found else ("*", "*")
        for title, version in self._versions(path).items():
            begin, end = _bound(path, version, "DATE-OBS-BEGIN"), _bound(path, version, "DATE-OBS-END")
            if (begin or 0) > (end or 99_999_999):
                raise BadConfig(f"{path}: {title} ends ({end}) before it begins ({begin}), so no night has it; correct DATE-OBS-END")
            when = {"specid": (specid,)} | {t: (str(version[k]),) for k, t in _TAGS if version.get(k)}
            for kind in _KINDS:
                if name := version.get(_KEYS.get(kind, kind.upper())):
                    yield CalibEntry(kind=kind, camera=(f"{arm}*",), when=when, valid_from=begin, valid_to=end, path=str(name))

    def locate(self, entry: CalibEntry) -> Path:
        """The file of an entry."""
        return self.root / entry.path


_TAGS = (("DETECTOR", "detector"), ("CCDCFG", "ccdcfg"), ("CCDTMING", "ccdtiming"))


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
        night: int | None = as_night(None if str(value).strip().lower() == "none" else value)
    except ValueError as error:
        raise BadConfig(f"{path}: {key} = {value} {error}") from error
    return night


def _other_detector(version: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    for key, tag in _TAGS:
        wanted, stated = str(version.get(key) or "").strip(), tags.get(tag, "").strip()
        if wanted and stated and wanted != stated:
            return f"is for {tag} {wanted}, not {stated}"
    return ""
