"""Adding a calibration to an index: only one that was read to its last byte, looked at, and compared with the others of its camera."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from quicklook.core.errors import BadData, MissingCalibration, QuicklookError
from quicklook.core.product import Calibration
from quicklook.io.calibbefore import compare_image
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibfibers import compare_fibres
from quicklook.io.calibfile import checksum, damaged, follows, loadable_kinds, misfit, read_kind
from quicklook.io.calibheader import contradiction
from quicklook.io.calibreview import review
from quicklook.io.calibsize import CameraFacts, check_size
from quicklook.io.calibspectra import compare_spectra
from quicklook.io.calibstore import CalibIndexStore, FolderStore
from quicklook.io.reviewfacts import Review

NOTHING_ADDED = "Nothing was added. Make the calibration again, or correct what is said of it."
OF_ANOTHER = (
    "Say whose it is by its header; where its hardware has moved, say that (--serial or --when). Who knows better may say --unchecked: then it is "
    "provisional."
)
SIZE_UNKNOWN = (
    "Give --like FRAME, a raw frame of that camera (with --instrument or --site), or --raw FOLDER of such frames. Who knows that the size is right "
    "may say --unchecked: then it is provisional."
)


def add_calibration(
    index: str | Path | CalibIndexStore, entry: CalibEntry, tags: Mapping[str, str] | None = None, *,
    facts: CameraFacts | None = None, unchecked: bool = False,
) -> CalibEntry:  # fmt: skip
    """Check the file of an entry and add it to an index; returns the entry as it was added, with its checksum.

    `index` is a folder (it and its `calib.yaml` are made where need be) or a store; one of the same kind and path is replaced. Its size is compared
    with `tags`, those of a reading of the camera (raw_shape, image_shape), where one is at hand; else with others of its camera, else with `facts`.
    Where none of them tells it is refused, but for `unchecked`: then the entry says so, and is provisional. Nothing is added where it raises: BadData
    (the file is broken or damaged, is not of its kind, holds what no such calibration holds, is by its header of another camera, or is of another
    size or arm than the camera), BadConfig and Transient (the index).
    """
    store = FolderStore(index, create=True) if isinstance(index, str | Path) else index
    path, tags = store.locate(entry), tags or {}
    try:
        sha256 = checksum(path)
        examined = examine(path, entry.of_kind, tags, sha256=sha256)
    except OSError as error:
        raise _refused(entry, f"it cannot be read: {error.strerror or error}", shown=str(path)) from error
    except QuicklookError as error:
        raise _refused(entry, str(error)) from error
    calibration, other = examined.calibration, contradiction(path, entry)
    if other and not (unchecked or entry.quality == "bad"):
        raise _refused(entry, other, what_next=OF_ANOTHER)
    size = check_size(store, entry, calibration, tags, facts)
    if size.wrong:
        raise _refused(entry, size.wrong)
    if not (size.known or unchecked or entry.quality == "bad"):
        raise _refused(entry, "nothing tells the size of its camera, so that one of a wrong size would be believed", what_next=SIZE_UNKNOWN)
    spectra = compare_spectra(store, entry, calibration, facts)
    if spectra.wrong:
        raise _refused(entry, spectra.wrong)
    image = compare_image(store, entry, calibration)
    if image.wrong:
        raise _refused(entry, image.wrong)
    fibres = compare_fibres(store, entry, calibration)
    added = entry.model_copy(update={"sha256": sha256, "shapes": dict(size.shapes), "size_unchecked": not size.known})
    added = _doubted(added, "; ".join(filter(None, (*examined.found.doubts, spectra.doubt, image.doubt, fibres.doubt, other))))
    store.add(added)
    return added


def _refused(entry: CalibEntry, why: str, *, shown: str = "", what_next: str = NOTHING_ADDED) -> BadData:
    return BadData(f"{entry.kind} {shown or Path(entry.path).name} is not added: {why}", what_next=what_next)


def _doubted(entry: CalibEntry, doubt: str) -> CalibEntry:
    """Provisional at best where its size was not checked, or where there is a doubt, which is noted in its comment."""
    if not (doubt or entry.size_unchecked):
        return entry
    comment = entry.comment if doubt in entry.comment else "; ".join(filter(None, (entry.comment, doubt)))
    return entry.model_copy(update={"quality": "bad" if entry.quality == "bad" else "provisional", "comment": comment})


class Examined:
    """A calibration that was found in order, and what is in it."""

    __slots__ = ("calibration", "found")

    def __init__(self, calibration: Calibration, found: Review) -> None:
        self.calibration, self.found = calibration, found


def examine(path: Path, kind: str, tags: Mapping[str, str], *, sha256: str = "") -> Examined:
    """Load a calibration and look at it. Raises BadData (unreadable, not what it should be, or not fit for the tags), MissingCalibration."""
    try:
        calibration = read_kind(path, kind, sha256=sha256)
        damage = damaged(path) or follows(path)
    except OSError as error:
        raise BadData(f"it cannot be read: {error.strerror or error}") from error
    found = review(calibration)
    if wrong := [*found.wrong, *filter(None, (misfit(calibration, tags), damage))]:
        raise BadData("; ".join(wrong))
    return Examined(calibration, found)


def check_kind(kind: str) -> None:
    """Raises MissingCalibration for a kind that nothing can load."""
    if kind not in loadable_kinds():
        raise MissingCalibration(f"there is no kind of calibration {kind!r}; there are {', '.join(sorted(loadable_kinds()))}")
