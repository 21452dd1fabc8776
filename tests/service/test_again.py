"""Exposures that wanted a calibration are processed again when it is there, and no others are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from bench_site import ByHand, bench_site, by_hand, said, turn, write_frame

from quicklook.core.errors import BadData, MissingCalibration, QuicklookError
from quicklook.core.events import CalibrationMade, Draft, PartVerdict, ProductWritten, QADone, StepDone, draft
from quicklook.core.results import Failure, MetricResult
from quicklook.core.status import Status
from quicklook.service.daemon import Daemon
from quicklook.service.journal.jobs import Job
from quicklook.service.workers.worker import Judged, Written

NO_PSF = MissingCalibration("no psf for 20220101/00000001 a: there is none; make one")
NO_FLAT = MissingCalibration("no fiberflat for 20220101/00000001 a: there is none; make one")


def of(job: Job, *payloads: object) -> tuple[Draft, ...]:
    return tuple(draft(p, unit=job.unit, part=job.part, tag=job.tag, revision=job.revision) for p in payloads)  # type: ignore[arg-type]


def answer(daemon: Daemon, hand: ByHand, job: Job, error: QuicklookError | None = None, made: Sequence[str] = ()) -> None:
    """A chain of one step that may fail, and that may have made calibrations which are taken over."""
    status = Status.UNKNOWN if error else Status.NORMAL
    step = StepDone(name="extract", algorithm="extract", seconds=0.1, failure=Failure.of(error) if error else None)
    hand.messages.append(Judged(job, status, (), of(job, step, PartVerdict(status=status, reasons=[], measured=1, expected=1, seconds=0.1))))
    turn(daemon, lambda: not hand.messages)
    hand.jobs.remove(job)
    adopted = [CalibrationMade(name=k, by="arc", path="x.fits", status=Status.NORMAL, adopted=True) for k in made]
    hand.messages.append(Written(job, of(job, ProductWritten(name="qa", path="x.json", sha256="", size=1), *adopted)))
    turn(daemon, lambda: not hand.messages)
    daemon.step()


def arrive(daemon: Daemon, hand: ByHand, folder: Path, expid: int, error: QuicklookError | None, flavor: str = "dark", made: Sequence[str] = ()) -> None:
    write_frame(folder, "a", expid, flavor=flavor)
    turn(daemon, lambda: any(j.unit.expid == expid for j in hand.jobs))
    answer(daemon, hand, next(j for j in hand.jobs if j.unit.expid == expid), error, made)


@pytest.fixture
def bench(tmp_path: Path) -> tuple[Daemon, ByHand]:
    return by_hand(bench_site(tmp_path, cameras=["a"], calib=str(tmp_path / "calib"), adopt={"kinds": ["psf", "fiberflat"]}))


def waiting(hand: ByHand) -> list[tuple[int, int]]:
    return sorted((j.unit.expid, j.revision) for j in hand.jobs)


def test_what_lacked_it_is_done_again_and_nothing_else(bench: tuple[Daemon, ByHand], tmp_path: Path) -> None:
    daemon, hand = bench
    arrive(daemon, hand, tmp_path, 1, NO_PSF)
    arrive(daemon, hand, tmp_path, 2, None)
    arrive(daemon, hand, tmp_path, 3, BadData("it is torn"))
    arrive(daemon, hand, tmp_path, 4, NO_FLAT)
    arrive(daemon, hand, tmp_path, 5, NO_PSF)
    (tmp_path / "raw").joinpath("20220101_0005_a.fits").unlink()  # taken away: it stays as it was
    assert waiting(hand) == []
    arrive(daemon, hand, tmp_path, 6, None, "arc", ["psf"])
    turn(daemon, lambda: bool(hand.jobs))
    assert waiting(hand) == [(1, 1)]
    answer(daemon, hand, hand.jobs[0])
    assert [(e.unit, e.revision, e.payload["status"]) for e in said(daemon, "unit_verdict") if e.unit == "20220101/00000001"] == [
        ("20220101/00000001", 0, "UNKNOWN"), ("20220101/00000001", 1, "NORMAL"),
    ]  # fmt: skip
    assert waiting(hand) == []
    arrive(daemon, hand, tmp_path, 7, None, "arc", ["psf"])  # the next one is wanted by nobody
    assert waiting(hand) == []
    daemon.stop()


def test_one_after_another(bench: tuple[Daemon, ByHand], tmp_path: Path) -> None:
    """An exposure that lacked two kinds is done once for each; a flat that is done again brings what others wait for."""
    daemon, hand = bench
    arrive(daemon, hand, tmp_path, 1, NO_PSF)
    arrive(daemon, hand, tmp_path, 2, NO_PSF, "flat")
    arrive(daemon, hand, tmp_path, 3, None, "arc", ["psf"])
    turn(daemon, lambda: len(hand.jobs) == 2)
    assert waiting(hand) == [(1, 1), (2, 1)]
    answer(daemon, hand, next(j for j in hand.jobs if j.unit.expid == 1), NO_FLAT)
    answer(daemon, hand, hand.jobs[0], None, ["fiberflat"])
    turn(daemon, lambda: bool(hand.jobs))
    assert waiting(hand) == [(1, 2)]
    answer(daemon, hand, hand.jobs[0])
    assert said(daemon, "unit_verdict")[-1].revision == 2
    daemon.stop()


def test_of_several_cameras_the_others_keep_their_verdict(tmp_path: Path) -> None:
    daemon, hand = by_hand(bench_site(tmp_path, cameras=["a", "b"], calib=str(tmp_path / "calib"), adopt={"kinds": ["psf"]}))
    for camera in ("a", "b"):
        write_frame(tmp_path, camera, 1, flavor="dark")
    turn(daemon, lambda: len(hand.jobs) == 2)
    for job in list(hand.jobs):
        answer(daemon, hand, job, NO_PSF if job.part == "a" else None)
    write_frame(tmp_path, "a", 2, flavor="arc")
    turn(daemon, lambda: bool(hand.jobs))
    answer(daemon, hand, hand.jobs[0], None, ["psf"])
    turn(daemon, lambda: bool(hand.jobs))
    assert [(j.part, j.revision) for j in hand.jobs] == [("a", 1)]
    answer(daemon, hand, hand.jobs[0])
    last = [e for e in said(daemon, "unit_verdict") if e.unit == "20220101/00000001"][-1]
    assert (last.revision, last.payload["status"]) == (1, "NORMAL")
    daemon.stop()


def used(kinds: Sequence[str], absent: Sequence[str]) -> QADone:
    """What the QA of calibrations says of a frame."""
    every = [*kinds, *absent]
    age = MetricResult(name="calibration_age", unit="d", coords={"kind": list(kinds)}, values=[1.0] * len(kinds), status=None, statuses=[None] * len(kinds))
    lacking = MetricResult(name="calibration_lacking", unit="", coords={"kind": list(every)}, values=[0.0] * len(every), status=None, statuses=[None] * len(every))
    return QADone(name="calibrations", step="extract", group="Calibrations", status=None, seconds=0.0, metrics=[age, lacking])


@pytest.mark.parametrize(
    ("status", "absent", "again"),
    [(Status.ALARM, ["bias"], True), (Status.WARNING, ["bias", "dark"], True), (Status.NORMAL, ["bias"], False), (Status.ALARM, ["dark"], False)],
)
def test_what_went_without_a_bias_and_is_not_normal_is_done_again(tmp_path: Path, status: Status, absent: list[str], again: bool) -> None:
    """No step failed: a bias may be absent. A frame that has one stays as it was, whatever is wrong with it."""
    daemon, hand = by_hand(bench_site(tmp_path, cameras=["a"], calib=str(tmp_path / "calib"), adopt={"kinds": ["bias"], "flavors": {"bias": ["zero"]}}))
    write_frame(tmp_path, "a", 1, flavor="dark")
    turn(daemon, lambda: bool(hand.jobs))
    job = hand.jobs[0]
    step = StepDone(name="extract", algorithm="extract", seconds=0.1)
    verdict = PartVerdict(status=status, reasons=[], measured=1, expected=1, seconds=0.1)
    hand.messages.append(Judged(job, status, (), of(job, step, used([k for k in ("bias", "dark") if k not in absent], absent), verdict)))
    turn(daemon, lambda: not hand.messages)
    hand.jobs.remove(job)
    hand.messages.append(Written(job, of(job, ProductWritten(name="qa", path="x.json", sha256="", size=1))))
    turn(daemon, lambda: not hand.messages)
    daemon.step()
    arrive(daemon, hand, tmp_path, 2, None, "zero", ["bias"])
    daemon.step()
    assert waiting(hand) == ([(1, 1)] if again else [])
    daemon.stop()


def test_a_site_may_leave_them_as_they_are(tmp_path: Path) -> None:
    daemon, hand = by_hand(bench_site(tmp_path, cameras=["a"], calib=str(tmp_path / "calib"), adopt={"kinds": ["psf"], "again": False}))
    arrive(daemon, hand, tmp_path, 1, NO_PSF)
    arrive(daemon, hand, tmp_path, 2, None, "arc", ["psf"])
    daemon.step()
    assert waiting(hand) == []
    daemon.stop()
