from __future__ import annotations

import numpy as np
import pytest
from qa_frames import amplifier, exposure, pixels, raw_image

from qa.bias_level import BiasLevel, BiasLevelParams
from quicklook.core.errors import NotApplicable


def test_level_of_every_amplifier() -> None:
    raw = raw_image(pixels(2.0))
    values = raw.pixels.astype(np.int32)
    values[:, 164:] += 200
    got = BiasLevel().measure(raw_image(values), None)["bias_level"].values
    np.testing.assert_allclose(got, [1000, 1200, 1000, 1200], atol=5 * 2.0 / np.sqrt(256 * 26))  # five sigma of the mean


@pytest.mark.parametrize("height", [5.0, -5.0])
def test_step_is_found_with_height_and_row(height: float) -> None:
    values = pixels(2.0, ny=512).astype(np.float32)
    values[300:512, :164] += height
    got = BiasLevel().measure(raw_image(np.rint(values).astype(np.uint16), ny=512), None)
    step = got["bias_step"]
    assert step.values[0] == pytest.approx(5.0, abs=0.4)  # means of 64 rows of 26 pixels: 0.07 ADU one sigma; the largest of many
    assert f"step of {height:+.1f}"[:9] in step.remarks["A",]
    assert abs(int(step.remarks["A",].split("row ")[1].split()[0]) - 300) <= 8
    assert got["bias_step_ratio"].values[0] == pytest.approx(2.5, abs=0.3)
    assert (step.values[1:] < 0.5).all()
    assert ("B",) not in step.remarks


def test_healthy_frames_show_no_step_beyond_noise() -> None:
    # noise of a step 2 sqrt(2/64/26) = 0.069 ADU; the largest of 400 places in 40 amplifiers stays below six times that
    steps = [BiasLevel().measure(raw_image(pixels(2.0, ny=512, seed=s), ny=512), None)["bias_step"].values for s in range(10)]
    assert np.max(steps) < 0.45


def test_drift() -> None:
    values = pixels(1.0, ny=512).astype(np.float32)
    values[:512] += np.linspace(0, 8, 512)[:, None]
    got = BiasLevel().measure(raw_image(values, ny=512), None)
    assert got["bias_drift"].values[0] == pytest.approx(8 * (1 - 64 / 512), abs=0.3)
    assert got["bias_step"].values[0] == pytest.approx(8 * 64 / 512, abs=0.3)


def test_patterns_of_rows_and_columns_are_told_apart() -> None:
    rng = np.random.default_rng(7)
    rows, columns = rng.normal(0.0, 2.0, 256), rng.normal(0.0, 3.0, 328)
    by_row, by_column = pixels(2.0, dtype=np.float32), pixels(2.0, dtype=np.float32)
    by_row[:256] += rows[:, None]
    by_column += columns[None, :]
    got = BiasLevel().measure(raw_image(by_row), None)
    # electron; the running mean of 32 rows takes 3 % of what white rows have. Noise: 2 ADU in means of 26 pixels, of 256 rows
    np.testing.assert_allclose(got["bias_row_pattern"].values[:2], 1.25 * np.std(rows), rtol=0.05)
    assert got["bias_row_pattern"].values[2:].max() < 0.3
    assert got["bias_column_pattern"].values.max() < 0.2
    got = BiasLevel().measure(raw_image(by_column), None)
    np.testing.assert_allclose(got["bias_column_pattern"].values[0], 1.25 * np.std(columns[135:161], ddof=1), rtol=0.05)
    assert got["bias_row_pattern"].values.max() < 0.3


def test_a_slope_has_its_sign_and_is_no_pattern() -> None:
    values = pixels(1.0, ny=512).astype(np.float32)
    values[:512] += np.linspace(8.0, 0.0, 512)[:, None]
    got = BiasLevel().measure(raw_image(values, ny=512), None)
    np.testing.assert_allclose(got["bias_slope"].values, [-8.0, -8.0, 0.0, 0.0], atol=0.2)  # 1 ADU in 512 x 26 pixels: 0.03
    assert got["bias_row_pattern"].values.max() < 0.25


def test_rays_and_light_in_some_rows_do_not_move_the_level() -> None:
    values = pixels(2.0)
    values[10:14, 132:164] = 30_000  # rows of a saturated star, trailing through all of the overscan
    values[100, 140] = 60_000
    got = BiasLevel().measure(raw_image(values), None)
    assert got["bias_level"].values[0] == pytest.approx(1000, abs=0.15)


def test_dead_amplifier_has_no_level() -> None:
    values = pixels(2.0)
    values[:256, 164:] = 1005
    got = BiasLevel().measure(raw_image(values), None)
    for name in ("bias_level", "bias_step", "bias_step_ratio", "bias_drift"):
        assert np.isnan(got[name].values[1])
        assert "dead: every pixel reads 1005" in got[name].remarks["B",]


@pytest.mark.parametrize("over", [1, 2])
def test_overscan_of_one_or_two_columns(over: int) -> None:
    got = BiasLevel().measure(raw_image(pixels(2.0, over=over, pre=0), over=over, pre=0), None)
    np.testing.assert_allclose(got["bias_level"].values, 1000, atol=5 * 2.0 / 16)
    assert np.isfinite(got["bias_step"].values).all()


def test_few_rows_are_told() -> None:
    got = BiasLevel().measure(raw_image(pixels(2.0, ny=5), ny=5), None)
    assert np.isfinite(got["bias_level"].values).all()
    assert np.isnan(got["bias_step"].values).all()
    assert "too few" in got["bias_step"].remarks["A",]
    assert ("A",) not in got["bias_level"].remarks


def test_overscan_without_finite_pixels() -> None:
    values = pixels(2.0, dtype=np.float32)
    values[:256, 132:164] = np.nan
    got = BiasLevel().measure(raw_image(values), None)["bias_level"]
    assert np.isnan(got.values[0])
    assert "no finite pixel in the overscan" in got.remarks["A",]


def test_no_overscan() -> None:
    raw = raw_image(pixels(2.0, over=0, pre=0), over=0, pre=0)
    with pytest.raises(NotApplicable):
        BiasLevel().measure(raw, exposure("flat"))
    np.testing.assert_allclose(BiasLevel().measure(raw, exposure("zero"))["bias_level"].values, 1000, atol=0.1)


def test_an_amplifier_without_overscan_among_others_is_unknown() -> None:
    amps = tuple(amplifier(i, **({"overscan": None, "prescan": None} if i == 0 else {})) for i in range(4))
    got = BiasLevel().measure(raw_image(pixels(2.0), amps), None)["bias_level"]
    assert np.isnan(got.values[0])
    assert got.remarks["A",] == "no overscan or prescan is declared"


def test_plots_and_parameters() -> None:
    raw = raw_image(pixels(2.0))
    before = raw.pixels.copy()
    plot = BiasLevel(BiasLevelParams(window=16, trim=0, source="prescan")).measure(raw, None).plots[0]
    np.testing.assert_array_equal(raw.pixels, before)
    assert len(plot.panels) == 8
    assert "prescan" in plot.panels[4].title
    assert [p.y.unit for p in plot.panels] == ["adu", "adu", "electron", "electron", *4 * ["adu"]]
