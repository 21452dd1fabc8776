"""How many pixels a bad-pixel mask takes away, by amplifier and kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qa.figures import bars
from qa.values import judged, per_amp
from quicklook.ccd.calibs import BadPixelMask
from quicklook.ccd.image import Image
from quicklook.ccd.mask import PixelMask
from quicklook.core.metrics import Measures, MetricDef, measured, not_applicable
from quicklook.core.plots import Plot
from quicklook.core.plugin import MonitoringAlg, NoParams

_KINDS = {"hot": PixelMask.HOT, "dead": PixelMask.DEAD, "noisy": PixelMask.HIGHVAR, "bad": PixelMask.BAD}

FRACTION = MetricDef("bad_pixel_fraction", "", dims=("amp",), doc="Fraction of the pixels of the amplifier that carry any bit of the mask.")
BY_KIND = MetricDef("bad_pixels", "", dims=("amp", "kind"), doc="Number of pixels of the amplifier that are hot, dead, noisy, or bad (columns).")


class BadPixels(MonitoringAlg[NoParams]):
    """Counts the pixels of a bad-pixel mask, by amplifier and kind.

    Formula: bad_pixel_fraction = pixels with any bit of the mask / pixels of the amplifier; bad_pixels = number of pixels with the bit of a kind:
    hot (HOT), dead (DEAD), noisy (HIGHVAR), bad columns (BAD). Counts, without an error.
    Source: the bits are those of the DESI data model (ccdmask).
    """

    name = "bad_pixels"
    metrics = (FRACTION, BY_KIND)

    def measure(self, mask: BadPixelMask, images: Sequence[Image]) -> Measures:
        """By amplifier and kind; the amplifiers are those of the first exposure."""
        first = images[0]
        amps = judged(first.amplifiers)
        cuts = {a.name: mask.pixels[a.ccd.slices] for a in amps}
        counts = [[int(np.count_nonzero(cut & np.uint16(bit))) for bit in _KINDS.values()] for cut in cuts.values()]
        fraction = per_amp(FRACTION, first.amplifiers, {k: float(np.count_nonzero(v)) / v.size for k, v in cuts.items()})
        if not amps:
            return Measures((fraction, not_applicable(BY_KIND.name, "every amplifier is known to be bad")))
        panel = bars(FRACTION, fraction, title="Bad pixels", label="fraction of the pixels")
        plot = Plot(name="bad_pixels", title=f"Bad-pixel mask, camera {first.camera}", panels=(panel,))
        return Measures((fraction, measured(BY_KIND.name, counts, amp=tuple(cuts), kind=tuple(_KINDS))), plots=(plot,))
