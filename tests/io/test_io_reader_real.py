"""Real frames, read by their YAML alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quicklook.ccd.exposure import Exposure
from quicklook.ccd.image import RawImage
from quicklook.core.keys import Unit
from quicklook.io.instrument import load_instrument
from quicklook.io.reader import open_reader


def read(name: str, path: Path, camera: str) -> tuple[RawImage, Exposure, dict[str, str]]:
    reading = open_reader(load_instrument(name)).read(path, camera)
    raw = next(p for p in reading.products if isinstance(p, RawImage))
    exposure = next(p for p in reading.products if isinstance(p, Exposure))
    return raw, exposure, dict(reading.tags)


@pytest.mark.parametrize("amp", ["RL", "LU"])
def test_virus(shared_data: Path, amp: str) -> None:
    path = shared_data / "virus_raw" / f"20180522T023753.4_053{amp}_zro.fits.gz"
    reader = open_reader(load_instrument("virus"))
    peek = reader.peek(path)
    assert reader.accepts(path)
    assert (peek.unit, peek.cameras, peek.flavor) == (Unit(20180521, 23753), (f"053{amp}",), "zero")
    assert peek.problems == {}
    raw, exposure, tags = read("virus", path, f"053{amp}")
    assert (raw.pixels.dtype, raw.shape, raw.image_shape) == (np.uint16, (1032, 1064), (1032, 1032))
    (only,) = raw.amplifiers
    assert only.name == amp
    assert (str(only.data), str(only.overscan)) == ("[1:1032,1:1032]", "[1033:1064,1:1032]")
    assert only.gain == pytest.approx({"RL": 0.875, "LU": 0.881}[amp], rel=1e-6)  # header values, float32
    assert only.read_noise == pytest.approx({"RL": 2.97, "LU": 3.08}[amp], rel=1e-6)
    assert exposure.exptime == pytest.approx(5.6313e-5)
    assert tags["ifuslot"] == "053"
    assert float(np.median(raw.pixels)) == {"RL": 2186, "LU": 65535}[amp]
    assert raw.oriented().amplifiers[0].overscan is not None
    assert str(raw.oriented().amplifiers[0].overscan) == "[1:1032,1033:1064]"


@pytest.mark.parametrize(
    ("number", "flavor", "target"),
    [(1, "arc", "Arcs"), (2, "flat", "Dome Flat"), (5, "flat", "Dome Flat"), (14, "zero", "Bias"), (18, "zero", "Bias"), (24, "science", "Feige 66")],
)
def test_kast_blue(shared_data: Path, number: int, flavor: str, target: str) -> None:
    path = shared_data / "kast_blue" / f"b{number}.fits.gz"
    reader = open_reader(load_instrument("kast_blue"))
    peek = reader.peek(path)
    assert (peek.unit, peek.cameras, peek.flavor, peek.exposure.object) == (Unit(20150519, number), ("blue",), flavor, target)
    assert peek.problems == {}


def test_kast_blue_pixels(shared_data: Path) -> None:
    raw, exposure, _ = read("kast_blue", shared_data / "kast_blue" / "b24.fits.gz", "blue")
    assert (raw.pixels.dtype, raw.shape, raw.image_shape) == (np.uint16, (350, 2112), (350, 2048))
    assert [(a.gain, a.read_noise, str(a.overscan)) for a in raw.amplifiers] == [
        (1.205, 3.44, "[2049:2080,1:350]"),
        (1.243, 3.36, "[2081:2112,1:350]"),
    ]
    turned = raw.oriented()
    assert turned.image_shape == (2048, 350)
    assert turned.pixels[7, 3] == raw.pixels[3, 7]
    assert exposure.ra_deg == pytest.approx(189.478, abs=0.001)  # Feige 66: 12h37m54.8s
    assert exposure.dec_deg == pytest.approx(24.996, abs=0.001)
    assert exposure.airmass == pytest.approx(1.04, abs=0.001)
