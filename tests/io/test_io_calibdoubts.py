"""Calibrations that were cut, run together, or put into another order: refused, or provisional with the doubt in their comment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quicklook.ccd.calibs import BadPixelMask, Bias
from quicklook.ccd.spectra import FiberFlat
from quicklook.core.errors import BadData
from quicklook.io.calibadd import add_calibration
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibfibers import difference, likeness
from quicklook.io.calibwrite import write_calibration

SHAPE = (400, 300)
TAGS = {"raw_shape": "400,300", "image_shape": "400,300"}
NFIBRE, NWAVE = 60, 40


def mask(defects: int = 400) -> BadPixelMask:
    """Hot pixels at random, and a bad column that ends within the detector."""
    rng = np.random.default_rng(2)
    pixels = np.zeros(SHAPE, np.uint16)
    pixels[rng.integers(0, SHAPE[0], defects), rng.integers(0, SHAPE[1], defects)] = 1
    pixels[150:, 77] = 2
    return BadPixelMask(pixels=pixels)


def flat(seed: int, tilt: float = 0.0, order: np.ndarray | None = None, scatter: float = 0.05) -> FiberFlat:
    """Fibres whose throughput scatters, measured to 0.2 %; a lamp that is brighter at one end by `tilt`; the rows of data in another order."""
    levels = 1.0 + scatter * np.random.default_rng(11).normal(size=NFIBRE)
    levels *= 1.0 + tilt * np.linspace(-0.5, 0.5, NFIBRE)
    data = levels[:, None] * np.ones(NWAVE) + 0.002 * np.random.default_rng(seed).normal(size=(NFIBRE, NWAVE))
    data = data if order is None else data[order]
    one = np.ones((NFIBRE, NWAVE), np.float32)
    wave = np.linspace(6000.0, 6100.0, NWAVE)
    return FiberFlat(
        flat=data.astype(np.float32), ivar=2.5e5 * one, mask=np.zeros(one.shape, np.uint32), wave=wave, meanspec=1e4 * one[0], fiber=np.arange(NFIBRE)
    )


def test_bytes_behind_the_last_hdu(tmp_path: Path) -> None:
    bias = Bias(pixels=np.random.default_rng(1).normal(size=SHAPE).astype(np.float32))
    path = write_calibration(bias, tmp_path / "bias.fits", sync=False)
    whole = path.read_bytes()
    path.write_bytes(whole + b"left over from an earlier file" * 200)
    with pytest.raises(BadData, match="6000 bytes that belong to no HDU follow the last one: two files were run together"):
        add_calibration(tmp_path, CalibEntry(kind="bias", path="bias.fits"), TAGS)
    path.write_bytes(whole)
    assert add_calibration(tmp_path, CalibEntry(kind="bias", path="bias.fits"), TAGS).quality == "good"


@pytest.mark.parametrize("part", [slice(200, None), slice(0, 200), slice(120, 260)])
def test_a_mask_that_is_empty_in_a_part_of_its_rows_is_doubtful(tmp_path: Path, part: slice) -> None:
    pixels = mask().pixels.copy()
    pixels[part] = 0
    write_calibration(BadPixelMask(pixels=pixels), tmp_path / "mask.fits", sync=False)
    added = add_calibration(tmp_path, CalibEntry(kind="mask", path="mask.fits"), TAGS)
    assert added.quality == "provisional"
    assert f"none in rows {part.start} to {(part.stop or SHAPE[0]) - 1}" in added.comment


@pytest.mark.parametrize("defects", [0, 30, 400])
def test_masks_of_few_or_many_defects_are_not(tmp_path: Path, defects: int) -> None:
    write_calibration(mask(defects), tmp_path / "mask.fits", sync=False)
    assert add_calibration(tmp_path, CalibEntry(kind="mask", path="mask.fits"), TAGS).quality == "good"


@pytest.mark.parametrize("order", ["reversed", "at random", "moved by one", "right"])
def test_fibres_in_another_order_than_before(tmp_path: Path, order: str) -> None:
    at = {
        "reversed": np.arange(NFIBRE)[::-1],
        "at random": np.random.default_rng(5).permutation(NFIBRE),
        "moved by one": np.roll(np.arange(NFIBRE), 1),
        "right": np.arange(NFIBRE),
    }[order]
    for name, product in (("first.fits", flat(1)), ("second.fits", flat(2, order=at))):
        write_calibration(product, tmp_path / name, sync=False)
    assert add_calibration(tmp_path, CalibEntry(kind="fiberflat", path="first.fits", camera="r0")).quality == "good"
    added = add_calibration(tmp_path, CalibEntry(kind="fiberflat", path="second.fits", camera="r0"))
    assert added.quality == ("good" if order == "right" else "provisional")
    assert ("the levels of its fibres are not those of first.fits" in added.comment) == (order != "right")


@pytest.mark.parametrize("seed", range(4))
def test_another_lamp_is_no_other_order(seed: int) -> None:
    """Brighter at one end by a third; and numbers tell the rows, whatever their order."""
    moved = np.random.default_rng(seed).permutation(NFIBRE)
    renumbered = replace(flat(seed + 10, tilt=0.3, order=moved), fiber=moved)
    for other in (flat(seed + 10, tilt=0.3), renumbered):
        found = likeness(other, flat(1))
        assert found is not None
        assert found > 0.95


def test_where_levels_are_even_or_fibres_few_nothing_is_said() -> None:
    assert likeness(flat(3, scatter=0.0), flat(1)) is None
    few = np.arange(10)
    one = flat(1)
    part = replace(one, flat=one.flat[few], ivar=one.ivar[few], mask=one.mask[few], fiber=few)
    assert likeness(part, one) is None


@pytest.mark.parametrize(
    ("rows", "moved", "said"),
    [
        (slice(0, 10), slice(9, None, -1), "fibres 0 to 9 are in another order, reversed"),
        (slice(20, 30), slice(29, 19, -1), "fibres 20 to 29 are in another order, reversed"),
        (slice(20, 22), slice(21, 19, -1), "fibres 20 to 21 are in another order, reversed"),
        (slice(None), slice(None, None, -1), "they are in another order, reversed (correlation"),
    ],
)
def test_a_group_of_fibres_in_another_order(rows: slice, moved: slice, said: str) -> None:
    order = np.arange(NFIBRE)
    order[rows] = order[moved]
    assert difference(flat(2, order=order), flat(1)).startswith(said)


def test_groups_in_each_others_place_and_all_moved_by_one() -> None:
    order = np.arange(NFIBRE)
    order[5:15], order[30:40] = np.arange(30, 40), np.arange(5, 15)
    assert difference(flat(2, order=order), flat(1, tilt=0.2)) == "fibres 5 to 14 and 30 to 39 are in each other's place"
    assert difference(flat(2, order=np.roll(np.arange(NFIBRE), 1)), flat(1)).startswith("they are in another order, moved by 1 up (correlation")


def changed(factor: float, rows: list[int]) -> FiberFlat:
    one = flat(2)
    data = one.flat.copy()
    data[rows] *= np.float32(factor)
    return replace(one, flat=data)


def test_fibres_that_changed_are_named_and_no_order_is_blamed() -> None:
    said = difference(changed(0.6, list(range(0, NFIBRE, 7))), flat(1))
    assert said.startswith("9 of 60 changed, fibre 0 (0.60), ")
    assert "order" not in said
    assert difference(changed(0.9, list(range(20, 30))), flat(1)).startswith("10 of 60 changed, fibre 2")


@pytest.mark.parametrize("rows", [[], [17], [3, 20], [3, 20, 41]])
@pytest.mark.parametrize("factor", [0.0, 0.8])
def test_dust_on_few_fibres_is_no_doubt(factor: float, rows: list[int]) -> None:
    assert difference(changed(factor, rows), flat(1)) == ""


def test_of_a_flat_without_light_it_says_what_it_can() -> None:
    one = flat(2)
    assert difference(replace(one, flat=one.flat * np.float32(np.nan)), flat(1)) == ""
    assert "order, reversed" not in difference(replace(one, flat=one.flat * np.float32(0)), flat(1))
