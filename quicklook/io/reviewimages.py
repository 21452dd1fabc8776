"""A look at biases, darks, pixel flats and bad pixel masks: whether a detector can have given their values."""

from __future__ import annotations

import numpy as np

from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.calibs import BadPixelMask, Bias, Dark, PixelFlat
from quicklook.core.product import Calibration
from quicklook.io.reviewfacts import MAX_WILD, WILD_FLAT, Review, median, neighbour_scatter, relative, statistics

MAX_IMAGE_NONFINITE = 0.01
"""Fraction of the pixels that may be no number: bad columns and the like. More make every frame an ALARM (limit of `nonfinite_fraction`)."""
WILD_BIAS, WILD_DARK = 262_144.0, 1e4
"""ADU: more than an 18 bit converter gives. Electron/s: the hottest pixels are saturated within seconds."""
MAX_GARBAGE = 1e-4
"""Fraction of the pixels that may be of a size that nothing measured has: a few come of a division by nearly 0, damaged bytes give more."""
GARBAGE = (1e-20, 1e7)
"""Magnitudes between which whatever is measured lies, where it is not 0. Of bytes at random three quarters of the floats lie outside."""
_FEW = 8
"""Pixels of such a size that any image may have."""
BIAS_NOISE, DARK_NOISE, PIXFLAT_NOISE = 200.0, 30.0, 0.2
"""Most scatter between neighbouring pixels, sigma: ADU, more than any read noise; electron/s; and of a flat, one of less than 25 photo-electrons."""
HOT = 50.0
"""Sigma: pixels farther from the median than this are hot, not noisy."""
MAX_EVEN_ROWS = 0.1
"""Fraction of the rows of a bias or dark that may hold one value all along: strips that are not read have that, and so has a file that was cut."""
MAX_MASKED = 0.5
"""A mask of more than half of the detector has its bits the wrong way round, or is no mask."""
EMPTY_PART, LEAST_DEFECTS = 0.3, 100
"""A mask that has so many defects, and none in so large a part of its rows in one piece, was cut and filled up, or made of a part of the detector."""
MAX_BIAS_ADU = 33_000.0
"""Half of what a 16 bit converter gives: above, less than half of it were left for light."""
DARK_RANGE = (-1.0, 100.0)
"""Median, electron/s: a cooled CCD has less than 1, a warm one some tens; more are the electrons of a whole exposure."""
SCATTER: dict[type[Calibration], tuple[str, float]] = {
    Bias: ("ADU", BIAS_NOISE), Dark: ("electron/s", DARK_NOISE), PixelFlat: ("", PIXFLAT_NOISE),
}  # fmt: skip
"""Unit of an image, and most scatter between neighbouring pixels."""


def _image(out: Review, pixels: Raw, wild: float, unit: str, noise: float) -> Float64:
    """Statistics of an image, and whether its values can be measured ones: of a size that there is, and not more scattered than light or a read-out.

    `wild`: so far from 0 a pixel may be; `noise`: most scatter between neighbours. Every pixel is looked at for the first, for damage is local.
    """
    sample = statistics(out, pixels, lost=MAX_IMAGE_NONFINITE)
    measurable(out, pixels, unit, noise)
    beyond = float(np.count_nonzero(np.abs(sample) > wild)) / max(1, sample.size)
    out.demand(beyond <= MAX_WILD, f"{100 * beyond:.3g} % of its pixels are beyond {wild:g} {unit}".rstrip())
    return sample


def measurable(out: Review, pixels: Raw, unit: str, noise: float) -> None:
    """Sizes and scatter that values of a detector have."""
    with np.errstate(invalid="ignore"):
        size = np.abs(pixels)
    low, high = GARBAGE
    garbage = int(np.count_nonzero((size > high) | ((size < low) & (size > 0))))
    said = f"{garbage} of its pixels hold less than {low:g} or more than {high:g}: nothing that was measured does; the file is damaged"
    out.demand(garbage <= max(_FEW, MAX_GARBAGE * size.size), said)
    scatter = neighbour_scatter(pixels)
    out.facts["scatter"] = scatter
    out.demand(not scatter > noise, f"neighbouring pixels scatter by {scatter:.4g} {unit}, at most {noise:g} is possible")


def even_rows(out: Review, pixels: Raw, *, whole: bool = True) -> None:
    """Rows that hold one value all along: what is left of a file that was cut, or filled with zeros."""
    even = (pixels == pixels[:, :1]).all(axis=1)
    share = float(even.mean()) if pixels.shape[1] > 1 else 0.0
    rows = np.flatnonzero(even)
    where = f" ({rows[0]} to {rows[-1]})" if rows.size and whole else ""
    said = f"{100 * share:.3g} % of its rows{where} hold one value all along"
    made_up = share == 1.0 and not whole  # one without any structure is put in the place of none by some; it is told when it is added
    out.demand(share <= MAX_EVEN_ROWS or made_up, f"{said}; none that was measured is so even")


