"""The history on disk: what is asked for comes, in order, and a broken file is left out with a warning."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from quicklook.core.history import History, Selection, find_result, find_verdict, first_night_since, samples
from quicklook.core.keys import PartKey, Unit
from quicklook.core.results import MetricResult, PartResult, Provenance, QAResult, UnitVerdict
from quicklook.core.status import Status
from quicklook.io.folders import exposure_folder
from quicklook.io.history import FileHistory
from quicklook.io.revisions import of_revision

N, A, U = Status.NORMAL, Status.ALARM, Status.UNKNOWN


def noise(*values: float | None, status: Status = N) -> MetricResult:
    statuses = [U if v is None else status for v in values]
    return MetricResult(name="noise", unit="electron", coords={"amp": list("ABCD"[: len(values)])}, values=list(values), status=status, statuses=statuses)


def part(night: int, expid: int, name: str = "r0", *, flavor: str = "zero", revision: int = 0, **change: Any) -> PartResult:
    fields: dict[str, Any] = {
        "night": night, "expid": expid, "part": name, "tag": "live", "revision": revision, "tags": {"flavor": flavor, "camera": name}, "status": N,
        "reasons": [], "measured": 1, "expected": 1, "steps": [], "provenance": Provenance(versions={}, chain="c", config_sha256="", limits_sha256=""),
        "qas": [QAResult(name="noise", step="read", group="g", status=N, seconds=0.0, metrics=[noise(1.0, None)])],
    }  # fmt: skip
    return PartResult(**{**fields, **change})


def store(out: Path, result: PartResult, tag: str = "live", *, earlier: bool = False) -> Path:
    """As the daemon writes it; `earlier`: under the number of its revision."""
    path = exposure_folder(out, tag, Unit(result.night, result.expid)) / f"qa-{result.part}-{result.expid:08d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path = of_revision(path, result.revision) if earlier else path
    path.write_text(json.dumps(result.model_dump(mode="json"), indent=1))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for night, expid in ((20220101, 7), (20220101, 10), (20211231, 900), (20220102, 11)):
        for name in ("r0", "b0"):
            store(tmp_path, part(night, expid, name, flavor="science" if expid == 10 else "zero"))
    store(tmp_path, part(20220103, 12), tag="again")
    return tmp_path


def keys(history: History, **wanted: Any) -> list[str]:
    return [f"{r.expid}{r.part}" for r in history.results(Selection(**wanted))]


def test_it_is_a_history(out: Path) -> None:
    assert isinstance(FileHistory(out), History)


def test_order_and_selection(out: Path) -> None:
    history = FileHistory(out)
    assert keys(history) == ["11b0", "11r0", "10b0", "10r0", "7b0", "7r0", "900b0", "900r0"]
    assert keys(history, newest_first=False, parts=frozenset({"r0"})) == ["900r0", "7r0", "10r0", "11r0"]
    assert keys(history, first_night=20220101, last_night=20220101, flavors=frozenset({"science"})) == ["10b0", "10r0"]
    assert keys(history, units=frozenset({Unit(20211231, 900), Unit(20220102, 900)})) == ["900b0", "900r0"]
    assert keys(history, tag="again") == ["12r0"]
    assert keys(history, tag="never") == []
    assert history.tags() == ("again", "live")
    assert history.nights() == (20211231, 20220101, 20220102)
    assert history.skipped == ()


def test_it_is_lazy(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: read.append(self.name) or whole(self))  # type: ignore[func-returns-value]
    assert next(FileHistory(out).results(Selection())).expid == 11
    assert read == ["qa-b0-00000011.json"]


def test_the_latest_revision_alone_unless_all_are_wanted(out: Path) -> None:
    for number in (0, 10, 2):
        store(out, part(20220102, 11, revision=number), earlier=True)
    store(out, part(20220102, 11, revision=11))
    history, key = FileHistory(out), PartKey(Unit(20220102, 11), "r0")
    only: dict[str, Any] = {"units": frozenset({key.unit}), "parts": frozenset({"r0"})}
    assert [r.revision for r in history.results(Selection(**only))] == [11]
    assert [r.revision for r in history.results(Selection(**only, all_revisions=True))] == [11, 10, 2, 0]
    assert [(find_result(history, key, revision=n) or part(0, 0)).revision for n in (None, 2)] == [11, 2]
    assert find_result(history, key, revision=5) is None
    assert find_result(history, PartKey(Unit(20220102, 12), "r0")) is None


def test_verdicts(out: Path) -> None:
    folder = exposure_folder(out, "live", Unit(20220101, 10))
    verdict = UnitVerdict(night=20220101, expid=10, tag="live", revision=1, tags={"flavor": "science"}, status=A, reasons=["r"], parts={"r0": A})
    for name, revision in (("verdict.json", 1), ("verdict.rev1.json", 1), ("verdict.rev0.json", 0)):
        (folder / name).write_text(verdict.model_copy(update={"revision": revision}).model_dump_json(indent=1))
    history = FileHistory(out)
    assert [v.status for v in history.verdicts(Selection(flavors=frozenset({"science"})))] == [A]
    assert list(history.verdicts(Selection(flavors=frozenset({"zero"})))) == []
    assert [v.revision for v in history.verdicts(Selection(all_revisions=True))] == [1, 0]
    assert (find_verdict(history, Unit(20220101, 10)) or verdict).revision == 1
    assert find_verdict(history, Unit(20220101, 10), revision=0) == verdict.model_copy(update={"revision": 0})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no PartResult that this version can read"),
        ("{", "no PartResult"),
        ("[1]", "no PartResult"),
        ('{"night": NaN}', "no PartResult"),
        ("\x00\xff", "no PartResult"),
        (part(20220102, 99, "r0").model_dump_json(), "it says that it is of 20220102/00000099"),
        (part(20220102, 11, "z3").model_dump_json(), "it says that it is of z3"),
        (part(20220102, 11).model_dump_json().replace('"night"', '"nacht"'), "night"),
    ],
)
def test_a_broken_file_is_left_out_and_told_once(out: Path, caplog: pytest.LogCaptureFixture, text: str, why: str) -> None:
    path = store(out, part(20220102, 11))
    path.write_bytes(text.encode("latin-1"))
    history = FileHistory(out)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert keys(history) == ["11b0", "10b0", "10r0", "7b0", "7r0", "900b0", "900r0"]
    assert len(history.skipped) == len(caplog.messages) == 1
    assert str(path) in history.skipped[0]
    assert why in history.skipped[0]


def test_strange_folders_are_no_exposures(out: Path) -> None:
    for name in ("live/exposures/notes", "live/exposures/²", "live/exposures/20220101/x", "live/exposures/20220101/0000005"):
        (out / name).mkdir(parents=True)
    (out / "live/exposures/20220109").write_text("a file")
    (out / "live/exposures/20220101/00000010/qa-r0-00000010.json.tmp").write_text("{")
    history = FileHistory(out)
    assert len(keys(history)) == 8
    assert history.skipped == ()


def test_days_are_counted_back_from_the_newest_night() -> None:
    assert first_night_since((20211230, 20220102), 1) == 20220102
    assert first_night_since((20211230, 20220102), 4) == 20211230
    assert first_night_since((0, 20220102, 99999999), 2) == 20220101
    assert first_night_since((0,), 3) is None
    assert first_night_since((), 3) is None


def test_samples_are_the_elements_with_their_tags(out: Path) -> None:
    result = part(20220101, 7, status=A)
    bad = result.model_copy(update={"qas": [*result.qas, result.qas[0].model_copy(update={"name": "q", "metrics": [noise(9.0, status=A).model_copy(update={"name": "other"})]})]})
    got = list(samples([bad], {"noise"}))
    assert [(s.label("amp"), s.label("camera"), s.label("x"), s.status) for s in got] == [("A", "r0", None, N), ("B", "r0", None, U)]
    assert got[0].value == 1.0
    assert got[1].value != got[1].value
    assert {s.alarms for s in got} == {frozenset({"other"})}
    assert len(list(samples([bad]))) == 3


def test_alarms_of_what_the_same_qa_measures_do_not_count() -> None:
    """Two measures of the same noise, both ALARM for their limits are too narrow: else nothing could be learned of either."""
    result = part(20220101, 7, status=A)
    twins = [noise(9.0, status=A), noise(9.1, status=A).model_copy(update={"name": "noise_mad"})]
    both = result.model_copy(update={"qas": [result.qas[0].model_copy(update={"metrics": twins})]})
    assert {(s.metric, s.alarms) for s in samples([both])} == {(name, frozenset({name})) for name in ("noise", "noise_mad")}


def test_a_result_with_a_metric_that_can_be_none_is_left_out_and_named(out: Path) -> None:
    path = store(out, part(20220103, 12))
    path.write_text(path.read_text().replace('"name": "noise",\n     "unit"', '"name": "Read Noise",\n     "unit"'))
    assert "Read Noise" in path.read_text()
    history = FileHistory(out)
    assert list(history.results(Selection(first_night=20220103))) == []
    assert len(history.skipped) == 1
    assert str(path) in history.skipped[0]
