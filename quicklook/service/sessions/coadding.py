"""Spectra of a test added up from stored products: no raw frame is read again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from quicklook.ccd.arrays import Float32, Float64
from quicklook.ccd.coadd import SkyLevels
from quicklook.ccd.exposure import Exposure, FiberMap
from quicklook.ccd.spectra import Frame
from quicklook.core.errors import BadData, QuicklookError
from quicklook.core.group import Member
from quicklook.core.keys import PartKey, Unit
from quicklook.core.reading import Reading
from quicklook.core.status import Status
from quicklook.io.folders import exposure_folder
from quicklook.io.hdus import Hdus
from quicklook.io.products import product_name
from quicklook.io.spectrafile import fibermap_of, read_frame
from quicklook.service.sessions.testplots import exptime_of
from quicklook.service.sessions.testruns import Taken
from quicklook.service.sessions.testwork import Digest

PROVIDES = (Frame, Exposure, SkyLevels)
"""What reading a stored exposure gives."""
_WINDOWS = 6
_GOOD = (Status.NORMAL, Status.WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """Stored spectra of a camera in one exposure."""

    key: PartKey
    frame: Path
    sky: Path
    tags: Mapping[str, str]
    status: Status
    exptime: float
    instrument: str

    def read(self) -> Reading:
        """The spectra, what is known of the exposure, and the light of the sky. Raises BadData for a camera that was an ALARM or is not known."""
        if self.status not in _GOOD:
            raise BadData(f"camera {self.key.part} of exposure {self.key.unit.expid} is {self.status}", what_next="Read its reasons.")
        frame = read_frame(self.frame)
        start = self.tags.get("start", "")
        exposure = Exposure(
            unit=self.key.unit, instrument=self.instrument, flavor=self.tags.get("flavor", "science"), program=self.tags.get("program", ""),
            exptime=self.exptime, start=_utc(start) if start else None,
        )  # fmt: skip
        return Reading(products=(frame, exposure, sky_levels(self.sky, frame, self.exptime)), tags=self.tags)


def _utc(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def sky_levels(path: Path, frame: Frame, exptime: float) -> SkyLevels:
    """The light of a stored model of the sky, see `levels_of`; NaN without one."""
    if not path.is_file():
        return levels_of(np.zeros((0, 1), np.float32), np.zeros((0, 1)), frame, exptime)
    hdus = Hdus(path)
    return levels_of(hdus.array("SKY", np.float32), hdus.array("WAVELENGTH", np.float64, ndim=(1, 2)), frame, exptime)


def levels_of(flux: Float32, wave: Float64, frame: Frame, exptime: float) -> SkyLevels:
    """The light of the sky, electron/Angstrom [nfibre, nwave], in windows of equal width over the wavelengths of a frame; NaN without a time (s)."""
    edges = np.linspace(float(np.median(frame.wave[:, 0])), float(np.median(frame.wave[:, -1])), _WINDOWS + 1)
    rate = np.full(_WINDOWS, np.nan)
    if len(flux) and exptime > 0:
        wave = np.broadcast_to(wave, flux.shape)
        row = slice(None, None, max(1, len(flux) // 32))
        for i in range(_WINDOWS):
            there = (wave[row] >= edges[i]) & (wave[row] < edges[i + 1]) & np.isfinite(flux[row])
            rate[i] = float(np.median(flux[row][there])) / exptime if there.any() else np.nan
    return SkyLevels(wave=0.5 * (edges[1:] + edges[:-1]), rate=rate)


def stored_groups(
    out: Path, tag: str, instrument: str, taken: Sequence[Taken], by_unit: Mapping[str, Sequence[Digest]]
) -> Iterator[tuple[str, tuple[Member, ...]]]:
    """Cameras with exposures of one fibre map of which calibrated spectra are stored, two at least; those of another map are another group."""
    groups: dict[tuple[str, str], list[Member]] = {}
    for one in sorted(taken, key=lambda t: t.unit):
        unit = Unit.parse(one.unit)
        folder = exposure_folder(out, tag, unit)
        for digest in by_unit.get(one.unit, ()):
            path, sky = (folder / product_name(label, digest.part, unit.expid) for label in ("cframe", "sky"))
            if not path.is_file():
                continue
            stored = _Stored(
                key=PartKey(unit, digest.part), frame=path, sky=sky, tags={**one.tags, **digest.tags}, status=digest.status,
                exptime=exptime_of(one.tags), instrument=instrument,
            )  # fmt: skip
            member = Member(key=stored.key, read=partial(_Stored.read, stored), file=path.name, flavor=one.tags.get("flavor", ""))
            groups.setdefault((digest.part, _map_of(path)), []).append(member)
    for (camera, _), members in sorted(groups.items(), key=lambda item: (item[0][0], item[1][0].key)):
        if len(members) > 1:
            yield camera, tuple(members)


def _map_of(path: Path) -> str:
    """What tells the fibre map of stored spectra from others: its targets, else the number of its tile; "" where neither is known."""
    try:
        found = fibermap_of(Hdus(path), _rows(path))
    except QuicklookError:
        return ""
    return targets_key(found)


def _rows(path: Path) -> int:
    return len(Hdus(path).table("FIBERMAP").get("FIBER", ()))


def targets_key(fibermap: FiberMap) -> str:
    """A text that two fibre maps share where their fibres look at the same targets."""
    targets = fibermap.columns.get("TARGETID")
    if targets is not None:
        order = np.argsort(fibermap.fiber)
        return hashlib.sha256(np.asarray(targets)[order].tobytes()).hexdigest()
    return str(fibermap.header.get("TILEID", ""))
