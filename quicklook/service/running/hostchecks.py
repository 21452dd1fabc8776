"""What a machine must be for a daemon: clock, cores, memory, disks, file systems, limits of the system, ports. One function for each."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from quicklook.core.results import Record
from quicklook.io.room import room_of
from quicklook.service.arrival import tree
from quicklook.service.arrival.folders import MOST
from quicklook.service.arrival.patience import Look

OK, WARNING, PROBLEM = "ok", "warning", "problem"
_TIME_ERROR = 5
"""What adjtimex(2) returns where no other clock keeps this one right."""
_CLOCK_DIFFERENCE_S = 2.0
_WORKER_GB = 1.0
"""A worker with a full camera of a large spectrograph takes about so much, 1e9 bytes."""
_OPEN_FILES = 1024
_WALKED = 100_000


class Finding(Record):
    """What a check has found: `topic` is what was looked at, `what_next` what to do about it ("" where all is well)."""

    topic: str
    status: Literal["ok", "warning", "problem"]
    said: str
    what_next: str = ""


def ok(topic: str, said: str) -> Finding:
    """All is well."""
    return Finding(topic=topic, status="ok", said=said)


def warning(topic: str, said: str, what_next: str) -> Finding:
    """It works, and may not for long, or not well."""
    return Finding(topic=topic, status="warning", said=said, what_next=what_next)


def problem(topic: str, said: str, what_next: str) -> Finding:
    """It does not work so."""
    return Finding(topic=topic, status="problem", said=said, what_next=what_next)


def folder_findings(topic: str, folder: Path, *, write: bool) -> Iterator[Finding]:
    """Whether a folder is there, can be listed, and (where wanted) written."""
    if not folder.is_dir():
        above = next((p for p in folder.absolute().parents if p.exists()), Path("/"))
        if write and os.access(above, os.W_OK | os.X_OK):
            yield ok(topic, f"{folder} is not there yet, and can be made")
        else:
            yield problem(topic, f"there is no folder {folder}", "Make it, mount it, or name another one in the site.")
        return
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
        if write:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
    except OSError as error:
        yield problem(topic, f"{folder}: {error.strerror or error}", f"Give this user (number {os.getuid()}) access to it.")
    else:
        yield ok(topic, f"{folder} can be {'written' if write else 'read'}")


def file_system_findings(raw: Path, out: Path, mode: str, look: Look = lambda _path: None) -> Iterator[Finding]:
    """How files will be noticed, and whether the journal can be kept where it is. Nothing where there is no folder of raw files."""
    if not raw.is_dir():
        return
    chosen = tree.choose_mode(raw) if mode == "auto" else mode
    kind = tree.file_system_type(raw) or "unknown"
    if chosen == "inotify" and tree.choose_mode(raw) == "polling":
        text = f"{raw} is on a network file system ({kind}), where inotify does not hear of files that other machines write"
        yield warning("watching", text, "Write `mode: auto` or `mode: polling` under `watch` of the site.")
    else:
        yield ok("watching", f"{raw} ({kind}) is watched by {chosen}")
    if chosen == "inotify":
        yield from inotify_findings(raw, look)
    if tree.choose_mode(out) == "polling":
        text = f"{out} is on a network file system ({tree.file_system_type(out)}): the journal is not safe there"
        yield problem("journal", text, "Name an output folder on a local disk; let other machines read the results from there.")


def inotify_findings(raw: Path, look: Look = lambda _path: None) -> Iterator[Finding]:
    """Whether the system watches as many folders as there are; `look` is told of each folder."""
    limits = {name: _number(Path(f"/proc/sys/fs/inotify/{name}")) for name in ("max_user_watches", "max_user_instances", "max_queued_events")}
    watches = limits["max_user_watches"]
    if watches is None:
        yield warning("inotify", "its limits cannot be read", "Write `mode: polling` under `watch` of the site if files are not noticed.")
        return
    folders = 1
    for _, inside in tree.walk(str(raw)):
        look(raw)
        folders += len(inside)
        if folders > _WALKED:
            break
    wanted = min(folders, MOST)
    some = f", the {wanted} with the latest files are watched" if folders > wanted else ""
    if wanted > 0.5 * watches:
        what = "Raise it: sysctl fs.inotify.max_user_watches=524288 (and in /etc/sysctl.d)."
        yield warning("inotify", f"{folders} folders under {raw}{some}, and {watches} can be watched by all programs of a user", what)
    else:
        queue = limits["max_queued_events"]
        yield ok("inotify", f"{folders} folders{some}, {watches} can be; {queue} events wait before a scan of the tree takes their place")


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


_LEAST_BYTES = 10**8
"""What a journal, its log and its checkpoints take in a night of many cameras: less is no room, however small the whole disk is."""


def disk_findings(topic: str, folder: Path, warn_gb: float, keep_gb: float) -> Iterator[Finding]:
    """Room, and files that can still be made."""
    room, what = room_of(folder), "Make room: `quicklook clean` lists intermediate products that can go."
    digits = 1 if room.total >= 1e9 else 3
    said = f"{room.free / 1e9:.{digits}f} of {room.total / 1e9:.{digits}f} GB are free for {folder}"
    if room.free < max(room.keeps(keep_gb), _LEAST_BYTES):
        yield problem(topic, said, what)
    elif room.free < room.warns_at(warn_gb):
        yield warning(topic, said, what)
    else:
        yield ok(topic, said)
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    inodes = os.statvfs(there)
    if inodes.f_files and inodes.f_favail < 0.05 * inodes.f_files:
        yield warning(topic, f"only {inodes.f_favail} more files can be made there, of {inodes.f_files}", "Remove small files that nobody needs.")


def clock_findings(out: Path) -> Iterator[Finding]:
    """Whether the clock is kept right, and agrees with that of the disk."""
    now = datetime.now(UTC)
    said = f"{now:%Y-%m-%d %H:%M:%S} UTC; the time zone is {'/'.join(dict.fromkeys(time.tzname))}, and everything here is UTC"
    yield ok("time", said)
    synchronised = clock_is_kept()
    if synchronised is None:
        yield warning("clock", "whether it is kept right is not known", "See that chrony, ntpd or systemd-timesyncd runs.")
    elif synchronised:
        yield ok("clock", "it is kept right by a time service")
    else:
        text = "no time service keeps it right; latencies and nights come from it"
        yield warning("clock", text, "Start chrony, ntpd or systemd-timesyncd (in a container: on its host).")
    try:
        with tempfile.NamedTemporaryFile(dir=out if out.is_dir() else None) as file:
            difference = os.fstat(file.fileno()).st_mtime - time.time()
    except OSError:
        return
    if abs(difference) > _CLOCK_DIFFERENCE_S:
        text = f"the clock of the disk of {out} differs by {difference:.1f} s from that of this machine"
        yield problem("clock", text, "Set both by one time service.")


def clock_is_kept() -> bool | None:
    """Whether the kernel says that its clock is synchronised; None where it does not tell."""
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def future_findings(newest_s: float | None) -> Iterator[Finding]:
    """Whether the newest raw file (time of its last change, s) is of the future."""
    ahead = 0.0 if newest_s is None else newest_s - time.time()
    if ahead > _CLOCK_DIFFERENCE_S:
        what = "Set the clocks of this machine and of the acquisition by one time service."
        yield problem("clock", f"the newest raw file is {ahead:.0f} s in the future", what)


def core_findings(workers: int, threads: int) -> Iterator[Finding]:
    """Whether there are as many cores as workers want."""
    cores = len(os.sched_getaffinity(0))
    wanted = (workers or max(1, cores // threads)) * threads
    said = f"{cores} cores for {wanted // threads} workers with {threads} threads each"
    if wanted > cores:
        yield warning("cores", said, "Fewer workers are started; write `workers: 0` under `work` of the site for one a core.")
    else:
        yield ok("cores", said)


def memory_findings(workers: int, threads: int) -> Iterator[Finding]:
    """Whether there is memory for the workers, within the limits of a container."""
    cores = len(os.sched_getaffinity(0))
    n = min(workers or cores, max(1, cores // threads))
    free = available_memory()
    if free is None:
        yield warning("memory", "how much there is is not known", "Watch it.")
        return
    said = f"{free / 1e9:.1f} GB are available; {n} workers take about {n * _WORKER_GB:.1f} GB with full cameras of a large spectrograph"
    if free < n * _WORKER_GB * 1e9:
        yield warning("memory", said, "Take fewer workers (`workers` under `work` of the site), or more memory.")
    else:
        yield ok("memory", said)


def available_memory() -> float | None:
    """Bytes that programs may still take: of the machine, or of the control group where that has less."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    if kilobytes is None:
        return None
    most, used = _number(Path("/sys/fs/cgroup/memory.max")), _number(Path("/sys/fs/cgroup/memory.current"))
    inside = float(most - used) if most is not None and used is not None else float("inf")
    return min(1024.0 * kilobytes, inside)


