"""Members of a group while the daemon waits: what the builder asks of them decides, and what waits for a calibration is built once it is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench_site import NIGHT, ByHand, bench_site, by_hand, said, turn, write_frame

from quicklook.core.errors import BadData, MissingCalibration, QuicklookError
from quicklook.core.events import CalibrationMade, PartVerdict, QADone, StepDone, draft
from quicklook.core.results import Failure
from quicklook.core.status import Status
from quicklook.service.calibrating.buildmembers import BuildPlan
from quicklook.service.daemon import Daemon
from quicklook.service.journal.jobs import Job
from quicklook.service.workers.worker import Assembled, Judged

NO_PSF = MissingCalibration("no psf for 20220101/00000001 a: there is none; make one")
GROUPS = (
    BuildPlan(builder="psf", flavor="arc", count=1, qas=frozenset({"level"}), steps=frozenset({"read"}), makes=frozenset({"psf"}), needs=frozenset({"pixeltraces"})),
    BuildPlan(builder="traces", flavor="flat", count=2, qas=frozenset({"level"}), steps=frozenset({"read"}), makes=frozenset({"pixeltraces"})),
    BuildPlan(
        builder="fiberflat", flavor="flat", count=2, qas=frozenset({"level"}), steps=frozenset({"read", "extract"}), makes=frozenset({"fiberflat"}),
        needs=frozenset({"psf", "pixeltraces"}),
    ),
)  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Daemon, ByHand]:
    monkeypatch.setattr("quicklook.service.site.Site.build_plans", lambda _site, _builders: GROUPS)
    return by_hand(bench_site(tmp_path, cameras=["a"], calib=str(tmp_path / "calib"), adopt={"kinds": ["psf"]}))


def judged(job: Job, level: Status, error: QuicklookError | None) -> Judged:
    """The verdict of a chain that looks at the level and then extracts, which may fail."""
    failure = Failure.of(error) if error else None
    later = Failure(error="NotRun", message="step extract failed", what_next="") if error else None
    status = Status.UNKNOWN if error else level
    payloads = (
        StepDone(name="read", algorithm="read", seconds=0.1),
        QADone(name="level", step="read", group="", status=level, seconds=0.1),
        StepDone(name="extract", algorithm="extract", seconds=0.1, failure=failure),
        QADone(name="other", step="extract", group="", status=status, seconds=0.1, failure=later),
        PartVerdict(status=status, reasons=[], measured=1, expected=2, seconds=0.1),
    )
    return Judged(job, status, (), tuple(draft(p, unit=job.unit, part=job.part, tag=job.tag, revision=job.revision) for p in payloads))


def arrive(daemon: Daemon, hand: ByHand, folder: Path, expid: int, flavor: str, level: Status = Status.NORMAL, error: QuicklookError | None = NO_PSF) -> None:
    before = len(said(daemon, "verdict"))
    write_frame(folder, "a", expid, flavor=flavor)
    turn(daemon, lambda: bool(hand.jobs))
    job = hand.jobs[0]
    hand.messages.append(judged(job, level, error))
    turn(daemon, lambda: len(said(daemon, "verdict")) > before)
    hand.written(job)
    turn(daemon, lambda: not hand.messages)


def built(daemon: Daemon, hand: ByHand, kind: str, status: Status = Status.NORMAL) -> list[str]:
    """The next build is of that kind and ends so; the names of its files."""
    turn(daemon, lambda: bool(hand.builds))
    job = hand.builds.pop(0)
    made = CalibrationMade(name=kind, by=job.builder, path="x.fits", status=status, adopted=status is Status.NORMAL)
    hand.messages.append(Assembled(job, status, (draft(made, unit=job.unit, part=job.part, tag=job.tag),)))
    turn(daemon, lambda: not hand.messages)
    assert kind == {"traces": "pixeltraces"}.get(job.builder, job.builder)
    return [Path(p).name for p in job.files]


@pytest.mark.parametrize("status", [Status.UNKNOWN, Status.WARNING])
def test_from_nothing_to_a_fibre_flat(bench: tuple[Daemon, ByHand], tmp_path: Path, status: Status) -> None:
    daemon, hand = bench
    arrive(daemon, hand, tmp_path, 1, "arc")
    built(daemon, hand, "psf", status)  # there are no traces yet; a doubtful one was not taken over either
    for i in (2, 3):
        arrive(daemon, hand, tmp_path, i, "flat")
    assert built(daemon, hand, "pixeltraces") == [f"{NIGHT}_0002_a.fits", f"{NIGHT}_0003_a.fits"]
    assert built(daemon, hand, "psf") == [f"{NIGHT}_0001_a.fits"]
    assert built(daemon, hand, "fiberflat") == [f"{NIGHT}_0002_a.fits", f"{NIGHT}_0003_a.fits"]
    daemon.step()
    assert not hand.builds
    daemon.stop()


def test_what_a_group_needs_is_built_before_it(bench: tuple[Daemon, ByHand], tmp_path: Path) -> None:
    daemon, hand = bench
    hand.warm, hand.free = lambda: 2, lambda: 1  # type: ignore[method-assign]
    for i, flavor in enumerate(("flat", "flat", "arc"), start=1):
        arrive(daemon, hand, tmp_path, i, flavor)
    assert not hand.builds
    hand.free = lambda: 2  # type: ignore[method-assign]
    assert built(daemon, hand, "pixeltraces")
    assert built(daemon, hand, "psf")  # although the arc is newer
    daemon.stop()


def test_an_exposure_that_the_builder_would_leave_out_does_not_count(bench: tuple[Daemon, ByHand], tmp_path: Path) -> None:
    daemon, hand = bench
    arrive(daemon, hand, tmp_path, 1, "flat", Status.ALARM)
    arrive(daemon, hand, tmp_path, 2, "flat")
    daemon.step()
    assert not hand.builds
    arrive(daemon, hand, tmp_path, 3, "flat")
    assert built(daemon, hand, "pixeltraces") == [f"{NIGHT}_0002_a.fits", f"{NIGHT}_0003_a.fits"]
    daemon.stop()


def test_a_step_that_failed_for_another_cause_keeps_it_out(bench: tuple[Daemon, ByHand], tmp_path: Path) -> None:
    daemon, hand = bench
    for i in (1, 2):
        arrive(daemon, hand, tmp_path, i, "flat", error=BadData("it is torn"))
    built(daemon, hand, "pixeltraces")
    arrive(daemon, hand, tmp_path, 3, "arc")
    built(daemon, hand, "psf")
    daemon.step()
    assert not hand.builds  # no fibre flat
    daemon.stop()
