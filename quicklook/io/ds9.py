"""Images to a running SAOImage DS9 by XPA, with the command `xpaset` of Debian's xpa-tools."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections.abc import Iterable

from quicklook.ccd.arrays import Raw
from quicklook.core.errors import BadConfig, BadData, Transient
from quicklook.io.fitswrite import Card, write_image_hdu

_TIMEOUT_S = 30.0


class Ds9:
    """A DS9 that is called `target` (its title, or host:port). Raises BadConfig where there is no `xpaset`, Transient where none answers."""

    def __init__(self, target: str = "ds9") -> None:
        self._target = target
        self._xpaset, self._xpaaccess = shutil.which("xpaset"), shutil.which("xpaaccess")
        if self._xpaset is None or self._xpaaccess is None:
            raise BadConfig("there is no command xpaset", what_next="Install xpa-tools (apt-get install xpa-tools).")
        if not target or target.startswith("-") or not target.isprintable():
            raise BadConfig(f"{target!r} is no name of a DS9", what_next="Give its title, as in `ds9 -title NAME`, or HOST:PORT.")
        if self._run([self._xpaaccess, target]).stdout.strip() != b"yes":
            what_next = "Start one (ds9 -title NAME &), or name another one: --ds9 NAME, or `web: {ds9: NAME}` of the site."
            raise Transient(f"no DS9 called {target!r} answers", what_next=what_next)

    def show(self, name: str, pixels: Raw, cards: Iterable[Card] = ()) -> None:
        """An image [ny, nx] in a frame of its own, with zscale. Raises Transient or BadData where DS9 does not take it."""
        buffer = io.BytesIO()
        write_image_hdu(buffer, pixels, cards=[("OBJECT", name), *cards], primary=True)
        self._set(["frame", "new"])
        self._set(["fits", f"{name}.fits"], buffer.getvalue())
        self._set(["scale", "zscale"])
        self._set(["zoom", "to", "fit"])

    def _set(self, words: list[str], data: bytes | None = None) -> None:
        command = [self._xpaset or "", *(["-p"] if data is None else []), self._target, *words]
        done = self._run(command, data)
        if done.returncode != 0 or b"XPA$ERROR" in done.stderr:
            said = done.stderr.decode(errors="replace").strip()
            raise BadData(f"DS9 {self._target!r} did not take {' '.join(words)}: {said}", what_next="Look at its window; it may be closed or busy.")

    def _run(self, command: list[str], data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        # what is of this machine goes by local sockets: no name server is opened to the network
        local = {} if ":" in self._target else {"XPA_METHOD": os.environ.get("XPA_METHOD", "local")}
        try:
            return subprocess.run(command, input=data, capture_output=True, timeout=_TIMEOUT_S, env={**os.environ, **local}, check=False)
        except subprocess.TimeoutExpired as error:
            raise Transient(f"DS9 {self._target!r} does not answer within {_TIMEOUT_S:g} s", what_next="Look at its window.") from error
