"""Calibrations that are kept ready for all processes: the same values, no memory of their own, made again where anything has changed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from quicklook.ccd.calibs import Bias, Dark
from quicklook.io import calibfile, prepared
from quicklook.io.prepared import Ready, is_mapped

SHAPE = (512, 640)


@pytest.fixture
def ready(tmp_path, monkeypatch):
    monkeypatch.setenv("QUICKLOOK_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(prepared, "KEEP_FREE", 0)
    calibfile.keep_ready(1 << 30)
    calibfile._CACHE.clear()
    yield calibfile._READY
    calibfile.keep_ready(0)
    calibfile._CACHE.clear()


def write_dark(path: Path, level: float = 1.0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    pixels = np.random.default_rng(3).normal(level, 0.1, shape).astype(np.float32)
    ivar = fits.ImageHDU(np.full(shape, 4e4, np.float32), name="IVAR")
    fits.HDUList([fits.PrimaryHDU(pixels, fits.Header({"EXPTIME": 300.0, "DETTEMP": -120.5})), ivar]).writeto(path, overwrite=True)
    return pixels


def again(path: Path) -> Dark:
    """As another process would get it."""
    calibfile._CACHE.clear()
    made = calibfile.read_kind(path, "dark")
    assert isinstance(made, Dark)
    return made


def test_what_is_ready_is_what_was_read(ready, tmp_path):
    pixels = write_dark(tmp_path / "dark.fits")
    calibfile.keep_ready(0)
    plain = again(tmp_path / "dark.fits")
    calibfile.keep_ready(1 << 30)
    for made in (again(tmp_path / "dark.fits"), again(tmp_path / "dark.fits")):
        assert type(made) is Dark
        np.testing.assert_array_equal(made.pixels, pixels)
        for name in (f.name for f in fields(made)):
            np.testing.assert_array_equal(getattr(made, name), getattr(plain, name))
        for array in (made.pixels, made.variance):
            assert array is not None
            assert is_mapped(array)
            # kernels are compiled for such arrays, and no other
            assert array.dtype == np.float32
            assert array.flags.c_contiguous
            assert array.flags.writeable is plain.pixels.flags.writeable
            assert array.flags.aligned
        assert calibfile._nbytes(made) == 0
    assert not is_mapped(plain.pixels)
    assert calibfile._nbytes(plain) == 2 * pixels.nbytes


def test_nobody_writes_into_it(ready, tmp_path):
    write_dark(tmp_path / "dark.fits")
    with pytest.raises(ValueError, match="read-only"):
        again(tmp_path / "dark.fits").pixels[:] = 0


def test_a_file_that_has_changed_is_prepared_anew(ready, tmp_path):
    write_dark(tmp_path / "dark.fits", 1.0)
    again(tmp_path / "dark.fits")
    new = write_dark(tmp_path / "dark.fits", 2.0)
    os.utime(tmp_path / "dark.fits", (1e9, 1e9))
    np.testing.assert_array_equal(again(tmp_path / "dark.fits").pixels, new)


def damage_middle(path: Path) -> None:
    with path.open("r+b") as f:
        f.seek(path.stat().st_size // 2)
        f.write(b"\xff" * 64)


@pytest.mark.parametrize(
    "damage",
    [damage_middle, lambda p: os.truncate(p, p.stat().st_size - 5000), lambda p: p.write_bytes(b""), lambda p: p.write_bytes(b"x" * 10_000)],
)
def test_a_damaged_one_is_made_again(ready, tmp_path, damage):
    pixels = write_dark(tmp_path / "dark.fits")
    again(tmp_path / "dark.fits")
    (kept,) = ready.folder.glob("*.ready")
    whole = kept.stat().st_size
    damage(kept)
    np.testing.assert_array_equal(again(tmp_path / "dark.fits").pixels, pixels)
    (kept,) = ready.folder.glob("*.ready")
    assert kept.stat().st_size == whole


def test_small_ones_are_left_and_old_ones_make_room(tmp_path):
    image = np.zeros(SHAPE, np.float32)
    store = Ready(folder=tmp_path / "ready", max_bytes=int(2.5 * image.nbytes))
    small = Bias(pixels=np.zeros((8, 8), np.float32))
    assert store.keep(("small",), small) is small
    for age, name in ((300, "a"), (200, "b")):
        store.keep((name,), Bias(pixels=image))
        os.utime(store._path((name,)), (1e9 - age, 1e9 - age))
    assert store.find(("a",)) is not None  # so that b is the one that was used least lately
    store.keep(("c",), Bias(pixels=image))
    assert [name for name in "abc" if store.find((name,)) is not None] == ["a", "c"]


def test_where_nothing_can_be_written_it_goes_without(tmp_path):
    (tmp_path / "file").write_text("no folder")
    made = Bias(pixels=np.zeros(SHAPE, np.float32))
    assert Ready(folder=tmp_path / "file" / "ready", max_bytes=1 << 30).keep(("a",), made) is made


def test_nothing_is_prepared_that_would_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "KEEP_FREE", 1 << 60)
    made = Bias(pixels=np.zeros(SHAPE, np.float32))
    store = Ready(folder=tmp_path / "ready", max_bytes=1 << 30)
    assert store.keep(("a",), made) is made
    assert not list(store.folder.glob("*"))


def test_many_at_once_do_not_get_in_each_others_way(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(prepared, "KEEP_FREE", 0)
    image = np.zeros(SHAPE, np.float32)
    store = Ready(folder=tmp_path / "ready", max_bytes=int(2.5 * image.nbytes))  # so that they make room all the time

    def worker(seed: int) -> bool:
        chosen = np.random.default_rng(seed).integers(6, size=40).tolist()
        return all((store.find((n,)) or store.keep((n,), Bias(pixels=image + np.float32(n)))).pixels[5, 5] == n for n in chosen)

    with caplog.at_level("WARNING", "quicklook.calib"), ThreadPoolExecutor(6) as pool:
        assert all(pool.map(worker, range(6)))
    assert caplog.messages == []
    assert not list(store.folder.glob(".*"))


def test_what_somebody_else_has_prepared_meanwhile_is_taken(tmp_path, monkeypatch):
    store, made = Ready(folder=tmp_path / "ready", max_bytes=1 << 30), Bias(pixels=np.zeros(SHAPE, np.float32))
    theirs = store.keep(("a",), made)
    monkeypatch.setattr(prepared, "_write", lambda *_: pytest.fail("it is written a second time"))
    assert is_mapped(store.keep(("a",), made).pixels)
    assert is_mapped(theirs.pixels)
