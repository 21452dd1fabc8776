"""Stages of one product that a chain asks for are all written, each under its own name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.image import RawImage
from quicklook.ccd.spectra import Frame, TraceSet
from quicklook.core import registry
from quicklook.core.errors import BadConfig
from quicklook.core.keys import PartKey
from quicklook.core.plugin import NoParams, PipelineAlg
from quicklook.core.registry import PluginRef
from quicklook.service.site import load_site
from quicklook.service.workers.processing import Processor
from quicklook.sim import plan_exposure, sim_instruments, write_calibrations, write_exposure


class Extract(PipelineAlg[NoParams]):
    """Spectra of nothing, on the fibres of the calibration."""

    name = "extract"

    def run(self, raw: RawImage, fibermap: FiberMap, traces: TraceSet) -> Frame:
        """Ones."""
        one = np.ones((traces.nfibre, 9), np.float32)
        wave = 6000.0 + np.arange(9.0) * np.ones((traces.nfibre, 1))
        mask = np.zeros(one.shape, np.uint32)
        return Frame(camera=raw.camera, flux=one, ivar=one.copy(), mask=mask, wave=wave, sigma=one.copy(), fibermap=fibermap)


class Calibrate(PipelineAlg[NoParams]):
    """Half of it."""

    name = "calibrate"

    def run(self, frame: Frame) -> Frame:
        """As flux."""
        return replace(frame, flux=0.5 * frame.flux, stage="cframe", unit="1e-17 erg/(s cm2 Angstrom)")


CHAIN = "chain: staged\nproducts: [frame, cframe, psf]\nsteps: [{name: read}, {name: extract}, {name: calibrate}]\n"


@pytest.fixture
def processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Processor:
    """With the two algorithms beside those that are installed."""
    real = registry.registered

    def refs(kind: str) -> dict[str, PluginRef]:
        own = {p.name: PluginRef(kind=kind, name=p.name, target=f"{__name__}:{p.__name__}", distribution="x", version="0") for p in (Extract, Calibrate)}
        return {**real(kind), **(own if kind == "algorithm" else {})}

    monkeypatch.setattr("quicklook.core.registry.registered", refs)
    monkeypatch.setattr("quicklook.core.registry.PluginRef.load", lambda ref: {"extract": Extract, "calibrate": Calibrate}.get(ref.name) or _load(ref))
    (tmp_path / "staged.yaml").write_text(CHAIN)
    options = {"instrument": "desi", "calib": str(tmp_path / "calib"), "out": str(tmp_path / "out"), "chains": {"_default": str(tmp_path / "staged.yaml")}}
    return Processor(load_site(None, options=options).recipe())


_real_load = PluginRef.load


def _load(ref: PluginRef) -> object:
    return _real_load(ref)


def test_frame_and_cframe_are_both_there(tmp_path: Path, processor: Processor, caplog: pytest.LogCaptureFixture) -> None:
    cameras = sim_instruments(("r3",), scale="tiny", seed=2)
    write_calibrations(tmp_path, cameras)
    path = write_exposure(tmp_path, plan_exposure("science", 102), cameras)
    chain = processor.recipe.chain_for("science")
    done = processor.process(path, PartKey(processor.reader.peek(path).unit, "r3"), chain)
    assert [s.failure for s in done.outcome.result.steps] == [None] * 3
    events = list(processor.write(done, chain))
    folder = tmp_path / "out/live/exposures/20220101/00000102"
    written = {p.name for p in folder.glob("*.fits")}
    assert written == {"frame-r3-00000102.fits", "cframe-r3-00000102.fits"}
    assert "no product psf was made" in caplog.text  # the traces are those of the calibration
    assert {e.payload["name"] for e in events} == {"qa", "frame", "cframe"}
    frame, cframe = (fits.getdata(folder / f"{n}-r3-00000102.fits") for n in ("frame", "cframe"))
    assert (frame.max(), cframe.max()) == (1.0, 0.5)
    head = fits.getheader(folder / "cframe-r3-00000102.fits")
    assert (head["STAGE"], head["CALKND00"]) == ("cframe", "psf")
    assert fits.getdata(folder / "cframe-r3-00000102.fits", "FIBERMAP")["FIBER"][0] == 1500


def test_a_product_without_a_form_is_refused_with_its_place(tmp_path: Path, processor: Processor) -> None:
    (tmp_path / "odd.yaml").write_text(CHAIN.replace("psf", "arrival"))
    with pytest.raises(BadConfig, match=r"odd.yaml.*'arrival' have no form on disk"):
        load_site(None, options={"instrument": "desi", "chains": {"_default": str(tmp_path / "odd.yaml")}}).chains()


def test_traces_that_are_not_there_are_missed_by_name(tmp_path: Path, processor: Processor) -> None:
    cameras = sim_instruments(("r3",), scale="tiny", seed=2)
    write_calibrations(tmp_path, cameras)
    index = tmp_path / "calib/spec/sm7/sm7-r.yaml"
    index.write_text("\n".join(line for line in index.read_text().splitlines() if "PSF" not in line))
    path = write_exposure(tmp_path, plan_exposure("science", 102), cameras)
    done = processor.process(path, PartKey(processor.reader.peek(path).unit, "r3"), processor.recipe.chain_for("science"))
    failure = done.outcome.result.steps[1].failure
    assert failure is not None
    assert (failure.error, "no psf for 20220101/00000102/r3" in failure.message) == ("MissingCalibration", True), failure.message
