"""A long slit from raw frames to calibrated spectra, with its own chains and builders, against the truth of the simulation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quicklook.api import Session, open_session
from quicklook.ccd.spectra import TraceSet
from quicklook.core.results import PartResult
from quicklook.core.status import Status
from quicklook.io.calibadd import add_calibration
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibfile import read_kind
from quicklook.sim import slit
from quicklook.sim.slit import SlitExposure, slit_row, write_slit, write_star


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Session]:
    """Calibrations built from a flat, an arc and a star."""
    folder = tmp_path_factory.mktemp("slit")
    (folder / "calib").mkdir()
    (folder / "calib" / "zenith.txt").write_text("3000 0.6\n4500 0.2\n6000 0.1\n")
    for kind, path in (("stdstar", write_star(folder / "calib" / "star.fits")), ("extinction", folder / "calib" / "zenith.txt")):
        add_calibration(folder / "calib", CalibEntry(kind=kind, path=str(path), instrument=("kast_blue",)), unchecked=True)
    session = open_session(instrument="kast_blue", calib=folder / "calib", out=folder / "out")
    for builder, flavor, number in (("traces", "flat", 3), ("psf", "arc", 1), ("slit-fiberflat", "flat", 3), ("slit-fluxcal", "science", 20)):
        made = session.build(builder, [write_slit(folder, SlitExposure(flavor=flavor, number=number))], "blue")  # type: ignore[arg-type]
        assert made.group.outcome.result.status is Status.NORMAL, made.group.outcome.result.reasons
        session.write_built(made)
    return folder, session


def measured(night: tuple[Path, Session], chain: str, planned: SlitExposure) -> PartResult:
    return night[1].process(chain, write_slit(night[0], planned), "blue").outcome.result


def value(result: PartResult, name: str) -> tuple[float | None, ...]:
    return next(tuple(m.values) for q in result.qas for m in q.metrics if m.name == name)


@pytest.mark.parametrize(("chain", "flavor"), [("slit-arc", "arc"), ("slit-flat", "flat"), ("slit-science", "science")])
def test_healthy_frames_go_through_each_chain(night: tuple[Path, Session], chain: str, flavor: str) -> None:
    result = measured(night, chain, SlitExposure(flavor=flavor, number=40, flexure=0.1))  # type: ignore[arg-type]
    assert not [s.failure for s in result.steps if s.failure]
    assert result.status is Status.NORMAL, result.reasons


def test_wavelengths_and_places_are_the_true_ones(night: tuple[Path, Session]) -> None:
    traces = read_kind(next((night[0] / "calib").glob("psf-*.fits")), "psf")
    assert isinstance(traces, TraceSet)
    wave = np.linspace(3800.0, 5300.0, 50)  # the outer lines
    x, y = traces.evaluate(traces.x, wave), traces.evaluate(traces.y, wave)
    assert np.abs(y - slit_row(wave[None, :], x)).max() < 0.15  # row
    edge = slit.FIRST - 0.5 + slit.TILT * y[0] / slit.NY
    assert np.abs(x[0] - 0.5 * slit.LENGTH / traces.nfibre - edge).max() < 0.1


def test_what_was_put_in_is_found(night: tuple[Path, Session]) -> None:
    planned = SlitExposure(flavor="science", number=41, flexure=0.35, moved=3.0, place=0.3)
    result = measured(night, "slit-science", planned)
    assert value(result, "slit_wave_shift") == (pytest.approx(0.35, abs=0.05),)
    assert value(result, "slit_edge_shift") == (pytest.approx(3.0, abs=0.1), pytest.approx(3.0, abs=0.1))
    apertures = 61
    assert value(result, "object_place") == (pytest.approx(0.3 * apertures - 0.5 + 3.0 * apertures / slit.LENGTH, abs=0.1),)
    assert value(result, "object_fwhm") == (pytest.approx(2.3548 * slit.SIGMA_X * apertures / slit.LENGTH, rel=0.2),)  # sampled twice in its width


def test_a_slit_without_an_object(night: tuple[Path, Session]) -> None:
    result = measured(night, "slit-science", SlitExposure(flavor="science", number=42, object=0.0))
    assert value(result, "objects_found") == (0.0,)
