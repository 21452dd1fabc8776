"""The simulated test bench: files as those of the bench, pixels as its truth says, mishaps where they were asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from quicklook.core.errors import BadConfig
from quicklook.core.session import SessionFile
from quicklook.io.instrument import load_instrument
from quicklook.io.reader import open_reader
from quicklook.sim.bench import DARK_RATE, FLAT_RATE, Bench, BenchCcd, bench_of, make_ccd, raw_image
from quicklook.sim.benchplan import BenchExposure, Mishaps, plan_bench

START = datetime(2016, 11, 25, 9, tzinfo=UTC)
CCD = "ROE1_CCD1"


@pytest.fixture(scope="module")
def session() -> SessionFile:
    tests = [
        {"name": "BIAS01", "expect": [{"flavor": "zero", "count": 3}]},
        {"name": "FLAT01", "expect": [{"flavor": "flat", "count": 1, "exptime": 10, "wavelength": 800}]},
    ]
    return SessionFile.model_validate({"session": "s", "tests": tests, "hardware": {CCD: {"serial": "A-1"}}})


@pytest.fixture(scope="module")
def ccd() -> BenchCcd:
    return make_ccd(CCD, "A-1", seed=3, scale="small")


def exposure(flavor: str, exptime: float, obsid: int = 7) -> BenchExposure:
    return BenchExposure(obsid=obsid, test="T", position=1, flavor=flavor, exptime=exptime, wavelength=800.0, start=START)


def test_the_plan_with_its_mishaps(session: SessionFile) -> None:
    mishaps = Mishaps(aborted={"BIAS01": 2}, missing={"BIAS01": [2]})
    plan = plan_bench(session, first=10, start=START, mishaps=mishaps)
    assert [(e.obsid, e.test, e.position) for e in plan] == [
        (10, "BIAS01", 1), (11, "BIAS01", 2), (12, "BIAS01", 1), (14, "BIAS01", 3), (15, "FLAT01", 1)]  # fmt: skip
    assert [e.start for e in plan] == sorted(e.start for e in plan)
    assert [e.obsid for e in plan_bench(session, first=1, start=START, mishaps=Mishaps(), tests=["FLAT01"])] == [1]


@pytest.mark.parametrize("mishaps", [Mishaps(aborted={"BIAS9": 1}), Mishaps(missing={"BIAS01": [4]}), Mishaps(aborted={"BIAS01": 0})])
def test_mishaps_that_cannot_be(session: SessionFile, mishaps: Mishaps) -> None:
    with pytest.raises(BadConfig):
        plan_bench(session, first=1, start=START, mishaps=mishaps)


def test_the_files_are_those_that_the_instrument_reads(session: SessionFile, tmp_path: Path) -> None:
    bench: Bench = bench_of(session, tmp_path, [CCD], seed=3, scale="small", mishaps=Mishaps(serials={"FLAT01": {CCD: "B-2"}}))
    plan = plan_bench(session, first=100, start=START, mishaps=Mishaps())
    paths = [p for e in (plan[0], plan[-1]) for p in bench.write(e)]
    assert [p.name for p in paths] == ["EUC_100_251116D_090000T_ROE1_CCD1.fits", "EUC_103_251116D_090430T_ROE1_CCD1.fits"]
    reader = open_reader(load_instrument("vis_bench"))
    zero, flat = (reader.peek(p) for p in paths)
    assert (zero.unit.expid, zero.cameras, zero.flavor, zero.tags["program"], zero.tags["position"]) == (100, (CCD,), "zero", "BIAS01", "1")
    assert (flat.flavor, flat.exptime, flat.tags["wavelength"], flat.tags["serial"], flat.exposure.temperature_c) == ("flat", 10.0, "800.0", "B-2", -120.0)
    assert (zero.tags["serial"], zero.unit.night) == ("A-1", 20161125)
    log = (tmp_path / "25Nov16" / "EXP_LOG_251116.txt").read_text().splitlines()
    assert [row.split("\t")[0] for row in log] == ["ObsID", "100", "103"]
    housekeeping = (tmp_path / "25Nov16" / "HK_103_251116D090430T_ROE1.txt").read_text().splitlines()
    assert len(housekeeping) == 11  # a head, and a row a second
    assert housekeeping[1].split("\t")[0] == "09:04:30"
    assert len({len(row.split("\t")) for row in housekeeping}) == 1


def test_a_quadrant_is_as_its_truth_says(ccd: BenchCcd) -> None:
    """Read with the sections of the instrument file, which the simulator does not know."""
    instrument = load_instrument("vis_bench")
    layout = next(x for x in instrument.layouts if x.when.get("NAXIS1") == 398)
    raw = raw_image(ccd, exposure("zero", 0.0)).astype(float)
    assert raw.shape == (1064, 398)
    for name, spec in layout.specs().items():
        x0, x1, y0, y1 = (int(n) for part in str(spec.overscan[0]).strip("[]").split(",") for n in part.split(":"))
        strip = raw[y0 - 1 : y1, x0 - 1 : x1]
        # 10240 pixels: a level to 0.013 ADU, a noise to 0.7 %
        assert strip.mean() == pytest.approx(ccd.offset[name], abs=0.06)
        noise = np.sqrt(strip.var() - 1 / 12) * ccd.gain[name]
        assert noise == pytest.approx(ccd.read_noise[name], rel=0.03)


def test_light_and_dark(ccd: BenchCcd) -> None:
    flat, dark = (raw_image(ccd, exposure(*kind)).astype(float) for kind in (("flat", 10.0), ("dark", 36000.0)))
    corner = (slice(0, 512), slice(51, 179))  # of quadrant H
    level = np.median(flat[corner] - ccd.offset["H"]) * ccd.gain["H"]
    assert level == pytest.approx(FLAT_RATE * 10, rel=0.04)  # the light falls off by 2 % along each axis
    assert np.median(dark[corner] - ccd.offset["H"]) * ccd.gain["H"] == pytest.approx(DARK_RATE * 36000, abs=3.0)


def test_the_same_seed_gives_the_same_pixels(ccd: BenchCcd) -> None:
    again = make_ccd(CCD, "A-1", seed=3, scale="small")
    other = make_ccd(CCD, "A-1", seed=4, scale="small")
    frames = [raw_image(c, exposure("flat", 1.0)) for c in (ccd, again, other)]
    assert np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], frames[2])
