"""Aim mode on a bench of two cameras: its own tag, revisions, what is left out, an end half-way, and going on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_site import NIGHT, bench_site, write_frame

from quicklook.core.errors import BadConfig, NoSpace
from quicklook.core.keys import PartKey, Unit
from quicklook.core.results import Failure, PartResult, UnitVerdict
from quicklook.core.selection import Numbers, Parts
from quicklook.core.status import Status
from quicklook.core.where import parse_where
from quicklook.io.reader import open_reader
from quicklook.service.journal.jobs import UnitRow, add_unit
from quicklook.service.journal.journal import Journal, journal_path
from quicklook.service.rerun.aim import AimRun, Summary
from quicklook.service.rerun.aimplan import Plan, PlanFile, configuration_of, differences, plan_units, unfinished
from quicklook.service.rerun.choosing import Choice, Wanted, choose, fact_names
from quicklook.service.rerun.fromstored import Debugging
from quicklook.service.rerun.processings import find_processing, is_live, make_default, processings, stored_units, tag_of
from quicklook.service.workers.executors import InlineExecutor
from quicklook.service.workers.processing import Recipe
from quicklook.service.workers.worker import Broken


class Told:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, Status | None, bool]] = []
        self.units: list[UnitVerdict] = []

    def part(self, key: PartKey, status: Status | None, failure: Failure | None) -> None:
        self.parts.append((str(key), status, failure is not None))

    def unit(self, verdict: UnitVerdict) -> None:
        self.units.append(verdict)


class Breaking(InlineExecutor):
    """Loses its worker over some cameras, so many times, or finds another reason."""

    def __init__(self, recipe: Recipe, breaks: Mapping[str, int], error: str = "WorkerLost") -> None:
        super().__init__(recipe)
        self._breaks, self._error = dict(breaks), error

    def submit(self, job: Any) -> None:
        key = f"{job.unit.expid}/{job.part}"
        if self._breaks.get(key, 0) > 0:
            self._breaks[key] -= 1
            self._messages.append(Broken(job, Failure(error=self._error, message="it died", what_next="Look."), retry=True))
        else:
            super().submit(job)


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    for expid in (1, 2):
        for camera in "ab":
            write_frame(tmp_path, camera, expid)
    write_frame(tmp_path, "a", 3, flavor="flat")
    return tmp_path


def site(bench: Path, tag: str) -> Any:
    return bench_site(bench, tag=tag)


def chosen(bench: Path, expids: str = "1-3", **more: Any) -> Choice:
    place = site(bench, "x")
    return choose(place.raw, open_reader(place.instrument), Wanted(expids=Numbers.parse(expids, "--expid"), **more))


def aim(bench: Path, tag: str, choice: Choice, *, skip: bool = False, breaks: Mapping[str, int] | None = None, **options: Any) -> tuple[Summary, Told]:
    recipe = site(bench, tag).recipe()
    units, _ = plan_units(choice.exposures, recipe.out, tag, skip_existing=skip)
    plan = Plan(tag=tag, started_ns=1, configuration=configuration_of(recipe, ["zero"]), units=units)
    file = PlanFile(recipe.out / tag)
    file.lock()
    file.begin(plan)
    told = Told()
    try:
        return AimRun(recipe=recipe, plan=plan, file=file, teller=told, **options).run(Breaking(recipe, breaks or {})), told
    finally:
        file.release()


def checksums(folder: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def test_exposures_are_chosen_by_names_and_by_headers(bench: Path) -> None:
    assert [(e.unit.expid, sorted(e.cameras)) for e in chosen(bench).exposures] == [(1, ["a", "b"]), (2, ["a", "b"]), (3, ["a"])]
    known = fact_names(site(bench, "x").tag_names)
    flats = chosen(bench, where=parse_where("flavor = flat and exptime > 5", known))
    assert [e.unit.expid for e in flats.exposures] == [3]
    only_b = chosen(bench, parts=Parts.parse("b"))
    assert [(e.unit.expid, sorted(e.cameras), e.left_out) for e in only_b.exposures] == [(1, ["b"], {"a"}), (2, ["b"], {"a"})]
    assert not chosen(bench, nights=Numbers.parse("20220102", "--night")).exposures
    of_test = chosen(bench, tests={Unit(NIGHT, 2): "BIAS01"}, where=parse_where("test = BIAS01", known))
    assert [e.unit.expid for e in of_test.exposures] == [2]
    with pytest.raises(BadConfig, match="has c; there are: a, b"):
        chosen(bench, parts=Parts.parse("a,c"))


def test_a_file_that_cannot_be_read_is_told(bench: Path) -> None:
    (bench / "raw" / f"{NIGHT}_0002_b.fits").write_bytes(b"SIMPLE  = T")
    (bench / "raw" / f"{NIGHT}_0009_b.fits").write_bytes(b"not wanted")
    found = chosen(bench)
    assert [p.name for p in found.unreadable] == [f"{NIGHT}_0002_b.fits"]
    assert found.cameras == 4


def test_a_run_has_its_own_tag_and_touches_nothing_else(bench: Path) -> None:
    aim(bench, "one", chosen(bench))
    before = checksums(bench / "raw") | checksums(bench / "out" / "one")
    summary, told = aim(bench, "two", chosen(bench))
    assert checksums(bench / "raw") | checksums(bench / "out" / "one") == before
    assert len(told.parts) == 5
    assert {v.expid: sorted(v.parts) for v in told.units} == {1: ["a", "b"], 2: ["a", "b"], 3: ["a"]}
    assert next(v for v in told.units if v.expid == 3).missing == ["b"]
    folder = bench / "out/two/exposures" / str(NIGHT) / "00000001"
    assert PartResult.model_validate_json((folder / "qa-a-00000001.json").read_bytes()).tag == "two"
    assert UnitVerdict.model_validate_json((folder / "verdict.json").read_bytes()).status is summary.units[Unit(NIGHT, 1)]
    assert (folder / "receipt.json").is_file()
    assert unfinished(bench / "out") == []


def test_again_under_the_same_tag_is_a_revision_or_is_left_out(bench: Path) -> None:
    aim(bench, "one", chosen(bench, "1", parts=Parts.parse("a")))
    units, existing = plan_units(chosen(bench, "1-2").exposures, bench / "out", "one", skip_existing=True)
    assert [(u.key.expid, sorted(u.cameras), u.kept) for u in units] == [(1, ["b"], ["a"]), (2, ["a", "b"], [])]
    assert existing.cameras == 1
    _, told = aim(bench, "one", chosen(bench, "1"), skip=True)
    assert [(v.revision, sorted(v.parts)) for v in told.units] == [(1, ["a", "b"])]
    _, told = aim(bench, "one", chosen(bench, "1"))
    assert [(v.revision, sorted(v.parts)) for v in told.units] == [(2, ["a", "b"])]
    folder = bench / "out/one/exposures" / str(NIGHT) / "00000001"
    assert (folder / "qa-a-00000001.rev0.json").is_file()
    assert (folder / "verdict.rev1.json").is_file()


def test_cameras_that_are_not_done_again_keep_their_place_in_the_verdict(bench: Path) -> None:
    aim(bench, "one", chosen(bench, "1"))
    units, _ = plan_units(chosen(bench, "1", parts=Parts.parse("a")).exposures, bench / "out", "one", skip_existing=False)
    assert [(sorted(u.cameras), u.kept, u.whole) for u in units] == [(["a"], ["b"], True)]
    path = bench / "out/one/exposures" / str(NIGHT) / "00000001/qa-b-00000001.json"
    stored = PartResult.model_validate_json(path.read_bytes())
    path.write_text(stored.model_copy(update={"status": Status.ALARM, "reasons": ["ALARM: it is dark"]}).model_dump_json())
    _, told = aim(bench, "one", chosen(bench, "1", parts=Parts.parse("a")))
    assert [(v.revision, v.status, sorted(v.parts), v.missing) for v in told.units] == [(1, Status.ALARM, ["a", "b"], [])]
    units, _ = plan_units(chosen(bench, "1", parts=Parts.parse("a")).exposures, bench / "out", "new", skip_existing=False)
    assert [(u.kept, u.whole) for u in units] == [([], False)]


def test_what_failed_before_a_run_went_on_is_not_forgotten(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quicklook.service.rerun.aim.RETRY_S", 0.01)
    aim(bench, "one", chosen(bench, "1-2"), breaks={"1/a": 9}, attempts=1)
    recipe, file = site(bench, "one").recipe(), PlanFile(bench / "out/one")
    plan = file.read()
    assert plan is not None
    summary = AimRun(recipe=recipe, plan=plan, file=file, teller=Told()).run(InlineExecutor(recipe))
    assert not summary.parts
    assert (Status.UNKNOWN, True) in summary.judged
    assert len(summary.judged) == 6


def test_what_a_run_began_with_is_told_where_it_is_another(bench: Path) -> None:
    recipe = site(bench, "one").recipe()
    begun = configuration_of(recipe, ["zero"])
    assert differences(begun, configuration_of(recipe, ["zero"])) == []
    other = replace(recipe, calib=bench / "new", products=("preproc",))
    told = differences(begun, configuration_of(other, ["zero"]))
    assert [t.partition(":")[0] for t in told] == ["calibrations", "products"]
    assert str(bench / "new") in told[0]
    assert differences({**begun, "zero": "x", "limits": "y"}, begun) == ["chain or parameters for zero", "the limits"]


def test_a_tag_under_which_a_daemon_has_worked_is_live(bench: Path) -> None:
    out = bench / "out"
    assert not is_live(out, "night")
    journal = Journal(journal_path(out), lambda: 1)
    row = UnitRow(unit=Unit(NIGHT, 1), tag="night", revision=0, path="", expected=(), tags={}, closed_ns=None, seen_ns=1, deadline_ns=1)
    with journal.transaction() as connection:
        add_unit(connection, row, ["a"])
    journal.close()
    assert (is_live(out, "night"), is_live(out, "other")) == (True, False)


def test_removing_products_does_not_make_a_tag_the_last(bench: Path) -> None:
    for tag in ("one", "two"):
        aim(bench, tag, chosen(bench, "1"))
    (bench / "out/one/exposures" / str(NIGHT) / "00000001/product.fits").touch()  # the folder is changed
    assert tag_of(bench / "out", "last") == "two"
    assert tag_of(bench / "out", "default", live="one") == "one"
    assert [str(u) for u, _ in stored_units(bench / "out")] == [f"{NIGHT}/00000001"]


def test_the_processings_of_an_exposure_can_be_asked_for(bench: Path) -> None:
    for tag in ("one", "two", "one"):
        aim(bench, tag, chosen(bench, "1"))
    out, unit = bench / "out", Unit(NIGHT, 1)
    assert [(p.tag, p.revision, p.last) for p in processings(out, unit)] == [("one", 1, True), ("two", 0, False), ("one", 0, False)]
    assert find_processing(out, unit, "default") is None
    make_default(out, "two")
    found = {name: find_processing(out, unit, name) for name in ("default", "last", "one", "one@0", "two@7", "three")}
    assert {n: (p.tag, p.revision) if p else None for n, p in found.items()} == {
        "default": ("two", 0), "last": ("one", 1), "one": ("one", 1), "one@0": ("one", 0), "two@7": None, "three": None,
    }  # fmt: skip
    assert (tag_of(out, "default"), tag_of(out, "last")) == ("two", "one")
    for wrong in (lambda: make_default(out, "three"), lambda: tag_of(out, "three"), lambda: find_processing(out, unit, "a/b")):
        with pytest.raises(BadConfig):
            wrong()


def test_what_may_pass_is_tried_again(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quicklook.service.rerun.aim.RETRY_S", 0.01)
    summary, told = aim(bench, "one", chosen(bench, "1"), breaks={"1/a": 2})
    assert not summary.failures
    assert {p for p, _, _ in told.parts} == {f"{NIGHT}/00000001/a", f"{NIGHT}/00000001/b"}
    summary, told = aim(bench, "two", chosen(bench, "1-2"), breaks={"1/a": 3})
    (verdict,) = (v for v in told.units if v.expid == 1)
    assert verdict.parts["a"] is Status.UNKNOWN
    assert any("it died" in reason for reason in verdict.reasons)
    assert (Status.UNKNOWN, True) in summary.judged
    assert len(told.units) == 2


def test_fail_fast_stops_and_resume_goes_on(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quicklook.service.rerun.aim.RETRY_S", 0.01)
    summary, told = aim(bench, "one", chosen(bench, "1-2"), breaks={"1/b": 9}, fail_fast=True, attempts=1)
    assert "it died" in summary.stopped
    assert not told.units
    assert unfinished(bench / "out") == ["one"]
    recipe, file = site(bench, "one").recipe(), PlanFile(bench / "out/one")
    plan = file.read()
    assert plan is not None
    assert file.is_done(PartKey(Unit(NIGHT, 1), "a"))
    done = (bench / "out/one/exposures" / str(NIGHT) / "00000001/qa-a-00000001.json").stat().st_mtime_ns
    told = Told()
    summary = AimRun(recipe=recipe, plan=plan, file=file, teller=told).run(InlineExecutor(recipe))
    assert {p for p, _, _ in told.parts} == {f"{NIGHT}/00000001/b", f"{NIGHT}/00000002/a", f"{NIGHT}/00000002/b"}
    assert (bench / "out/one/exposures" / str(NIGHT) / "00000001/qa-a-00000001.json").stat().st_mtime_ns == done
    assert {v.expid: (v.revision, sorted(v.parts)) for v in told.units} == {1: (0, ["a", "b"]), 2: (0, ["a", "b"])}
    assert unfinished(bench / "out") == []


def test_a_full_disk_ends_the_run_which_goes_on_later(bench: Path) -> None:
    recipe = site(bench, "one").recipe()
    units, _ = plan_units(chosen(bench, "1").exposures, recipe.out, "one", skip_existing=False)
    file, plan = PlanFile(recipe.out / "one"), Plan(tag="one", started_ns=1, units=units)
    file.begin(plan)
    run = AimRun(recipe=recipe, plan=plan, file=file, teller=Told())
    with pytest.raises(NoSpace) as error:
        run.run(Breaking(recipe, {"1/b": 1}, "NoSpace"))
    assert "--resume" in error.value.what_next
    assert unfinished(bench / "out") == ["one"]
    told = Told()
    AimRun(recipe=recipe, plan=plan, file=file, teller=told).run(InlineExecutor(recipe))
    assert [p for p, _, _ in told.parts] == [f"{NIGHT}/00000001/b"]
    assert [sorted(v.parts) for v in told.units] == [["a", "b"]]


def test_two_runs_do_not_share_a_tag(tmp_path: Path) -> None:
    first, second = PlanFile(tmp_path / "t"), PlanFile(tmp_path / "t")
    first.lock()
    with pytest.raises(BadConfig, match="another aim run"):
        second.lock()
    first.release()
    second.lock()
    second.release()


def test_a_log_that_was_cut_costs_one_camera(tmp_path: Path) -> None:
    file = PlanFile(tmp_path)
    file.begin(Plan(tag="t", started_ns=1, units=[]))
    file.note(PartKey(Unit(NIGHT, 1), "a"))
    with file.log.open("a") as f:
        f.write(f"{NIGHT}/00000001/b")  # the process died here: no end of line
    again = PlanFile(tmp_path)
    assert again.read() is not None
    assert again.done == {f"{NIGHT}/00000001/a"}


def test_the_debugger_sees_what_a_qa_raises(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    recipe = site(bench, "one").recipe()
    chain = recipe.chains[""]

    def fails(self: Any, **products: Any) -> Any:
        raise ZeroDivisionError("on purpose")

    only = replace(chain, steps=(replace(chain.steps[0], qas=chain.steps[0].qas[:1]),), unit_qas=())
    monkeypatch.setattr(chain.qas[0].plugin, "measure", fails)  # its signature was read when the chain was loaded
    runner = Debugging(look=lambda error, traceback: seen.append(f"{type(error).__name__} {traceback is not None}"))
    recipe = replace(recipe, chains={"": only}, runner=runner)
    units, _ = plan_units(chosen(bench, "1", parts=Parts.parse("a")).exposures, recipe.out, "one", skip_existing=False)
    file, plan = PlanFile(recipe.out / "one"), Plan(tag="one", started_ns=1, units=units)
    file.begin(plan)
    summary = AimRun(recipe=recipe, plan=plan, file=file, teller=Told()).run(InlineExecutor(recipe))
    assert seen == ["ZeroDivisionError True"]
    assert list(summary.parts.values()) == [Status.UNKNOWN]
