"""Files opened by the library CFITSIO, which takes what stands in brackets in a path for a filter of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file as a `fitsio.FITS`, for reading, whatever its path. Raises OSError, and what fitsio raises: ValueError, RuntimeError.

    A path with a bracket is given as a descriptor of the open file: the extended syntax of CFITSIO (User's Guide, chapter 10) has no escape.
    """
    import fitsio

    if "[" not in str(path):
        with fitsio.FITS(str(path)) as fits:
            yield fits
        return
    with path.open("rb") as file, fitsio.FITS(f"/dev/fd/{file.fileno()}") as fits:
        yield fits
