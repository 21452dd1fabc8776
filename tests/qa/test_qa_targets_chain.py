"""The QAs of targets and sky fibres at the end of the science chain, on small simulated exposures: quiet where all is well, by name where it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from quicklook.api import Session
from quicklook.ccd.spectra import Frame
from quicklook.core.results import PartResult
from quicklook.core.status import Status
from quicklook.service.site import load_site
from quicklook.sim import Fault, PlannedExposure, plan_exposure, sim_instruments, write_calibrations, write_exposure

OURS = ("snr", "integrated_magnitudes", "throughput", "effective_time", "sky_fibers")
CLEAR = plan_exposure("science", 102)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Callable[[PlannedExposure], PartResult]:
    """The result of a camera for an exposure."""
    folder, cameras = tmp_path_factory.mktemp("targets"), sim_instruments(("r0",), scale="small", seed=77)
    write_calibrations(folder, cameras)
    session = Session(load_site(None, options={"instrument": "desi", "calib": str(folder / "calib"), "out": str(folder / "out")}))

    def run(planned: PlannedExposure) -> PartResult:
        path: Path = write_exposure(folder, planned, cameras)
        return session.process("science", path, "r0").outcome.result

    return run


def value(result: PartResult, name: str) -> float:
    found = [m for q in result.qas for m in q.metrics if m.name == name]
    assert found[0].values[0] is not None
    return found[0].values[0]


def not_normal(result: PartResult) -> dict[str, Status | None]:
    return {q.name: q.status for q in result.qas if q.name in OURS and q.status is not Status.NORMAL}


def test_a_sound_exposure_through_thin_clouds_is_normal(process: Callable[[PlannedExposure], PartResult]) -> None:
    result = process(replace(CLEAR, transparency=0.75, sky_factor=0.8))
    assert not_normal(result) == {}
    assert value(result, "star_light") == pytest.approx(0.75, rel=0.02)
    assert value(result, "throughput") == pytest.approx(1.0, abs=0.08)  # the guide cameras know the transparency to 0.02


def test_a_quarter_of_the_light_lost_in_the_instrument_is_the_throughput(process: Callable[[PlannedExposure], PartResult]) -> None:
    result = process(replace(CLEAR, expid=103, faults=(Fault(name="low_throughput", strength=0.75),)))
    assert not_normal(result) == {"throughput": Status.WARNING}
    assert value(result, "throughput") == pytest.approx(0.75, abs=0.06)
    assert any("throughput is 0.7" in reason for reason in result.reasons)


def test_targets_in_half_of_the_sky_fibres_are_named(process: Callable[[PlannedExposure], PartResult]) -> None:
    result = process(replace(CLEAR, expid=104, faults=(Fault(name="lost_sky", strength=22.0),)))
    assert not_normal(result) == {"sky_fibers": Status.ALARM}
    assert any("contaminated_sky_fibers is 0.5" in reason and "fibre" in reason for reason in result.reasons)


def test_a_camera_without_sky_fibres_is_judged_by_what_applies_to_it(tmp_path: Path) -> None:
    """It is neither unknown nor called good spectra: these keep their sky, no cframe is made, and the verdict says so."""
    cameras = sim_instruments(("r0",), scale="small", seed=77, nsky=0)
    write_calibrations(tmp_path, cameras)
    session = Session(load_site(None, options={"instrument": "desi", "calib": str(tmp_path / "calib"), "out": str(tmp_path / "out")}))
    outcome = session.process("science", write_exposure(tmp_path, CLEAR, cameras), "r0").outcome
    result = outcome.result
    assert result.status is Status.NORMAL
    assert len(result.reasons) == 1
    assert "step compute_sky does not apply: camera r0: no sky fibre in the fibre map" in result.reasons[0]
    assert "left out with it: subtract_sky" in result.reasons[0]
    silent = {q.name for q in result.qas if q.not_applicable}
    assert silent >= {"sky_residual", "sky_fibers", "usable_spectra", "snr", "throughput", "effective_time"}
    assert {"calibrations", "good_fibers", "trace_shifts"}.isdisjoint(silent)
    assert "cframe" not in outcome.kept
    assert outcome[Frame].stage == "fframe"
