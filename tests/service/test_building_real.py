"""A master bias of real zeros, through the Python API: what one zero is like after the bias of the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quicklook.api import open_session
from quicklook.ccd.calibs import Bias
from quicklook.ccd.image import Image
from quicklook.core.errors import BadConfig
from quicklook.core.status import Status


def test_the_bias_of_four_zeros_takes_the_columns_out_of_a_fifth(shared_data: Path, tmp_path: Path) -> None:
    zeros = [shared_data / f"kast_blue/b{i}.fits.gz" for i in (14, 15, 16, 17, 18)]
    session = open_session(instrument="kast_blue", calib=tmp_path / "calib", out=tmp_path / "out")
    with pytest.raises(BadConfig, match="where shall the calibration go"):
        open_session(instrument="kast_blue").write_built(session.build("bias", zeros))
    builder = tmp_path / "bias4.yaml"
    builder.write_text(
        "builder: bias\nflavor: zero\nat_least: 4\nproduct: bias\n"
        "member:\n  - {name: read, qas: [dead_amp, read_noise]}\ngroup:\n  - {name: master_bias, qas: [bias_structure]}\n"
    )
    built = session.build(str(builder), zeros[:4])
    assert (built.status, built.made_from, built.night) == (Status.NORMAL, (14, 15, 16, 17), 20150519)
    bias = built.products["bias"]
    assert isinstance(bias, Bias)
    assert bias.pixels.shape == (350, 2112)
    without = _image(open_session(instrument="kast_blue", overrides=["preproc.cosmics=false"]), zeros[4])
    assert session.write_built(built)[0].name == "bias-blue-20150519-00000014.fits"
    with_it = _image(open_session(instrument="kast_blue", calib=tmp_path / "calib", overrides=["preproc.cosmics=false"]), zeros[4])
    structure, left = (_structure(i) for i in (without, with_it))
    assert structure > 0.5  # electron, of lines of 350 pixels that scatter by 3.4 / sqrt(350) = 0.18
    assert left < 0.3  # 0.18 sqrt(1 + 1/4), and what single pixels add
    assert abs(float(np.median(with_it.pixels))) < 0.3


def _image(session: object, path: Path) -> Image:
    return session.run("zero", path)[Image]  # type: ignore[attr-defined, no-any-return]


def _structure(image: Image) -> float:
    """Scatter of the means of the detector columns (lines of the image that lies turned)."""
    means = np.median(image.pixels, axis=1)
    return float(1.4826 * np.median(np.abs(means - np.median(means))))
