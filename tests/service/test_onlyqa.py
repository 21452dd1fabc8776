"""QAs alone, on stored products: the values of the chain, and what is said where a product is lacking."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from quicklook.api import Session, open_session
from quicklook.core.decision import Decision
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.results import MetricResult, PartResult, QAResult, UnitVerdict
from quicklook.core.status import Status, total
from quicklook.io.folders import exposure_folder
from quicklook.io.products import can_write
from quicklook.service.rerun.onlyqa import merged
from quicklook.service.rerun.remeasured import Whole, conclude_again
from quicklook.service.workers.processing import Processed
from quicklook.sim import Flavor, Scale, plan_exposure, sim_instruments, write_calibrations, write_exposure

CAMERA = "r0"
PRODUCTS = {
    "zero": ("preproc",),
    "arc": ("preproc", "frame", "psf", "scores", "traceshift", "arcfit", "arcareas"),
    "flat": ("preproc", "frame", "psf", "scores", "traceshift", "fiberflat"),
    "science": ("preproc", "frame", "fframe", "sframe", "cframe", "psf", "sky", "scores", "traceshift"),
}
OVERWRITTEN = {("arc", "trace_widths")}
"""It looks at the traces before `fit_arc` makes others."""

Made = tuple[Session, Path, Processed]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """An exposure of a flavor that was processed with all of its products stored."""
    found: dict[tuple[str, str], Made] = {}

    def make(flavor: Flavor, scale: Scale = "tiny") -> Made:
        if (flavor, scale) not in found:
            folder = tmp_path_factory.mktemp(f"{scale}-{flavor}")
            cameras = sim_instruments((CAMERA,), scale=scale, seed=5)
            write_calibrations(folder, cameras)
            session = open_session(
                instrument="desi", calib=folder / "calib", out=folder / "out", tag="t", products=PRODUCTS[flavor], plots=flavor == "zero"
            )  # fmt: skip
            path = write_exposure(folder, plan_exposure(flavor, 100 + list(PRODUCTS).index(flavor)), cameras)
            done = session.process(flavor, path, CAMERA)
            session.write(done, flavor)
            found[flavor, scale] = session, path, done
        return found[flavor, scale]

    return make


def close(a: MetricResult, b: MetricResult) -> bool:
    """Values as in the chain, to the precision of a float32: arrays go to files as they are, texts of numbers in headers may be cut."""
    pairs = zip(a.values, b.values, strict=True)
    return (a.name, a.coords, a.statuses, a.not_applicable) == (b.name, b.coords, b.statuses, b.not_applicable) and all(
        x is y is None or (x is not None and y is not None and math.isclose(x, y, rel_tol=1e-6, abs_tol=1e-12)) for x, y in pairs
    )


LONG = pytest.mark.long
"""Each exposure that is made costs seconds: a zero and a science exposure, which have all kinds of products, are enough for every change."""


@pytest.mark.parametrize("flavor", ["zero", "science", pytest.param("arc", marks=LONG), pytest.param("flat", marks=LONG)])
@pytest.mark.parametrize("scale", ["tiny", pytest.param("small", marks=LONG)])
def test_every_qa_gives_the_values_of_the_chain(made: Callable[..., Made], flavor: Flavor, scale: Scale) -> None:
    session, path, done = made(flavor, scale)
    result = done.outcome.result
    names = [q.name for q in result.qas if (flavor, q.name) not in OVERWRITTEN]
    again = session.measure_stored(names, path, CAMERA, chain=flavor)
    assert again.notes == ()
    assert list(again.names) == names
    assert (again.after.status, again.after.reasons) == (result.status, result.reasons)
    now = {q.name: q for q in again.after.qas}
    for qa in result.qas:
        assert (qa.failure, qa.not_applicable, qa.status) == (now[qa.name].failure, now[qa.name].not_applicable, now[qa.name].status)
        assert all(close(a, b) for a, b in zip(qa.metrics, now[qa.name].metrics, strict=True)), qa.name
        assert ("measured_again" in now[qa.name].facts) == (qa.name in names)


@LONG
def test_what_a_later_step_has_overwritten_is_refused(made: Callable[..., Made]) -> None:
    session, path, _ = made("arc")
    with pytest.raises(BadData, match=r"trace_widths needs the psf that step flexure has made, and stored is the one of step fit_arc"):
        session.measure_stored(["trace_widths"], path, CAMERA, chain="arc")


def test_a_product_that_is_not_stored_is_named_with_how_to_store_it(made: Callable[..., Made]) -> None:
    session, path, _ = made("science")
    file = next(session.site.out.rglob("traceshift-*.npz"))
    aside = file.rename(file.with_suffix(".aside"))
    try:
        with pytest.raises(BadData, match=r"trace_shifts needs the traceshift that step flexure has made, which is not stored; .*--write traceshift"):
            session.measure_stored(["trace_shifts"], path, CAMERA, chain="science")
    finally:
        aside.rename(file)


def test_a_qa_that_the_chain_has_not_is_refused_with_the_nearest(made: Callable[..., Made]) -> None:
    session, path, _ = made("zero")
    with pytest.raises(BadConfig, match="no QA called 'read_nois'") as error:
        session.measure_stored(["read_nois"], path, CAMERA, chain="zero")
    assert "read_noise" in error.value.what_next


def test_a_new_revision_replaces_what_was_measured_again_and_keeps_the_rest(made: Callable[..., Made]) -> None:
    session, path, done = made("zero")
    unit = done.key.unit
    other = open_session(instrument="desi", calib=session.site.file.calib, out=session.site.out, tag="t", overrides=["lit_fraction.nsigma=0.1"])
    again = other.measure_stored(["lit_fraction"], path, CAMERA)
    assert any("chain is not as it was" in note for note in again.notes)
    assert again.after.status is Status.ALARM
    whole = other.conclude_stored(unit, [again])
    assert whole.after.status is Status.ALARM
    file = next(session.site.out.rglob(f"qa-{CAMERA}-{unit.expid:08d}.json"))
    written = PartResult.model_validate_json(file.read_bytes())
    kept = PartResult.model_validate_json(file.with_name(f"{file.stem}.rev0.json").read_bytes())
    assert (written.revision, kept.revision, kept.status) == (1, 0, Status.NORMAL)
    assert [q for q in written.qas if q.name != "lit_fraction"] == [q for q in kept.qas if q.name != "lit_fraction"]
    assert next(session.site.out.rglob(f"preproc-{CAMERA}-{unit.expid:08d}.fits")).is_file()
    assert next(session.site.out.rglob("verdict.json")).is_file()
    names = {p.name for p in (file.parent / "plots").iterdir()}
    assert f"lit_fraction-{CAMERA}-{unit.expid:08d}.png" in names
    assert not [n for n in names if n.startswith(".")]


def test_a_verdict_that_a_person_has_set_stays() -> None:
    from quicklook.core.results import Override, Provenance

    bad = QAResult(name="x", step="read", group="CCDs", status=Status.ALARM, seconds=0.0)
    provenance = Provenance(versions={}, chain="c", config_sha256="", limits_sha256="")
    change = Override(was=Status.ALARM, status=Status.NORMAL, by="me", reason="seen it", time=1)
    before = PartResult(
        night=20220101, expid=1, part="r0", tag="t", revision=0, tags={}, status=Status.NORMAL, reasons=["kept"], measured=1, expected=1, steps=[],
        qas=[bad], provenance=provenance, override=change,
    )  # fmt: skip
    after = merged(before, [bad.model_copy(update={"seconds": 1.0})])
    assert (after.status, after.reasons, after.qas[0].seconds) == (Status.NORMAL, ["kept"], 1.0)
    assert merged(before.model_copy(update={"override": None}), [bad]).status is Status.ALARM


def concluded_in(folder: Path, made: Made, parts: dict[str, Status], cameras: Sequence[str] = (), **more: object) -> Whole:
    """An exposure with that verdict and the result of one camera on disk, after `--only-qa missing_cameras`."""
    session, _, done = made
    result, unit = done.outcome.result, done.key.unit
    verdict = {"night": unit.night, "expid": unit.expid, "tag": "t", "revision": 0, "reasons": [], "parts": parts, "status": total(parts.values())}
    place = exposure_folder(folder, "t", unit)
    place.mkdir(parents=True)
    (place / "verdict.json").write_text(UnitVerdict.model_validate({**verdict, **more}).model_dump_json())
    site = open_session(instrument="desi", calib=session.site.file.calib, out=folder, tag="t", cameras=cameras).site
    recipe = site.recipe()
    return conclude_again(recipe, unit, {CAMERA: result}, 1, session.chain("science"), ["missing_cameras"])


def counted(whole: Whole) -> tuple[list[float | None], bool]:
    (qa,) = (q for q in whole.after.qas if q.name == "missing_cameras")
    return [v for m in qa.metrics for v in m.values], qa.not_applicable is not None


def test_cameras_that_came_do_not_say_which_are_expected(made: Callable[..., Made], tmp_path: Path) -> None:
    zero = made("zero")
    status = zero[2].outcome.result.status
    assert counted(concluded_in(tmp_path / "a", zero, {CAMERA: status}))[1], "nobody said which are expected"
    whole = concluded_in(tmp_path / "b", zero, {CAMERA: status}, [CAMERA, "b0"], missing=["b0"])
    assert (counted(whole), whole.after.missing) == (([1.0], False), ["b0"])
    assert counted(concluded_in(tmp_path / "c", zero, {CAMERA: status}, [CAMERA])) == ([0.0], False)


def test_a_camera_whose_stored_result_is_damaged_is_not_called_normal(made: Callable[..., Made], tmp_path: Path) -> None:
    whole = concluded_in(tmp_path, made("zero"), {CAMERA: Status.NORMAL, "b0": Status.NORMAL})
    assert (whole.after.status, whole.after.parts["b0"]) == (Status.UNKNOWN, Status.UNKNOWN)
    assert any(r.startswith("b0: UNKNOWN: its stored result cannot be read") for r in whole.after.reasons)
    assert whole.card is not None
    assert whole.card.expected - whole.card.measured == 1
    assert whole.card.decision is Decision.CALL


def test_all_that_is_stored_here_can_be_written() -> None:
    assert all(can_write(label) for labels in PRODUCTS.values() for label in labels)


def test_what_the_chain_stores_by_itself_is_enough_for_many(tmp_path: Path) -> None:
    """Without --write: traces, their shift, the extracted and the calibrated spectra, the sky and the scores are there."""
    cameras = sim_instruments((CAMERA,), scale="tiny", seed=6)
    write_calibrations(tmp_path, cameras)
    session = open_session(instrument="desi", calib=tmp_path / "calib", out=tmp_path / "out", tag="t", plots=False)
    path = write_exposure(tmp_path, plan_exposure("science", 110), cameras)
    done = session.process("science", path, CAMERA)
    session.write(done, "science")
    again = session.measure_stored(["trace_shifts", "effective_time", "snr", "good_fibers"], path, CAMERA, chain="science")
    now = {q.name: q for q in again.after.qas}
    for qa in (q for q in done.outcome.result.qas if q.name in again.names):
        assert all(close(a, b) for a, b in zip(qa.metrics, now[qa.name].metrics, strict=True)), qa.name
    assert len(again.names) == 4
