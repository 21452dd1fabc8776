"""The mirror of raw files, by a real rsync: verified, resumed after an interruption, nothing lost, nothing deleted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from monitor.mirror.rsync import PARTIAL, Rsync
from monitor.mirror.sink import Mirror, MirrorParams
from quicklook.core.errors import BadConfig, BadData, Transient
from quicklook.core.events import Event, Heartbeat, Mirrored, Refused, Seen, draft
from quicklook.core.keys import Unit
from quicklook.core.results import Failure
from quicklook.core.sink import SinkContext

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed (Debian's rsync)")


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


class Site:
    """A raw folder, two places for copies, and the sink."""

    def __init__(self, folder: Path, **params: object) -> None:
        self.raw, self.here, self.there = folder / "raw", folder / "second path", folder / "there"
        self.out, self.params, self.seq = folder / "out", params, 0
        for path in (self.raw, self.here):
            path.mkdir()
        self.start()

    def start(self) -> None:
        to = {"here": str(self.here), "there": str(self.there)}
        self.sink = Mirror(MirrorParams.model_validate({"raw": str(self.raw), "to": to, **self.params}))
        self.sink.check()
        self.sink.open(SinkContext(out=str(self.out)))

    def write(self, name: str, content: bytes) -> Path:
        path = self.raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def accept(self, payload: Seen | Refused | Heartbeat) -> list[Mirrored]:
        self.seq += 1
        made = draft(payload, unit=Unit(20251120, 7) if isinstance(payload, Seen) else None)
        return [Mirrored.model_validate(d.payload) for d in self.sink.accept(Event(**made.model_dump(), epoch="e", seq=self.seq, time=self.seq))]

    def seen(self, path: Path) -> list[Mirrored]:
        return self.accept(Seen(file=path.name, path=str(path), size=path.stat().st_size, parts=["r0"]))

    def beat(self) -> list[Mirrored]:
        return self.accept(Heartbeat(waiting=0, running=0, done=0, failed=0))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.sink.close()


def test_what_arrives_is_copied_with_what_lies_beside_it_and_told(site: Site) -> None:
    raw = site.write("20251120/00000007/desi-00000007.fits.fz", os.urandom(100_000))
    site.write("20251120/00000007/fibermap-00000007.fits", b"map")
    site.write("20251120/00000008/desi-00000008.fits.fz", b"another exposure")
    site.seen(raw)
    told: list[Mirrored] = []

    def all_told() -> bool:
        told.extend(site.beat())
        return sum(t.name == "here" for t in told) == 2

    assert wait_for(all_told)
    assert all(t.done for t in told)
    copy = site.here / "20251120/00000007/desi-00000007.fits.fz"
    assert copy.read_bytes() == raw.read_bytes()
    assert copy.stat().st_mtime == pytest.approx(raw.stat().st_mtime, abs=1)
    assert (copy.parent / "fibermap-00000007.fits").read_bytes() == b"map"
    assert not (site.here / "20251120/00000008").exists()


def test_a_place_that_is_away_gets_all_when_it_is_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.mirror.sink._PAUSES_S", (0.2,))
    raw = site.write("20251120/00000007/desi-00000007.fits.fz", b"data")
    site.seen(raw)
    assert wait_for((site.here / "20251120/00000007/desi-00000007.fits.fz").is_file), "one place that is away is no reason for the other"
    assert wait_for(lambda: any(t.name == "there" and not t.done and "no folder" in t.error for t in site.beat())), "it is told"
    site.sink.close()
    site.there.mkdir()
    site.start()
    assert wait_for((site.there / "20251120/00000007/desi-00000007.fits.fz").is_file)
    assert wait_for(lambda: any(t.name == "there" and t.done for t in site.beat()))


def test_what_was_interrupted_goes_on(tmp_path: Path) -> None:
    raw, target = tmp_path / "raw", tmp_path / "there"
    (raw / "n").mkdir(parents=True)
    target.mkdir()
    content = np.random.default_rng(1).integers(0, 256, 6_000_000, dtype=np.uint8).tobytes()
    (raw / "n/big.fits").write_bytes(content)
    slow = subprocess.Popen(
        ["rsync", "--relative", f"--partial-dir={PARTIAL}", "--bwlimit=200", f"{raw}/./n/big.fits", f"{target}/"], start_new_session=True
    )
    assert wait_for(lambda: sum(f.stat().st_size for f in (target / "n").glob(".big.fits.*")) > 200_000)
    os.killpg(slow.pid, signal.SIGTERM)  # as rsync ends when the line is cut: what has come is kept
    slow.wait(60)
    kept = target / "n" / PARTIAL / "big.fits"
    assert 100_000 < kept.stat().st_size < len(content)
    Rsync(str(target)).copy(raw, "n/big.fits", "x")
    assert (target / "n/big.fits").read_bytes() == content
    assert not kept.exists()


def test_another_file_of_that_name_is_kept(site: Site) -> None:
    raw = site.write("20251120/00000007/desi-00000007.fits.fz", b"first")
    copy = site.here / "20251120/00000007/desi-00000007.fits.fz"
    site.seen(raw)
    assert wait_for(copy.is_file)
    assert wait_for(lambda: any(t.done for t in site.beat()))
    site.write("20251120/00000007/desi-00000007.fits.fz", b"second, and longer")
    site.seen(raw)
    assert wait_for(lambda: copy.read_bytes() == b"second, and longer")
    assert [p.read_bytes() for p in copy.parent.glob("*.replaced-*")] == [b"first"]


def test_a_raw_file_that_is_taken_away_stays_where_it_was_copied(site: Site) -> None:
    raw = site.write("20251120/00000007/desi-00000007.fits.fz", b"first")
    copy = site.here / "20251120/00000007/desi-00000007.fits.fz"
    site.seen(raw)
    assert wait_for(copy.is_file)
    raw.unlink()
    with pytest.raises(BadData, match="not there any more"):
        Rsync(str(site.here)).copy(site.raw, "20251120/00000007/desi-00000007.fits.fz", "x")
    assert copy.read_bytes() == b"first"


def test_names_of_all_kinds_and_files_of_elsewhere(site: Site, tmp_path: Path) -> None:
    for name in ("night/a b's $(touch x) \u00e9\u4e2d.fits", "-rf.fits", "night/--delete"):
        path = site.write(name, b"x")
        site.seen(path)
        assert wait_for((site.here / name).is_file), name
    outside = tmp_path / "elsewhere.fits"
    outside.write_bytes(b"x")
    site.seen(outside)
    link = site.raw / "night/link.fits"
    link.symlink_to(outside)
    site.seen(link)
    time.sleep(0.5)
    assert not list(site.here.rglob("*elsewhere*"))
    assert not list(tmp_path.rglob("x"))


@pytest.mark.parametrize("target", ["", "-e evil", "rsync://host/x", "host::module", ":x", "a\nb"])
def test_what_is_no_place_is_refused(target: str, tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="is no place to copy to"):
        Rsync(target)


def test_a_place_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    with pytest.raises(Transient, match="there is no folder"):
        Rsync(str(tmp_path / "none")).copy(tmp_path, "f", "x")
    with pytest.raises(Transient, match="ended with"):
        Rsync("nobody@127.0.0.1:/nowhere", timeout_s=60).copy(tmp_path, "f", "x")
    with pytest.raises(BadConfig, match="no command rsync"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        Rsync(str(tmp_path))


def test_what_is_refused_is_copied_as_it_is(tmp_path: Path) -> None:
    site = Site(tmp_path)
    path = site.write("cut.fits", b"half of it")
    site.accept(Refused(file="cut.fits", path=str(path), failure=Failure(error="BadData", message="cut", what_next="Send it again.")))
    assert wait_for(lambda: (site.here / "cut.fits").is_file())
    assert (site.here / "cut.fits").read_bytes() == b"half of it"
    site.sink.close()


def test_links_of_the_raw_folder_are_copied_as_files_and_no_others(tmp_path: Path) -> None:
    site = Site(tmp_path)
    path = site.write("7/frame.fits", b"frame")
    (tmp_path / "secret").write_text("secret")
    (path.parent / "inside.fits").symlink_to(path)
    (path.parent / "outside.fits").symlink_to(tmp_path / "secret")
    site.accept(Seen(file="frame.fits", path=str(path), size=1, parts=["r0"]))
    assert wait_for(lambda: (site.here / "7/frame.fits").is_file() and (site.here / "7/inside.fits").is_file())
    assert not (site.here / "7/inside.fits").is_symlink()
    assert site.sink._names(path) == ["7/frame.fits", "7/inside.fits"]
    site.sink.close()


def test_a_folder_that_is_gone_meanwhile_gives_nothing_up(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.accept(Seen(file="frame.fits", path=str(site.raw / "8/frame.fits"), size=1, parts=["r0"]))
    assert wait_for(lambda: any("not there any more" in told.error for told in site.accept(Heartbeat(waiting=0, running=0, done=0, failed=0))))
    site.sink.close()


def test_copies_do_not_go_into_the_raw_folder(tmp_path: Path) -> None:
    (tmp_path / "raw/copies").mkdir(parents=True)
    for place in ("raw", "raw/copies"):
        with pytest.raises(BadConfig, match="is in the folder of raw files"):
            Mirror(MirrorParams(raw=str(tmp_path / "raw"), to={"here": str(tmp_path / place)})).check()
