"""The search for cosmic rays: against slow versions, and for what it must find and must leave alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from algorithms.kernels import pixelmodels, trackrepair, tracks
from algorithms.kernels.cosmics import collect, limits, seek
from algorithms.kernels.preproc import Amp, correct_and_search, noise_of

NY, NX = 160, 120
BIT = 1 << 4
NOISE2 = 9.0
LIMITS = limits(1.0, 1.0)


def fibres(electrons: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Expected light of fibres 7.27 pixels apart, each with the spectrum `electrons` [ny] and sigma 1.05 pixel."""
    image = np.zeros((NY, NX))
    for centre in np.arange(6.0, NX - 6, 7.27):
        drift = centre + 0.003 * np.arange(NY)[:, None] + rng.uniform(-0.5, 0.5)
        image += electrons[:, None] * np.exp(-0.5 * ((np.arange(NX) - drift) / 1.09) ** 2) / (1.09 * np.sqrt(2 * np.pi))
    return image


def lines(peaks: list[tuple[float, float]], continuum: float) -> np.ndarray:
    y = np.arange(NY)
    light = np.full(NY, continuum)
    for centre, total in peaks:
        light += total * np.exp(-0.5 * ((y - centre) / 1.1) ** 2) / (1.1 * np.sqrt(2 * np.pi))
    return light


