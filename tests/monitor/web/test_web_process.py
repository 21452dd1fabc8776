"""The process that serves the page of a daemon: started, looked after, ended with it; the daemon never fails because of it."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from web_host import Writer, serving, web_site

from quicklook.service.hosting import page as paging
from quicklook.service.hosting.page import Page, address_path, page_of
from quicklook.service.running.attending import Surroundings


def _until(what, seconds: float = 120.0):  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def _address(page: Page, out: Path) -> str:
    def look() -> str:
        page.turn()
        return address_path(out).read_text().strip() if address_path(out).exists() else ""

    return _until(look)


def test_it_serves_is_started_again_and_ends_with_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(paging, "_AGAIN_S", (0.1,))
    (tmp_path / "out").mkdir()
    site = web_site(tmp_path, web={"port": 0})
    Writer(site).beat()
    page = Page(site)
    try:
        first = _address(page, site.out)
        assert json.load(urllib.request.urlopen(f"{first}api/v1/about", timeout=60))["instrument"] == "bench"
        assert page.pid is not None
        address_path(site.out).unlink()
        os.kill(page.pid, signal.SIGKILL)
        second = _address(page, site.out)
        assert json.load(urllib.request.urlopen(f"{second}api/v1/about", timeout=60))["instrument"] == "bench"
        assert "it is started again" in caplog.text
    finally:
        pid = page.pid
        page.close()
    assert pid is not None
    assert not Path(f"/proc/{pid}").exists() or "zombie" in Path(f"/proc/{pid}/status").read_text()
    assert not address_path(site.out).exists()


def test_a_port_that_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The next one that is free, and a word of it; where a port was named by hand, a refusal."""
    (tmp_path / "out").mkdir()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        page = Page(web_site(tmp_path, web={"port": port}))
        try:
            assert _address(page, tmp_path / "out") != f"http://127.0.0.1:{port}/"
        finally:
            page.close()
        command = [sys.executable, "-m", "quicklook", "serve", "--instrument", str(tmp_path / "bench.yaml"), "--out", str(tmp_path / "out"), "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 2
        assert "is in use" in done.stderr
        assert "Traceback" not in done.stderr


def test_it_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    site = web_site(tmp_path)
    writer = Writer(site)
    around = Surroundings(site=site, recipe=None, journal=writer.journal, wake=lambda: None, stop=lambda: None)  # type: ignore[arg-type]
    monkeypatch.setenv("QUICKLOOK_WEB", "off")
    assert page_of(around) is None
    monkeypatch.delenv("QUICKLOOK_WEB")
    off = Surroundings(site=web_site(tmp_path, web={"enabled": False}), recipe=None, journal=writer.journal, wake=lambda: None, stop=lambda: None)  # type: ignore[arg-type]
    assert page_of(off) is None


def test_an_address_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    from monitor.web.server import WebServer
    from quicklook.core.errors import BadConfig
    from quicklook.core.hosting import Serving
    from quicklook.service.hosting.host import JournalHost

    (tmp_path / "out").mkdir()
    host = JournalHost(web_site(tmp_path))
    with pytest.raises(BadConfig, match="cannot be served"):
        WebServer().serve(host, Serving(host="203.0.113.7", port=0))
    host.close()


def test_the_description_without_a_server() -> None:
    done = subprocess.run([sys.executable, "-m", "quicklook", "serve", "--openapi"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0
    assert json.loads(done.stdout)["openapi"].startswith("3.1")


def test_a_fault_of_a_handler_is_told_and_logged_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "out").mkdir()
    writer = Writer(web_site(tmp_path))
    writer.beat()
    with serving(writer.site) as served, caplog.at_level(logging.ERROR):
        monkeypatch.setattr(type(served.host), "nights", lambda *_: 1 / 0)
        answer = served.get("/nights")
        assert answer.status == 500
        assert answer.json["message"] == "this is a fault of the program"
        assert "ZeroDivisionError" in caplog.text
        assert served.get("/state").status == 200
