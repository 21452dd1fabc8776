"""Traces from flats alone, against known truth."""

from __future__ import annotations

import arc_frames as af
import numpy as np
import pytest

from algorithms.fibrenumbers import number_fibres
from algorithms.trace_flat import TraceFlat, TraceFlatParams
from quicklook.ccd.calibs import KnownFibers
from quicklook.ccd.image import Image
from quicklook.ccd.pixeltraces import PixelTraces, Spectrograph, TraceFit
from quicklook.core.errors import BadData
from quicklook.core.group import Streamed

ROWS = np.arange(0.0, af.NY, 25.0)


def run(*images: Image, known: Spectrograph | None = None, fibers: KnownFibers | None = None, **params: object) -> tuple[PixelTraces, TraceFit]:
    group = Streamed([lambda one=one: one for one in images])  # type: ignore[misc]
    return TraceFlat(TraceFlatParams.model_validate(params)).run(group, [known or af.spectrograph()], fibers)


def errors(traces: PixelTraces) -> np.ndarray:
    """Found minus true x, [nfibre, nrow]."""
    return np.asarray(traces.at_rows(traces.x, ROWS) - af.x_true(ROWS))


def test_places_and_widths_come_back() -> None:
    traces, fit = run(af.flat())
    assert np.sqrt(np.mean(errors(traces) ** 2)) < 0.003  # a row of 3000 electrons gives 0.02; 187 blocks of 8 rows and 7 terms
    width = traces.at_rows(traces.xsig, ROWS)
    assert np.abs(np.median(width) - af.SIGMA_X) < 0.01  # the tilt of the traces adds nothing to blocks of 8 rows
    assert fit.dark == ()
    assert traces.lit.all()
    assert traces.fiber.tolist() == list(range(af.COUNT))


def test_dark_fibres_keep_their_numbers() -> None:
    """In the middle of a bundle, and two in a row. (With two bundles alone, one at the end of a bundle could be taken for a wider gap.)"""
    dark = (5, 20, 21)
    traces, fit = run(af.flat(af.Bench(dark=dark)))
    assert fit.dark == dark
    lit = np.array([f not in dark for f in range(af.COUNT)])
    assert np.sqrt(np.mean(errors(traces)[lit] ** 2)) < 0.003
    assert np.abs(errors(traces)[list(dark)]).max() < 0.05  # as the neighbours go
    assert np.array_equal(traces.lit, lit)
    assert np.isnan(fit.rms[list(dark)]).all()


def test_cosmic_rays_bad_columns_and_wings_do_no_harm() -> None:
    on_a_fibre = round(float(af.x_true(np.array([750.0]))[9, 0]))
    bench = af.Bench(cosmics=500, bad_columns=(on_a_fibre, 150), wings=0.03)
    traces, fit = run(af.flat(bench))
    error = np.sqrt(np.mean(errors(traces) ** 2, axis=1))
    assert np.delete(error, 9).max() < 0.01
    assert error[9] < 0.02  # without its brightest column
    assert fit.dark == ()


def test_several_flats_are_averaged() -> None:
    faint = [af.flat(af.Bench(seed=s), level=150.0) for s in range(4)]
    one, _ = run(faint[0])
    four, _ = run(*faint)
    assert np.std(errors(four)) < 0.75 * np.std(errors(one))  # by a factor 2 where noise decides


def test_faint_ends_go_on_as_the_neighbours_do() -> None:
    traces, _ = run(af.flat(af.Bench(faint={7: 0.1}), level=400.0))
    assert np.abs(errors(traces)[7]).max() < 0.15


def test_it_says_when_the_numbers_are_not_certain() -> None:
    """No bundles, the first fibre dark: it might be the last one."""
    plain = af.spectrograph(bundle=0)
    frame = af.flat(af.Bench(dark=(0,)))
    with pytest.raises(BadData, match="do not fit"):  # the gap between the bundles is no whole number of pitches
        run(frame, known=plain)
    inner = Image(**{k: getattr(frame, k) for k in ("camera", "mask", "amplifiers", "read_noise")}, pixels=_half(frame.pixels), ivar=frame.ivar.copy())
    with pytest.raises(BadData, match=r"13 of 14 fibres are lit, and it is open which are dark \(13 or 0, from 0\)"):
        run(inner, known=af.spectrograph(fibres=14, bundle=0))
    traces, fit = run(inner, known=af.spectrograph(fibres=14, bundle=0), fibers=KnownFibers(broken=(0,)))
    assert fit.dark == (0,)
    assert np.sqrt(np.mean(errors_of(traces, 14)[1:] ** 2)) < 0.005


def _half(pixels: np.ndarray) -> np.ndarray:
    out = pixels.copy()
    out[:, 112:] = np.random.default_rng(4).normal(size=out[:, 112:].shape) * af.NOISE
    return out


def errors_of(traces: PixelTraces, n: int) -> np.ndarray:
    return np.asarray(traces.at_rows(traces.x, ROWS) - af.x_true(ROWS)[:n])


def test_without_a_description_every_peak_is_a_fibre() -> None:
    traces, fit = TraceFlat().run([af.flat()], None, None)
    assert traces.nfibre == af.COUNT
    assert fit.expected == 0


def test_no_light_and_other_sizes_are_refused() -> None:
    noise = np.random.default_rng(2).normal(size=(af.NY, af.NX)) * af.NOISE
    with pytest.raises(BadData, match="is the lamp on"):
        run(af.as_image(noise, np.full(noise.shape, 1.0 / af.NOISE**2)))
    with pytest.raises(BadData, match="nothing stands out|no fibre|lamp"):
        run(af.as_image(np.zeros((af.NY, af.NX)), np.zeros((af.NY, af.NX))))
    with pytest.raises(BadData, match="in one group"):
        run(af.flat(), af.as_image(noise[:800], np.ones((800, af.NX))))
    with pytest.raises(BadData, match="no flat"):
        run()


def test_numbers_of_fibres() -> None:
    f = np.array([i for i in range(75) if i not in (0, 24, 25, 40)])
    x = 7.3 * f + 10.5 * (f // 25)
    assert number_fibres(x, 75, 25).index.tolist() == f.tolist()
    stretched = x * (1.0 + 0.0005 * f)  # the pitch changes along the slit
    assert number_fibres(stretched, 75, 25).index.tolist() == f.tolist()
    with pytest.raises(BadData, match="76 traces are lit, the instrument has 75"):
        number_fibres(np.arange(76) * 7.0, 75, 25)
    with pytest.raises(BadData, match="1 traces are lit, 75 are expected"):
        number_fibres(np.array([3.0]), 75, 25)


def test_a_small_detector_has_the_bundles_that_are_seen() -> None:
    traces, fit = run(af.flat(af.Bench(dark=(3,))), known=af.spectrograph(fibres=700))
    assert traces.nfibre == af.COUNT
    assert fit.dark == (3,)
