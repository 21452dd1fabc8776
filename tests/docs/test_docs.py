"""The documentation is true: generated pages are up to date, examples run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from quicklook.cli.reference import pages


def test_generated_pages_are_up_to_date(repo_root: Path) -> None:
    folder = repo_root / "docs/reference"
    made = pages()
    stale = [name for name, text in made.items() if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text]
    assert not stale, f"run `quicklook reference`: {stale}"
    extra = {p.name for p in (folder / "schemas").iterdir()} - {Path(n).name for n in made}
    assert not extra, f"left over: {extra}"


def test_links_between_pages_lead_somewhere(repo_root: Path) -> None:
    pages_seen = 0
    for page in [repo_root / "README.md", *(repo_root / "docs").rglob("*.md")]:
        pages_seen += 1
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
    assert pages_seen > 5


def test_every_picture_stands_in_a_page(repo_root: Path) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (repo_root / "docs").rglob("*.md"))
    pictures = {p.name for p in (repo_root / "docs/images").iterdir()}
    assert pictures
    assert {name for name in pictures if f"](../images/{name})" not in text} == set()


def subscriber_of(repo_root: Path) -> str:
    """The plain pyzmq example of the wire protocol page."""
    page = (repo_root / "docs/reference/wire-protocol.md").read_text(encoding="utf-8")
    block = max(re.findall(r"(?:^    .*\n|^\n)+", page, flags=re.M), key=lambda b: b.count("zmq"))
    code = textwrap.dedent(block).strip() + "\n"
    assert "import zmq" in code
    assert len(code.splitlines()) <= 20
    assert "quicklook" not in code
    return code


def until(condition: Callable[[], object], log: Path, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def test_the_plain_subscriber_prints_the_verdicts_of_real_frames(repo_root: Path, shared_data: Path, tmp_path: Path) -> None:
    """Two real amplifiers arrive in a watched folder: one healthy, one dead."""
    script = tmp_path / "subscriber.py"
    script.write_text(subscriber_of(repo_root), encoding="utf-8")
    endpoint = f"ipc://{tmp_path}/e.ipc"
    raw = tmp_path / "raw"
    raw.mkdir()
    listener = subprocess.Popen([sys.executable, "-u", str(script), endpoint], stdout=subprocess.PIPE, text=True)
    options = ["--instrument", "virus", "--raw", str(raw), "--out", str(tmp_path / "out"), "--endpoint", endpoint]
    with (tmp_path / "log").open("wb") as log:
        daemon = subprocess.Popen([sys.executable, "-m", "quicklook", "watch", *options], stdout=log, stderr=log)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(iter(listener.stdout.readline, "")))  # type: ignore[union-attr]
    reader.start()
    try:
        # a plain subscriber hears what is said after it has come: the socket that listens, and an end of the connection
        until(lambda: Path("/proc/net/unix").read_text().count(f"{tmp_path}/e.ipc") >= 2, tmp_path / "log")
        for frame in sorted((shared_data / "virus_raw").glob("*.fits.gz")):
            shutil.copy(frame, raw / f".{frame.name}")
            (raw / f".{frame.name}").rename(raw / frame.name)
        until(lambda: sum("20180521/00023753 053" in line for line in lines) >= 2, tmp_path / "log")
        daemon.terminate()
        assert daemon.wait(90) == 0, (tmp_path / "log").read_text()
    finally:
        daemon.kill()
        listener.kill()
        reader.join()
    said = "".join(lines)
    assert re.search(r"20180521/00023753 053RL NORMAL", said), said
    assert re.search(r"20180521/00023753 053LU ALARM", said), said
    assert "dead_amp of amp LU" in said
    assert "65535" in said


@pytest.mark.parametrize("command", ["quicklook run", "quicklook watch", "quicklook listen", "quicklook validate", "quicklook bench"])
def test_the_readme_names_commands_that_exist(repo_root: Path, command: str) -> None:
    assert command in (repo_root / "README.md").read_text(encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", *command.split(), "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
