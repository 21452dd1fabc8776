"""Product files in the DESI data model, by the label of a product: its kind, or its stage. A further one is added by `register_writer`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from quicklook.ccd.exposure import Exposure, FiberMap
from quicklook.ccd.image import HeaderValue, Image
from quicklook.ccd.spectra import FiberFlat, Frame, Scores, SkyModel, TraceSet
from quicklook.core.errors import BadConfig
from quicklook.core.product import Calibration, Product
from quicklook.io.atomic import atomic
from quicklook.io.calibwrite import write_calibration
from quicklook.io.fibermap import put_fibermap
from quicklook.io.fitswrite import Card, cards_of, write_image_hdu
from quicklook.io.flatfile import write_fiberflat
from quicklook.io.headercards import exposure_cards
from quicklook.io.imagefile import put_amplifiers
from quicklook.io.recordfile import RECORDS, write_record
from quicklook.io.spectrafile import write_frame, write_sky
from quicklook.io.tracefile import write_traces


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteContext:
    """What a product file says beside the product: the exposure, cards of provenance, the fibre map, further scores of the fibres.

    `sync` forces it to disk before it appears.
    """

    exposure: Exposure
    camera: str
    fibermap: FiberMap | None = None
    scores: Scores | None = None
    provenance: Mapping[str, HeaderValue] = field(default_factory=dict)
    sync: bool = True


Writer = Callable[[Path, Any, WriteContext], None]
_WRITERS: dict[str, tuple[str, Writer, str]] = {}
STEP_CARD = "STEP"
"""Keyword that says which step of the chain has made a product."""


def register_writer(label: str, prefix: str, writer: Writer, suffix: str = ".fits") -> None:
    """Say how products of a label (kind or stage) are written, and how their files begin and end."""
    _WRITERS[label] = (prefix, writer, suffix)


def can_write(label: str) -> bool:
    """Whether products of that label have a form on disk."""
    return label in _WRITERS


def product_name(label: str, camera: str, expid: int) -> str:
    """Name of the file of a product, such as ``preproc-r0-00000102.fits``. Raises BadConfig for a label that has no form on disk."""
    if label not in _WRITERS:
        raise BadConfig(f"a product {label!r} has no form on disk; there are {', '.join(sorted(_WRITERS))}")
    prefix, _, suffix = _WRITERS[label]
    return f"{prefix}-{camera}-{expid:08d}{suffix}"


def write_product(product: Product, folder: str | Path, context: WriteContext) -> Path:
    """Write a product into `folder` under its name; returns the path. Raises BadConfig (label), Transient (disk)."""
    path = Path(folder) / product_name(product.label, context.camera, context.exposure.unit.expid)
    _WRITERS[product.label][1](path, product, context)
    return path


def context_of(products: Iterable[Product], camera: str, provenance: Mapping[str, HeaderValue], *, sync: bool = True) -> WriteContext:
    """The context of a camera whose products these are. Raises BadConfig where there is no Exposure among them."""
    by_type = {type(p): p for p in products}
    exposure, fibermap, scores = by_type.get(Exposure), by_type.get(FiberMap), by_type.get(Scores)
    if not isinstance(exposure, Exposure):
        raise BadConfig(f"no Exposure is known for {camera}; the reader of the instrument must give one for products to be written")
    return WriteContext(
        exposure=exposure,
        camera=camera,
        fibermap=fibermap if isinstance(fibermap, FiberMap) else None,
        scores=scores if isinstance(scores, Scores) else None,
        provenance=provenance,
        sync=sync,
    )


def _amplifier_cards(image: Image) -> list[Card]:
    cards: list[Card] = []
    for i, amp in enumerate(image.amplifiers, 1):
        suffix = amp.name.upper() if len(amp.name) == 1 and amp.name.isalnum() and amp.name.isascii() else str(i % 10)
        cards.append((f"CCDSEC{suffix}", str(amp.ccd), f"section of amplifier {amp.name}"))
        cards.append((f"GAIN{suffix}", float(amp.gain), "electron/ADU"))
        measured = {"OBSRDN": (image.read_noise, "electron, measured"), "OVERSCN": (image.overscan_level, "ADU, measured")}
        for key, (values, unit) in measured.items():
            if np.isfinite(value := values.get(amp.name, np.nan)):
                cards.append((f"{key}{suffix}", float(value), unit))
    return cards


def write_preproc(
    path: str | Path,
    image: Image,
    exposure: Exposure,
    provenance: Mapping[str, HeaderValue] | None = None,
    *,
    fibermap: FiberMap | None = None,
    sync: bool = True,
) -> None:
    """Write a preprocessed image: HDUs IMAGE, IVAR (float32), MASK (int32), READNOISE (float32, electron), and FIBERMAP where it is given.

    In the DESI data model; a table AMPLIFIERS with what was measured of each of them. `provenance` are further cards (see `provenance_cards`);
    corrections made and skipped are cards too. Measured with
    4114 x 4128 pixels: 0.2 s, of the 0.93 s of the peer (NUMBERS.md); the disk of that machine takes 0.27 s for as many zeros.
    """
    cards = [*exposure_cards(exposure, image.camera), *_amplifier_cards(image), *_correction_cards(image), *cards_of(provenance or {})]
    with atomic(path, sync=sync) as f:
        write_image_hdu(f, image.pixels, name="IMAGE", cards=[("BUNIT", "electron"), *cards], primary=True)
        write_image_hdu(f, image.ivar, name="IVAR", cards=[("BUNIT", "1/electron**2")])
        write_image_hdu(f, image.mask, name="MASK", dtype="i4")
        write_image_hdu(f, image.read_noise_image(), name="READNOISE", cards=[("BUNIT", "electron")])
        if fibermap is not None:
            put_fibermap(f, fibermap)
        put_amplifiers(f, image)


def _correction_cards(image: Image) -> list[Card]:
    cards: list[Card] = [(f"APPLD{i:02d}", text) for i, text in enumerate(image.applied)]
    return cards + [(f"SKIPD{i:02d}", f"{what}: {why}") for i, (what, why) in enumerate(image.skipped.items())]


def _preproc(path: Path, image: Image, context: WriteContext) -> None:
    write_preproc(path, image, context.exposure, context.provenance, fibermap=context.fibermap, sync=context.sync)


def _frame(path: Path, frame: Frame, context: WriteContext) -> None:
    write_frame(path, frame, context.exposure, context.provenance, scores=context.scores, sync=context.sync)


def _sky(path: Path, sky: SkyModel, context: WriteContext) -> None:
    write_sky(path, sky, context.exposure, context.camera, context.provenance, fibermap=context.fibermap, sync=context.sync)


def _record(path: Path, product: Product, context: WriteContext) -> None:
    write_record(path, product, str(context.provenance.get(STEP_CARD, "")), sync=context.sync)


def _psf(path: Path, traces: TraceSet, context: WriteContext) -> None:
    write_traces(path, traces, context.exposure, context.camera, context.provenance, sync=context.sync)


def _fiberflat(path: Path, flat: FiberFlat, context: WriteContext) -> None:
    write_fiberflat(path, flat, context.exposure, context.camera, context.provenance, fibermap=context.fibermap, sync=context.sync)


def _calibration(path: Path, calibration: Calibration, context: WriteContext) -> None:
    cards = {card[0]: card[1] for card in exposure_cards(context.exposure, context.camera)}
    write_calibration(calibration, path, {**cards, **context.provenance}, sync=context.sync)


register_writer("preproc", "preproc", _preproc)
register_writer("psf", "psf", _psf)
register_writer("sky", "sky", _sky)
register_writer("fiberflat", "fiberflat", _fiberflat)
for _stage in ("frame", "fframe", "sframe", "cframe"):
    register_writer(_stage, _stage, _frame)
for _kind in RECORDS:
    register_writer(_kind, _kind, _record, ".npz")
for _kind in ("bias", "dark", "pixflat", "mask", "pixeltraces", "fluxcal", "ptc", "refarc", "refflat"):
    register_writer(_kind, _kind, _calibration)
