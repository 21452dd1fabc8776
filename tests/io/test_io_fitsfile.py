"""Structure of files: complete, truncated, broken, and no FITS at all."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from io_frames import write_desi, write_plain

from quicklook.core.errors import BadData, NotReadyYet
from quicklook.io.fitsfile import FitsStructure, inspect, read_pixels
from quicklook.io.source import Incomplete, Source


@pytest.fixture(scope="module")
def three_hdus(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file with an empty primary HDU, a compressed image and a plain one."""
    path = tmp_path_factory.mktemp("hdus") / "x.fits"
    rng = np.random.default_rng(1)
    fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.CompImageHDU(rng.integers(0, 900, (30, 40)).astype(np.int32), name="R0", compression_type="RICE_1"),
            fits.ImageHDU(rng.normal(size=(50, 61)).astype(np.float32), name="PLAIN"),
        ]
    ).writeto(path)
    return path.read_bytes()


def test_structure_of_a_good_file(tmp_path: Path, three_hdus: bytes) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(three_hdus)
    found = inspect(path)
    assert found.names == ("PRIMARY", "R0", "PLAIN")
    assert [h.kind for h in found.hdus] == ["empty", "compressed", "image"]
    assert found.hdu("r0").shape == (30, 40)
    assert found.hdu("R0").header["NAXIS1"] == 40
    assert found.hdu("R0").header["BITPIX"] == 32
    assert "ZIMAGE" not in found.hdu("R0").header
    assert "TTYPE1" not in found.hdu("R0").header
    assert found.size == len(three_hdus)
    assert found.problems == ()
    with pytest.raises(BadData, match="no HDU Z9; it has PRIMARY, R0, PLAIN"):
        found.hdu("Z9")


def looked_at(path: Path) -> tuple[FitsStructure | None, Incomplete | None]:
    try:
        return inspect(path), None
    except Incomplete as error:
        return None, error


def test_any_cut_is_seen(tmp_path: Path, three_hdus: bytes) -> None:
    """Whatever is cut off, the file is incomplete, unless the cut lies between two HDUs or within the padding of the last block."""
    cuts = {*np.random.default_rng(2).integers(0, len(three_hdus), 150).tolist(), *range(2870, 2890), *range(0, len(three_hdus), 2880)}
    path = tmp_path / "cut.fits"
    complete = 0
    for cut in cuts:
        path.write_bytes(three_hdus[:cut])
        found, error = looked_at(path)
        if error is not None:
            assert error.found == cut
            assert error.expected is None or error.expected > cut
        elif found is not None:
            complete += 1
            assert found.hdus[-1].data_offset + found.hdus[-1].data_size <= cut
            assert cut % 2880 == 0 or found.problems
    assert complete < len(cuts) / 4


def test_truncated_says_how_much_is_there(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "x.fits", np.zeros((100, 100), np.int16))
    whole = path.read_bytes()
    path.write_bytes(whole[:10000])
    with pytest.raises(NotReadyYet, match=r"x\.fits is truncated: HDU 0 \(PRIMARY\) ends at byte 22880, the file has 10000 \(43 % of 23040\)") as caught:
        inspect(path)
    error = caught.value
    assert isinstance(error, Incomplete)
    assert (error.expected, error.found) == (len(whole), 10000)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.expected, again.found) == (str(error), error.expected, error.found)


def test_only_headers_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 100 MB file (sparse) is inspected by its headers alone."""
    path = write_plain(tmp_path / "x.fits", np.zeros((2, 2), np.int16))
    head = path.read_bytes()[:2880].replace(b"NAXIS1  =                    2", b"NAXIS1  =                10000")
    head = head.replace(b"NAXIS2  =                    2", b"NAXIS2  =                 5000")
    with open(path, "wb") as f:
        f.write(head)
        f.truncate(2880 + (10000 * 5000 * 2 // 2880 + 1) * 2880)
    read = []
    original = Source.read
    monkeypatch.setattr(Source, "read", lambda self, offset, count: read.append(count) or original(self, offset, count))
    assert inspect(path).hdus[0].shape == (5000, 10000)
    assert 0 < sum(read) <= 64 * 2880


def test_gz_is_verified_whole(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "x.fits.gz", np.random.default_rng(1).integers(0, 60000, (64, 64)).astype(np.int32))
    whole = path.read_bytes()
    assert inspect(path).hdus[0].shape == (64, 64)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Incomplete, match="gzip stream stops after"):
        inspect(path)
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 0xFF
    path.write_bytes(bytes(broken))
    with pytest.raises(BadData, match="broken gzip stream"):
        inspect(path)
    path.write_bytes(gzip.compress(b"no frame at all"))
    with pytest.raises(BadData, match="no FITS file"):
        inspect(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello, this is a text\n" * 500, "no FITS file: it begins with b'hello, this '"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 5000, "a PNG picture"),
        (b"\x89HDF\r\n\x1a\n" + b"x" * 5000, "an HDF5 file"),
        (b"BZh91AY" + b"x" * 5000, "compressed with bzip2"),
        (b"SIMPLE  =                    T" + b"\xff\xfe" * 6000, "holds bytes that are no text"),
        (b"SIMPLE  =                    T".ljust(80) + b"END".ljust(2800), "BITPIX = None is no FITS type"),
    ],
)
def test_what_is_no_fits_file(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(content)
    with pytest.raises(BadData, match=words.replace("(", r"\(")):
        inspect(path)


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "is empty"), (bytes(5760), "nothing is written in it yet"), (b"SIMPLE  = ", "truncated within the header")]
)
def test_what_has_only_begun_is_not_ready(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(content)
    with pytest.raises(Incomplete, match=words):
        inspect(path)


def test_absent_folder_and_forbidden(tmp_path: Path) -> None:
    with pytest.raises(NotReadyYet, match="is not there"):
        inspect(tmp_path / "none.fits")
    with pytest.raises(BadData, match="is a folder"):
        inspect(tmp_path)


def test_a_header_without_end_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(b"SIMPLE  =                    T".ljust(80) + b"COMMENT".ljust(80) * 90000)
    with pytest.raises(BadData, match="no END"):
        inspect(path)


def test_absurd_claims_cost_no_memory(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "x.fits", np.zeros((2, 2), np.int16))
    whole = path.read_bytes()
    for key in (b"NAXIS1  =           2147483647", b"NAXIS1  =                   -5"):
        claim = whole.replace(b"NAXIS1  =                    2", key).replace(b"NAXIS2  =                    2", b"NAXIS2  =           2147483647")
        path.write_bytes(claim)
        with pytest.raises(BadData, match=r"no detector has so many|no whole number"):
            inspect(path)


def test_what_follows_the_last_hdu_is_a_problem(tmp_path: Path, three_hdus: bytes) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(three_hdus + b"rubbish at the end")
    assert inspect(path).problems == ("18 bytes that belong to no HDU follow the last one",)
    assert read_pixels(path, "PLAIN").shape == (50, 61)


def test_raw_file_as_desi_writes_it(tmp_path: Path) -> None:
    found = inspect(write_desi(tmp_path))
    assert found.names == ("PRIMARY", "R0")
    assert found.hdus[1].header["BIASSECD"]
