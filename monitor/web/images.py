"""Images of a camera for a browser: the preprocessed one where it is stored, else the raw frame less its overscan; with masks, binned by steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.render.images import binned
from monitor.web.images_cache import Kept, state_of
from quicklook.ccd.geometry import Section
from quicklook.ccd.image import RawImage
from quicklook.ccd.mask import PixelMask
from quicklook.core.errors import BadData, NotReadyYet
from quicklook.io.hdus import Hdus

Pixels = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint16]

TILE = 512
"""Side of a tile, pixel."""
MOST_BYTES = 300_000_000
"""Images that are kept in memory; one of DESI with its steps takes 130 MB."""
_SAMPLE = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Amp:
    """An amplifier of an image: its name and the pixels that it has read."""

    name: str
    section: Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """An image with its steps: `levels[k]` is binned by 2**k (means), `masks[k]` says so of any pixel; lower left first. `sample`: some values."""

    unit: str
    levels: tuple[Pixels, ...]
    masks: tuple[Mask, ...]
    amplifiers: tuple[Amp, ...]
    sample: Pixels
    shares: dict[str, float] = field(default_factory=dict)
    """Part of the pixels that has each bit of the mask."""

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) in full."""
        return (int(self.levels[0].shape[0]), int(self.levels[0].shape[1]))

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return sum(a.nbytes for a in self.levels) + sum(a.nbytes for a in self.masks)


_KEPT: Kept[Preview] = Kept(MOST_BYTES, lambda p: p.bytes)


def preview(path: str, kind: str, camera: str, reader: Any) -> Preview:
    """The image of a file: `kind` is preproc or raw (then `reader` reads it). Raises NotReadyYet (not there), BadData."""
    try:
        key = (*state_of(path), kind, camera)
    except OSError as error:
        raise NotReadyYet(f"{Path(path).name} is not there any more", what_next="Choose another source; raw files may have been moved.") from error
    return _KEPT.get(key, lambda: _from_preproc(path) if kind == "preproc" else _from_raw(path, camera, reader()))


def _from_preproc(path: str) -> Preview:
    hdus = Hdus(path)
    pixels = hdus.array("IMAGE", np.float32)
    mask = np.asarray(hdus.array("MASK", np.uint32) & 0xFFFF, np.uint16) if hdus.has("MASK") else np.zeros(pixels.shape, np.uint16)
    head = hdus.header("IMAGE")
    amps = tuple(Amp(name=key[6:], section=Section.parse(str(head[key]))) for key in sorted(head) if key.startswith("CCDSEC") and key[6:])
    return make_preview(pixels, mask, amps, str(head.get("BUNIT", "electron")))


def _from_raw(path: str, camera: str, reader: Any) -> Preview:
    """The raw frame, turned, trimmed, and of each amplifier less the median of its overscan: adu."""
    raw = next((p for p in reader.read(path, camera).products if isinstance(p, RawImage)), None)
    if raw is None:
        raise BadData(f"{Path(path).name} has no image of {camera}")
    raw = raw.oriented()
    pixels = np.full(raw.image_shape, np.nan, np.float32)
    mask = np.zeros(raw.image_shape, np.uint16)
    for amp in raw.amplifiers:
        data = raw.pixels[amp.data.slices].astype(np.float32)
        level = float(np.median(raw.pixels[amp.overscan.slices])) if amp.overscan is not None else 0.0
        pixels[amp.ccd.slices] = data - level
        if amp.saturation is not None:
            mask[amp.ccd.slices] |= np.where(data >= amp.saturation, int(PixelMask.SATURATED), 0).astype(np.uint16)
        if amp.bad:
            mask[amp.ccd.slices] |= np.uint16(int(PixelMask.BADAMP))
    return make_preview(pixels, mask, tuple(Amp(name=a.name, section=a.ccd) for a in raw.amplifiers), "adu")


def make_preview(pixels: Pixels, mask: Mask, amplifiers: Sequence[Amp], unit: str) -> Preview:
    """An image with its steps, down to one tile. Raises BadData where image and mask differ in shape."""
    if pixels.shape != mask.shape or pixels.ndim != 2 or not pixels.size:
        raise BadData(f"an image of shape {pixels.shape} has a mask of shape {mask.shape}")
    levels, masks = [pixels], [mask]
    while max(levels[-1].shape) > TILE:
        levels.append(binned(levels[-1], 2).astype(np.float32))
        masks.append(_any_bit(masks[-1]))
    good = pixels.ravel()[:: max(1, pixels.size // _SAMPLE)]
    shares = {bit.name or "": float(np.count_nonzero(mask & bit)) / mask.size for bit in PixelMask}
    return Preview(
        unit=unit, levels=tuple(levels), masks=tuple(masks), amplifiers=tuple(amplifiers), sample=good[np.isfinite(good)],
        shares={name: share for name, share in shares.items() if share},
    )  # fmt: skip


def _any_bit(mask: Mask) -> Mask:
    for axis in (0, 1):
        mask = np.bitwise_or.reduceat(mask, np.arange(0, mask.shape[axis], 2), axis=axis)
    return mask


def bits_of(value: int) -> list[str]:
    """Names of the bits of a pixel."""
    return [bit.name or "" for bit in PixelMask if value & bit]
