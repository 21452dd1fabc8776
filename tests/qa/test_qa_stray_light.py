"""Light between bundles of fibres: what was put there is found, and traces that lie on other fibres show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qa_frames import all_metrics

from qa.stray_light import StrayLight
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image
from quicklook.ccd.spectra import TraceSet
from quicklook.ccd.tags import TAGS
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.judge import Judge
from quicklook.core.keys import Unit
from quicklook.core.limits import load_limits
from quicklook.core.metrics import Measured
from quicklook.core.status import Status
from quicklook.core.yamlsource import parse_yaml

FOLDER = Path(__file__).parents[2] / "configs" / "limits"
NY, NX = 300, 200
PITCH, GAP = 7.0, 17.0
PLACES = np.concatenate([10 + PITCH * np.arange(8), 10 + 7 * PITCH + GAP + PITCH * np.arange(8), [10 + 14 * PITCH + 2 * GAP]])
"""Two bundles of eight fibres, and one fibre more; the first gap lies on amplifier A, the other on B."""
NOISE, LIGHT = 2.0, 500.0


def traces(places: np.ndarray = PLACES) -> TraceSet:
    x = np.stack([places, np.full(len(places), 0.5)], axis=1)  # a slight tilt
    y = np.tile([0.5 * (NY - 1), 0.5 * (NY - 1)], (len(places), 1))
    return TraceSet(x=x, y=y, wavemin=5000.0, wavemax=6000.0, npix_x=NX, npix_y=NY, fiber=np.arange(len(places), dtype=np.int32))


def image(light: float = LIGHT, leak: float = 0.0, mask: np.ndarray | None = None, dead: dict[str, str] | None = None, seed: int = 1) -> Image:
    column, row = np.arange(NX), np.arange(NY)
    tilt = 0.5 * (2 * row / (NY - 1) - 1)
    spectra = sum(light * np.exp(-0.5 * ((column[None, :] - p - tilt[:, None]) / 1.1) ** 2) for p in PLACES)
    pixels = spectra + leak + np.random.default_rng(seed).normal(0.0, NOISE, (NY, NX))
    half = NX // 2
    amps = tuple(Amplifier(name=n, data=Section(0, NY, x, x + half), ccd=Section(0, NY, x, x + half), gain=1.0) for n, x in (("A", 0), ("B", half)))
    return Image(
        camera="r0",
        pixels=pixels.astype(np.float32),
        ivar=np.ones((NY, NX), np.float32),
        mask=np.zeros((NY, NX), np.uint16) if mask is None else mask,
        amplifiers=amps,
        read_noise={"A": NOISE, "B": NOISE},
        dead=dead or {},
    )


def measured(frame: Image, of: TraceSet | None = None) -> tuple[Measured, Measured]:
    got = StrayLight().measure(frame, of or traces())
    return got["stray_light"], got["stray_light_ratio"]


def test_between_bundles_it_is_dark() -> None:
    stray, ratio = measured(image())
    assert stray.coords == {"amp": ("A", "B")}
    np.testing.assert_allclose(stray.values, 0.0, atol=4 * 1.25 * NOISE / np.sqrt(75))  # the median of 75 pixels
    np.testing.assert_allclose(ratio.values, 0.0, atol=0.003)


def test_a_leak_is_measured() -> None:
    stray, ratio = measured(image(leak=30.0))
    np.testing.assert_allclose(stray.values, 30.0, atol=1.2)
    np.testing.assert_allclose(ratio.values, 30.0 / (LIGHT + 30.0), rtol=0.1)


SKY = 33.0
"""Electron in the brightest pixel of a fibre in a dark exposure; seven pixels of it hold 91 electron."""


def excess(frame: Image, flavor: str = "science") -> tuple[Measured, Status | None]:
    got = StrayLight().measure(frame, traces(), Exposure(unit=Unit(20220101, 1), instrument="desi", flavor=flavor, exptime=1000.0))
    documents = [parse_yaml((FOLDER / f"{n}.yaml").read_text(), f"{n}.yaml") for n in ("default", "desi")]
    judge = Judge(load_limits(documents, all_metrics(), TAGS))
    results = judge.measures(StrayLight.metrics, got, {"flavor": flavor, "program": "dark", "night": "20220101"})
    return got["stray_light_excess"], next(r for r in results if r.name == "stray_light_excess").status


@pytest.mark.parametrize("part", [0.1, 0.2, -0.1])
def test_a_leak_of_a_tenth_of_the_sky_is_found(part: float) -> None:
    leak = part * SKY * 1.1 * np.sqrt(2.0 * np.pi) / 7.0  # of the mean over seven pixels of a fibre
    got, status = excess(image(light=SKY, leak=leak))
    # 900 pixels beside the middles of a gap: 2 / sqrt(900) of 13 electron are half a per cent; three and four of them
    np.testing.assert_allclose(got.values, np.sign(part) * (abs(part) - 0.015), atol=0.02)
    assert "% of the light of the fibres" in got.remarks[("A",)]
    assert status in (Status.WARNING, Status.ALARM)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("light", [SKY, SKY / 15.0])
def test_without_a_leak_nothing_is_left_in_long_and_short_exposures(light: float, seed: int) -> None:
    got, status = excess(image(light=light, seed=seed))
    assert np.abs(got.values).max() < 0.005
    assert status is Status.NORMAL


def test_stray_light_is_no_step_of_whole_adu() -> None:
    """Where pixels are whole numbers the median of them is, too: a leak of 0.4 was none, or 1."""
    frame = image(light=SKY, leak=0.4)
    whole = replace(frame, pixels=np.rint(frame.pixels).astype(np.float32))
    told = [float(r.split(", ")[1].split()[0]) for r in excess(whole)[0].remarks.values()]
    np.testing.assert_allclose(told, 0.4, atol=4 * NOISE / 30.0)  # of 900 pixels


def test_traces_on_the_next_fibre_have_light_between_bundles() -> None:
    ratio = measured(image(), traces(PLACES + PITCH))[1]
    assert (ratio.values > 0.1).all()


def test_without_light_on_the_traces_there_is_no_ratio() -> None:
    stray, ratio = measured(image(light=0.0))
    assert np.isfinite(stray.values).all()
    assert np.isnan(ratio.values).all()
    assert "no light on the traces" in ratio.remarks[("A",)]


def test_in_arcs_the_ratio_does_not_apply_in_flats_it_is_unknown() -> None:
    arc = Exposure(unit=Unit(20220101, 1), instrument="desi", flavor="arc", exptime=5.0)
    got = StrayLight().measure(image(light=0.0), traces(), arc)
    assert "no light on the traces" in str(got["stray_light_ratio"].not_applicable)
    assert len(got.plots[0].panels) == 1, "nothing is drawn of what does not apply"
    assert np.isfinite(got["stray_light"].values).all()
    flat = StrayLight().measure(image(light=0.0), traces(), replace(arc, flavor="flat"))
    assert np.isnan(flat["stray_light_ratio"].values).all()


def test_masked_gaps_tell_nothing_and_a_dead_amplifier_is_unknown() -> None:
    mask = np.zeros((NY, NX), np.uint16)
    mask[:, : NX // 2] = 1
    assert measured(image(mask=mask))[0].coords == {"amp": ("B",)}
    nothing = measured(image(mask=np.ones((NY, NX), np.uint16)))[0]
    assert np.isnan(nothing.values).all()
    assert nothing.remarks[("A",)] == "no pixel between bundles is usable"
    dead = measured(image(dead={"B": "every pixel reads 7"}))[0]
    assert np.isnan(dead.values[1])
    assert "every pixel reads 7" in dead.remarks[("B",)]


def test_where_it_does_not_apply_it_says_so() -> None:
    with pytest.raises(NotApplicable, match="not in bundles"):
        measured(image(), traces(10 + PITCH * np.arange(20)))
    with pytest.raises(BadData, match="certify others"):
        measured(image(), replace(traces(), npix_x=NX + 1))


def test_what_no_dark_was_subtracted_from_cannot_be_told_from_light() -> None:
    frame = replace(image(leak=20.0), skipped={"dark": "there is none for this exposure"})
    got = StrayLight().measure(frame, traces())
    assert "no dark was subtracted" in (got["stray_light_excess"].not_applicable or "")
    assert got["stray_light"].values[0] == pytest.approx(20.0, abs=1.0)  # it is measured all the same, by its own limit
    assert StrayLight().measure(image(leak=20.0), traces())["stray_light_excess"].not_applicable is None
