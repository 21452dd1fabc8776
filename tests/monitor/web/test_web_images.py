"""The image of a camera in tiles: what is seen is what is in the file, masked pixels are never lost, memory stays within its bound."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from monitor.web.images import TILE, Amp, bits_of, make_preview, preview
from monitor.web.images_cache import Kept, state_of
from monitor.web.images_tiles import image_tile, mask_tile, scale_of
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image, RawImage
from quicklook.ccd.mask import PixelMask
from quicklook.core.errors import BadData, NotReadyYet
from quicklook.core.reading import Reading
from quicklook.io.fitswrite import write_image_hdu


def pixels_of(png: bytes) -> np.ndarray:
    return np.asarray(Picture.open(io.BytesIO(png)).convert("RGBA"))


def made(ny: int = 1300, nx: int = 900):
    rng = np.random.default_rng(1)
    pixels = rng.normal(0, 3, (ny, nx)).astype(np.float32)
    pixels[0, 0], pixels[ny - 1, nx - 1], pixels[5, 5] = 1000.0, -1000.0, np.nan
    mask = np.zeros((ny, nx), np.uint16)
    mask[777, 333] = int(PixelMask.COSMIC)
    mask[100:200, 100:200] = int(PixelMask.SATURATED | PixelMask.BAD)
    return make_preview(pixels, mask, [Amp(name="A", section=Section(0, ny, 0, nx))], "electron")


def test_steps_go_down_to_one_tile_and_lose_no_masked_pixel() -> None:
    found = made()
    assert [level.shape for level in found.levels] == [(1300, 900), (650, 450), (325, 225)]
    assert max(found.levels[-1].shape) <= TILE
    for k, mask in enumerate(found.masks):
        assert mask[777 >> k, 333 >> k] == PixelMask.COSMIC
    np.testing.assert_allclose(found.levels[1][10, 20], found.levels[0][20:22, 40:42].mean(), rtol=1e-5)
    assert found.shares["COSMIC"] == pytest.approx(1 / 1300 / 900)
    assert bits_of(int(found.masks[0][150, 150])) == ["BAD", "SATURATED"]


def test_tiles_are_upright_and_cover_the_image() -> None:
    found = made()
    scale = scale_of(found, "linear", -10.0, 10.0)
    lower_left, upper_right = (pixels_of(image_tile(found, place, scale, "grey")) for place in ((0, 0, 0), (0, 1, 2)))
    assert lower_left.shape == (512, 512, 4)
    assert upper_right.shape == (1300 - 1024, 900 - 512, 4)
    assert tuple(lower_left[-1, 0, :3]) == (255, 255, 255)
    assert tuple(upper_right[0, -1, :3]) == (0, 0, 0)
    red, green, blue = lower_left[-6, 5, :3].tolist()
    assert red == green == blue == 0xD4, "a pixel without a value has a colour of its own"


@pytest.mark.parametrize("stretch", ["linear", "asinh", "log"])
@pytest.mark.parametrize("colours", ["grey", "viridis"])
def test_every_stretch_rises(stretch, colours) -> None:
    values = np.tile(np.linspace(1, 1e4, 256, dtype=np.float32), (32, 1))
    found = make_preview(values, np.zeros(values.shape, np.uint16), [], "adu")
    row = pixels_of(image_tile(found, (0, 0, 0), scale_of(found, stretch, None, None), colours))[0, :, :3].astype(float) @ [0.2126, 0.7152, 0.0722]
    assert np.all(np.diff(row) >= -1.0)
    assert row[-1] - row[0] > 100


def test_the_mask_is_seen_in_stripes_and_by_its_bits() -> None:
    found = made()
    png = pixels_of(mask_tile(found, (0, 0, 1), 0xFFFF))
    assert png[TILE - 1 - (777 - 512), 333, 3] > 200, "a single pixel is drawn in full"
    large = pixels_of(mask_tile(found, (0, 0, 0), 0xFFFF))[TILE - 200 : TILE - 100, 100:200, 3]
    assert 0.3 < (large > 200).mean() < 0.8
    assert (large > 0).all()
    assert not pixels_of(mask_tile(found, (0, 0, 1), int(PixelMask.SATURATED)))[..., 3].any()


@pytest.mark.parametrize("place", [(0, 2, 0), (0, 0, 3), (9, 0, 0), (-1, 0, 0), (0, -1, 0)])
def test_no_tile_beyond_the_image(place) -> None:
    found = made()
    with pytest.raises(NotReadyYet):
        image_tile(found, place, scale_of(found, "asinh", None, None), "grey")


@pytest.mark.parametrize("fill", [np.nan, 0.0, np.inf, -5.0])
@pytest.mark.parametrize("stretch", ["linear", "asinh", "log"])
def test_an_image_of_nothing_is_shown_all_the_same(fill, stretch) -> None:
    found = make_preview(np.full((20, 30), fill, np.float32), np.zeros((20, 30), np.uint16), [], "adu")
    assert pixels_of(image_tile(found, (0, 0, 0), scale_of(found, stretch, None, None), "grey")).shape == (20, 30, 4)


def test_a_preprocessed_image_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "preproc-r0-00000001.fits"
    values = np.arange(80 * 70, dtype=np.float32).reshape(80, 70)
    mask = np.zeros((80, 70), np.uint16)
    mask[1, 2] = int(PixelMask.HOT)
    with path.open("wb") as f:
        write_image_hdu(f, values, name="IMAGE", cards=[("BUNIT", "electron"), ("CCDSECA", "[1:70,1:40]"), ("CCDSECB", "[1:70,41:80]")], primary=True)
        write_image_hdu(f, mask, name="MASK", dtype="i4")
    found = preview(str(path), "preproc", "r0", lambda: None)
    assert np.array_equal(found.levels[0], values)
    assert found.masks[0][1, 2] == PixelMask.HOT
    assert [(a.name, a.section.y0, a.section.y1) for a in found.amplifiers] == [("A", 0, 40), ("B", 40, 80)]
    path.write_bytes(b"SIMPLE  =  garbage" * 400)
    with pytest.raises((BadData, NotReadyYet)):
        preview(str(path), "preproc", "r0", lambda: None)
    path.unlink()
    with pytest.raises(NotReadyYet):
        preview(str(path), "preproc", "r0", lambda: None)


def test_a_raw_frame_is_trimmed_and_less_its_overscan(tmp_path: Path) -> None:
    path = tmp_path / "raw.fits"
    path.write_bytes(b"x")
    raw = np.full((64, 80), 1000, np.uint16)
    raw[:, :70] += 50
    raw[3, 4] = 65535
    amp = Amplifier(name="A", data=Section(0, 64, 0, 70), ccd=Section(0, 64, 0, 70), overscan=Section(0, 64, 70, 80), gain=1.0, saturation=60000.0)

    class Reader:
        def read(self, _path, camera):
            return Reading(products=(RawImage(camera=camera, pixels=raw, amplifiers=(amp,)),), tags={})

    found = preview(str(path), "raw", "r0", Reader)
    assert found.unit == "adu"
    assert found.shape == (64, 70)
    assert found.levels[0][10, 10] == 50.0
    assert bits_of(int(found.masks[0][3, 4])) == ["SATURATED"]

    class NoImage:
        def read(self, _path, _camera):
            return Reading(products=(), tags={})

    path.write_bytes(b"xy")
    with pytest.raises(BadData):
        preview(str(path), "raw", "r0", NoImage)


def test_what_is_kept_stays_within_its_bound() -> None:
    kept: Kept[bytes] = Kept(100, len)
    for i in range(10):
        kept.get(i, lambda: b"x" * 40)
    assert kept.used == 80
    assert kept.get("large", lambda: b"y" * 500) == b"y" * 500
    assert kept.used == 500, "the last one is kept whatever its size"


def test_a_thing_is_read_once_by_however_many_ask_and_again_after_a_failure() -> None:
    kept: Kept[str] = Kept(1000, len)
    reads = []

    def load() -> str:
        reads.append(1)
        time.sleep(0.1)
        return "thing"

    threads = [threading.Thread(target=lambda: kept.get("k", load)) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(reads) == 1

    def fail() -> str:
        raise BadData("broken")

    with pytest.raises(BadData):
        kept.get("other", fail)
    assert kept.get("other", lambda: "well") == "well"


def test_a_file_that_is_written_anew_is_another_thing(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"1")
    before = state_of(path)
    path.write_bytes(b"22")
    assert state_of(path) != before


def test_a_product_of_the_chain_can_be_shown(tmp_path: Path) -> None:
    """As the writer of products writes it."""
    from quicklook.ccd.exposure import Exposure
    from quicklook.core.keys import Unit
    from quicklook.io.products import write_preproc

    amp = Amplifier(name="A", data=Section(0, 64, 0, 70), ccd=Section(0, 64, 0, 70), gain=1.0)
    values = np.ones((64, 70), np.float32)
    image = Image(camera="r0", pixels=values, ivar=values, mask=np.zeros((64, 70), np.uint16), amplifiers=(amp,), read_noise={"A": 3.0})
    path = tmp_path / "preproc-r0-00000001.fits"
    write_preproc(path, image, Exposure(unit=Unit(20220101, 1), instrument="desi", flavor="science", exptime=900.0))
    found = preview(str(path), "preproc", "r0", lambda: None)
    assert found.unit == "electron"
    assert [a.name for a in found.amplifiers] == ["A"]
