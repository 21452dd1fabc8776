"""A mirror on another machine: rsync by ssh, against a real server on the loopback."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.mirror.rsync import PARTIAL, Rsync
from quicklook.core.errors import Transient

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(not (SSHD and shutil.which("rsync") and shutil.which("ssh")), reason="no sshd, ssh or rsync here")


class Server:
    """An sshd of its own, with its own keys; `stop` ends it and all that it serves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        if os.geteuid() == 0:  # where it gives up its rights, which it asks for as root alone
            Path("/run/sshd").mkdir(exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert SSHD is not None
        options = {"ListenAddress": "127.0.0.1", "HostKey": self.folder / "host", "AuthorizedKeysFile": self.folder / "authorized", "StrictModes": "no", "UsePAM": "no", "PidFile": "none"}
        words = [w for name, value in options.items() for w in ("-o", f"{name}={value}")]
        self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", "/dev/null", "-p", str(self.port), *words], stderr=subprocess.DEVNULL, start_new_session=True)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise TimeoutError("sshd does not answer")

    def cut(self) -> None:
        """End what it serves, not itself."""
        assert self.process is not None
        subprocess.run(["pkill", "-KILL", "-P", str(self.process.pid)], check=True)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    folder = tmp_path / "ssh"
    folder.mkdir()
    made = Server(folder)
    unasked = "-o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    monkeypatch.setenv("RSYNC_RSH", f"ssh -p {made.port} -i {folder / 'user'} {unasked}")
    made.start()
    yield made
    made.stop()


def raw_file(folder: Path, megabytes: int) -> Path:
    path = folder / "raw" / "20220101" / "00000001" / "desi 1.fits"
    path.parent.mkdir(parents=True)
    path.write_bytes(os.urandom(megabytes << 20))
    return path


def test_a_file_goes_to_another_machine_and_is_verified(server: Server, tmp_path: Path) -> None:
    path, there = raw_file(tmp_path, 2), tmp_path / "there"
    there.mkdir()
    mirror = Rsync(f"{getpass.getuser()}@127.0.0.1:{there}")
    assert mirror.remote
    name = str(path.relative_to(tmp_path / "raw"))
    mirror.copy(tmp_path / "raw", name, "1")
    assert (there / name).read_bytes() == path.read_bytes()
    path.write_bytes(b"another")
    mirror.copy(tmp_path / "raw", name, "2")
    assert (there / name).read_bytes() == b"another"
    assert len(list((there / name).parent.glob("*.replaced-2"))) == 1, "what was there is kept"


def test_it_goes_on_after_the_connection_broke(server: Server, tmp_path: Path) -> None:
    path, there = raw_file(tmp_path, 16), tmp_path / "there"
    there.mkdir()
    name, target = str(path.relative_to(tmp_path / "raw")), f"{getpass.getuser()}@127.0.0.1:{there}"
    failed: list[Exception] = []

    def copy() -> None:
        try:
            Rsync(target, bandwidth_kb=400).copy(tmp_path / "raw", name, "1")
        except Transient as error:
            failed.append(error)

    copying = threading.Thread(target=copy)
    copying.start()
    end = time.monotonic() + 60
    while sum(f.stat().st_size for f in (there / name).parent.glob(f".{path.name}.*")) < 2 << 20:
        assert time.monotonic() < end, "nothing comes"
        time.sleep(0.05)
    server.cut()
    copying.join(60)
    assert failed, "a broken connection is told, and tried again"
    partial = there / Path(name).parent / PARTIAL / path.name
    assert not (there / name).exists()
    server.stop()
    with pytest.raises(Transient):
        Rsync(target).copy(tmp_path / "raw", name, "1")
    server.start()
    assert partial.stat().st_size > 1 << 20, "what has arrived waits to be completed"
    Rsync(target).copy(tmp_path / "raw", name, "1")
    assert (there / name).read_bytes() == path.read_bytes()
    assert not partial.exists()
