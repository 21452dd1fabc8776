"""Pixels: every stored type, scaling and compression, against astropy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from io_frames import write_plain

from quicklook.core import compiled
from quicklook.core.errors import BadData
from quicklook.io import pixels as pixels_module
from quicklook.io.fitsfile import open_fits, read_pixels

SHAPE = (23, 37)
INTEGERS = ["u1", "i2", "u2", "i4", "u4", "i8"]


def image(dtype: str, seed: int = 3) -> Any:
    rng = np.random.default_rng(seed)
    if dtype[0] == "f":
        return rng.normal(1000, 50, SHAPE).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -(10**6)), min(info.max, 10**6), SHAPE).astype(dtype)


@pytest.mark.parametrize("dtype", [*INTEGERS, "f4", "f8"])
def test_plain_images_come_back_as_they_are(tmp_path: Path, dtype: str) -> None:
    wanted = image(dtype)
    found = read_pixels(write_plain(tmp_path / "x.fits", wanted), 0)
    assert found.dtype == wanted.dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, wanted)


def test_scaled_integers_become_float32(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    hdu = fits.PrimaryHDU(image("i2"))
    hdu.header["BSCALE"], hdu.header["BZERO"] = 0.5, 100.0
    stored = hdu.data.copy()
    hdu.writeto(path)
    content = path.read_bytes()
    assert b"BSCALE" in content
    found = read_pixels(path, 0)
    assert found.dtype == np.float32
    with fits.open(path) as f:
        np.testing.assert_allclose(found, f[0].data, rtol=1e-6)  # one rounding to float32
    assert stored.shape == found.shape


def test_blank_is_nan(tmp_path: Path) -> None:
    data = image("i2")
    data[2, 5] = -32768
    path = write_plain(tmp_path / "x.fits", data, {"BLANK": -32768})
    found = read_pixels(path, 0)
    assert np.isnan(found[2, 5])
    assert np.isfinite(found).sum() == data.size - 1
    data[2, 5] = 0
    assert read_pixels(write_plain(tmp_path / "y.fits", data, {"BLANK": -32768}), 0).dtype == np.int16


def compressed(path: Path, data: Any, **options: Any) -> Path:
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, name="R0", **options)]).writeto(path, overwrite=True)
    return path


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4"])
@pytest.mark.parametrize("tile", [(1, 37), (4, 37), (23, 37), (8, 8)])
def test_rice(tmp_path: Path, dtype: str, tile: tuple[int, int]) -> None:
    wanted = image(dtype) if dtype != "i4" else image(dtype) // 100
    found = read_pixels(compressed(tmp_path / "x.fits", wanted, compression_type="RICE_1", tile_shape=tile), "r0")
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == wanted.dtype or tile == (8, 8)


@pytest.mark.parametrize("kind", ["GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1"])
def test_other_compressions(tmp_path: Path, kind: str) -> None:
    wanted = np.abs(image("i4")) % 1000
    options = {"tile_shape": (23, 37)} if kind == "HCOMPRESS_1" else {}
    np.testing.assert_array_equal(read_pixels(compressed(tmp_path / "x.fits", wanted, compression_type=kind, **options), 1), wanted)


def test_quantised_floats(tmp_path: Path) -> None:
    wanted = image("f4")
    found = read_pixels(compressed(tmp_path / "x.fits", wanted, compression_type="RICE_1", quantize_level=16), 1)
    np.testing.assert_allclose(found, wanted, atol=50 / 16)  # quantised in steps of a sixteenth of the noise


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(st.integers(0, 5), st.integers(-40000, 40000), st.integers(-(2**31), 2**31 - 1)),
        min_size=1,
        max_size=200,
    ),
    st.booleans(),
)
def test_rice_of_any_numbers(tmp_path: Path, values: list[int], quiet: bool) -> None:
    """Runs of equal pixels, small and large jumps, sums that wrap: as astropy (cfitsio) compresses them."""
    row = np.array(values * 2 if not quiet else [values[0]] * 70 + values, dtype=np.int64).astype(np.int32)
    wanted = np.vstack([row, row[::-1]])
    np.testing.assert_array_equal(read_pixels(compressed(tmp_path / "x.fits", wanted, compression_type="RICE_1"), 1), wanted)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ((0, 65535), np.uint16),
        ((1000, 1003), np.uint16),
        ((-1, 65535), np.int32),
        ((0, 65536), np.int32),
        ((65535, -(2**31)), np.int32),
        ((1 << 20, 2**31 - 1), np.int32),
    ],
)
@pytest.mark.parametrize("jump", [False, True])  # every value in a row by itself, or jumps along the rows
def test_whole_numbers_that_fit_may_come_narrow(tmp_path: Path, values: tuple[int, int], dtype: type, jump: bool) -> None:
    wanted = np.full((40, 70), values[0], np.int32)
    wanted[(slice(None), slice(3, None, 7)) if jump else (slice(31, 33), slice(None))] = values[1]
    path = compressed(tmp_path / "x.fits", wanted, compression_type="RICE_1")
    with open_fits(path) as f:
        found = f.pixels(1, narrow=True)
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == dtype
    assert read_pixels(path, 1).dtype == np.int32


def test_a_broken_tile_is_bad_data(tmp_path: Path) -> None:
    """Damaged compressed bytes never crash: they give other pixels, or a BadData that names the tile."""
    path = compressed(tmp_path / "x.fits", image("i4"), compression_type="RICE_1")
    whole = path.read_bytes()
    at = whole.index(b"XTENSION") + 2880
    heap = whole.rindex(b"END     ") // 2880 * 2880 + 2880 + 23 * 8
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(40):
        damaged = bytearray(whole)
        for k in rng.integers(heap, len(whole) - 2000, 20):
            damaged[k] = int(rng.integers(256))
        path.write_bytes(bytes(damaged))
        try:
            assert read_pixels(path, 1).shape == SHAPE
        except BadData as error:
            refused += "tile" in str(error)
    assert refused > 0
    assert at < heap


def test_a_tile_outside_of_the_file_is_bad_data(tmp_path: Path) -> None:
    path = compressed(tmp_path / "x.fits", image("i4"), compression_type="RICE_1")
    whole = bytearray(path.read_bytes())
    table = bytes(whole).rindex(b"END     ") // 2880 * 2880 + 2880
    whole[table : table + 4] = (2**30).to_bytes(4, "big")
    path.write_bytes(bytes(whole))
    with pytest.raises(BadData, match="lie outside of the file"):
        read_pixels(path, 1)


def test_threads_change_nothing(tmp_path: Path) -> None:
    path = compressed(tmp_path / "x.fits", image("i4"), compression_type="RICE_1")
    one = read_pixels(path, 1)
    before = compiled.get_threads()
    try:
        compiled.set_threads(2)
        np.testing.assert_array_equal(read_pixels(path, 1), one)
    finally:
        compiled.set_threads(before)


def test_what_is_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.fits"
    table = fits.BinTableHDU.from_columns([fits.Column("A", "J", array=np.arange(3))])
    fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(np.zeros((2, 3, 4), np.int16)), fits.ImageHDU(np.ones((1, 5, 6), np.int16))]).writeto(path)
    with pytest.raises(BadData, match="holds no image"):
        read_pixels(path, 1)
    with pytest.raises(BadData, match=r"HDU 2 has 3 axes"):
        read_pixels(path, 2)
    with pytest.raises(BadData, match="holds no image"):
        read_pixels(path, 0)
    assert read_pixels(path, 3).shape == (5, 6)
    monkeypatch.setattr(pixels_module, "MAX_PIXELS", 20)
    with pytest.raises(BadData, match="no detector has so many"):
        read_pixels(path, 3)


def test_gzip_around_everything(tmp_path: Path) -> None:
    wanted = image("u2")
    np.testing.assert_array_equal(read_pixels(write_plain(tmp_path / "x.fits.gz", wanted), 0), wanted)
