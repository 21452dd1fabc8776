"""QAs of shifts, widths, sky and wavelengths on simulated exposures, against what the simulator has put in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from quicklook.api import Session, open_session
from quicklook.core.results import MetricResult, PartResult
from quicklook.core.status import Status
from quicklook.sim import Fault, SimInstrument, plan_exposure, sim_instruments, simulate_exposure, write_calibrations, write_exposure
from quicklook.sim.plan import PlannedExposure
from quicklook.sim.spectra import calibration
from quicklook.sim.traces import Flexure, Traces

MINE = ("trace_shifts", "trace_widths", "sky_continuum", "sky_peaks", "sky_brightness", "sky_wavelengths", "sky_residual", "stray_light")
AREA = 1.79
SEED = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A small simulated camera with its calibrations."""

    folder: Path
    instruments: tuple[SimInstrument, ...]
    session: Session

    def run(self, planned: PlannedExposure) -> PartResult:
        path = write_exposure(self.folder, planned, self.instruments)
        return self.session.process(planned.flavor, path, self.instruments[0].camera).outcome.result


def make(folder: Path, camera: str = "r0", scale: str = "small") -> Bench:
    instruments = sim_instruments((camera,), scale=scale, seed=SEED)  # type: ignore[arg-type]
    calib = write_calibrations(folder, instruments)
    return Bench(folder=folder, instruments=instruments, session=open_session(instrument="desi", calib=calib, out=folder / "out"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make(tmp_path_factory.mktemp("sky"))


def metric(result: PartResult, name: str) -> MetricResult:
    return next(m for q in result.qas for m in q.metrics if m.name == name)


def by_axis(result: PartResult) -> dict[str, float]:
    found = metric(result, "trace_shift")
    return {str(a): float(v) for a, v in zip(found.coords["axis"], found.values, strict=True) if v is not None}


def still(expid: int, *faults: Fault, **changes: object) -> PlannedExposure:
    return replace(plan_exposure("science", expid, faults=faults), flexure=(0.0, 0.0), **changes)  # type: ignore[arg-type]


def test_a_sound_exposure(bench: Bench) -> None:
    """All is NORMAL; brightness and continuum are those of the sky that was simulated, worked out here from its electrons."""
    planned = still(110, airmass=1.4, seeing=1.4)
    result = bench.run(planned)
    mine = [q for q in result.qas if q.name in MINE]
    assert len(mine) == len(MINE)
    assert {q.name: q.status for q in mine if q.status not in (Status.NORMAL, None)} == {}
    assert abs(float(metric(result, "sky_wave_zero").values[0] or 9.0)) < 0.01
    truth = simulate_exposure(bench.instruments[0], planned).truth
    assert truth.spectra.sky is not None
    live = truth.spectra.sky.sum(axis=1) > 0
    wave = truth.wave[live]
    step = np.gradient(wave, axis=1)
    density = truth.spectra.sky[live] / step / truth.fiberflat[live]
    at = replace(planned, airmass=1.0, seeing=1.1)  # those of the flux calibration: the sky knows no other
    flux = density / calibration("r", at, wave) / AREA
    band = (wave > 5760) & (wave < 7160)
    zero = 3.631e-20 * 2.99792458e18 * 1e17 / wave**2
    width = step * wave
    expected = -2.5 * np.log10((flux * width)[band].sum() / (zero * width)[band].sum())
    assert float(metric(result, "sky_brightness").values[0] or 0.0) == pytest.approx(expected, abs=0.02)
    window = metric(result, "sky_continuum")
    low, high = (float(v) for v in str(window.coords["window"][0]).split("-"))
    level = np.median(density[(wave > low) & (wave < high)]) / planned.exptime
    assert float(window.values[0] or 0.0) == pytest.approx(level, rel=0.02)


@pytest.mark.parametrize(("dx", "dy"), [(0.13, -0.08), (-0.45, 0.6), (1.8, -2.4)])
def test_a_global_shift_is_seen(bench: Bench, dx: float, dy: float) -> None:
    faults = Fault(name="trace_shift", strength=dx), Fault(name="wavelength_shift", strength=dy)
    result = bench.run(still(120 + round(10 * dx), *faults))
    seen = by_axis(result)
    assert seen["x"] == pytest.approx(dx, abs=0.02)
    assert seen["y"] == pytest.approx(dy, abs=0.02)
    assert (metric(result, "trace_shift").status is Status.NORMAL) == (max(abs(dx), abs(dy)) < 0.2)
    assert metric(result, "sky_wave_zero").status is Status.NORMAL, "after the correction the wavelengths are right"


def test_a_shift_that_is_not_corrected_is_a_wrong_zero(bench: Bench) -> None:
    """With flexure along the dispersion switched off, the zero of the wavelengths tells of it by itself."""
    path = write_exposure(bench.folder, still(150, Fault(name="wavelength_shift", strength=0.5)), bench.instruments)
    session = open_session(instrument="desi", calib=bench.folder / "calib", out=bench.folder / "out", overrides=["flexure.use_y=false"])
    zero = metric(session.process("science", path, "r0").outcome.result, "sky_wave_zero")
    assert zero.status is Status.ALARM
    assert float(zero.values[0] or 0.0) == pytest.approx(0.5 * 0.53, rel=0.12)  # of the dispersion; the fit is of first order


@pytest.fixture
def blurred(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """Light with wider profiles than those of the calibrations."""
    moved = Traces.shifted

    def make_wider(x: float, y: float) -> None:
        def shifted(self: Traces, flexure: Flexure) -> Traces:
            now = moved(self, flexure)
            return replace(now, sigma_x=now.sigma_x * x, sigma_y=now.sigma_y * y)

        monkeypatch.setattr(Traces, "shifted", shifted)

    return make_wider


def test_defocus_of_15_percent_is_found(bench: Bench, blurred: Callable[[float, float], None]) -> None:
    blurred(1.15, 1.15)
    result = bench.run(still(160))
    for name in ("width_x_ratio", "width_y_ratio"):
        assert metric(result, name).status in (Status.WARNING, Status.ALARM), name
        assert np.median([v for v in metric(result, name).values if v is not None]) == pytest.approx(1.15, abs=0.03)
    assert any("width_x_ratio" in r or "width_y_ratio" in r for r in result.reasons)


@pytest.mark.long
@pytest.mark.parametrize("camera", ["r0", "b0"])
def test_a_global_shift_in_a_full_camera(tmp_path: Path, camera: str) -> None:
    whole = make(tmp_path, camera, "full")
    seen = by_axis(whole.run(still(170, Fault(name="trace_shift", strength=0.31), Fault(name="wavelength_shift", strength=-0.16))))
    assert seen["x"] == pytest.approx(0.31, abs=0.02)
    assert seen["y"] == pytest.approx(-0.16, abs=0.02)
