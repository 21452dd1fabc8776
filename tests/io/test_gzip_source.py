"""A gzip-compressed file whose headers alone are wanted: verified to its end, and never held whole."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from quicklook.core.errors import BadData
from quicklook.io import source
from quicklook.io.fitsfile import inspect, read_pixels
from quicklook.io.source import Incomplete, open_source


def packed(path: Path, *shapes: tuple[int, int]) -> bytes:
    """Images of these shapes, in HDUs of their own; returns what was packed."""
    rng = np.random.default_rng(5)
    images = [fits.ImageHDU(rng.integers(0, 2000, shape).astype(np.int16), name=f"I{i}") for i, shape in enumerate(shapes)]
    beside = path.with_suffix(".plain")
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(beside)
    content = beside.read_bytes()
    path.write_bytes(gzip.compress(content, 1))
    return content


def test_headers_are_those_of_the_plain_file(tmp_path: Path) -> None:
    path = tmp_path / "a.fits.gz"
    packed(path, (300, 400), (500, 200), (10, 10))
    here, plain = inspect(path), inspect(tmp_path / "a.fits.plain")
    assert [(h.name, h.shape, h.data_offset, h.data_size) for h in here.hdus] == [(h.name, h.shape, h.data_offset, h.data_size) for h in plain.hdus]
    assert (here.problems, here.size) == (plain.problems, path.stat().st_size)
    assert (read_pixels(path, "I1") == fits.getdata(tmp_path / "a.fits.plain", "I1")).all()


@pytest.mark.parametrize("piece", [1, 7, 4096, 1 << 24])
def test_any_bytes_are_read_in_any_order_whatever_the_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(source, "_PIECE", piece)
    content = np.random.default_rng(1).integers(0, 4, 5000).astype(np.uint8).tobytes() + bytes(3000)
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(content[:4000]) + gzip.compress(content[4000:]) + bytes(512))  # two members, and padding
    with open_source(path, whole=False) as streamed, open_source(path) as whole:
        assert streamed.size == whole.size == len(content)
        for offset, count in ((0, 10), (3990, 20), (100, 1), (7990, 100), (8000, 5), (0, 8000), (4000, 0)):
            assert streamed.read(offset, count) == whole.read(offset, count) == content[offset : offset + count]
        buffer = memoryview(bytearray(30))
        assert (streamed.read_into(50, buffer), bytes(buffer)) == (30, content[50:80])


def test_a_file_that_unpacks_to_a_thousand_times_its_size_takes_no_memory(tmp_path: Path) -> None:
    """200 MB of zeros in 0.2 MB, in the daemon; with the whole in memory it took twice as much as is unpacked."""
    header = fits.PrimaryHDU(np.zeros((2, 2), np.int16)).header
    header["NAXIS1"], header["NAXIS2"] = 10_000, 10_000
    pack, path = zlib.compressobj(1, wbits=31), tmp_path / "a.fits.gz"
    size = 200_000_000 + -200_000_000 % 2880
    with path.open("wb") as file:
        file.write(pack.compress(header.tostring(padding=True).encode()))
        for _ in range(size // 1_000_000):
            file.write(pack.compress(bytes(1_000_000)))
        file.write(pack.compress(bytes(size % 1_000_000)))
        file.write(pack.flush())
    tracemalloc.start()
    try:
        structure = inspect(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert structure.hdus[0].shape == (10_000, 10_000)
    assert peak < 60e6  # some pieces of 16 MiB


def test_what_is_cut_or_broken_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.fits.gz"
    packed(path, (300, 400))
    good = path.read_bytes()
    path.write_bytes(good[:-100])
    with pytest.raises(Incomplete, match=f"its gzip stream stops after {len(good) - 100} bytes"):
        inspect(path)
    path.write_bytes(good[:-8] + bytes(4) + good[-4:])  # the checksum
    with pytest.raises(BadData, match="broken gzip stream after"):
        inspect(path)
    path.write_bytes(good)
    monkeypatch.setattr(source, "MAX_UNPACKED", 100_000)
    with pytest.raises(BadData, match="unpacks to more than"):
        inspect(path)