def found(light: np.ndarray, hits: np.ndarray, seed: int = 2, bad: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, ivar and mask after the whole search of an image of one amplifier; `hits` are electrons of cosmic rays."""
    rng = np.random.default_rng(seed)
    raw = (rng.poisson(light) + hits + np.sqrt(NOISE2) * rng.normal(size=light.shape)).astype(np.float32)
    box = (0, NY, 0, NX)
    amps = [
        Amp(
            data=box,
            ccd=box,
            gain=1.0,
            saturation=np.inf,
            noise_variance=NOISE2,
            row_level=np.zeros(NY, np.float32),
            row_variance=np.zeros(NY, np.float32),
        )
    ]
    image, ivar, mask, seeds = correct_and_search(raw, amps, (NY, NX), bad=bad, search=LIMITS)
    tracks.clean(image, ivar, mask, seeds, LIMITS, BIT, noise_of(amps))
    return image, ivar, mask


def a_track(y: float, x: float, angle: float, length: float, charge: float) -> np.ndarray:
    hits = np.zeros((NY, NX))
    for s in np.arange(0, length, 1 / 3):
        v, u = round(y + s * np.sin(angle)), round(x + s * np.cos(angle))
        hits[v, u] += charge / 3
    return hits


def slow_seek(a: np.ndarray, b: np.ndarray, c: np.ndarray, far: np.ndarray, var: np.ndarray) -> np.ndarray:
    r = 0.9 * np.exp(-0.5 / (1 + 1 / 12))
    out = np.zeros(len(b), bool)
    for x in range(1, len(b) - 1):

        def pair(p: float, q: float, ratio: float, value: float, x: int = x) -> bool:
            return bool((ratio * value - 0.5 * (p + q)) / np.sqrt(ratio**2 + 0.5) > 3.4 * np.sqrt(var[x]))

        level = 4.8 * np.sqrt(var[x]) + (4.8**2 - 1) / 6
        above = b[x] - far[x]
        da, db, dc = a - far, b - far, c - far
        sharp = pair(db[x - 1], db[x + 1], r, above) or pair(da[x], dc[x], r, above)
        sharp = sharp or pair(da[x - 1], dc[x + 1], r * r, above) or pair(dc[x - 1], da[x + 1], r * r, above)
        out[x] = (above > level and sharp) or (b[x] > level and pair(b[x - 1], b[x + 1], r, b[x]))
    return out


def test_seek_equals_the_slow_version() -> None:
    rng = np.random.default_rng(1)
    n = 4000
    far = rng.uniform(0, 300, n).astype(np.float32)
    var = (far + NOISE2).astype(np.float32)
    rows = [(far + np.sqrt(var) * rng.normal(size=n) + 150 * rng.exponential(size=n) * (rng.random(n) < 0.2)).astype(np.float32) for _ in range(3)]
    hits = np.zeros(n, np.float32)
    seek(*rows, far, var, LIMITS, hits)
    expected = slow_seek(*(r.astype(float) for r in (*rows, far, var)))
    assert 50 < expected.sum() < 1000
    assert np.count_nonzero((hits > 0) != expected) <= 1  # float32: one may lie within rounding of the limit
    seeds, count = collect(hits, 7 * n, np.empty(4, np.int64), 0)
    assert np.array_equal(seeds[:count], 7 * n + np.flatnonzero(hits > 0))


@pytest.mark.parametrize("line", [False, True])
def test_expected_equals_the_slow_version(line: bool) -> None:
    """The median of five means of four rows; the lowest where a line stands in the column."""
    image = np.random.default_rng(6).normal(100, 5, (40, 3)).astype(np.float32)
    groups = [(-10, -9, -8, -7), (-6, -5, -4, -3), (-2, -1, 1, 2), (3, 4, 5, 6), (7, 8, 9, 10)]
    for y in (1, 3, 12, 25, 36, 38):
        changed = image.copy()
        if line:
            changed[[abs(y + k) if y + k < 40 else 78 - y - k for k in (3, 4, 5)], 1] += 80
        rows = [[abs(y + k) if y + k < 40 else 78 - y - k for k in g] for g in groups]
        means = [changed[np.array(r), 1].astype(float).mean() for r in rows]
        value, group = pixelmodels.expected(changed, y, 1, np.float32(100.0))
        assert value == pytest.approx(min(means) if line else np.median(means), rel=1e-5)
        assert means[group] == pytest.approx(float(value), rel=1e-5)


def test_spread_and_near_model_equal_the_slow_version() -> None:
    image = np.random.default_rng(6).normal(20, 15, (40, 3)).astype(np.float32)
    groups = [(-10, -9, -8, -7), (-6, -5, -4, -3), (-2, -1, 1, 2), (3, 4, 5, 6), (7, 8, 9, 10)]
    for y in range(10, 30):
        column = image[:, 1].astype(float)
        means = sorted(column[[y + k for k in g]].mean() for g in groups)
        median, spread = pixelmodels.median_and_spread(image, y, 1)
        assert (median, spread) == (pytest.approx(means[2], rel=1e-5), pytest.approx(means[3] - means[0], rel=1e-5))
        a, b, c, d = column[[y - 2, y - 1, y + 1, y + 2]]
        geometric = np.sqrt(max(b, 0) * max(c, 0)) - 3.0
        assert pixelmodels.near_model(image, y, 1, np.float32(3.0)) == pytest.approx(max((4 * (b + c) - (a + d)) / 6, geometric), rel=1e-4, abs=1e-4)


def test_the_repair_makes_the_variance_of_the_fused_pass() -> None:
    rng = np.random.default_rng(4)
    light = fibres(lines([(y, 3000.0) for y in (30, 41, 100)], 60.0), rng)
    raw = (rng.poisson(light) + 3.0 * rng.normal(size=light.shape)).astype(np.float32)
    box, level = (0, NY, 0, NX), np.zeros(NY, np.float32)
    amps = [Amp(data=box, ccd=box, gain=1.0, saturation=np.inf, noise_variance=NOISE2, row_level=level, row_variance=level)]
    flat, dark = np.full(light.shape, 0.9, np.float32), np.full(light.shape, 0.01, np.float32)
    image, ivar, _, _ = correct_and_search(raw, amps, (NY, NX), flat=flat, dark=dark, exptime=100.0)
    noise = noise_of(amps, flat=flat, dark=dark, exptime=100.0)
    again = np.array([[trackrepair.remade(image, noise, y, x) for x in range(NX)] for y in range(NY)])
    close = np.isclose(again, ivar, rtol=1e-4)  # in float32 a few lie within rounding of the decision between the models
    assert close.mean() > 0.999
    assert ((again * (light + NOISE2 + 1.0))[30:32] > 0.2).all()


def test_tracks_along_the_edges_are_found() -> None:
    light, hits = fibres(lines([], 60.0), np.random.default_rng(3)), np.zeros((NY, NX))
    hits[0, 20:26], hits[NY - 1, 60:64], hits[70:80, 0], hits[100:106, NX - 1], hits[NY - 1, NX - 1] = 400.0, 400.0, 300.0, 300.0, 500.0
    mask = found(light, hits)[2]
    assert (mask[hits > 0] & BIT != 0).all()
    assert np.count_nonzero(mask & BIT) <= 3 * np.count_nonzero(hits) + 30


@pytest.mark.parametrize(("beyond", "electrons"), [(1.5, 1e3), (3.0, 1e4)])
def test_lines_that_the_first_and_the_last_row_cut_off_are_left_alone(beyond: float, electrons: float) -> None:
    light = fibres(lines([(-beyond, electrons), (NY - 1 + beyond, electrons)], 10.0), np.random.default_rng(3))
    mask = found(light, np.zeros((NY, NX)))[2]
    # one pixel of noise and what touches it; of all 32 lines, a fifth to a half were taken for tracks when rows beyond were made up
    assert np.count_nonzero(mask & BIT) <= 9


def test_tracks_go_on_behind_a_bad_column() -> None:
    light, bad = fibres(lines([], 60.0), np.random.default_rng(3)), np.zeros((NY, NX), np.uint16)
    bad[:, 60] = 1
    level, steep = a_track(40, 48, 0.3, 25, 300.0), a_track(90, 58.0, np.pi / 2 - 0.12, 30, 300.0)
    mask = found(light, level + steep, bad=bad)[2]
    assert (mask[(level + steep > 20) & (bad == 0)] & BIT != 0).all()
    assert np.count_nonzero(mask[:, 60] & BIT) < 45  # the column itself is no track


def test_a_single_pixel_must_exceed_the_noise_of_the_light_beside_it() -> None:
    """The same excess of one pixel, in the dark and on a bright row whose light its neighbours along the row hold."""
    image, ivar = np.zeros((40, 40), np.float32), np.full((40, 40), 1 / NOISE2, np.float32)
    image[20, 20] = 22.0
    seeds = np.array([20 * 40 + 20])
    assert tracks.follow(image, ivar, np.zeros((40, 40), np.uint16), seeds, LIMITS, np.uint16(BIT)).size == 9
    image[20, 10:20] = image[20, 21:30] = 11.0  # too faint for a track
    assert tracks.follow(image, ivar, np.zeros((40, 40), np.uint16), seeds, LIMITS, np.uint16(BIT)).size == 0


def test_borders_are_the_bright_pixels_of_the_outer_columns() -> None:
    rng = np.random.default_rng(8)
    image, ivar = rng.normal(0, 6, (30, 24)).astype(np.float32), np.full((30, 24), 1 / NOISE2, np.float32)
    ivar[3] = 0
    boxes = np.array([(0, 15, 0, 10), (0, 15, 10, 24), (15, 30, 0, 24)])
    bright = (image * np.sqrt(ivar) > 4.0) & np.isin(np.arange(24), (0, 9, 10, 23))[None, :]
    bright[15:, 9:11] = False
    assert bright.sum() > 2
    assert np.array_equal(np.sort(tracks.borders(image, ivar, boxes, np.float32(4.0))), np.flatnonzero(bright))


@pytest.mark.parametrize("angle", [0.0, 0.4, 0.8, 1.2, np.pi / 2])
@pytest.mark.parametrize("continuum", [0.0, 100.0, 8000.0])
def test_tracks_are_found_in_the_dark_and_in_the_light(angle: float, continuum: float) -> None:
    light = fibres(lines([], continuum), np.random.default_rng(3))
    charge = 450.0 if continuum < 1000 else 1500.0
    hits = a_track(30, 25, angle, 25, charge)
    image, ivar, mask = found(light, hits)
    hit = hits > 20
    assert (mask[hit] & BIT != 0).mean() > (0.99 if continuum < 1000 else 0.9)
    assert (ivar[mask & BIT != 0] == 0).all()
    assert np.abs(image - light)[hit & (mask & BIT != 0)].max() < 6 * np.sqrt(light.max() + NOISE2)  # interpolated
    near = np.zeros_like(hit)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            near |= np.roll(hit, (dy, dx), (0, 1))
    assert np.count_nonzero((mask & BIT != 0) & ~near) <= 9  # one false seed and its neighbours


@pytest.mark.parametrize("seed", range(3))
def test_lines_and_edges_of_light_are_left_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arc = lines([(y, 10 ** rng.uniform(2, 5)) for y in rng.uniform(5, NY - 5, 12)], 0.0)
    sky = lines([(y, 10 ** rng.uniform(2, 4)) for y in rng.uniform(5, NY - 5, 25)], 60.0)
    step = 20.0 + 4000.0 * ndtr((80.3 - np.arange(NY)) / 1.1)  # as sharp as the optics allow
    for spectrum in (arc, sky, step):
        mask = found(fibres(spectrum, rng), np.zeros((NY, NX)), seed)[2]
        assert np.count_nonzero(mask & BIT) <= 96  # of 19200: half a per cent, where lines stand as dense as nowhere in the sky


def test_variance_beside_a_cosmic_ray_is_that_of_the_light() -> None:
    light = fibres(lines([], 200.0), np.random.default_rng(3))
    hits = np.zeros((NY, NX))
    for x in range(10, 110, 5):
        hits[80, x] = 3000.0
    _, ivar, mask = found(light, hits)
    beside = np.zeros((NY, NX), bool)
    beside[[78, 82], :] = True
    beside &= (mask == 0) & np.roll(hits > 0, 2, 0) | beside & (mask == 0) & np.roll(hits > 0, -2, 0)
    ratio = ivar[beside] * (light + NOISE2)[beside]
    assert np.count_nonzero(beside) > 30
    assert ratio.mean() == pytest.approx(1.0, abs=0.1)  # the model of each has 8 % of scatter


def test_bad_columns_make_no_cosmic_rays_of_their_neighbours() -> None:
    light = fibres(lines([(y, 4000.0) for y in range(12, NY - 8, 15)], 150.0), np.random.default_rng(3))
    bad = np.zeros((NY, NX), np.uint16)
    bad[:, 40:NX:13] = 1
    hits = np.where(bad > 0, 20000.0, 0.0)
    mask = found(light, hits, bad=bad)[2]
    assert np.count_nonzero(mask & BIT) <= 27  # of 19200: three false seeds with their neighbours


def slow_excess(image: np.ndarray, ivar: np.ndarray, track: np.ndarray, y: int, x: int, strict: bool) -> float:
    if strict and image[y, x] <= 30:
        return 0.0
    groups = [slice(y - 10, y - 2), slice(y + 3, y + 11)]
    sides = [[u for u in pair if ivar[y, u] > 0 and not track[y, u]] for pair in ((x - 1, x - 2), (x + 1, x + 2))]
    lights = [max(float(sum(image[y, u] for u in s)), 0.0) for s in sides]
    columns = [[max(float(sum(image[g, u].sum() / 4 for u in s)), 0.0) for g in groups] for s in sides]
    if max(map(sum, columns)) <= 0 or max(lights) < 0.1 * image[y, x]:
        return 0.0 if strict else 1e30
    usable = [k for k in (0, 1) if sum(columns[k]) >= 0.5 * sum(columns[1 - k])]
    k = min(usable, key=lambda k: lights[k] / sum(columns[k]))
    own = [max(float(image[g, x].sum() / 4), 0.0) for g in groups]
    ratio = sum(own) / sum(columns[k])
    ratios = [ratio, *(o / c for o, c in zip(own, columns[k], strict=True) if c > 0)] if strict else [ratio]
    told = max(ratios) * lights[k]
    if strict and told < 30:
        return 0.0
    var = 1 / ivar[y, x] + told + ratio**2 * sum(1 / ivar[y, u] for u in sides[k]) + (0.01 * told) ** 2
    return float((image[y, x] - told) / np.sqrt(var))


@pytest.mark.parametrize("strict", [False, True])
def test_the_excess_over_the_profile_equals_the_slow_version(strict: bool) -> None:
    rng = np.random.default_rng(12)
    image = rng.normal(fibres(lines([(y, 3000.0) for y in (40, 80, 120)], 60.0), rng), 5.0).astype(np.float32)
    ivar = np.where(rng.random((NY, NX)) < 0.1, 0.0, 1 / 25.0).astype(np.float32)
    track = rng.random((NY, NX)) < 0.1
    mask = np.where(track, BIT, 0).astype(np.uint16)
    values = []
    for y in range(36, 86):
        for x in range(20, 60):
            if ivar[y, x] > 0:
                value = float(pixelmodels.profile_excess(image, ivar, mask, y, x, np.uint16(BIT), strict))
                expected = slow_excess(image.astype(float), ivar.astype(float), track, y, x, strict)
                values.append((value, expected))
    told = np.array(values)
    assert np.isclose(told[:, 0], told[:, 1], rtol=2e-3, atol=2e-3).mean() > 0.995  # float32: a few lie within rounding of a decision
    assert np.count_nonzero((told[:, 1] != 0) & (told[:, 1] < 1e29)) > 100


def test_tracks_on_bright_lines_are_found() -> None:
    """Tracks across lines of some thousand electrons in a pixel: found where they stand above the noise, and the lines left alone."""
    light = fibres(lines([(float(y), 20000.0) for y in range(5, NY, 10)], 40.0), np.random.default_rng(3))
    hits = sum((a_track(y, x, 0.9, 55, 300.0) for y in (10, 25, 60, 90) for x in (8, 30, 52, 75)), np.zeros((NY, NX)))
    mask = found(light, hits)[2]
    strong = (hits > 5 * np.sqrt(light + NOISE2)) & (light > 200)
    assert strong.sum() > 50
    assert (mask[strong] & BIT != 0).mean() > 0.97  # sharpness alone finds 0.88
    alone = found(light, np.zeros((NY, NX)))[2]
    assert np.count_nonzero(alone & BIT) <= 18  # of 19200: two false seeds with their neighbours
