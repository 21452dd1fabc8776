"""Where calibrations come from: a folder with an index `calib.yaml`, a DESI calibration tree, or both in one folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from quicklook.core.calibration import CalibrationSource, NoCalibrations
from quicklook.core.errors import BadConfig, MissingCalibration
from quicklook.core.keys import PartKey
from quicklook.io.calibchoice import Candidate, Chooser, in_order, nights_misfit
from quicklook.io.calibentry import CalibEntry, CalibIndex
from quicklook.io.calibstore import INDEX, CalibIndexStore, FolderStore
from quicklook.io.desitree import PATTERN, DesiCalibTree

__all__ = ["INDEX", "CalibEntry", "CalibFolder", "CalibIndex", "DesiCalibTree", "IndexedCalibrations", "LayeredCalibrations", "open_calibrations"]


class IndexedCalibrations(Chooser):
    """The calibrations of an index, wherever it is kept."""

    def __init__(self, store: CalibIndexStore) -> None:
        self.store = store

    @property
    def name(self) -> str:
        """See `Chooser.name`."""
        return self.store.name

    def entries(self) -> tuple[CalibEntry, ...]:
        """The entries of the index as it is now."""
        return self.store.entries()

    def locate(self, entry: CalibEntry) -> Path:
        """The file of an entry."""
        return self.store.locate(entry)

    def candidates(self, kind: str, part: PartKey, tags: Mapping[str, str]) -> Sequence[Candidate]:
        """See `Chooser.candidates`."""
        tags = {"camera": part.part, **tags}
        return [self._candidate(e, part.unit.night, tags) for e in self.store.entries() if e.of_kind == kind]

    def _candidate(self, entry: CalibEntry, night: int, tags: Mapping[str, str]) -> Candidate:
        misfit = entry.misfit(tags)
        bad = "is marked as bad" if entry.quality == "bad" else ""
        why = misfit or bad or nights_misfit(entry.valid_from, entry.valid_to, night)
        stale = entry.stale_days if entry.stale_days is not None else self.store.stale_days(entry.of_kind)
        return Candidate(
            kind=entry.of_kind,
            path=self.store.locate(entry),
            valid_from=entry.valid_from,
            valid_to=entry.valid_to,
            night=entry.night,
            quality=entry.quality,
            default=entry.default,
            sha256=entry.sha256,
            stale_days=stale,
            why_not=why,
            elsewhen=bool(why and not misfit),
        )


class CalibFolder(IndexedCalibrations):
    """A folder with `calib.yaml`. A changed index is taken up at the next frame.

    Raises BadConfig, with file and line, where the index cannot be used.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(FolderStore(folder))
        self.folder = Path(folder)


class LayeredCalibrations(Chooser):
    """An index in the folder of a DESI tree: what was made here goes before the tree, and the tree before the defaults of the index."""

    def __init__(self, index: IndexedCalibrations, tree: DesiCalibTree) -> None:
        self.index, self.tree = index, tree

    @property
    def name(self) -> str:
        """See `Chooser.name`."""
        return f"{self.index.name} and the tree beside it"

    def candidates(self, kind: str, part: PartKey, tags: Mapping[str, str]) -> Sequence[Candidate]:
        """See `Chooser.candidates`. A tree that cannot tell which spectrograph it is does no harm where the index has one."""
        own = list(self.index.candidates(kind, part, tags))
        try:
            return [*self.tree.candidates(kind, part, tags), *own]
        except MissingCalibration:
            if not in_order(own, part.unit.night):
                raise
            return own

    def entries(self) -> tuple[CalibEntry, ...]:
        """The entries of both."""
        return (*self.tree.entries(), *self.index.entries())

    def locate(self, entry: CalibEntry) -> Path:
        """The file of an entry."""
        return self.index.locate(entry)


def open_calibrations(path: str | Path | None) -> CalibrationSource:
    """The calibrations in a folder, of whichever form it is; none where `path` is None.

    Raises BadConfig where it is none of them.
    """
    return NoCalibrations() if path is None else open_index(path)


def open_index(path: str | Path) -> CalibFolder | DesiCalibTree | LayeredCalibrations:
    """As `open_calibrations`, with its entries."""
    folder = Path(path)
    if folder.name == INDEX:
        folder = folder.parent
    tree = any(folder.glob(PATTERN))
    if (folder / INDEX).is_file():
        return LayeredCalibrations(CalibFolder(folder), DesiCalibTree(folder)) if tree else CalibFolder(folder)
    if tree:
        return DesiCalibTree(folder)
    what = "is not there" if not folder.exists() else f"holds neither {INDEX} nor a DESI tree (spec/sm4/sm4-r.yaml)"
    raise BadConfig(f"calibration folder {folder} {what}")
