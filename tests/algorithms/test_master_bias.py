"""The master bias, and what the preprocessing makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import preproc_frames as f
import pytest

from algorithms.master_bias import MasterBias, MasterBiasParams
from quicklook.ccd.calibs import Bias
from quicklook.ccd.geometry import Amplifier, Orientation, Section
from quicklook.ccd.image import RawImage
from quicklook.ccd.leftout import LeftOut
from quicklook.core.errors import BadData
from quicklook.core.group import Streamed
from quicklook.core.keys import Unit


def structure(seed: int = 5) -> np.ndarray:
    """Columns, a glow in a corner and single pixels, ADU, of the raw shape; the overscan has columns of its own."""
    rng = np.random.default_rng(seed)
    out = np.zeros(f.RAW_SHAPE) + rng.normal(0.0, 1.5, f.RAW_SHAPE[1])[None, :]
    out[:20, :20] += 8.0
    out[100, 50] += 300.0
    return out


def zero(seed: int, extra: np.ndarray | None = None, drift: float = 0.0) -> RawImage:
    raw = f.frame(seed=seed)
    rows = drift * np.sin(np.arange(f.RAW_SHAPE[0]) / 40.0 + seed)[:, None]
    return replace(raw, pixels=np.round(raw.pixels + (0 if extra is None else extra) + rows).astype(np.int32))


def master(raws: Sequence[RawImage], **params: object) -> Bias:
    return made(raws, **params)[0]


def made(raws: Sequence[RawImage], **params: object) -> tuple[Bias, LeftOut]:
    return MasterBias(MasterBiasParams(**params)).run(raws, [replace(f.exposure(0.0), unit=Unit(20220101, 10 + i)) for i in range(len(raws))])


def data_of(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[f.amplifier(n).data.slices].ravel() for n in "ABCD"])


def test_the_structure_is_found_whatever_the_level_of_a_frame_does() -> None:
    truth = structure()
    bias = master([zero(i, truth + 10.0 * i, drift=3.0) for i in range(12)])
    off = data_of(bias.pixels) - data_of(truth)
    for name in "ABCD":  # against its overscan: the level of an amplifier is that of the structure there
        cut = f.amplifier(name).overscan
        assert cut is not None
        own = bias.pixels[f.amplifier(name).data.slices] - truth[f.amplifier(name).data.slices]
        assert np.median(own) == pytest.approx(-truth[cut.slices][:, 3:-3].mean(), abs=0.15)  # 26 columns of 2.3 / sqrt(12) / sqrt(26) and the drift
    error = np.sqrt(data_of(bias.variance))  # type: ignore[arg-type]
    pull = (off - np.median(off.reshape(4, -1), axis=1).repeat(off.size // 4)) / error
    assert 1.4826 * np.median(np.abs(pull)) == pytest.approx(1.0, abs=0.05)  # 38400 pixels: 0.6 %; drift and rounding add some


def test_preprocessing_with_it_takes_all_structure_away() -> None:
    truth = structure()
    bias = master([zero(i, truth) for i in range(1, 16)])
    new = zero(99, truth + 40.0)
    with_it, without = f.run(new, bias, use_gain=False), f.run(new, use_gain=False)
    columns = np.std(np.median(without.pixels, axis=0)), np.std(np.median(with_it.pixels, axis=0))
    assert columns[0] > 1.2
    assert columns[1] < 0.35  # the noise of a median of 240 rows of a bias of 15 zeros: 0.2
    assert abs(np.median(with_it.pixels)) < 0.15
    assert np.std(with_it.pixels[with_it.mask == 0]) == pytest.approx(np.sqrt(np.mean([(f.NOISE[n] / f.GAIN[n]) ** 2 for n in "ABCD"])), rel=0.06)


def test_the_level_is_measured_after_the_structure_of_the_overscan() -> None:
    """A step within the overscan strip, the same in all frames, moves no pixel."""
    truth = np.zeros(f.RAW_SHAPE)
    over = f.amplifier("A").overscan
    assert over is not None
    truth[over.y0 : over.y1, over.x0 : over.x0 + 10] += 30.0
    bias = master([zero(i, truth) for i in range(1, 10)])
    image = f.run(zero(99, truth), bias)
    assert abs(np.median(image.pixels[f.amplifier("A").ccd.slices])) < 0.2


def test_cosmic_rays_leave_no_trace() -> None:
    rng = np.random.default_rng(8)
    raws = []
    for i in range(9):
        hits = np.zeros(f.RAW_SHAPE)
        hits[rng.integers(0, f.RAW_SHAPE[0], 60), rng.integers(0, f.RAW_SHAPE[1], 60)] = 4000.0
        raws.append(zero(i, hits))
    bias = master(raws)
    assert np.abs(data_of(bias.pixels)).max() < 10.0


def patch(level: float) -> np.ndarray:
    out = np.zeros(f.RAW_SHAPE)
    cut = f.amplifier("B").data
    out[cut.y0 : cut.y0 + 64, cut.x0 : cut.x0 + 64] = level
    return out


@pytest.mark.parametrize("odd", [(1, 3), (0,), (7, 8)])
def test_zeros_with_light_are_left_out_by_name(odd: tuple[int, ...]) -> None:
    """Two of five: a clip by pixel takes them for its scatter. 7 and 8 come after the head, which the median is made from."""
    n = 5 if max(odd) < 5 else 9
    bias, left_out = made([zero(i, patch(60.0) if i in odd else None) for i in range(n)])
    clean = master([zero(i) for i in range(n) if i not in odd])
    assert np.abs((bias.pixels - clean.pixels)[patch(1.0) > 0]).max() < 0.01
    assert left_out.units == tuple(f"20220101/{10 + i:08d}" for i in odd)
    assert all(why.startswith("differs from the others by") and "amplifier B" in why for why in left_out.why)


def test_zeros_of_which_no_majority_agrees_make_no_bias() -> None:
    with pytest.raises(BadData, match=r"of 5 zeros 1 are alike.*zero 1[0-4] differs from the others by"):
        master([zero(i, patch(60.0 * max(0, i - 1))) for i in range(5)])


def test_it_streams() -> None:
    """Each exposure is asked for once, in order."""
    asked: list[int] = []

    def load(i: int) -> RawImage:
        asked.append(i)
        return zero(i)

    raws = Streamed([lambda i=i: load(i) for i in range(9)])  # type: ignore[misc]
    bias = master(raws)
    assert asked == list(range(9))
    np.testing.assert_array_equal(bias.pixels, master([zero(i) for i in range(9)]).pixels)


def test_a_raw_image_that_lies_on_its_side() -> None:
    """The bias has the orientation of the raw file; the preprocessing turns it with the image."""
    truth = structure()
    raws = [replace(zero(i, truth), orientation=Orientation(transpose=True, flip_y=True)) for i in range(1, 10)]
    bias = master(raws)
    assert bias.pixels.shape == raws[0].shape
    turned = f.run(replace(zero(99, truth), orientation=Orientation(transpose=True, flip_y=True)), bias)
    upright = f.run(zero(99, truth), bias)
    np.testing.assert_allclose(turned.pixels[::-1].T, upright.pixels, atol=1e-3)


def test_an_overscan_above_the_data() -> None:
    """The serial register runs along y: levels are taken by column."""

    def lying(raw: RawImage) -> RawImage:
        def turn(s: Section) -> Section:
            return Section(s.x0, s.x1, s.y0, s.y1)

        def strips(a: Amplifier) -> dict[str, Section]:
            return {k: turn(s) for k in ("overscan", "prescan", "parallel_overscan") if (s := getattr(a, k)) is not None}

        amps = tuple(replace(a, data=turn(a.data), ccd=turn(a.ccd), **strips(a)) for a in raw.amplifiers)  # type: ignore[arg-type]
        return replace(raw, pixels=np.ascontiguousarray(raw.pixels.T), amplifiers=amps)

    truth = structure()
    raws = [zero(i, truth + 5.0 * i, drift=3.0) for i in range(9)]
    np.testing.assert_allclose(master([lying(r) for r in raws]).pixels.T, master(raws).pixels, atol=1e-3)


def test_pixels_of_no_section_are_zero() -> None:
    bias = master([zero(i) for i in range(3)])
    corner = np.s_[f.NY : f.NY + f.ROWS, f.PRE + f.NX : f.PRE + f.NX + f.OVER]
    assert bias.variance is not None
    assert not bias.pixels[corner].any()
    assert not bias.variance[corner].any()
    assert (bias.variance[f.amplifier("C").data.slices] > 0).all()


def test_what_makes_no_group_is_refused() -> None:
    with pytest.raises(BadData, match="three zeros at least, these are 2"):
        master([zero(1), zero(2)])
    small = replace(zero(3), amplifiers=tuple(replace(a, overscan=None) for a in zero(3).amplifiers))
    with pytest.raises(BadData, match="different read-outs"):
        master([zero(1), zero(2), small])
