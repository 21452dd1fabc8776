"""Small measured products (shifts of traces, lines of arcs, scores, ...) in a file each: numpy archive (.npz), read without pickle, to the last bit.

Any product that is a record (dataclass) of arrays, numbers, texts, and of tuples, mappings and records of these has this form.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from quicklook.ccd.arcareas import ArcAreas
from quicklook.ccd.arrays import Raw
from quicklook.ccd.slit import SlitObjects, SlitShift
from quicklook.ccd.spectra import Scores
from quicklook.ccd.traceshift import ArcFit, TraceShift
from quicklook.core.errors import BadData, NotReadyYet
from quicklook.core.product import Product
from quicklook.io.atomic import atomic

RECORDS: Mapping[str, type[Product]] = {t.kind: t for t in (ArcAreas, ArcFit, Scores, SlitObjects, SlitShift, TraceShift)}
"""Types that are written in this form, by kind."""
_RECORD, _ARRAY, _NUMBER = "record", "array", "number"
MAX_BYTES = 1 << 30

P = TypeVar("P", bound=Product)


def write_record(path: str | Path, product: Product, step: str = "", *, sync: bool = True) -> None:
    """Write a product, and the name of the step that has made it. Raises Transient (disk)."""
    arrays: dict[str, Raw] = {}
    text = json.dumps({"kind": product.kind, "step": step, "value": _pack(product, arrays)}, allow_nan=False)
    with atomic(path, sync=sync) as f:
        np.savez(f, allow_pickle=False, **{_RECORD: np.frombuffer(text.encode(), np.uint8)}, **arrays)


def _pack(value: Any, arrays: dict[str, Raw]) -> Any:
    if isinstance(value, np.ndarray):
        name = f"a{len(arrays)}"
        arrays[name] = value
        return {_ARRAY: name}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _pack(getattr(value, f.name), arrays) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _pack(v, arrays) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_pack(v, arrays) for v in value]
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        return {_NUMBER: str(float(value))}
    return value.item() if isinstance(value, np.generic) else value


def read_record(path: str | Path, wanted: type[P]) -> tuple[P, str]:
    """The product in a file, and the step that has made it. Raises NotReadyYet where it is not there, BadData where it holds none of that type."""
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(i.file_size for i in archive.infolist()) > MAX_BYTES:
                raise BadData(f"{path} unpacks to more than {MAX_BYTES} bytes; that is no product")
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        about = json.loads(bytes(arrays.pop(_RECORD)))
        if about["kind"] != wanted.kind:
            raise BadData(f"{path} holds {about['kind']}, not {wanted.kind}")
        return _unpack(wanted, about["value"], arrays), str(about["step"])
    except FileNotFoundError as error:
        raise NotReadyYet(f"{path} is not there") from error
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadData(f"{path} is no file of {wanted.kind}: {' '.join(str(error).split())}") from error


def _unpack(hint: Any, value: Any, arrays: Mapping[str, Raw]) -> Any:
    """The value as its annotation says it is."""
    if isinstance(value, dict) and set(value) == {_ARRAY}:
        return arrays[value[_ARRAY]]
    if isinstance(value, dict) and set(value) == {_NUMBER}:
        return float(value[_NUMBER])
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _unpack(next(a for a in args if a is not type(None)), value, arrays)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = typing.get_type_hints(hint)
        return hint(**{k: _unpack(hints[k], v, arrays) for k, v in value.items()})
    if origin is tuple:
        return tuple(_unpack(args[0], v, arrays) for v in value)
    if isinstance(value, dict):
        return {k: _unpack(args[1], v, arrays) for k, v in value.items()}
    return value
