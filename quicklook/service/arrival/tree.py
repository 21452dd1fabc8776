"""A tree of folders: a walk through it, the type of its file system, and whether it is still the one that was there before."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from stat import S_ISDIR

_NETWORK = {
    "9p", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "fuse", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2",
    "orangefs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs",
}  # fmt: skip
"""File systems that other machines write to: inotify does not hear of that."""

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Folder:
    """What a folder is: device and inode, whether it is the root of a file system that is mounted there, and whether it may be looked into."""

    device: int
    inode: int
    mounted: bool
    open: bool = True


def identity(path: Path) -> Folder | None:
    """What the folder is now; None where there is none, or it cannot be looked at."""
    try:
        here, above = path.stat(), path.resolve().parent.stat()
    except OSError:
        return None
    if not S_ISDIR(here.st_mode):
        return None
    return Folder(here.st_dev, here.st_ino, here.st_dev != above.st_dev, os.access(path, os.R_OK | os.X_OK))


def walk(
    folder: str, closed: Callable[[str, OSError], object] | None = None, devices: dict[int, str] | None = None
) -> Iterator[tuple[list[os.DirEntry[str]], list[str]]]:
    """What is in a tree, some hundred entries at a time: entries that are no folders, and paths of folders, which are walked later.

    Symbolic links to folders are followed, after everything else; no folder is walked twice. Hidden folders are left out, and those that cannot be
    read, of which `closed` is told. `devices` gets the first folder on each device.
    """
    plain, links, seen = deque([folder]), deque[str](), set[tuple[int, int]]()
    while plain or links:
        here = plain.popleft() if plain else links.popleft()
        try:
            stat = os.stat(here)
            if (stat.st_dev, stat.st_ino) in seen:
                continue
            seen.add((stat.st_dev, stat.st_ino))
            if devices is not None:
                devices.setdefault(stat.st_dev, here)
            with os.scandir(here) as entries:
                while some := list(islice(entries, _AT_ONCE)):
                    files, folders, linked = _sorted(some)
                    plain.extend(folders)
                    links.extend(linked)
                    yield files, [*folders, *linked]
        except FileNotFoundError:
            continue  # it was there just now
        except OSError as error:
            if closed is not None:
                closed(here, error)


def _sorted(entries: list[os.DirEntry[str]]) -> tuple[list[os.DirEntry[str]], list[str], list[str]]:
    files, folders, linked = list[os.DirEntry[str]](), list[str](), list[str]()
    for entry in entries:
        if not _is_folder(entry):
            files.append(entry)
        elif not entry.name.startswith("."):
            (linked if entry.is_symlink() else folders).append(entry.path)
    return files, folders, linked


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def file_system_type(path: Path) -> str:
    """Type of the file system that holds `path`, as /proc/self/mounts names it; "" where that cannot be read."""
    best, kind = "", ""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    real = str(path.resolve())
    for line in mounts:
        _, point, this, *_ = line.split()
        for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
            point = point.replace(code, char)
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, this
    return kind


def choose_mode(path: Path) -> str:
    """``polling`` on network file systems, and those in user space, where inotify is blind to other hosts; else ``inotify``."""
    kind = file_system_type(path)
    return "polling" if kind in _NETWORK or kind.startswith("fuse.") else "inotify"


def free_bytes(path: Path) -> int | None:
    """Room for users on the file system of `path`; None where it cannot be asked."""
    try:
        room = os.statvfs(path)
    except OSError:
        return None
    return room.f_bavail * room.f_frsize


def printable(text: str) -> str:
    """What a path says, on one line of a log: line breaks and codes for terminals, which may stand in a name, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
