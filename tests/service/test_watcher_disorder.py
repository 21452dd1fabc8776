"""Files that are written, moved, linked and copied at random while the daemon works and is restarted: each exposure once, none lost."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest
from bench_site import bench_site, by_hand, said, write_frame

WATCH = {"settle_s": 0.05, "patience_s": 1.0, "companion_s": 0.3, "rescan_s": 0.5, "poll_s": 0.1}


class Disorder:
    """A hand that does to the raw folder whatever may be done without changing what an exposure holds."""

    def __init__(self, folder: Path, mode: str, seed: int) -> None:
        self.folder, self.dice = folder, random.Random(seed)
        self.site = bench_site(folder, cameras=["a"], watch={**WATCH, "mode": mode})
        self.daemon, self.hand = by_hand(self.site)
        self.files: list[Path] = []
        self.used: set[Path] = set()

    def work(self, turns: int) -> None:
        for _ in range(turns):
            self.daemon.step()
            for job in list(self.hand.jobs):
                if self.dice.random() < 0.5:
                    self.hand.judge(job)
                    self.hand.written(job)

    def write(self, here: Path, how: str) -> None:
        """A new exposure: at once, slowly, or under a temporary name."""
        made = write_frame(self.folder, "a", len(self.files) + 1)
        content = made.read_bytes()
        made.unlink()
        path = here / made.name
        with (here / f".{made.name}" if how == "temporary" else path).open("wb", buffering=0) as file:
            file.write(content[:5000])
            self.work(self.dice.randrange(1, 10) if how == "slow" else 0)
            file.write(content[5000:])
        if how == "temporary":
            (here / f".{made.name}").rename(path)
        self.files.append(path)
        self.used.add(path)

    def disturb(self, here: Path, how: str) -> None:
        """Something done with an exposure that is there."""
        n = self.dice.randrange(len(self.files))
        path, other = self.files[n], here / self.files[n].name
        if how == "restart":
            self.daemon.stop(0.1)
            self.daemon, self.hand = by_hand(self.site)
            return
        if other in self.used:
            return  # what is written anew under a name that it had is a new revision, whatever its bytes
        if how == "move":
            path.rename(other)
            self.files[n] = other
        else:
            {"link": os.link, "copy": shutil.copyfile, "archive": shutil.copy2}[how](path, other)
        self.used.add(other)

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            here = self.dice.choice([self.site.raw, *(self.site.raw / f"{n}" for n in range(4))])
            here.mkdir(exist_ok=True)
            how = self.dice.choice([*("at once", "slow", "temporary") * 2, "move", "link", "copy", "archive", *(["restart"] if self.dice.random() < 0.2 else [])])
            if how in ("at once", "slow", "temporary"):
                self.write(here, how)
            elif self.files:
                self.disturb(here, how)
            self.work(self.dice.randrange(6))
        end, still = time.monotonic() + 60, time.monotonic()
        while time.monotonic() < end and time.monotonic() - still < 2:
            self.work(1)
            still = still if self.daemon.idle and not self.hand.jobs else time.monotonic()


@pytest.mark.long
@pytest.mark.parametrize("mode", ["inotify", "polling"])
@pytest.mark.parametrize("seed", [1, 2])
def test_each_exposure_is_taken_once_whatever_is_done_with_its_file(tmp_path: Path, mode: str, seed: int) -> None:
    run = Disorder(tmp_path, mode, seed)
    try:
        run.run(15)
        wanted = {(f"20220101/{n:08d}", 0) for n in range(1, len(run.files) + 1)}
        for kind in ("seen", "unit_verdict"):
            told = Counter((e.unit, e.revision) for e in said(run.daemon, kind))
            assert {key: n for key, n in told.items() if key not in wanted or n > 1} == {}, kind
            assert sorted(wanted - set(told)) == [], kind
    finally:
        run.daemon.stop(0.5)
