from __future__ import annotations

import numpy as np
import pytest
from qa_frames import NAMES, amplifier, exposure, pixels, raw_image

from qa.read_noise import ReadNoise, ReadNoiseParams
from quicklook.core.errors import NotApplicable


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("sigma", [1.6, 2.4])
def test_noise_from_overscan_and_image(dtype: type, sigma: float) -> None:
    raw = raw_image(pixels(sigma, ny=1024, nx=160, over=64, dtype=dtype), ny=1024, nx=160, over=64)
    got = ReadNoise().measure(raw, exposure("zero"))
    # overscan 1024 x 58 pixels: 0.3 % one sigma, and 0.3 % claimed of the kernel: 1 % at three sigma
    np.testing.assert_allclose(got["read_noise_adu"].values, sigma, rtol=0.01)
    np.testing.assert_allclose(got["read_noise"].values, 1.25 * sigma, rtol=0.01)
    np.testing.assert_allclose(got["read_noise_ratio"].values, 1.25 * sigma / 2.5, rtol=0.01)
    np.testing.assert_allclose(got["read_noise_image"].values, 1.25 * sigma, rtol=0.025)  # 64 x 160 pixels: 0.7 % one sigma


def test_rounding_can_be_left_in() -> None:
    raw = raw_image(pixels(1.0, ny=1024), ny=1024)
    without = ReadNoise().measure(raw, None)["read_noise_adu"].values
    total = ReadNoise(ReadNoiseParams(rounding=False)).measure(raw, None)["read_noise_adu"].values
    np.testing.assert_allclose(total**2 - without**2, 1 / 12, rtol=1e-6)


def test_bright_light_in_the_image_and_in_the_first_overscan_columns_does_not_matter() -> None:
    values = pixels(2.0)
    raw = raw_image(values)
    values = values.astype(np.int32)
    for amp in raw.amplifiers:
        values[amp.data.slices] += 20_000
    values[:, 4 + 128 : 4 + 128 + 2] += 300  # trailing light next to the data of A and C
    lit = ReadNoise().measure(raw_image(values), exposure("science", 900.0))
    np.testing.assert_allclose(lit["read_noise_adu"].values, ReadNoise().measure(raw, None)["read_noise_adu"].values, rtol=1e-6)
    assert lit["read_noise_image"].not_applicable


def test_dead_amplifier_has_no_noise_rather_than_noise_zero() -> None:
    values = pixels(2.0)
    values[:256, 164:] = 65535
    got = ReadNoise().measure(raw_image(values), exposure("zero"))
    for name in ("read_noise", "read_noise_adu", "read_noise_ratio", "read_noise_image", "read_noise_mad"):
        assert np.isnan(got[name].values[1])
        assert "every pixel reads 65535" in got[name].remarks["B",]
        assert np.isfinite(np.delete(got[name].values, 1)).all()


def test_constant_overscan_beside_a_living_image_is_told() -> None:
    raw = raw_image(pixels(2.0))
    values = raw.pixels.copy()
    values[raw.amplifiers[2].overscan.slices] = 0  # type: ignore[union-attr]
    got = ReadNoise().measure(raw_image(values), None)["read_noise"]
    assert np.isnan(got.values[2])
    assert got.remarks["C",] == "the overscan is constant"


def test_nan_everywhere() -> None:
    values = pixels(2.0, dtype=np.float32)
    values[:] = np.nan
    got = ReadNoise().measure(raw_image(values), exposure("zero"))
    assert np.isnan(got["read_noise"].values).all()
    assert "no finite pixel" in got["read_noise"].remarks["A",]


@pytest.mark.parametrize("over", [1, 2, 3, 5])
def test_narrow_overscan(over: int) -> None:
    values = pixels(2.0, ny=2048, over=over, pre=0)
    got = ReadNoise().measure(raw_image(values, ny=2048, over=over, pre=0), None)
    np.testing.assert_allclose(got["read_noise_adu"].values, 2.0, rtol=0.08)  # 2048 pixels at least: 1.6 % one sigma; four amplifiers


