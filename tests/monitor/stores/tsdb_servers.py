"""Real InfluxDB, VictoriaMetrics and Prometheus servers on the loopback, which can be killed and started again."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

INFLUX = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
  auth-enabled = {auth}
[monitor]
  store-enabled = false
"""


def needs(program: str, package: str) -> Any:
    """A mark: skipped where the program is absent."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed (Debian's {package})")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def fetch(url: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
    """What an address answers. Raises OSError."""
    with urllib.request.urlopen(urllib.request.Request(url, data=data, headers=headers or {}), timeout=60) as answer:
        return bytes(answer.read())


class Server:
    """A program with a port; its data stay when it is killed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def is_ready(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                if self.is_ready():
                    return
            except OSError:
                pass
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text()[-2000:])

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Influx(Server):
    """InfluxDB 1.6."""

    def __init__(self, folder: Path, *, auth: bool = False) -> None:
        super().__init__(folder)
        self._auth = auth
        text = INFLUX.format(rpc=free_port(), folder=folder, port=self.port, auth=str(auth).lower())
        (folder / "influxd.conf").write_text(text)

    def command(self) -> list[str]:
        return ["influxd", "run", "-config", str(self.folder / "influxd.conf")]

    def is_ready(self) -> bool:
        fetch(f"{self.url}/ping")
        return True

    def query(self, query: str, db: str = "quicklook", login: tuple[str, str] | None = None) -> list[dict[str, Any]]:
        """Rows of all series, each as column to value (and tags)."""
        who = f"?{urllib.parse.urlencode(dict(zip('up', login, strict=True)))}" if login else ""
        told = json.loads(fetch(f"{self.url}/query{who}", urllib.parse.urlencode({"q": query, "db": db, "epoch": "ns"}).encode()))
        result = told["results"][0]
        assert "error" not in result, result
        series = result.get("series", [])
        return [{**dict(zip(s["columns"], row, strict=True)), **s.get("tags", {})} for s in series for row in s["values"]]


class Victoria(Server):
    """VictoriaMetrics, one node."""

    def command(self) -> list[str]:
        return [
            "victoria-metrics", f"-storageDataPath={self.folder}/data", f"-httpListenAddr=127.0.0.1:{self.port}", "-retentionPeriod=100y",
            "-search.latencyOffset=0s", "-search.disableCache", "-memory.allowedBytes=256MB",
        ]  # fmt: skip

    def is_ready(self) -> bool:
        return fetch(f"{self.url}/health") == b"OK"

    def export(self, match: str) -> list[dict[str, Any]]:
        """Series that match, with their values."""
        fetch(f"{self.url}/internal/force_flush")
        body = fetch(f"{self.url}/api/v1/export?{urllib.parse.urlencode({'match[]': match})}")
        return [json.loads(line) for line in body.splitlines()]

    def query(self, query: str, at_s: float) -> list[dict[str, Any]]:
        fetch(f"{self.url}/internal/force_flush")
        told = json.loads(fetch(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query, 'time': at_s})}"))
        return list(told["data"]["result"])


class Prometheus(Server):
    """A Prometheus that scrapes one address for each job twice a second, whether somebody is there or not."""

    def __init__(self, folder: Path, *jobs: str) -> None:
        super().__init__(folder)
        self.jobs = {job: free_port() for job in jobs}
        listed = ", ".join(f"{{job_name: {job}, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}" for job, port in self.jobs.items())
        (folder / "prometheus.yml").write_text(f"global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}\nscrape_configs: [{listed}]\n")

    def command(self) -> list[str]:
        return [
            "prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn",
        ]  # fmt: skip

    def is_ready(self) -> bool:
        fetch(f"{self.url}/-/ready")
        return True

    def query(self, query: str) -> list[dict[str, Any]]:
        told = json.loads(fetch(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"))
        return list(told["data"]["result"])