def user_findings() -> Iterator[Finding]:
    """Who runs this, and how many files that one may open."""
    if os.getuid() == 0:
        yield warning("user", "this is root", "Run the daemon as a user of its own: see docs/how-to/run-the-daemon.md.")
    else:
        yield ok("user", f"number {os.getuid()}")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files != resource.RLIM_INFINITY and files < _OPEN_FILES:
        yield warning("open files", f"{files} at most", f"Allow more: `ulimit -n {_OPEN_FILES}`, or LimitNOFILE= in the systemd unit.")


def port_findings(topic: str, endpoint: str, *, daemon_lives: bool) -> Iterator[Finding]:
    """Whether an address can be bound. Nothing is tried while a daemon works here: it may have it itself."""
    parts = urlsplit(endpoint)
    if not endpoint or parts.scheme != "tcp" or endpoint.endswith(":*"):
        return
    if daemon_lives:
        yield ok(topic, f"{endpoint}: the daemon runs; `quicklook listen --endpoint {endpoint}` shows whether it is there")
        return
    host = "" if parts.hostname in (None, "*") else str(parts.hostname)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, parts.port or 0))
    except OSError as error:
        what = "End what has it (`ss -ltnp` shows that), or name another port in the site."
        yield problem(topic, f"{endpoint} cannot be bound: {error.strerror or error}", what)
    else:
        yield ok(topic, f"{endpoint} is free")
