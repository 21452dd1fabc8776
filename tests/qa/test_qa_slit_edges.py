"""Edges of a slit: shifts that were put in are found, with their error; what cannot be seen is not called good."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from qa.slit_edges import SlitEdges
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image
from quicklook.ccd.spectra import TraceSet
from quicklook.core.keys import Unit
from quicklook.core.metrics import Measures
from quicklook.core.status import Status

NY, NX, COUNT, WIDTH, FIRST = 800, 200, 30, 4.8, 30.0
"""Detector; apertures of a slit from x = FIRST - 0.5 on, tilted by 3 pixels over the detector."""


def edges(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low = FIRST - 0.5 + 3.0 * row / NY
    return low, low + COUNT * WIDTH


def traces() -> TraceSet:
    row = np.linspace(0.0, NY - 1.0, 100)
    x = np.stack([edges(row)[0] + (i + 0.5) * WIDTH for i in range(COUNT)])
    t = np.linspace(-1.0, 1.0, 100)
    fit = np.polynomial.legendre.legfit
    y = np.tile(np.asarray(fit(t, row, 1), np.float64), (COUNT, 1))
    return TraceSet(x=np.array(fit(t, x.T, 1).T, np.float64), y=y, wavemin=4000.0, wavemax=4800.0, npix_x=NX, npix_y=NY, fiber=np.arange(COUNT, dtype=np.int32))


def image(shift: float, *, longer: float = 0.0, light: float = 200.0, star: bool = False, seed: int = 1, blur: float = 0.8) -> Image:
    """A slit evenly lit by `light` electron a pixel, its image moved and blurred; `star`: an object near its last end."""
    row, x = np.arange(NY, dtype=np.float64), np.arange(NX, dtype=np.float64)
    low, high = (e + shift for e in edges(row))
    fine = np.arange(-4.0, 4.01, 0.25)
    weight = np.exp(-0.5 * (fine / blur) ** 2)
    expected = sum(
        w * np.clip(np.minimum(high[:, None] + longer, x + f + 0.5) - np.maximum(low[:, None], x + f - 0.5), 0.0, 1.0)
        for w, f in zip(weight / weight.sum(), fine, strict=True)
    )
    expected = light * np.asarray(expected)
    if star:
        expected += 5000.0 * np.exp(-0.5 * ((x - (high[:, None] - 25.0)) / 2.0) ** 2)
    variance = expected + 9.0
    pixels = expected + np.sqrt(variance) * np.random.default_rng(seed).normal(size=expected.shape)
    whole = Section(0, NY, 0, NX)
    return Image(
        camera="blue", pixels=pixels.astype(np.float32), ivar=(1.0 / variance).astype(np.float32), mask=np.zeros((NY, NX), np.uint16),
        amplifiers=(Amplifier(name="A", data=whole, ccd=whole, gain=1.0),), read_noise={"A": 3.0},
    )  # fmt: skip


def exposure(flavor: str = "science") -> Exposure:
    return Exposure(unit=Unit(20150519, 1), instrument="bench", flavor=flavor, exptime=60.0, start=datetime(2015, 5, 20, 6, tzinfo=UTC))


def measure(frame: Image, flavor: str = "science") -> Measures:
    return SlitEdges().measure(frame, traces(), exposure(flavor))


@pytest.mark.parametrize("shift", [-12.0, -3.3, 0.0, 0.4, 10.0])
def test_a_shift_is_found_with_its_error(shift: float) -> None:
    """Eight frames: errors are those that are stated; five of them are allowed for, and 0.02 pixel for the straight line between pixels."""
    for seed in range(8):
        found = measure(image(shift, seed=seed))
        off, error = found["slit_edge_shift"].values - shift, found["slit_edge_error"].values
        assert (error < 0.08).all()  # 3.5 electron of noise in a mean of 50 rows, on a slope of 80 electron a pixel
        assert (np.abs(off) < 5 * error + 0.02).all(), (off, error)
        assert abs(float(found["slit_length_change"].values)) < 0.3


def test_a_slit_of_another_length() -> None:
    found = measure(image(0.5, longer=4.0))
    np.testing.assert_allclose(found["slit_edge_shift"].values, [0.5, 4.5], atol=0.15)
    assert float(found["slit_length_change"].values) == pytest.approx(4.0, abs=0.2)


def test_a_star_beside_an_edge_does_no_harm() -> None:
    np.testing.assert_allclose(measure(image(2.0, star=True))["slit_edge_shift"].values, [2.0, 2.0], atol=0.15)


def test_a_faint_sky_is_no_fault_and_a_lamp_that_shows_nothing_is() -> None:
    dark = image(0.0, light=0.0)
    assert "blocks of rows" in str(measure(dark)["slit_edge_shift"].not_applicable)
    lamp = measure(dark, "flat")
    assert np.isnan(lamp["slit_edge_shift"].values).all()
    assert "the light has an edge in 0 of 16" in lamp["slit_edge_shift"].remarks["first",]
    assert lamp["slit_length_change"].not_applicable


@pytest.mark.parametrize("flavor", ["science", "flat"])
@pytest.mark.parametrize("shift", [16.0, 20.0, 40.0, -20.0, -40.0])
def test_a_slit_that_moved_by_more_than_is_searched_is_not_called_faint(shift: float, flavor: str) -> None:
    """Either its edges are found, or they are unknown, and why is said: the worse fault is not the quieter one."""
    found = measure(image(shift), flavor)["slit_edge_shift"]
    assert found.not_applicable is None
    assert np.isnan(found.values).all()
    if flavor == "science":
        assert "the light stands out in 16 of 16 blocks of rows, and no edge is within 15 pixel" in found.remarks["first",]


def test_an_image_without_a_good_pixel_is_not_called_faint() -> None:
    frame = image(0.0)
    for dead in (replace(frame, ivar=np.zeros_like(frame.ivar)), replace(frame, pixels=np.full_like(frame.pixels, np.nan))):
        found = measure(dead)["slit_edge_shift"]
        assert np.isnan(found.values).all()
        assert found.not_applicable is None


@pytest.mark.parametrize("seed", range(20))
def test_a_faint_sky_stays_one_that_does_not_apply(seed: int) -> None:
    """1 electron a pixel in a noise of 3: in blocks of 50 rows it is 2 sigma."""
    assert measure(image(0.0, light=1.0, seed=seed))["slit_edge_shift"].not_applicable


def test_masked_pixels_do_not_count() -> None:
    frame = image(1.0)
    pixels, mask = frame.pixels.copy(), frame.mask.copy()
    pixels[::3], mask[::3] = 6e4, 1
    np.testing.assert_allclose(measure(replace(frame, pixels=pixels, mask=mask))["slit_edge_shift"].values, [1.0, 1.0], atol=0.15)


def test_where_the_slit_reaches_over_the_detector_nothing_can_be_seen() -> None:
    wide = traces()
    x = wide.x.copy()
    x[:, 0] = np.linspace(2.0, NX - 3.0, COUNT)
    found = SlitEdges().measure(image(0.0), replace(wide, x=x), exposure("flat"))
    assert "reaches to the edge of the detector" in str(found["slit_edge_shift"].not_applicable)
    other = SlitEdges().measure(image(0.0), replace(wide, npix_x=NX + 1), exposure())
    assert "no edges in this image" in str(other["slit_edge_shift"].not_applicable)


def test_one_edge_is_enough() -> None:
    """Apertures that end where the detector does: the other edge tells."""
    some = traces()
    moved = replace(some, x=some.x + np.eye(1, some.x.shape[1]) * (NX - 0.5 - FIRST - COUNT * WIDTH))
    found = SlitEdges().measure(image(NX - 0.5 - FIRST - COUNT * WIDTH - 2.0), moved, exposure())
    assert found["slit_edge_shift"].coords["edge"] == ("first",)
    assert float(found["slit_edge_shift"].values[0]) == pytest.approx(-2.0, abs=0.15)
    assert found["slit_length_change"].not_applicable


@pytest.fixture(scope="module")
def kast(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Traces and wavelengths of Kast, as the tutorial makes them."""
    from quicklook.service.calibrating.building import Building
    from quicklook.service.calibrating.builtfiles import write_built
    from quicklook.service.site import load_site

    folder = tmp_path_factory.mktemp("kast")
    for name, numbers in (("traces", (3, 4, 5)), ("psf", (1,))):
        site = load_site(None, options={"instrument": "kast_blue", "calib": str(folder)})
        building = Building.of(site)
        exposures = building.gather([shared_data / "kast_blue" / f"b{n}.fits.gz" for n in numbers])
        write_built(building.build(site.builder(name), exposures, "blue"), folder, plots=False)
    return folder