def test_prescan_stands_in_for_an_overscan_and_can_be_asked_for() -> None:
    values = pixels(2.0, ny=1024, over=0, pre=20)
    got = ReadNoise().measure(raw_image(values, ny=1024, over=0, pre=20), None)
    np.testing.assert_allclose(got["read_noise_adu"].values, 2.0, rtol=0.03)  # 14,000 pixels: 0.6 % one sigma
    both = raw_image(pixels(2.0, ny=1024, pre=20), ny=1024, pre=20)
    quiet = both.pixels.copy()
    quiet[both.amplifiers[0].prescan.slices] = np.rint(np.random.default_rng(4).normal(1000, 4.0, (1024, 20)))  # type: ignore[union-attr]
    asked = ReadNoise(ReadNoiseParams(source="prescan")).measure(raw_image(quiet, ny=1024, pre=20), None)
    assert asked["read_noise_adu"].values[0] == pytest.approx(4.0, rel=0.03)


def test_no_overscan_at_all() -> None:
    raw = raw_image(pixels(2.0, over=0, pre=0), over=0, pre=0)
    with pytest.raises(NotApplicable, match="overscan"):
        ReadNoise().measure(raw, exposure("science"))
    got = ReadNoise().measure(raw, exposure("zero"))
    np.testing.assert_allclose(got["read_noise_adu"].values, 2.0, rtol=0.03)  # 256 x 64 pixels of the image: 0.55 % one sigma


def test_one_amplifier_without_overscan_among_others_is_unknown() -> None:
    amps = tuple(amplifier(i, **({"overscan": None, "prescan": None} if i == 3 else {})) for i in range(4))
    got = ReadNoise().measure(raw_image(pixels(2.0), amps), exposure("science"))["read_noise"]
    assert np.isnan(got.values[3])
    assert got.remarks["D",] == "no overscan or prescan is declared"


def test_ratio_only_where_a_noise_is_stated() -> None:
    amps = tuple(amplifier(i, read_noise=2.5 if i == 1 else None) for i in range(4))
    assert ReadNoise().measure(raw_image(pixels(2.0), amps), None)["read_noise_ratio"].coords["amp"] == ("B",)
    none = tuple(amplifier(i, read_noise=None) for i in range(4))
    assert ReadNoise().measure(raw_image(pixels(2.0), none), None)["read_noise_ratio"].not_applicable


def test_parallel_read_out_has_its_overscan_above() -> None:
    raw = raw_image(pixels(2.0))
    turned = raw_image(np.ascontiguousarray(raw.pixels.T), tuple(_transposed(a) for a in raw.amplifiers))
    want, got = ReadNoise().measure(raw, None)["read_noise"].values, ReadNoise().measure(turned, None)["read_noise"].values
    np.testing.assert_array_equal(got, want)


def _transposed(amp):  # type: ignore[no-untyped-def]
    from quicklook.ccd.geometry import Section

    def turn(s):  # type: ignore[no-untyped-def]
        return None if s is None else Section(s.x0, s.x1, s.y0, s.y1)

    changes = {k: turn(getattr(amp, k)) for k in ("data", "ccd", "overscan", "prescan")}
    return amplifier(NAMES.index(amp.name), **changes)


def test_mad_is_quantised_as_its_definition_says() -> None:
    mad = ReadNoise().measure(raw_image(pixels(2.0, ny=1024), ny=1024), None)["read_noise_mad"].values / 1.25
    np.testing.assert_allclose(mad, 1.4826 * 2 / np.sqrt(2), rtol=1e-9)  # the MAD of the differences is 2 ADU exactly


def test_input_is_not_changed_and_plots_are_labelled() -> None:
    raw = raw_image(pixels(2.0))
    before = raw.pixels.copy()
    plot = ReadNoise().measure(raw, exposure()).plots[0]
    np.testing.assert_array_equal(raw.pixels, before)
    assert "r0" in plot.title
    assert all(p.x.label and p.y.label and p.title for p in plot.panels)
