"""Routes of the image of a camera: what it is, its tiles, the mask over them, a pixel."""

from __future__ import annotations

import hashlib
import math

from monitor.web.images import TILE, Preview, bits_of, preview
from monitor.web.images_cache import state_of
from monitor.web.images_tiles import image_tile, mask_tile, scale_of
from monitor.web.pages.exposure_asks import AmpPlace, ImageAnswer, ImageAsk, PixelAnswer, PixelAsk, TileAsk
from monitor.web.routing import Blob, Route
from quicklook.ccd.mask import PixelMask
from quicklook.core.errors import NotReadyYet
from quicklook.core.hosting import FileRef, Host


def image(host: Host, ask: ImageAsk) -> ImageAnswer:
    """What image there is of a camera."""
    ref, sources = _source(host, ask)
    found = _preview(host, ref, ask)
    scale = scale_of(found, ask.stretch, ask.low, ask.high)
    height, width = found.shape
    places = [AmpPlace(name=a.name, x0=a.section.x0, x1=a.section.x1, y0=a.section.y0, y1=a.section.y1) for a in found.amplifiers]
    return ImageAnswer(
        source=ref.kind, sources=sources, unit=found.unit, width=width, height=height, tile=TILE, levels=len(found.levels),
        low=float(scale.norm.vmin or 0.0), high=float(scale.norm.vmax or 0.0), amplifiers=places, masked=found.shares,
        bits={bit.name or "": int(bit) for bit in PixelMask if bit.name in found.shares}, version=_version(ref),
    )  # fmt: skip


def image_tile_of(host: Host, ask: TileAsk) -> Blob:
    """A tile in colours, PNG."""
    ref, _ = _source(host, ask)
    found = _preview(host, ref, ask)
    scale = scale_of(found, ask.stretch, ask.low, ask.high)
    content = image_tile(found, (ask.level, ask.column, ask.row), scale, ask.colours)
    return Blob(content=content, media_type="image/png", etag=_etag(ref, ask))


def mask_tile_of(host: Host, ask: TileAsk) -> Blob:
    """The mask over a tile, PNG with transparency."""
    ref, _ = _source(host, ask)
    content = mask_tile(_preview(host, ref, ask), (ask.level, ask.column, ask.row), ask.bits)
    return Blob(content=content, media_type="image/png", etag=_etag(ref, ask))


def pixel(host: Host, ask: PixelAsk) -> PixelAnswer:
    """The value of a pixel, and why it is masked."""
    ref, _ = _source(host, ask)
    found = _preview(host, ref, ask)
    height, width = found.shape
    if ask.x >= width or ask.y >= height:
        raise NotReadyYet(f"there is no pixel {ask.x}, {ask.y}; the image has {width} x {height}", what_next="Choose one within it.")
    value = float(found.levels[0][ask.y, ask.x])
    amp = next((a.name for a in found.amplifiers if a.section.y0 <= ask.y < a.section.y1 and a.section.x0 <= ask.x < a.section.x1), "")
    said = bits_of(int(found.masks[0][ask.y, ask.x]))
    return PixelAnswer(x=ask.x, y=ask.y, value=value if math.isfinite(value) else None, unit=found.unit, mask=said, amplifier=amp)


def _source(host: Host, ask: ImageAsk) -> tuple[FileRef, list[str]]:
    """The file of an image and the sources that there are: the preprocessed image goes before the raw frame."""
    stored = [f for f in host.files(ask.unit, ask.tag, "product", ask.camera, ask.revision) if f.name == "preproc"]
    found = {"preproc": stored[0].model_copy(update={"kind": "preproc"})} if stored else {}
    if raw := host.files(ask.unit, ask.tag, "raw", ask.camera):
        found["raw"] = raw[0]
    chosen = found.get(ask.source) if ask.source else next(iter(found.values()), None)
    if chosen is None:
        what_next = "Name preproc among the products of the site to have it stored." if ask.source != "raw" else "Look whether raw files were moved."
        raise NotReadyYet(f"there is no {ask.source or 'preproc or raw'} image of {ask.unit} {ask.part}", what_next=what_next)
    return chosen, list(found)


def _preview(host: Host, ref: FileRef, ask: ImageAsk) -> Preview:
    return preview(ref.path, ref.kind, ask.camera, host.reader)


def _version(ref: FileRef) -> str:
    try:
        return hashlib.sha256(repr(state_of(ref.path)).encode()).hexdigest()[:16]
    except OSError:
        return ""


def _etag(ref: FileRef, ask: TileAsk) -> str:
    return hashlib.sha256((_version(ref) + ask.model_dump_json()).encode()).hexdigest()[:20]


_IMAGES = "/exposures/{night}/{expid}/images/{part}"
ROUTES = (
    Route("GET", _IMAGES, image, "The image of a camera: sources, size, range, mask"),
    Route("GET", _IMAGES + "/tiles/{level}/{column}/{row}", image_tile_of, "A tile of the image, PNG"),
    Route("GET", _IMAGES + "/masks/{level}/{column}/{row}", mask_tile_of, "The mask over a tile, PNG"),
    Route("GET", _IMAGES + "/pixel", pixel, "A pixel of the image"),
)
