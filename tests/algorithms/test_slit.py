"""Long slits: apertures are summed, objects found, their apertures summed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import slit_frames as made

from algorithms.compute_sky import ComputeSky
from algorithms.kernels.slit import edges_between, sum_apertures
from algorithms.locate_object import OBJECT_ID, LocateObject, LocateObjectParams
from algorithms.slit_extract import WIDTH, SlitExtract, SlitExtractParams
from algorithms.subtract_sky import SubtractSky
from algorithms.sum_object import SumObject
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.spectra import Frame
from quicklook.core.errors import BadData, MissingCalibration


def extracted(**how: object) -> Frame:
    return SlitExtract().run(made.image(**how), made.traces(), made.fibermap())  # type: ignore[arg-type]


def subtracted(**how: object) -> Frame:
    frame, _ = LocateObject().run(extracted(**how))
    return SubtractSky().run(frame, ComputeSky().run(frame))


def slow_sum(pixels: np.ndarray, ivar: np.ndarray, low: float, high: float) -> tuple[float, float]:
    total = variance = 0.0
    for k in range(pixels.size):
        part = min(high, k + 0.5) - max(low, k - 0.5)
        if part > 0:
            total += part * float(pixels[k])
            variance += part**2 / float(ivar[k])
    return total, variance


def test_the_kernel_sums_as_the_slow_reference_does() -> None:
    rng = np.random.default_rng(1)
    pixels, ivar = rng.normal(50, 7, (40, 60)).astype(np.float32), rng.uniform(0.01, 0.1, (40, 60)).astype(np.float32)
    low = np.stack([3.2 + 0.05 * np.arange(40), 20.5 + np.zeros(40), -0.5 + np.zeros(40)])
    high = low + np.array([[5.3], [0.9], [60.0]])
    total, variance, lost = np.empty((3, 40)), np.empty((3, 40)), np.empty((3, 40), np.uint8)
    sum_apertures(pixels, ivar, low, high, 12, 0.3, 0.05, total, variance, lost)
    slow = np.array([[slow_sum(pixels[y], ivar[y], low[f, y], high[f, y]) for y in range(40)] for f in range(3)])
    assert not lost.any()
    np.testing.assert_allclose(total, slow[..., 0], rtol=1e-9)
    np.testing.assert_allclose(variance, slow[..., 1], rtol=1e-6)  # ivar is float32


def test_apertures_touch_and_the_light_of_the_slit_is_all_there() -> None:
    centres = np.array([[10.0, 11.0], [14.0, 15.5], [19.0, 20.0]])
    low, high = edges_between(centres, None)
    np.testing.assert_allclose(low[1:], high[:-1])
    np.testing.assert_allclose(0.5 * (low + high)[[0, 2]], centres[[0, 2]])
    frame = extracted(noise=False, objects=())
    rows = np.arange(made.NY, dtype=float)
    expected = np.stack([made.sky_of(made.wave_of(rows, a)) * made.WIDTH for a in range(made.NAPERTURE)])
    # lines are curved within a pixel: 0.3 % there; pixels at the ends of the slit are lit in part and count in part
    np.testing.assert_allclose(frame.flux[1:-1], expected[1:-1], rtol=4e-3)
    np.testing.assert_allclose(frame.flux[[0, -1]], expected[[0, -1]], rtol=0.25 / made.WIDTH + 4e-3)


def test_wavelengths_are_those_of_each_aperture() -> None:
    frame, rows = extracted(), np.arange(made.NY, dtype=float)
    for a in (0, 11, 23):
        np.testing.assert_allclose(frame.wave[a], made.wave_of(rows, a), atol=1e-4)
    np.testing.assert_allclose(frame.fibermap.columns[WIDTH], made.WIDTH, atol=1e-6)


def test_errors_are_right() -> None:
    noisy, clean = extracted(objects=()), extracted(objects=(), noise=False)
    pulls = (noisy.flux - clean.flux) * np.sqrt(noisy.ivar)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.03)  # 9600 samples: 0.7 %


def test_a_cosmic_ray_is_filled_in_by_the_profile_around() -> None:
    rows = (50, 51, 200, 333)
    hit, whole = extracted(bad=rows, noise=False), extracted(noise=False)
    at = int(np.rint(11.7))
    touched = [f for f in range(made.NAPERTURE) if (np.abs(hit.ivar[f, list(rows)] / whole.ivar[f, list(rows)] - 1) > 1e-6).any()]
    assert at in touched
    for f in touched:
        worst = np.abs(hit.flux[f, list(rows)] / whole.flux[f, list(rows)] - 1).max()
        assert worst < 0.02, f  # the traces move by 0.06 pixel over the rows that are looked at
        usable = hit.ivar[f, list(rows)]
        assert (usable < whole.ivar[f, list(rows)] * (1 + 1e-6)).all()


def test_traces_of_another_detector_and_a_single_aperture_are_refused() -> None:
    image, traces = made.image(), made.traces()
    with pytest.raises(MissingCalibration, match="traces for 100 x 400 pixels, the image has 128 x 400"):
        SlitExtract().run(image, replace(traces, npix_x=100), None)
    one = replace(traces, x=traces.x[:1].copy(), y=traces.y[:1].copy(), fiber=traces.fiber[:1].copy())
    with pytest.raises(MissingCalibration, match="give it a width"):
        SlitExtract().run(image, one, None)
    assert SlitExtract(SlitExtractParams(width=100.0)).run(image, one, None).flux.shape == (1, made.NY)
    known = SlitExtract().run(image, replace(one, xsig=np.full((1, 1), 30.0 / np.sqrt(12))), None)  # sigma of a uniform profile
    np.testing.assert_allclose(known.fibermap.columns[WIDTH], 30.0)


def test_an_object_is_found_where_it_is() -> None:
    frame, found = LocateObject().run(extracted())
    (only,) = found.objects
    assert only.place == pytest.approx(11.7, abs=0.05)
    assert 2.355 * 2.4 / made.WIDTH < only.fwhm < 2.355 * 2.4 / made.WIDTH + 0.6  # an aperture is as wide as the object, which widens it
    types = frame.fibermap.objtype
    assert [i for i, t in enumerate(types) if t == "TGT"] == list(range(only.first, only.last + 1))
    assert only.first <= 11
    assert only.last >= 12
    assert types[0] == types[-1] == "NON"
    assert all(types[k] == "NON" for k in (only.first - 1, only.last + 1))
    assert types.count("SKY") >= 12
    assert frame.fibermap.columns[OBJECT_ID].max() == 1


def test_two_objects_are_told_apart_brightest_first() -> None:
    _, found = LocateObject().run(extracted(objects=((17.0, 0.3), (6.2, 1.0))))
    assert [round(o.place) for o in found.objects] == [6, 17]
    assert found.objects[0].snr > found.objects[1].snr


def test_an_empty_slit_is_called_empty() -> None:
    frame, found = LocateObject().run(extracted(objects=()))
    assert not found.objects
    assert "nothing stands out" in found.remark
    assert found.remark in frame.assumed
    assert frame.fibermap.objtype.count("SKY") == made.NAPERTURE - 2
    with pytest.raises(BadData, match="no object was found on the slit"):
        SumObject().run(frame, made.exposure())


def test_bad_apertures_and_dark_ones_are_neither_object_nor_sky() -> None:
    frame = extracted()
    types = tuple("BAD" if i == 20 else "TGT" for i in range(made.NAPERTURE))
    ivar = frame.ivar.copy()
    ivar[3] = 0.0
    marked = FiberMap(fiber=frame.fibermap.fiber, objtype=types, columns=frame.fibermap.columns, source="made")
    out, found = LocateObject().run(replace(frame, ivar=ivar, fibermap=marked))
    assert (out.fibermap.objtype[20], out.fibermap.objtype[3]) == ("BAD", "NON")
    assert len(found.objects) == 1
    assert np.isnan(found.profile[3])


def test_a_slit_without_light_or_without_sky_is_refused() -> None:
    frame = extracted()
    with pytest.raises(BadData, match="0 of 24 apertures have light"):
        LocateObject().run(replace(frame, ivar=np.zeros_like(frame.ivar)))
    with pytest.raises(BadData, match=r"objects leave \d+ apertures for the sky, 20 are needed"):
        LocateObject(LocateObjectParams(min_sky=20)).run(frame)


def test_the_sum_of_an_object_is_its_light() -> None:
    total = SumObject().run(subtracted(), made.exposure())
    assert total.flux.shape == (1, made.NY)
    light = made.object_of(total.wave[0])
    ratio = total.flux[0] / light
    assert np.median(ratio) == pytest.approx(1.0, abs=0.01)  # 0.5 % of the light lies beyond the apertures taken
    pulls = (total.flux[0] - light * np.median(ratio)) * np.sqrt(total.ivar[0])
    assert np.std(pulls) == pytest.approx(1.0, abs=0.12)  # 400 samples, and what all share of the sky
    assert total.fibermap.columns["OBJECT"].tolist() == ["Star"]


def test_lost_samples_of_an_aperture_are_filled_in_by_its_share() -> None:
    frame = subtracted(noise=False)
    whole = SumObject().run(frame, made.exposure())
    brightest = int(whole.fibermap.fiber[0])
    ivar, flux = frame.ivar.copy(), frame.flux.copy()
    side = brightest - 1 if frame.flux[brightest - 1].mean() > frame.flux[brightest + 1].mean() else brightest + 1
    ivar[side, 100:110], flux[side, 100:110] = 0.0, -1e6
    ivar[:, 300] = 0.0
    out = SumObject().run(replace(frame, ivar=ivar, flux=flux), made.exposure())
    np.testing.assert_allclose(out.flux[0, 98:112], whole.flux[0, 98:112], rtol=0.02)
    assert (out.ivar[0, 101:109] < whole.ivar[0, 101:109]).all()
    assert out.ivar[0, 300] == 0
    assert out.mask[0, 300] != 0
    assert np.isfinite(out.flux).all()