def bias_level(sample: Float64, out: Review) -> None:
    """Asks of sorted values, ADU, that their median leaves room for light."""
    out.demand(not sample.size or abs(median(sample)) <= MAX_BIAS_ADU, f"its median is {median(sample):.4g} ADU; no detector is read with that")


def look_bias(bias: Bias, out: Review) -> None:
    """Level, evenness, scatter and variance of a bias."""
    sample = _image(out, bias.pixels, WILD_BIAS, *SCATTER[Bias])
    bias_level(sample, out)
    same = sample.size > 1 and sample[0] == sample[-1]
    out.demand(not same, f"all of its pixels are {median(sample):.4g} ADU; none that was measured is so even")
    if not same:
        even_rows(out, bias.pixels)
    if bias.variance is not None:
        known = bias.variance[np.isfinite(bias.variance)]
        out.facts["noise_median"] = float(np.sqrt(np.median(known))) if known.size else float("nan")
        out.demand(known.size > 0, "its variance is not known anywhere")


def look_dark(dark: Dark, out: Review) -> None:
    """Level, form, evenness and scatter of a dark."""
    sample = _image(out, dark.pixels, WILD_DARK, *SCATTER[Dark])
    dark_level(sample, out)
    _dark_form(sample, out)
    same = sample.size > 1 and sample[0] == sample[-1]
    out.demand(not same, f"all of its pixels are {median(sample):.4g} electron/s; none that was measured is so even")
    if not same:
        even_rows(out, dark.pixels)


def _dark_form(sample: Float64, out: Review) -> None:
    """A dark has hot pixels, which stand out upwards; a pixel flat is around 1 all over."""
    middle = median(sample)
    tail = HOT * 1.4826 * float(np.median(np.abs(sample - middle))) if sample.size else 0.0
    below, above = np.count_nonzero(sample < middle - tail), np.count_nonzero(sample > middle + tail)
    said = f"{below} of a sample of its pixels stand out downwards, {above} upwards, as hot pixels do: is its sign wrong?"
    out.demand(not (tail > 0 and below >= 20 and below > 3 * above), said)
    low, high = (float(sample[round(q * (sample.size - 1))]) for q in (0.01, 0.99)) if sample.size else (0.0, 0.0)
    out.demand(not 0.8 < low < high < 1.25, f"98 % of its pixels are {low:.3g} to {high:.3g}, as in a pixel flat; no dark current is so even")


def dark_level(sample: Float64, out: Review) -> None:
    """Asks of sorted values, electron/s, that their median is a dark current."""
    middle, (low, high) = median(sample), DARK_RANGE
    out.demand(
        not middle < low and not middle > high,
        f"its median is {middle:.4g} electron/s, it must lie in {low:g} to {high:g}; is it in ADU, or of a whole exposure?",
    )


def look_pixflat(flat: PixelFlat, out: Review) -> None:
    """Level, sign and scatter of a pixel flat."""
    relative(_image(out, flat.pixels, WILD_FLAT, *SCATTER[PixelFlat]), out, "its pixels")


def look_mask(mask: BadPixelMask, out: Review) -> None:
    """Fraction of the pixels that a mask takes away."""
    share = float(np.count_nonzero(mask.pixels)) / mask.pixels.size
    out.facts |= {"shape": f"{mask.pixels.shape[1]} x {mask.pixels.shape[0]}", "masked_fraction": share}
    out.demand(share <= MAX_MASKED, f"it masks {100 * share:.3g} % of the pixels; 0 is good")
    _empty_part(mask.pixels, out)


def _empty_part(pixels: Raw, out: Review) -> None:
    """Whether there are no defects in many rows on end, where those of the others are many. A bad column counts once: it may end anywhere."""
    bad = pixels != 0
    begins = bad.copy()
    begins[1:] &= ~bad[:-1]
    rows = np.flatnonzero(begins.any(axis=1))
    count, ny = int(np.count_nonzero(begins)), len(pixels)
    edges = np.concatenate([[-1], np.flatnonzero(bad.any(axis=1)), [ny]])
    gap = int(np.argmax(np.diff(edges)))
    first, last = int(edges[gap]) + 1, int(edges[gap + 1]) - 1
    if rows.size >= LEAST_DEFECTS and last - first + 1 > EMPTY_PART * ny:
        where = f"it has {count} defects, and none in rows {first} to {last}"
        out.doubts.append(f"{where}: it was cut and filled with zeros, or made of a part of the detector")
