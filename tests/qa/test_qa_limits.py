"""The limits that are shipped: they load, they know our metrics, and they judge known frames as a person would."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qa_frames import all_metrics, amplifier, exposure, image, pixels, raw_image

from qa.bias_level import BiasLevel
from qa.check_file import CheckFile
from qa.dead_amp import DeadAmp
from qa.image_level import ImageLevel
from qa.lit_fraction import LitFraction
from qa.read_noise import ReadNoise
from qa.saturation import Saturation
from quicklook.ccd.exposure import Arrival, Companion
from quicklook.ccd.image import RawImage
from quicklook.ccd.tags import TAGS
from quicklook.core.judge import Judge
from quicklook.core.limits import load_limits
from quicklook.core.metrics import Measures, MetricDef, measured
from quicklook.core.plugin import MonitoringAlg
from quicklook.core.results import MetricResult
from quicklook.core.status import Status
from quicklook.core.yamlsource import parse_yaml

FOLDER = Path(__file__).parents[2] / "configs" / "limits"
INSTRUMENTS = ("desi", "kast_blue", "virus", "vis_bench")
QAS: tuple[type[MonitoringAlg[Any]], ...] = (BiasLevel, CheckFile, DeadAmp, ImageLevel, LitFraction, ReadNoise, Saturation)
METRICS: dict[str, MetricDef] = {m.name: m for qa in QAS for m in qa.metrics}


def judge_of(*names: str) -> Judge:
    documents = [parse_yaml((FOLDER / f"{n}.yaml").read_text(), f"{n}.yaml") for n in names]
    return Judge(load_limits(documents, all_metrics(), TAGS))


def judged(measures: Measures, qa: type[MonitoringAlg[Any]], flavor: str, instrument: str = "", program: str = "", **tags: str) -> dict[str, MetricResult]:
    judge = judge_of("default", *([instrument] if instrument else []))
    results = judge.measures(qa.metrics, measures, {"flavor": flavor, "program": program, "night": "20220101", **tags})
    return {r.name: r for r in results}


def statuses(results: dict[str, MetricResult]) -> set[Status]:
    return {r.status for r in results.values() if r.status is not None}


def frame(values: np.ndarray | None = None, changes: dict[str, Any] | None = None) -> RawImage:
    amps = tuple(amplifier(i, **(changes or {})) for i in range(4))
    return raw_image(pixels(2.0) if values is None else values, amps)


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_every_file_loads_with_the_default(name: str) -> None:
    assert len(judge_of("default", name).limits.limits) > 20


def test_every_metric_of_an_amplifier_that_must_not_be_lost_has_a_limit() -> None:
    limited = {limit.metric for limit in judge_of("default").limits.limits}
    without = {"read_noise_adu", "read_noise_mad", "read_noise_mad_adu", "bias_step", "bias_drift", "constant_fraction", "saturated_pixels"}
    assert set(METRICS) - limited == without | {"lit_fraction_long"}  # which DESI alone limits


@pytest.mark.parametrize("flavor", ["zero", "dark", "science", "arc", "flat"])
@pytest.mark.parametrize("instrument", ["", "desi"])
def test_healthy_raw_frames_are_normal(flavor: str, instrument: str) -> None:
    raw = frame()
    for measures, qa in _raw_measures(raw, flavor):
        assert statuses(judged(measures, qa, flavor, instrument)) == {Status.NORMAL}


def _raw_measures(raw: RawImage, flavor: str) -> Sequence[tuple[Measures, type[MonitoringAlg[Any]]]]:
    exp = exposure(flavor, 100.0)
    return (
        (BiasLevel().measure(raw, exp), BiasLevel),
        (ReadNoise().measure(raw, exp), ReadNoise),
        (DeadAmp().measure(raw), DeadAmp),
        (Saturation().measure(raw), Saturation),
    )


def test_dead_amplifier_is_an_alarm_by_name_and_its_noise_unknown() -> None:
    values = pixels(2.0)
    values[:256, 164:] = 65535
    raw = frame(values)
    dead = judged(DeadAmp().measure(raw), DeadAmp, "zero")["dead_amp"]
    assert dead.status is Status.ALARM
    assert "amp B" in dead.reason
    assert "every pixel reads 65535" in dead.reason
    assert dead.reason == "dead_amp of amp B: every pixel reads 65535"
    noise = judged(ReadNoise().measure(raw, exposure()), ReadNoise, "zero")["read_noise"]
    assert noise.status is Status.UNKNOWN
    assert noise.statuses == [Status.NORMAL, Status.UNKNOWN, Status.NORMAL, Status.NORMAL]


@pytest.mark.parametrize(("factor", "status"), [(1.0, Status.NORMAL), (1.4, Status.WARNING), (3.0, Status.ALARM), (0.3, Status.ALARM)])
def test_noise_against_the_expected_one(factor: float, status: Status) -> None:
    got = judged(ReadNoise().measure(frame(pixels(2.0 * factor)), exposure()), ReadNoise, "zero")
    assert got["read_noise_ratio"].status is status


@pytest.mark.parametrize(("height", "status"), [(0.0, Status.NORMAL), (2.0, Status.WARNING), (20.0, Status.ALARM)])
def test_bias_steps(height: float, status: Status) -> None:
    values = pixels(2.0).astype(np.float32)
    values[128:256] += height
    got = judged(BiasLevel().measure(frame(np.rint(values)), exposure()), BiasLevel, "zero")
    assert got["bias_step_ratio"].status is status


@pytest.mark.parametrize("flavor", ["science", "zero", "dark"])
@pytest.mark.parametrize(("adu", "status"), [(0.0, Status.NORMAL), (1.5, Status.WARNING), (15.0, Status.ALARM)])
def test_rows_that_differ_count_in_the_light_too(adu: float, status: Status, flavor: str) -> None:
    values = pixels(2.0).astype(np.float32)
    values[256:] += np.random.default_rng(5).normal(0.0, adu, (len(values) - 256, 1)).astype(np.float32)
    got = judged(BiasLevel().measure(frame(np.rint(values)), exposure(flavor, 900.0)), BiasLevel, flavor, "desi")
    assert got["bias_row_pattern"].status is status


def test_zeros_are_dark_and_flats_are_lit() -> None:
    dark = LitFraction().measure(image(np.zeros((400, 300), np.float32)))
    lit = LitFraction().measure(image(np.full((400, 300), 100, np.float32)))
    for instrument in ("", "desi"):
        assert judged(dark, LitFraction, "zero", instrument)["lit_fraction"].status is Status.NORMAL
        assert judged(lit, LitFraction, "zero", instrument)["lit_fraction"].status is Status.ALARM
        assert judged(dark, LitFraction, "flat", instrument)["lit_fraction_camera"].status is Status.ALARM
        assert judged(dark, LitFraction, "arc", instrument)["lit_fraction_camera"].status is Status.ALARM
    assert judged(dark, LitFraction, "flat", "desi")["lit_fraction"].status is Status.ALARM
    assert judged(lit, LitFraction, "flat")["lit_fraction_camera"].status is Status.NORMAL
    assert judged(dark, LitFraction, "science", "desi", "dark")["lit_fraction"].status is Status.ALARM
    assert judged(dark, LitFraction, "science")["lit_fraction_camera"].status is Status.WARNING


@pytest.mark.parametrize(
    ("part", "seconds", "status"),
    [
        (0.0002, 30.0, Status.NORMAL),
        (0.03, 300.0, Status.NORMAL),  # a healthy exposure of DESI that is short
        (0.0005, 60.0, Status.NORMAL),
        (0.081, 900.0, Status.NORMAL),  # a noisy amplifier under a faint sky
        (0.03, 900.0, Status.WARNING),
        (0.01, 900.0, Status.ALARM),
        (0.0, 60.0, Status.ALARM),
    ],
)
def test_how_much_must_be_lit_depends_on_the_exposure_time(part: float, seconds: float, status: Status) -> None:
    values = np.zeros((400, 300), np.float32)
    for y in (0, 200):
        for x in (0, 150):
            n = np.arange(round(part * 30_000))
            values[y + n // 150, x + n % 150] = 100.0
    got = judged(LitFraction().measure(image(values), exposure("science", seconds)), LitFraction, "science", "desi", "dark", exptime=f"{seconds:g}")
    assert max(statuses(got), key=lambda s: s.severity) is status


@pytest.mark.parametrize("flavor", ["science", "arc", "flat"])
def test_a_slit_that_lights_one_amplifier_alone_is_normal_where_nothing_is_known_of_the_instrument(flavor: str) -> None:
    slit = np.random.default_rng(2).normal(0, 2.5, (400, 300)).astype(np.float32)
    slit[:, 20:50] += 100
    got = judged(LitFraction().measure(image(slit)), LitFraction, flavor)
    assert statuses(got) == {Status.NORMAL}
    assert got["lit_fraction"].values[1] == 0.0


def test_files() -> None:
    fibermap = Companion(role="fibermap", name="fibermap-7.fits", present=False, required=True)
    bad = Arrival(file="f", size=1, hdus=(), expected_hdus=("R0",), missing_keywords=("GAINA",), companions=(fibermap,), night_of_header=20220102,
                  night_of_time=20220101, problems={"headers": ("EXPID 7 in the header, 8 in the file name",)})  # fmt: skip
    got = judged(CheckFile().measure(bad), CheckFile, "science")
    assert got["companion_missing"].status is Status.UNKNOWN
    assert "fibermap-7.fits is not there" in got["companion_missing"].reason
    assert got["night_error"].status is Status.WARNING
    assert "20220102" in got["night_error"].reason
    assert {got[n].status for n in ("missing_keywords", "header_problems", "hdu_missing")} == {Status.ALARM}
    good = Arrival(file="f", size=1, hdus=("R0",), expected_hdus=("R0",), night_of_header=20220101, night_of_time=20220101)
    assert statuses(judged(CheckFile().measure(good), CheckFile, "science")) == {Status.NORMAL}


def test_healthy_image_is_normal_and_a_masked_one_is_not() -> None:
    dark = np.random.default_rng(1).normal(0, 2.5, (400, 300)).astype(np.float32)
    assert statuses(judged(ImageLevel().measure(image(dark)), ImageLevel, "zero", "desi")) == {Status.NORMAL}
    mask = np.zeros((400, 300), np.uint16)
    mask[:200, :150] = 1
    got = judged(ImageLevel().measure(image(dark, mask)), ImageLevel, "zero", "desi")
    assert got["masked_fraction"].status is Status.ALARM
    assert got["image_level"].status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("name", "where", "value"),
    [
        ("effective_time_ratio", {"target": "ELG"}, 0.0024),
        ("fiducial_snr", {"target": "ELG"}, 0.001),
        ("trace_shift", {"axis": "y"}, 0.25),
        ("trace_shift_error", {"axis": "y"}, 0.08),
        ("trace_shift_range", {"axis": "y"}, 0.37),
        ("trace_shift_scatter", {"axis": "y"}, 0.35),
    ],
)
def test_what_read_noise_makes_of_a_few_seconds_is_no_fault(name: str, where: dict[str, str], value: float) -> None:
    """Values of healthy simulated exposures of 1 to 20 s; in those of full length each would be one."""
    judge, definition = judge_of("default", "desi"), all_metrics()[name]
    got = measured(name, [value], **{k: (v,) for k, v in where.items()})
    status = {
        seconds: judge.metric(definition, got, {"flavor": "science", "program": "dark", "night": "20220101", "arm": "r", "exptime": seconds}).status
        for seconds in ("10", "900")
    }
    assert status["10"] is Status.NORMAL
    assert status["900"] in (Status.WARNING, Status.ALARM)
