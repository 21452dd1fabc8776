"""Samples as compressed bytes. Without loss: values bit by bit, times to the microsecond."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

from quicklook.core.errors import BadData
from quicklook.core.housekeeping import Floats

_LEVEL = 1
_CONSTANT, _SHUFFLED = b"c", b"s"
_US = 1e6


def _shuffled(array: npt.NDArray[np.generic]) -> bytes:
    """Bytes of equal weight side by side, compressed: signs and exponents of neighbours are alike."""
    raw = np.frombuffer(array.tobytes(), dtype=np.uint8).reshape(-1, array.itemsize)
    return zlib.compress(np.ascontiguousarray(raw.T).tobytes(), _LEVEL)


def _unshuffled(blob: bytes, dtype: str, n: int) -> npt.NDArray[np.generic]:
    size = np.dtype(dtype).itemsize
    try:
        raw = zlib.decompress(blob, bufsize=n * size)
        return np.frombuffer(np.frombuffer(raw, dtype=np.uint8).reshape(size, n).T.tobytes(), dtype=dtype)
    except (zlib.error, ValueError) as error:
        raise BadData(f"stored samples cannot be read: {error}") from error


def pack_values(values: Floats) -> bytes:
    """Values [n], float64, of one channel; n is kept with the times."""
    bits = np.ascontiguousarray(values, dtype="<f8").view("<i8")
    if len(bits) and (bits == bits[0]).all():
        return _CONSTANT + bits[:1].tobytes()
    return _SHUFFLED + _shuffled(bits)


def unpack_values(blob: bytes, n: int) -> Floats:
    """Values [n] as they were packed. Raises BadData."""
    if blob[:1] == _CONSTANT and len(blob) == 9:
        return np.full(n, struct.unpack("<d", blob[1:])[0])
    if blob[:1] != _SHUFFLED:
        raise BadData("stored samples have no form that is known")
    return _unshuffled(blob[1:], "<i8", n).view("<f8").astype(float)


def pack_times(times: Floats) -> bytes:
    """Times [n], Unix seconds: differences of whole microseconds, of which the first is the time itself."""
    steps = np.diff(np.round(times * _US).astype("<i8"), prepend=np.int64(0))
    return _shuffled(steps)


def unpack_times(blob: bytes, n: int) -> Floats:
    """Times [n], Unix seconds. Raises BadData."""
    return np.asarray(np.cumsum(_unshuffled(blob, "<i8", n).astype(np.int64)) / _US)


def pack_matrix(values: Floats) -> bytes:
    """Values [n, channel]; for what was only just taken, written fast."""
    return zlib.compress(np.ascontiguousarray(values, dtype="<f8").tobytes(), _LEVEL)


def unpack_matrix(blob: bytes, n: int, channels: int) -> Floats:
    """Values [n, channel]. Raises BadData."""
    try:
        return np.frombuffer(zlib.decompress(blob), dtype="<f8").reshape(n, channels).astype(float)
    except (zlib.error, ValueError) as error:
        raise BadData(f"stored samples cannot be read: {error}") from error
