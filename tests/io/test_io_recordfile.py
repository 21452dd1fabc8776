"""Small measured products go to a file and come back to the last bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quicklook.ccd.arcareas import ArcAreas
from quicklook.ccd.slit import SlitObject, SlitObjects
from quicklook.ccd.spectra import Scores
from quicklook.ccd.traceshift import ArcFit, AxisShift, ShiftSamples, TraceShift
from quicklook.core.errors import BadData, NotReadyYet
from quicklook.core.product import Product
from quicklook.io.recordfile import RECORDS, read_record, write_record

RNG = np.random.default_rng(3)


def axis(remark: str, mean: float) -> AxisShift:
    samples = ShiftSamples(**{n: RNG.normal(size=4) for n in ("fibre", "wave", "shift", "error")})
    return AxisShift(model=RNG.normal(size=(2, 3)), mean=mean, low=-0.1, high=0.1, rms=np.nan, error=0.01, samples=samples, remark=remark)


PRODUCTS = (
    TraceShift(camera="r0", x=axis("", 0.1), y=axis("no line, \u00e9", float("nan")), y_expected=False, lines_found=None),
    ArcFit(
        camera="z1", wave=RNG.normal(size=3), residual=RNG.normal(size=3), scatter=np.ones(3), sigma=np.ones(3), flux=np.ones(3), nfibre=np.ones(3),
        used=np.zeros(3), remark="half of it",
    ),
    ArcAreas(camera="b0", wave=RNG.normal(size=2), name=("Hg", "Ne"), fiber=np.arange(3, dtype=np.int32), area=np.full((3, 2), np.nan), sigma=np.ones((3, 2))),
    Scores(camera="r0", fiber=np.arange(2, dtype=np.int32), columns={"SUM": np.array([1.5, np.nan])}, units={"SUM": "electron"}),
    SlitObjects(
        camera="k", objects=(SlitObject(first=1, last=3, brightest=2, place=2.2, fwhm=float("nan"), snr=float("inf"), fraction=0.1),),
        profile=RNG.normal(size=5), sky=np.ones(5), error=np.ones(5),
    ),
)  # fmt: skip


def same(a: Any, b: Any) -> bool:
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return type(b) is tuple and len(a) == len(b) and all(map(same, a, b))
    return bool(a == b or (a != a and b != b))


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda p: p.kind)
def test_it_comes_back(tmp_path: Path, product: Product) -> None:
    path = tmp_path / "x.npz"
    write_record(path, product, "the_step", sync=False)
    back, step = read_record(path, RECORDS[product.kind])
    assert step == "the_step"
    assert same(product, back)


def test_what_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotReadyYet):
        read_record(tmp_path / "absent.npz", Scores)
    (tmp_path / "broken.npz").write_bytes(b"PK no archive")
    with pytest.raises(BadData, match="is no file of scores"):
        read_record(tmp_path / "broken.npz", Scores)
    write_record(tmp_path / "other.npz", PRODUCTS[1], sync=False)
    with pytest.raises(BadData, match="holds arcfit, not scores"):
        read_record(tmp_path / "other.npz", Scores)