@pytest.mark.parametrize(("number", "flavor"), [(1, "arc"), (3, "flat"), (24, "science"), (27, "science"), (28, "science")])
def test_frames_of_kast(shared_data: Path, kast: Path, number: int, flavor: str) -> None:
    """Healthy ones are NORMAL; moved by whole pixels along the slit they are found, by as much."""
    from quicklook.api import open_session
    from quicklook.io.calibfile import read_kind

    chain = kast / "edges.yaml"
    chain.write_text("chain: edges\nsteps:\n  - name: read\n  - name: preproc\n  - {name: slit_extract, qas: [slit_edges]}\n")
    session = open_session(instrument="kast_blue", calib=str(kast))
    outcome = session.run(str(chain), shared_data / "kast_blue" / f"b{number}.fits.gz", camera="blue")
    assert [(q.name, q.status) for q in outcome.result.qas] == [("slit_edges", Status.NORMAL)]
    frame, told = outcome[Image], outcome[Exposure]
    assert isinstance(frame, Image)
    assert isinstance(told, Exposure)
    assert told.flavor == flavor
    known = read_kind(next(kast.glob("psf-*.fits")), "psf")
    assert isinstance(known, TraceSet)
    rest = SlitEdges().measure(frame, known, told)["slit_edge_shift"].values
    for pixels in (3, -6, 10):
        moved = replace(frame, **{n: np.roll(getattr(frame, n), pixels, axis=1) for n in ("pixels", "ivar", "mask")})
        found = SlitEdges().measure(moved, known, told)
        # the scatter of blocks of an arc is that of the light of its lines; errors are stated with the median
        assert (np.abs(found["slit_edge_shift"].values - rest - pixels) < 5 * found["slit_edge_error"].values + 0.05).all()
