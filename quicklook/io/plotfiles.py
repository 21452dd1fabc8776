"""Plots as data in one file: numpy archive (.npz), read without pickle."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from quicklook.core.errors import BadData, NotReadyYet
from quicklook.core.plots import Plot, pack, unpack
from quicklook.io.atomic import atomic

_SKELETON = "skeleton"
MAX_BYTES = 1 << 30


def save_plots(path: str | Path, plots: Sequence[Plot], *, sync: bool = False) -> None:
    """Write plots, whole or not at all. They can be made again, so they are not forced to disk unless asked for."""
    skeleton, arrays = pack(plots)
    text = np.frombuffer(json.dumps(skeleton).encode(), dtype=np.uint8)
    with atomic(path, sync=sync) as f:
        np.savez(f, allow_pickle=False, **{_SKELETON: text}, **arrays)


def load_plots(path: str | Path) -> tuple[Plot, ...]:
    """The plots of a file. Raises NotReadyYet where it is not there, BadData where it was not written by `save_plots`."""
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(i.file_size for i in archive.infolist())
        if size > MAX_BYTES:
            raise BadData(f"{path} unpacks to {size} bytes; that is no file of plots")
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        return unpack(json.loads(bytes(arrays.pop(_SKELETON))), arrays)
    except FileNotFoundError as error:
        raise NotReadyYet(f"{path} is not there") from error
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise BadData(f"{path} is no file of plots: {' '.join(str(error).split())}") from error
