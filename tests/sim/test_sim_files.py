"""Files: what they hold, how they appear, and that others can read them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import fitsio
import numpy as np
import pytest
import yaml
from astropy.io import fits

from quicklook.core.errors import BadConfig
from quicklook.sim import (
    Fault,
    SimInstrument,
    WriteOptions,
    plan_exposure,
    plan_night,
    raw_path,
    sim_instruments,
    simulate_exposure,
    simulate_night,
    write_calibrations,
    write_exposure,
)

NO_TRUTH = WriteOptions(truth=False)


def test_raw_file_in_both_readers(tmp_path: Path, pair: tuple[SimInstrument, ...]) -> None:
    planned = plan_exposure("science", 102)
    path = write_exposure(tmp_path, planned, pair)
    assert path == tmp_path / "raw/20220101/00000102/desi-00000102.fits.fz"
    with fits.open(path) as hdus, fitsio.FITS(str(path)) as other:
        assert [h.name for h in hdus] == ["PRIMARY", "B0", "R0"]
        assert hdus[0].data is None
        assert hdus[0].header["FLAVOR"] == "science"
        assert hdus[0].header["AIRMASS"] == 1.15
        for instrument in pair:
            expected = simulate_exposure(instrument, planned)
            hdu = hdus[instrument.camera.upper()]
            assert isinstance(hdu, fits.CompImageHDU)
            assert hdu.data.dtype == np.dtype("int32").newbyteorder(hdu.data.dtype.byteorder)
            np.testing.assert_array_equal(hdu.data, expected.raw)
            np.testing.assert_array_equal(other[instrument.camera.upper()].read(), expected.raw)
            written = {name: hdu.header[name] for name in expected.header}
            assert written.pop("MJD-OBS") == pytest.approx(59581.0 + 3.7 / 24.0, abs=1e-8)
            assert written == {k: v for k, v in expected.header.items() if k != "MJD-OBS"}
            assert hdu.header["DATE-OBS"] == "2022-01-02T03:42:00.000"
    assert sorted(p.name for p in path.parent.iterdir()) == ["desi-00000102.fits.fz", "fibermap-00000102.fits"]


def test_old_amplifier_names_and_uint16(tmp_path: Path) -> None:
    cameras = sim_instruments(("r0",), scale="tiny", seed=7, amp_names="1234")
    path = write_exposure(tmp_path, plan_exposure("zero", 1), cameras, WriteOptions(raw_type="uint16"))
    new = simulate_exposure(SimInstrument(camera="r0", scale="tiny", seed=7), plan_exposure("zero", 1))
    with fits.open(path) as hdus:
        header = hdus["R0"].header
        assert header["BIASSEC4"] == new.header["BIASSECD"]
        assert "BIASSECD" not in header
        assert hdus["R0"].data.dtype.kind == "u"
        np.testing.assert_array_equal(hdus["R0"].data, new.raw)
    assert set(json.loads((tmp_path / "truth/truth-r0.json").read_text())["rdnoise"]) == set("1234")


def test_fibermap(tmp_path: Path) -> None:
    cameras = sim_instruments(("r0", "r2", "b2"), scale="tiny", seed=7)
    path = write_exposure(tmp_path, plan_exposure("science", 1), cameras, NO_TRUTH)
    with fits.open(path.with_name("fibermap-00000001.fits")) as hdus:
        table = hdus["FIBERMAP"].data
        assert list(table["FIBER"]) == [*range(10), *range(1000, 1010)]
        assert set(table["PETAL_LOC"]) == {0, 2}
        assert set(table["OBJTYPE"]) == {"TGT", "SKY", "BAD"}
        assert (table["FIBERSTATUS"][table["OBJTYPE"] == "BAD"] != 0).all()
        assert (table["DESI_TARGET"][table["OBJTYPE"] == "SKY"] == 2**32).all()
        assert hdus["FIBERMAP"].header["NIGHT"] == 20220101
        targets = table["FLUX_R"] > 0
        assert targets.sum() == 2 * (10 - 3 - 1)  # all but the sky fibres and the dead one
        assert (np.hypot(table["FIBERASSIGN_X"], table["FIBERASSIGN_Y"]) < 410.0).all()


def test_fibermap_inside_or_absent(tmp_path: Path, pair: tuple[SimInstrument, ...]) -> None:
    inside = write_exposure(tmp_path, plan_exposure("zero", 1), pair, WriteOptions(fibermap="inside", truth=False))
    with fits.open(inside) as hdus:
        assert len(hdus["FIBERMAP"].data) == 10
    absent = write_exposure(tmp_path, plan_exposure("zero", 2), pair, WriteOptions(fibermap="none", truth=False))
    lost = write_exposure(tmp_path, plan_exposure("zero", 3, faults=(Fault(name="missing_fibermap"),)), pair, NO_TRUTH)
    for path in (inside, absent, lost):
        assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_file_faults(tmp_path: Path, pair: tuple[SimInstrument, ...]) -> None:
    whole = write_exposure(tmp_path, plan_exposure("zero", 1), pair, NO_TRUTH)
    cut = write_exposure(tmp_path, plan_exposure("zero", 2, faults=(Fault(name="truncated_file", strength=0.5),)), pair, NO_TRUTH)
    assert cut.stat().st_size == pytest.approx(0.5 * whole.stat().st_size, rel=0.02)
    for fault, left in ((Fault(name="missing_camera"), "B0"), (Fault(name="missing_camera", camera="b0"), "R0")):
        with fits.open(write_exposure(tmp_path, plan_exposure("zero", 3, faults=(fault,)), pair, NO_TRUTH)) as hdus:
            assert [h.name for h in hdus[1:]] == [left]
    with pytest.raises(BadConfig, match="no camera is left"):
        write_exposure(tmp_path, plan_exposure("zero", 4, faults=(Fault(name="missing_camera"),)), pair[:1])
    late = write_exposure(tmp_path, plan_exposure("zero", 5, faults=(Fault(name="wrong_night"),)), pair, NO_TRUTH)
    assert late.parts[-3] == "20220101"
    assert fits.getheader(late)["NIGHT"] == fits.getheader(late, "R0")["NIGHT"] == 20220102
    bare = write_exposure(tmp_path, plan_exposure("zero", 6, faults=(Fault(name="missing_keywords"),)), pair, NO_TRUTH)
    assert "FLAVOR" not in fits.getheader(bare)
    assert "GAINA" not in fits.getheader(bare, "B0")


def test_files_appear_whole(tmp_path: Path, pair: tuple[SimInstrument, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("quicklook.sim.files.simulate_exposure", fails)
    with pytest.raises(OSError, match="disk full"):
        write_exposure(tmp_path, plan_exposure("zero", 1), pair)
    assert [p.name for p in tmp_path.rglob("*desi*")] == []


def test_slow_writing_grows(tmp_path: Path, pair: tuple[SimInstrument, ...]) -> None:
    planned = plan_exposure("zero", 1)
    path = raw_path(tmp_path, planned)
    whole = write_exposure(tmp_path / "fast", planned, pair, NO_TRUTH).read_bytes()
    writer = threading.Thread(target=write_exposure, args=(tmp_path, planned, pair, WriteOptions(truth=False, slow_seconds=0.4)))
    writer.start()
    sizes = set()
    while writer.is_alive():
        if path.exists():
            sizes.add(path.stat().st_size)
        time.sleep(0.01)
    writer.join()
    assert len(sizes) > 3
    assert path.read_bytes() == whole


def test_calibration_tree(tmp_path: Path) -> None:
    cameras = sim_instruments(("z3",), scale="tiny", seed=7)
    folder = write_calibrations(tmp_path, cameras)
    hardware, layout = cameras[0].hardware, cameras[0].layout
    entry = yaml.safe_load((folder / "spec/sm7/sm7-z.yaml").read_text())["sm7-z"]["V20200101"]
    data = {kind: fits.getdata(folder / entry[kind]) for kind in ("BIAS", "DARK", "PIXFLAT", "MASK")}
    assert data["BIAS"].shape == layout.raw_shape
    np.testing.assert_array_equal(data["BIAS"], hardware.bias)
    np.testing.assert_array_equal(data["DARK"], hardware.dark)
    np.testing.assert_array_equal(data["PIXFLAT"], hardware.pixflat)
    assert (data["MASK"] != 0).sum() > 5
    assert (entry["BROKENFIBERS"], entry["DATE-OBS-BEGIN"]) == ("1503", "20200101")
    header = simulate_exposure(cameras[0], plan_exposure("zero", 1)).header
    assert all(header[key] == entry[key] for key in ("DETECTOR", "CCDCFG", "CCDTMING"))
    with fits.open(folder / entry["PSF"]) as hdus:
        np.testing.assert_array_equal(hdus["YTRACE"].data, hardware.traces.y)
        assert hdus["XTRACE"].header["WAVEMIN"] == pytest.approx(hardware.traces.wave_min)


def test_truth_of_another_simulation_is_refused(tmp_path: Path) -> None:
    planned = plan_exposure("zero", 1)
    write_exposure(tmp_path, planned, sim_instruments(("r0",), scale="tiny", seed=1))
    write_exposure(tmp_path, plan_exposure("dark", 2), sim_instruments(("r0",), scale="tiny", seed=1))
    truth = json.loads((tmp_path / "truth/truth-r0.json").read_text())
    assert set(truth["exposures"]) == {"1", "2"}
    with pytest.raises(BadConfig, match="another folder"):
        write_exposure(tmp_path, planned, sim_instruments(("r0",), scale="tiny", seed=2))


def test_cameras_of_one_exposure_belong_together(tmp_path: Path) -> None:
    mixed = (SimInstrument(camera="r0", scale="tiny", seed=1), SimInstrument(camera="b0", scale="tiny", seed=2))
    with pytest.raises(BadConfig, match="same seed"):
        write_exposure(tmp_path, plan_exposure("zero", 1), mixed)
    with pytest.raises(BadConfig, match="one camera"):
        write_exposure(tmp_path, plan_exposure("zero", 1), ())


def test_night(tmp_path: Path, pair: tuple[SimInstrument, ...]) -> None:
    plan = plan_night(20220101, 6, cameras=("b0", "r0"), seed=7)
    seen: list[tuple[int, bool]] = []
    paths = simulate_night(tmp_path, plan, pair, on_exposure=lambda e, p: seen.append((e.expid, p.exists())), options=NO_TRUTH)
    assert seen == [(e.expid, True) for e in plan]
    assert paths == [raw_path(tmp_path, e) for e in plan]


def test_speed(tmp_path: Path, pair: tuple[SimInstrument, ...]) -> None:
    write_exposure(tmp_path, plan_exposure("science", 1), pair)  # imports and hardware
    start = time.process_time()
    write_exposure(tmp_path, plan_exposure("science", 2), pair)
    assert time.process_time() - start < 0.5  # 0.03 s measured, of the processor: other work on the machine does not count


def test_import_is_light() -> None:
    code = "import sys, quicklook.sim; print([m for m in ('scipy', 'astropy', 'fitsio', 'numba') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def run_kit(script: Path, *args: str) -> str:
    return subprocess.run([sys.executable, str(script), *args], capture_output=True, text=True, check=True).stdout


def test_header_has_every_card_of_the_kit(tmp_path: Path, validation_kit: Path) -> None:
    run_kit(validation_kit / "simulate.py", "--out", str(tmp_path / "kit"), "--scale", "small", "--expids", "103")
    theirs = tmp_path / "kit/raw/20220101/00000103/desi-00000103.fits.fz"
    ours = write_exposure(tmp_path, plan_exposure("zero", 103), sim_instruments(("r0",), scale="small", seed=7), NO_TRUTH)
    for extension in (0, "R0"):
        kit, own = fits.getheader(theirs, extension), fits.getheader(ours, extension)
        assert set(kit) - set(own) == set()
        for name in kit:
            if name[:-1] in ("BIASSEC", "DATASEC", "CCDSEC", "ORSEC", "PRESEC", "TRIMSEC", "DETSEC"):
                assert own[name] == kit[name].replace(" ", "")


def test_score_reads_our_truth(tmp_path: Path, validation_kit: Path) -> None:
    cameras = sim_instruments(("r0",), scale="tiny", seed=7)
    write_calibrations(tmp_path, cameras)
    write_exposure(tmp_path, plan_exposure("science", 5), cameras)
    camera = simulate_exposure(cameras[0], plan_exposure("science", 5))
    write_perfect_preproc(tmp_path / "products/preproc-r0-00000005.fits", camera)
    out = tmp_path / "score.json"
    run_kit(validation_kit / "score.py", str(tmp_path / "products"), "--truth", str(tmp_path / "truth"), "--json", str(out))
    scores = json.loads(out.read_text())["products"][0]["scores"]
    # 39000 pixels: 0.7 % of statistical error, three of them
    assert scores["image"]["chi2_dof_clip5"] == pytest.approx(1.0, abs=0.022)
    assert scores["cosmics"]["n_false"] == 0
    assert all(ratio == pytest.approx(1.0) for ratio in scores["readnoise_ratio"].values())


def write_perfect_preproc(path: Path, camera: object) -> None:
    """A preproc product from the truth of the hardware: what a perfect pipeline would make."""
    assert hasattr(camera, "truth")
    instrument, truth = camera.instrument, camera.truth
    hardware, layout = instrument.hardware, instrument.layout
    image, noise, variance = (np.zeros((layout.ny, layout.nx)) for _ in range(3))
    for amp, rdnoise in zip(layout.amps, truth.rdnoise.values(), strict=True):
        adu = (camera.raw - hardware.bias)[amp.data.slices] - hardware.pedestal[amp.index]
        image[amp.ccd.slices] = adu * hardware.gain[amp.index]
        noise[amp.ccd.slices] = rdnoise
        variance[amp.ccd.slices] = rdnoise**2 + hardware.gain[amp.index] ** 2 / 12.0
    image = (image - hardware.dark * camera.planned.exptime) / hardware.pixflat
    ivar = hardware.pixflat**2 / (variance + truth.image_e)
    mask = hardware.mask | np.where(truth.cosmic_e > 0, 16, 0).astype(np.int32)
    header = fits.Header({"CAMERA": instrument.camera, "EXPID": camera.planned.expid})
    path.parent.mkdir(parents=True)
    hdus = [fits.ImageHDU(image.astype("f4"), header, name="IMAGE"), fits.ImageHDU(ivar.astype("f4"), name="IVAR")]
    hdus += [fits.ImageHDU(mask, name="MASK"), fits.ImageHDU(noise.astype("f4"), name="READNOISE")]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
