"""Types of the extraction kernels: the image, settings, noise and bits that go in, sums and spectra that come out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
UInt16 = npt.NDArray[np.uint16]
UInt32 = npt.NDArray[np.uint32]
Array = npt.NDArray[Any]


class Bits(NamedTuple):
    """Bits of the masks, as integers: of the image (`cosmic`, `saturated`), and of the spectra (those of the DESI data model)."""

    cosmic: int = 1 << 4
    saturated: int = 1 << 3
    some: int = 1 << 0
    all: int = 1 << 1
    spec_cosmic: int = 1 << 2
    bad_fibre: int = 1 << 9
    spec_saturated: int = 1 << 10


class Settings(NamedTuple):
    """Width of the window (pixel); least fraction of the light for a sample to be repaired; relative error of the profile."""

    width: float = 7.0
    least: float = 0.2
    error: float = 0.02


class PixelNoise(NamedTuple):
    """Variance of a pixel without light, electron^2, by amplifier: `boxes` y0, y1, x0, x1 [n, 4] and `variance` [n] (NaN: unknown)."""

    boxes: npt.NDArray[np.int64]
    variance: Float64


NOISE_UNKNOWN = PixelNoise(np.zeros((0, 4), np.int64), np.zeros(0))


class Spectra(NamedTuple):
    """Extracted spectra [nfibre, ny]: `flux` electron/Angstrom with `ivar`, `mask`, `wave` and `sigma` of the line-spread function in Angstrom."""

    flux: Float32
    ivar: Float32
    mask: UInt32
    wave: Float64
    sigma: Float32


class ImageArrays(NamedTuple):
    """Image (electron), its inverse variance and mask, [ny, nx]: contiguous and read-only, as the compiled code takes them."""

    pixels: Float32
    ivar: Float32
    mask: UInt16


class Sums(NamedTuple):
    """In the order of the image: [ny, nfibre] `total`, electrons in the window over the own fraction, and `variance`, that from ivar of a usual
    sample, -1 / ivar of a repaired one, 0 of a lost one; [ny] `lost`, how many samples of a row are lost, and in `which` [ny, nfibre] the fibres they
    are of; [ny] whether a row has a usable pixel with a bit in its mask."""

    total: Float32
    variance: Float32
    lost: npt.NDArray[np.int32]
    which: npt.NDArray[np.int32]
    flagged: npt.NDArray[np.uint8]


def plain(array: Array, dtype: npt.DTypeLike) -> Array:
    """A read-only, contiguous view: one type for the compiler."""
    out = np.ascontiguousarray(array, dtype=dtype).view()
    out.flags.writeable = False
    return out


def image_arrays(pixels: Float32, ivar: Float32, mask: UInt16) -> ImageArrays:
    """The arrays of an image. Raises ValueError where their shapes differ: the compiled code checks no bounds."""
    if ivar.shape != pixels.shape or mask.shape != pixels.shape:
        raise ValueError(f"image {pixels.shape}, ivar {ivar.shape} and mask {mask.shape} differ in shape")
    return ImageArrays(plain(pixels, np.float32), plain(ivar, np.float32), plain(mask, np.uint16))


def new_sums(nfibre: int, ny: int) -> Sums:
    """Room for the sums of all fibres and rows."""
    shape = (ny, nfibre)
    lost = np.zeros(ny, np.int32), np.empty(shape, np.int32)
    return Sums(np.empty(shape, np.float32), np.empty(shape, np.float32), *lost, np.zeros(ny, np.uint8))


def new_spectra(nfibre: int, ny: int) -> Spectra:
    """Room for the spectra; the mask is 0."""
    shape = (nfibre, ny)
    return Spectra(np.empty(shape, np.float32), np.empty(shape, np.float32), np.zeros(shape, np.uint32), np.empty(shape), np.empty(shape, np.float32))
