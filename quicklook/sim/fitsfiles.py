"""FITS files that appear whole, or slowly when that is asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from quicklook.sim.headers import Card

RawType = Literal["int32", "uint16"]
_PIECES = 20


def publish(path: Path, write: Callable[[Path], None], *, keep_fraction: float = 1.0, slow_seconds: float = 0.0) -> None:
    """Make a file under a dot-name in the folder of `path` by `write`, then give it its name.

    `keep_fraction` below 1 cuts its end off first. With `slow_seconds` the final name appears at once and empty, and
    grows in pieces over that time, as when an instrument writes it over a network.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.tmp{os.getpid()}")
    try:
        write(hidden)
        if keep_fraction < 1.0:
            os.truncate(hidden, int(keep_fraction * hidden.stat().st_size))
        if slow_seconds > 0.0:
            _grow(path, hidden.read_bytes(), slow_seconds)
        else:
            hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)


def _grow(path: Path, content: bytes, seconds: float) -> None:
    edges = np.linspace(0, len(content), _PIECES + 1).astype(int)
    with path.open("wb") as stream:
        for start, stop in pairwise(edges):
            time.sleep(seconds / _PIECES)
            stream.write(content[start:stop])
            stream.flush()


def write_hdus(path: Path, hdus: Iterable[Callable[[Any], None]], *, sums: bool = False) -> None:
    """Write a FITS file: each of `hdus` adds its own to the open fitsio.FITS. `sums`: each gets its CHECKSUM and DATASUM, as calibrations have."""
    import fitsio

    with fitsio.FITS(str(path), "rw", clobber=True) as fits:
        for add in hdus:
            add(fits)
        for hdu in fits if sums else ():
            hdu.write_checksum()


def empty_hdu(cards: Iterable[Card]) -> Callable[[Any], None]:
    """A primary HDU without data."""
    return lambda fits: fits.write_image(None, header=_records(cards))


def image_hdu(name: str, data: NDArray[Any], cards: Iterable[Card] = ()) -> Callable[[Any], None]:
    """An image."""
    return lambda fits: fits.write_image(data, extname=name, header=_records(cards))


def compressed_hdu(name: str, data: NDArray[Any], cards: Iterable[Card] = ()) -> Callable[[Any], None]:
    """An integer image, RICE-compressed without loss, one tile a row."""
    tile = [1, data.shape[1]]
    return lambda fits: fits.write_image(data, extname=name, header=_records(cards), compress="RICE", tile_dims=tile)


def table_hdu(name: str, data: NDArray[np.void], cards: Iterable[Card] = ()) -> Callable[[Any], None]:
    """A binary table."""
    return lambda fits: fits.write_table(data, extname=name, header=_records(cards))


def _records(cards: Iterable[Card]) -> list[dict[str, Any]]:
    return [card._asdict() for card in cards]
