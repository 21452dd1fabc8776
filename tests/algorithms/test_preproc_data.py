"""The preprocessing step on real frames and on those of the validation kit."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from preproc_frames import run

from quicklook.ccd.calibs import BadPixelMask, Bias, Dark, PixelFlat
from quicklook.ccd.geometry import Amplifier, Orientation, Section
from quicklook.ccd.image import RawImage
from quicklook.ccd.mask import PixelMask


def open_frame(path: Path, amps: tuple[Amplifier, ...], **raw: Any) -> RawImage:
    return RawImage(camera=path.name[:3], pixels=np.array(fits.getdata(path)), amplifiers=amps, **raw)


def test_real_virus_amplifiers(shared_data: Path) -> None:
    folder = shared_data / "virus_raw"
    amp = Amplifier(
        name="X", data=Section.parse("[1:1032,1:1032]"), ccd=Section(0, 1032, 0, 1032), overscan=Section.parse("[1033:1064,1:1032]"), gain=0.875
    )
    live = run(open_frame(folder / "20180522T023753.4_053RL_zro.fits.gz", (amp,)), exptime=0.0)
    assert live.read_noise["X"] == pytest.approx(2.97, rel=0.02)  # RDNOISE of its header, electron
    assert live.mask.max() == 0
    dead = run(open_frame(folder / "20180522T023753.4_053LU_zro.fits.gz", (amp,)), exptime=0.0)
    assert math.isnan(dead.read_noise["X"])
    assert (dead.ivar == 0).all()
    assert (dead.mask & PixelMask.BADAMP != 0).all()


def test_real_kast_zeros_have_pulls_of_unit_width(shared_data: Path) -> None:
    """Light of nobody in the frame: what scatters is the noise that ivar states (their edge columns, 7 and 12 ADU low, are trimmed)."""
    amps = tuple(
        Amplifier(name=n, data=Section(0, 350, x, x + 1024), ccd=Section(0, 350, x, x + 1024), overscan=Section(0, 350, o, o + 32), gain=g)
        for n, x, o, g in (("L", 0, 2048, 1.205), ("R", 1024, 2080, 1.243))
    )
    raw = open_frame(shared_data / "kast_blue" / "b14.fits.gz", amps, orientation=Orientation(transpose=True))
    image = run(raw, exptime=0.0)
    assert image.shape == (2048, 350)
    for amp in image.amplifiers:
        pixels, ivar = image.pixels[amp.ccd.slices], image.ivar[amp.ccd.slices]
        pull2 = (pixels - np.median(pixels)) ** 2 * ivar
        # no bias is subtracted: its structure is part of the scatter
        assert np.mean(pull2[pull2 < 25]) == pytest.approx(1.0, abs=0.1)


@pytest.fixture(scope="module")
def simulated(shared_validation: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small r0 camera of the validation kit: science 102 and zero 103."""
    out = tmp_path_factory.mktemp("validation")
    command = [sys.executable, str(shared_validation / "simulate.py"), "--out", str(out), "--scale", "small", "--expids", "102,103"]
    done = subprocess.run(command, check=False, capture_output=True, timeout=280)
    assert done.returncode == 0, done.stderr[-500:]
    return out


@pytest.mark.parametrize("expid", [102, 103])
def test_simulated_frames_meet_the_numbers(simulated: Path, expid: int) -> None:
    """Read noise and image pulls as validation/score.py defines them; issue 2 asks for 1 % and 0.02."""
    with fits.open(next(simulated.glob(f"raw/*/{expid:08d}/desi-*.fits.fz"))) as hdus:
        header, pixels = hdus[1].header, np.array(hdus[1].data)
    amps = tuple(
        Amplifier(
            name=n,
            data=Section.parse(header["DATASEC" + n]),
            ccd=Section.parse(header["CCDSEC" + n]),
            overscan=Section.parse(header["BIASSEC" + n]),
            gain=header["GAIN" + n],
        )
        for n in "ABCD"
    )
    calib = next(simulated.glob("calib/spec/sm*"))
    bias, dark, flat = (fits.getdata(calib / f"{k}-r0.fits").astype(np.float32) for k in ("bias", "dark", "pixflat"))
    bad = fits.getdata(calib / "mask-r0.fits").astype(np.uint16)
    raw = RawImage(camera="r0", pixels=pixels, amplifiers=amps)
    image = run(raw, Bias(pixels=bias), Dark(pixels=dark), PixelFlat(pixels=flat), BadPixelMask(pixels=bad), exptime=header["EXPTIME"])
    truth = json.loads((simulated / "truth" / "truth-r0.json").read_text())["exposures"][str(expid)]["rdnoise"]
    for name, value in truth.items():
        assert image.read_noise[name] == pytest.approx(value, rel=0.01)
    with fits.open(simulated / "truth" / f"truth-r0-{expid:08d}.fits") as hdus:
        expected = (hdus["IMAGE_E"].data - dark * header["EXPTIME"]) / flat
    pull = ((image.pixels - expected) * np.sqrt(image.ivar))[image.mask == 0]
    assert np.mean(pull[np.abs(pull) < 5] ** 2) == pytest.approx(1.0, abs=0.02)
