"""A PostgreSQL server of our own, on a free port of the loopback: started, ended, killed, started again on the same data."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

_OPTIONS = ["-F", "-c", "shared_buffers=8MB", "-c", "max_connections=20"]


def _tool(name: str) -> str | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((str(f / name) for f in folders if (f / name).is_file()), None) or shutil.which(name)


class PgServer:
    """The server; the test is skipped, with the reason, where there is none. `password`: whom it lets in, else everybody."""

    def __init__(self, password: str = "") -> None:
        initdb, server = _tool("initdb"), _tool("postgres")
        if initdb is None or server is None:
            pytest.skip("PostgreSQL is not here (apt-get install postgresql)")
        if importlib.util.find_spec("psycopg") is None:
            pytest.skip("the driver of PostgreSQL is not here (pip install 'psycopg[binary]')")
        self._user: list[str] = []
        # a folder of pytest is closed to others, and the server refuses to run as root
        self._folder = Path(tempfile.mkdtemp(prefix="quicklook-pg-", dir="/tmp"))
        if os.getuid() == 0:
            if shutil.which("setpriv") is None:
                pytest.skip("PostgreSQL does not run as root, and there is no setpriv to be somebody else")
            self._user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
            shutil.chown(self._folder, "nobody", "nogroup")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._server, self._process = server, None
        secret = self._folder / "password"
        secret.write_text(password or "none")
        secret.chmod(0o644)
        how = ["-A", "scram-sha-256", f"--pwfile={secret}"] if password else ["-A", "trust"]
        command = [*self._user, initdb, "-D", str(self._folder / "data"), "-U", "ql", *how, "--no-sync", "--no-locale", "-E", "UTF8"]
        made = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        if made.returncode != 0:
            shutil.rmtree(self._folder, ignore_errors=True)
            pytest.skip(f"initdb does not run here: {made.stderr.strip()[-200:]}")
        self.url = f"postgresql://ql@127.0.0.1:{self.port}/postgres"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self._folder), *_OPTIONS]
        command = [*self._user, self._server, "-D", str(self._folder / "data"), *options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        end = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, "the server has ended"
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.05)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url.replace("ql@", "ql:wrong@"), connect_timeout=5).close()
        except psycopg.OperationalError as error:
            return "password" in str(error)
        return True

    def empty(self) -> str:
        """Take all tables away; returns the address."""
        import psycopg

        with psycopg.connect(self.url) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return self.url

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it without waiting for clients (SIGQUIT: at once, as if it had crashed)."""
        if self._process is not None:
            self._process.send_signal(how)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
            self._process = None

    def close(self) -> None:
        """End it, and take its data away."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
