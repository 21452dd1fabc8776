"""One file to another place by rsync: it goes on where it was interrupted, is verified by checksum, and nothing there is ever lost."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from quicklook.core.errors import BadConfig, BadData, Transient

_REMOTE = re.compile(r"[^/:]+:.+")
_WRONG = (1, 2, 4)
"""How rsync ends where it is not used as it can be: syntax, protocol, not supported."""
PARTIAL = ".quicklook-partial"
"""Folder, beside the file, in which what has arrived of it waits to be completed."""


class Rsync:
    """Copies to `target`, a folder, or HOST:FOLDER by ssh without a password. Raises BadConfig where there is no rsync, or the target is none."""

    def __init__(self, target: str, *, bandwidth_kb: int = 0, timeout_s: float = 600.0) -> None:
        found = shutil.which("rsync")
        if found is None:
            raise BadConfig("there is no command rsync", what_next="Install rsync (apt-get install rsync).")
        if (
            not target
            or target.startswith("-")
            or "\n" in target
            or "::" in target
            or "//" in target.partition(":")[2]
            or (":" in target and not _REMOTE.fullmatch(target))
        ):
            raise BadConfig(f"{target!r} is no place to copy to", what_next="Give a folder, or HOST:FOLDER.")
        self._rsync, self._target, self._timeout_s = found, target.rstrip("/"), timeout_s
        self._bandwidth = [f"--bwlimit={bandwidth_kb}"] if bandwidth_kb else []

    @property
    def remote(self) -> bool:
        """Whether it is on another machine."""
        return _REMOTE.fullmatch(self._target) is not None

    def copy(self, root: Path, name: str, stamp: str) -> None:
        """The file `name`, relative to `root`, to the same name below the target, and verify it.

        A file of other content that is there is kept under its name with ``.replaced-STAMP``.
        Raises Transient where another attempt may go well, BadData where the file is not there any more, or is not to be read.
        """
        if not (root / name).is_file():
            raise BadData(f"{root / name} is not there any more", what_next="Look who has taken it away; what was copied of it is kept.")
        if not self.remote and not Path(self._target).is_dir():
            raise Transient(f"there is no folder {self._target}", what_next="Mount it, or make it.")
        keep = ["--backup", f"--suffix=.replaced-{stamp}", f"--partial-dir={PARTIAL}", f"--timeout={max(int(self._timeout_s), 1)}"]
        self._run(["-t", "--chmod=ugo=rwX", *keep, *self._bandwidth], root, name)
        if told := self._run(["--checksum", "--dry-run", "--itemize-changes"], root, name):
            raise Transient(f"{name} at {self._target} is not the same after it was copied ({told[:80]})", what_next="It is copied again.")

    def _run(self, options: list[str], root: Path, name: str) -> str:
        # "/./" tells rsync from where on the path is to be made at the target
        source = f"{root}/./{name}"
        command = [self._rsync, "--relative", "--copy-links", "--protect-args", "--no-motd", *options, "--", source, f"{self._target}/"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=self._timeout_s * 2, check=False)
        except subprocess.TimeoutExpired as error:
            raise Transient(f"rsync of {name} to {self._target} hangs", what_next="Look at the network; it is tried again.") from error
        said = (done.stdout if done.returncode == 0 else done.stderr or done.stdout).decode(errors="replace").strip()
        if done.returncode in _WRONG:
            raise BadConfig(f"rsync to {self._target}: {said[-300:]}")
        if done.returncode:
            last = said.splitlines()[-1] if said else ""
            raise Transient(f"rsync of {name} to {self._target} ended with {done.returncode}: {last[:300]}", what_next="It is tried again.")
        return said
