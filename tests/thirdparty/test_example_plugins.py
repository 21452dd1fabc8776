"""The plugins of a stranger hold to the contract and are used like our own, in this process."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_package import project

from quicklook.api import open_session
from quicklook.core.errors import BadConfig
from quicklook.core.group import Streamed, run_group
from quicklook.core.registry import find, registered
from quicklook.core.status import Status

pytestmark = pytest.mark.usefixtures("plugins")
PLUGINS = [("algorithm", "subtract_median"), ("algorithm", "mean_level"), ("qa", "median_level")]


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_it_holds_to_the_contract(kind: str, name: str) -> None:
    checks, factories = importlib.import_module("contract_checks"), importlib.import_module("product_factories")
    plugin = find(kind, name).load()
    for case in factories.CASES:
        for check in checks.CHECKS:
            check(plugin, lambda: factories.inputs_of(plugin, case))


def test_all_that_it_registers_is_found() -> None:
    points: Any = project()["entry-points"]
    assert len(points) == 5
    for kind in ("algorithm", "qa", "sink", "config", "command"):
        ours = {r.name: r for r in registered(kind).values() if r.distribution == "quicklook-example"}
        group = {"algorithm": "algorithms", "qa": "qas", "sink": "sinks", "config": "configs", "command": "commands"}[kind]
        assert {k: r.target for k, r in ours.items()} == points[f"quicklook.{group}"]
        assert {r.version for r in ours.values()} == {"1.2.3"}


def test_a_group_is_streamed() -> None:
    factories = importlib.import_module("product_factories")
    from quicklook.ccd.image import Image

    images = Streamed([lambda i=i: factories.make(Image, number=i) for i in range(4)])  # type: ignore[misc]
    (level,) = run_group(find("algorithm", "mean_level").load()(), {Image: images})
    expected = np.mean([image.pixels.mean(dtype=np.float64) for image in images])
    assert level.count == 4
    assert level.electrons == pytest.approx(expected, rel=1e-12)


def bench_file(folder: Path, *, level: float = 1000.0, gradient: float = 0.0, noise: float = 3.0, flavor: str = "BIAS") -> Path:
    """A plain FITS file, as some bench would write it: 64 columns of pixels, 32 of overscan, ADU."""
    from astropy.io import fits

    rng = np.random.default_rng(5)
    pixels = level + rng.normal(0.0, noise, (80, 96))
    pixels[:, :64] += gradient * np.linspace(-1, 1, 64) ** 3 + abs(gradient)
    hdu = fits.PrimaryHDU(np.round(pixels).astype(np.uint16))
    for key, value in {"EXPTIME": 0.0, "DATE-OBS": "2022-01-02T03:04:05", "IMAGETYP": flavor}.items():
        hdu.header[key] = value
    path = folder / "bench-0007.fits"
    hdu.writeto(path)
    return path


def test_its_instrument_reads_a_plain_file_by_yaml_alone(tmp_path: Path) -> None:
    from quicklook.ccd.image import Image, RawImage

    session = open_session(instrument="example_bench", out=tmp_path / "out")
    outcome = session.run("example", bench_file(tmp_path))
    result = outcome.result
    assert (result.part, result.expid, result.night, result.tags["flavor"]) == ("bench", 7, 20220101, "zero")
    raw, image = outcome[RawImage], outcome[Image]
    assert (raw.shape, image.shape) == ((80, 96), (80, 64))
    assert raw.amplifier_names == ("X",)
    assert "median" in image.applied
    # 3 ADU at 2 electron/ADU; the scatter of the estimate from 80 x 32 overscan pixels is 1.4 %, quantisation adds 0.5 %
    assert image.read_noise["X"] == pytest.approx(6.0, rel=0.05)
    metrics = {m.name: m for q in result.qas for m in q.metrics}
    assert metrics["example_level"].status is Status.NORMAL
    assert abs(metrics["example_level"].values[0] or 0.0) < 1e-3  # the median of what is left is 0 up to float32
    assert result.provenance.versions["quicklook-example"] == "1.2.3"
    assert [p.name for p in outcome.plots if p.name == "median_level"]


def test_its_limits_judge(tmp_path: Path) -> None:
    good, bad = (tmp_path / name for name in ("good", "bad"))
    good.mkdir()
    bad.mkdir()
    result = open_session(instrument="example_bench").run("example", bench_file(good)).result
    assert result.status is Status.NORMAL, result.reasons
    left_in = open_session(instrument="example_bench", overrides=["subtract_median.fraction=0"])
    result = left_in.run("example", bench_file(bad, gradient=100.0)).result
    assert result.status is Status.ALARM
    assert any(r.startswith("ALARM: example_level of amp X is ") and "above 5 electron" in r for r in result.reasons)


def test_its_conditional_parameters_follow_its_instrument(tmp_path: Path) -> None:
    chain = open_session(instrument="example_bench").chain("example")
    params = chain.steps[2].params
    assert [params.resolve({"instrument": "example_bench", "flavor": f}).fraction for f in ("zero", "flat")] == [1.0, 0.5]


def test_a_misspelt_parameter_of_its_algorithm_is_told() -> None:
    with pytest.raises(BadConfig, match="did you mean 'fraction'"):
        open_session(instrument="example_bench", overrides=["subtract_median.fractoin=1"]).chain("example")


def test_without_the_package_its_chain_is_unknown(monkeypatch: pytest.MonkeyPatch, installed: Path) -> None:
    import sys

    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(installed)])
    registered.cache_clear()
    with pytest.raises(BadConfig, match=r"example"):
        open_session(instrument="example_bench")
    registered.cache_clear()
