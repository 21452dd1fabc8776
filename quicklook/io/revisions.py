"""Revisions of results on disk: the latest has the plain names, earlier ones carry their number, as in ``qa-r0-00000102.rev0.json``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_NUMBER = re.compile(rb'"revision":\s*(\d+)')
_OF_REVISION = re.compile(r"\.rev(\d+)\.[^.]+\Z")
_HEAD = 4096
"""A result says its revision before anything long."""


def of_revision(path: Path, revision: int) -> Path:
    """The name under which an earlier revision of a file is kept."""
    return path.with_name(f"{path.stem}.rev{revision}{path.suffix}")


def revision_in(path: Path) -> int | None:
    """The revision that a result (JSON) says it is; None where it is not there or says nothing."""
    with suppress(OSError), path.open("rb") as file:
        if found := _NUMBER.search(file.read(_HEAD)):
            return int(found[1])
    return None


def next_revision(folder: Path) -> int:
    """The number of the next processing of an exposure whose files lie in `folder`: 0 where there are none."""
    return max(_revisions(folder), default=-1) + 1


def _revisions(folder: Path) -> Iterator[int]:
    with suppress(OSError):
        for path in folder.glob("*.json"):
            if (kept := _OF_REVISION.search(path.name)) is not None:
                yield int(kept[1])
            elif path.name.startswith(("qa-", "verdict")) and (said := revision_in(path)) is not None:
                yield said


def set_aside(qa_file: Path, revision: int) -> bool:
    """Keep what an earlier revision has written for a camera, under its number; False where a later one is there already.

    `qa_file` is the merged QA of the camera, ``qa-<camera>-<expid>.json``; its plots and products end alike. Raises OSError.
    """
    there = revision_in(qa_file)
    if there is None or there == revision:
        return True
    if there > revision:
        return False
    ending = qa_file.stem.removeprefix("qa")
    mine = [p for folder in (qa_file.parent, qa_file.parent / "plots") for p in folder.glob("*") if p.stem.endswith(ending) and p != qa_file]
    # the merged QA last: as long as it has its plain name, whoever was interrupted here goes on
    for path in (*mine, qa_file):
        path.rename(of_revision(path, there))
    return True


def set_aside_unit_plots(folder: Path, path: Path, names: Iterable[str], revision: int) -> None:
    """Keep the plots of an exposure as a whole that an earlier revision has written, under its number.

    `path` is the file of plots as data, `names` those of its plots; `folder` has the files of the exposure. Raises OSError.
    """
    earlier = max((n for n in _revisions(folder) if n < revision), default=None)
    if earlier is None:
        return
    suffix = path.stem.removeprefix("plots")
    for old in (*(path.with_name(f"{name}{suffix}.png") for name in names), path):
        if old.is_file():
            old.rename(of_revision(old, earlier))
