"""A real DS9 under a real X server, where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MISSING = [name for name in ("ds9", "xpaset", "xpaget", "Xvfb") if shutil.which(name) is None]
needs_ds9 = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (Debian's saods9, xpa-tools, xvfb)")


@contextmanager
def own_ds9(tmp: Path) -> Iterator[str]:
    """The name of a DS9 of our own, reached by local sockets alone."""
    env = {**os.environ, "XPA_METHOD": "local", "XPA_TMPDIR": str(tmp), "HOME": str(tmp)}
    read, write = os.pipe()
    server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "900x700x24"], pass_fds=(write,), stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as told:
        display = f":{told.readline().strip()}"
    name = f"quicklook-test-{os.getpid()}"
    ds9 = subprocess.Popen(["ds9", "-title", name], env={**env, "DISPLAY": display}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    before = {key: os.environ.get(key) for key in ("XPA_METHOD", "XPA_TMPDIR")}
    os.environ |= {key: env[key] for key in before}
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end and subprocess.run(["xpaaccess", name], capture_output=True, check=False).stdout.strip() != b"yes":
            time.sleep(0.2)
        yield name
    finally:
        for process in (ds9, server):
            process.terminate()
            process.wait(20)
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def ask_ds9(viewer: str, *words: str) -> str:
    """What it answers."""
    return subprocess.run(["xpaget", viewer, *words], capture_output=True, check=True, text=True, timeout=30).stdout.strip()
