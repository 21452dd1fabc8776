"""Algorithms: one of an exposure, one of a group of exposures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from quicklook.ccd.image import Image
from quicklook.core.errors import BadData
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg
from quicklook.core.product import Product


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLevel(Product):
    """Mean level of a group of images, electron, and how many there were."""

    kind = "example_group_level"

    electrons: float
    count: int


class SubtractMedianParams(Params):
    """Parameters of `subtract_median`."""

    fraction: float = Field(1.0, ge=0.0, le=1.0, description="fraction of the median that is subtracted")


class SubtractMedian(PipelineAlg[SubtractMedianParams]):
    """Subtract the median of all good pixels from an image."""

    name = "subtract_median"

    def run(self, image: Image) -> Image:
        """The image with its median subtracted. Raises BadData where no pixel is good."""
        good = image.ivar > 0
        if not good.any():
            raise BadData(f"camera {image.camera} has no good pixel")
        level = np.float32(self.params.fraction * float(np.median(image.pixels[good])))
        return replace(image, pixels=image.pixels - level, applied=(*image.applied, "median"))


class MeanLevelParams(Params):
    """Nothing to set."""


class MeanLevel(PipelineAlg[MeanLevelParams]):
    """Mean over a group of the mean level of each image; only one image is in memory at a time."""

    name = "mean_level"

    def run(self, images: Sequence[Image]) -> GroupLevel:
        """The level of the group. Raises BadData for a group of nothing."""
        levels = [float(image.pixels.mean(dtype=np.float64)) for image in images]
        if not levels:
            raise BadData("the group has no image")
        return GroupLevel(electrons=sum(levels) / len(levels), count=len(levels))
