"""Windows around lines: some of the fibres, moved windows, and a first look at the shift."""

from __future__ import annotations

import numpy as np
import pytest
import trace_frames as tf

from algorithms.linewindows import BIN, Windows, peak, scores
from algorithms.tracegeometry import Places


def test_some_windows_are_those_of_all_and_moved_ones_hold_the_same_rows() -> None:
    image, places = tf.image(tf.traces()), Places(tf.traces(), tf.LINES)
    every = Windows(image, places, 2.0, 8)
    some = Windows(image, places, 2.0, 8, lines=np.array([5, 2]), fibres=slice(1, None, 7))
    np.testing.assert_array_equal(some.flux, every.flux[[5, 2]][:, 1::7])
    np.testing.assert_array_equal(some.row0, every.row0[[5, 2]][:, 1::7])
    moved = Windows(image, places, 2.0, 5, shift=np.full(places.y.shape, 2.0))
    np.testing.assert_array_equal(moved.row0, every.row0 + 3 + 2)
    np.testing.assert_allclose(moved.flux, every.flux[:, :, 5:16], rtol=1e-5)  # x of a row by another sum
    np.testing.assert_array_equal(moved.y, places.y)


@pytest.mark.parametrize("shift", [-2.0, 0.3, 1.7])
def test_lines_that_have_moved_are_seen_at_once(shift: float) -> None:
    image = tf.image(tf.shifted(tf.traces(), (0, 0, 0), (shift, 0, 0)))
    profile, clear = Windows(image, Places(tf.traces(), tf.LINES), 2.0, 10).profile(3.3)
    assert clear == len(tf.LINES)
    got = peak(profile, BIN, 3.3, 1.3)
    assert got == pytest.approx(shift, abs=0.15)  # tried in steps of 0.1


def test_scores_are_those_of_a_matched_filter() -> None:
    rng = np.random.default_rng(1)
    profile = rng.normal(size=41)
    trial, got = scores(profile, 0.25, 2.0, 1.3)
    at = (np.arange(41) - 20) * 0.25
    for t, value in zip(trial, got, strict=True):
        g = np.exp(-0.5 * ((at - t) / 1.3) ** 2)
        assert value == pytest.approx((g - g.mean()) @ profile / np.linalg.norm(g - g.mean()))
    assert peak(np.zeros(41), 0.25, 2.0, 1.3) is None
