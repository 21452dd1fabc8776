"""Pictures of at most 256 colours, read back by another program."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.image import imread

from quicklook.io.smallpng import palette_png


def test_few_colours_come_back_as_they_are_up_to_rounding() -> None:
    colours = np.array([[255, 255, 255], [0, 0, 0], [200, 16, 64]], np.uint8)
    pixels = colours[np.random.default_rng(1).integers(0, 3, size=(7, 11))]
    back = np.round(imread(io.BytesIO(palette_png(pixels)))[..., :3] * 255)
    # colours are rounded to steps of 8
    assert np.abs(back - pixels.astype(float)).max() <= 4
    assert back.shape == (7, 11, 3)


def test_of_many_colours_the_nearest_are_taken() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, size=(60, 50, 3)).astype(np.uint8)
    back = np.round(imread(io.BytesIO(palette_png(pixels)))[..., :3] * 255)
    # 256 colours spread over the cube are 1/6 of its side apart: none is farther than a few of these steps
    assert np.abs(back - pixels).max() < 150
    assert len(np.unique(back.reshape(-1, 3), axis=0)) <= 256
