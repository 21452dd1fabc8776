"""The merged QA under DESI's names: statuses, what is left out, and the table that says what stands for what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from quicklook.core.metrics import MetricDef
from quicklook.core.results import LimitUsed, MetricResult, PartResult, Provenance, QAResult
from quicklook.core.status import Status, worst
from quicklook.io.desiqa import DESI_KEYS, desi_name, names_page, to_desi
from quicklook.service.site import declared_metrics

TOO_HIGH = LimitUsed(normal=(1.0, 4.0), warning=(None, 5.0))


def metric(name: str, values: list[float | None], axis: str = "", limit: LimitUsed | None = TOO_HIGH, why: str | None = None) -> MetricResult:
    """Judged by hand: above 5 ALARM, absent UNKNOWN."""
    statuses = [None if limit is None else Status.UNKNOWN if v is None else Status.ALARM if v > 5 else Status.NORMAL for v in values]
    coords: dict[str, list[Any]] = {axis: [f"{axis}{i}" for i in range(len(values))]} if axis else {}
    of = [None if limit is None else 0 for _ in values]
    worst_at = next((i for i, s in enumerate(statuses) if s is worst(statuses)), None) if limit is not None else None
    return MetricResult(
        name=name, unit="", coords=coords, values=values, status=worst(statuses), statuses=statuses, limits=[limit] if limit is not None else [],
        limit_of=of, worst=worst_at, not_applicable=why,
    )  # fmt: skip


def qa(name: str, *metrics: MetricResult, **more: Any) -> QAResult:
    return QAResult(name=name, step="s", group="CCDs", status=worst(m.status for m in metrics), seconds=0.0, metrics=list(metrics), **more)


def result(*qas: QAResult) -> PartResult:
    provenance = Provenance(versions={"spectroquicklook": "1"}, chain="science", config_sha256="", limits_sha256="")
    return PartResult(
        night=20220101, expid=7, part="b3", tag="t", revision=0, tags={"flavor": "science", "program": "dark"}, status=Status.ALARM, reasons=["x"],
        measured=1, expected=1, steps=[], qas=list(qas), provenance=provenance,
    )  # fmt: skip


def test_a_value_status_and_ranges() -> None:
    made = to_desi(result(qa("read_noise", metric("read_noise", [2.0, 9.0], "amp"))))
    task = made["TASKS"]["CHECK_CCDs"]
    assert task["METRICS"] == {"NOISE_AMP": [2.0, 9.0], "NOISE_AMP_STATUS": "ALARM"}
    assert task["PARAMS"] == {
        "NOISE_AMP_NORMAL_RANGE": [1.0, 4.0],
        "NOISE_AMP_WARN_RANGE": [None, 5.0],
        "NOISE_AMP_METRIC": "read_noise",
        "NOISE_AMP_OF": ["amp0", "amp1"],
    }
    assert (made["NIGHT"], made["EXPID"], made["CAMERA"], made["FLAVOR"]) == ("20220101", "00000007", "b3", "science")
    assert desi_name(result()) == "ql-mergedQA-b3-00000007.json"


def test_unknown_stays_unknown_and_its_value_is_null() -> None:
    made = to_desi(result(qa("bias_level", metric("bias_level", [3.0, None], "amp")), qa("lit_fraction", failure=FAILED)))
    metrics = made["TASKS"]["CHECK_CCDs"]["METRICS"]
    assert (metrics["BIAS_AMP"], metrics["BIAS_AMP_STATUS"]) == ([3.0, None], "UNKNOWN")
    assert (metrics["LITFRAC_AMP"], metrics["LITFRAC_AMP_STATUS"]) == ([], "UNKNOWN")
    json.dumps(made, allow_nan=False)


FAILED = {"error": "BadData", "message": "no", "what_next": "look"}


def test_what_does_not_apply_and_what_nobody_judges_is_named() -> None:
    made = to_desi(
        result(
            qa("snr", not_applicable="no targets"),
            qa("sky_brightness", metric("sky_brightness", [], limit=None, why="no flux")),
            qa("sky_residual", metric("sky_residual", [2.0], limit=None)),
        )
    )
    info = made["GENERAL_INFO"]
    assert info["NOT_APPLICABLE"] == {"FIDSNR_TGT": "no targets", "SKYRBAND": "no flux"}
    assert info["NOT_JUDGED"] == ["RESIDUAL"]
    assert made["TASKS"] == {"CHECK_SPECTRA": {"METRICS": {"RESIDUAL": 2.0}, "PARAMS": {}}}
    assert "NOISE_AMP" in info["NOT_MEASURED"]


def test_medians_and_what_is_expected() -> None:
    widths = qa("trace_widths", metric("width_x", [1.0, 3.0, None], "amp"), metric("width_y", [2.0, 2.5, 6.0], "amp"))
    fibers = qa("good_fibers", metric("good_fibers", [480.0], limit=None), metric("lost_fibers", [12.0]), metric("known_bad_fibers", [8.0], limit=None))
    task = to_desi(result(widths, fibers))["TASKS"]["CHECK_FIBERS"]
    assert task["METRICS"]["XWSIGMA"] == pytest.approx([2.0, 2.5])
    assert task["METRICS"]["XWSIGMA_STATUS"] == "ALARM"
    assert task["PARAMS"]["XWSIGMA_METRIC"] == "width_y"
    assert (task["METRICS"]["NGOODFIB"], task["METRICS"]["NGOODFIB_STATUS"], task["PARAMS"]["NGOODFIB_REF"]) == (480.0, "ALARM", 500.0)


def test_the_table_names_what_is_measured_here() -> None:
    declared = declared_metrics()
    assert len({one.key for one in DESI_KEYS}) == len({one.desi_class for one in DESI_KEYS}) == len(DESI_KEYS) == 15
    for one in DESI_KEYS:
        from quicklook.core.registry import find

        own = {m.name for m in find("qa", one.qa).load().metrics}
        assert {*one.metrics, *one.judging, *one.reference} <= own, one.key
        definition: MetricDef = declared[one.metrics[0]]
        assert (one.shape != "list") or len(definition.dims) == 1, one.key
        assert f"| {one.desi_class} | {one.key} |" in names_page()


def test_an_element_that_does_not_apply_keeps_its_place_and_is_named() -> None:
    shift = metric("trace_shift", [2.0], "axis").model_copy(update={"coords": {"axis": ["x"]}})
    widths = qa("trace_widths", metric("width_x", [2.0], "amp"), metric("width_y", [], limit=None, why="no lines"))
    made = to_desi(result(qa("trace_shifts", shift), widths))
    task, aside = made["TASKS"]["CHECK_FIBERS"], made["GENERAL_INFO"]["NOT_APPLICABLE"]
    assert (task["METRICS"]["XYSHIFTS"], task["PARAMS"]["XYSHIFTS_OF"]) == ([2.0, None], ["x", "y"])
    assert task["METRICS"]["XWSIGMA"] == [2.0, None]
    assert aside == {"XYSHIFTS[1]": "trace_shift: y is not measured in such exposures", "XWSIGMA[1]": "width_y: no lines"}
    lost = to_desi(result(qa("trace_shifts", metric("trace_shift", [None, 0.1], "axis").model_copy(update={"coords": {"axis": ["x", "y"]}}))))
    assert lost["TASKS"]["CHECK_FIBERS"]["METRICS"]["XYSHIFTS"] == [None, 0.1]
    assert not lost["GENERAL_INFO"]["NOT_APPLICABLE"], "not measured is UNKNOWN, it is not that it does not apply"
