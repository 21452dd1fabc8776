"""A spectrograph with known traces, dispersion and lines, drawn with erf: flats and arcs, with what may be wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import erf

from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image
from quicklook.ccd.linelist import LampLines, shipped_lines
from quicklook.ccd.pixeltraces import Spectrograph

NX, NY, PITCH, GAP, BUNDLE, COUNT = 236, 1500, 7.3, 10.5, 14, 28
DISPERSION, CENTRE = 1.4, 6800.0
SIGMA_X, SIGMA_Y, NOISE = 1.05, 1.15, 3.0


@dataclass(frozen=True)
class Bench:
    """What is done to the detector: fibres without light, columns without use, cosmic rays, light in wings of 3 pixel sigma."""

    dark: tuple[int, ...] = ()
    bad_columns: tuple[int, ...] = ()
    cosmics: int = 0
    wings: float = 0.0
    seed: int = 1
    own: float = 0.0
    faint: dict[int, float] = field(default_factory=dict)


def u_of() -> np.ndarray:
    return 2.0 * np.arange(COUNT) / (COUNT - 1) - 1.0


def x_true(rows: np.ndarray) -> np.ndarray:
    """x of every fibre on rows, [COUNT, nrow]: tilted, curved, bundles with a gap."""
    t = 2.0 * np.asarray(rows, float) / (NY - 1) - 1.0
    f = np.arange(COUNT)
    x0 = 8.0 + PITCH * f + GAP * (f // BUNDLE)
    return x0[:, None] + 1.2 * t[None, :] + u_of()[:, None] * (0.8 * t + 0.5 * t**2)[None, :]


def wave_true(rows: np.ndarray) -> np.ndarray:
    """Wavelength in the middle of the slit on rows: the dispersion changes by a tenth over the detector."""
    t = 2.0 * np.asarray(rows, float) / (NY - 1) - 1.0
    half = 0.5 * (NY - 1) * DISPERSION
    return np.asarray(CENTRE + half * (t + 0.02 * (t**2 - 0.3) + 0.003 * (t**3 - t)))


def own_shift(bench: Bench) -> np.ndarray:
    """How far the lines of every fibre lie off a smooth slit, pixel."""
    return np.asarray(bench.own * np.random.default_rng(77).normal(size=COUNT))


def y_true(wave: np.ndarray, bench: Bench = Bench()) -> np.ndarray:
    """Rows of wavelengths, [COUNT, nwave]: a slit that is curved and tilted."""
    rows = np.linspace(-60.0, NY + 60.0, 6000)
    middle = np.interp(wave, wave_true(rows), rows)
    u = u_of()[:, None]
    return np.asarray(middle[None, :] + 6.0 * u**2 + 1.5 * u + own_shift(bench)[:, None])


def binned(offset: np.ndarray, sigma: float) -> np.ndarray:
    """A unit Gaussian integrated between consecutive edges, the last axis."""
    return np.asarray(0.5 * np.diff(erf(offset / (np.sqrt(2.0) * sigma)), axis=-1))


def image(spectra: np.ndarray, bench: Bench) -> Image:
    """Spectra [COUNT, NY], electron, on the detector with Poisson and read noise."""
    rng = np.random.default_rng(bench.seed)
    light = spectra.copy()
    light[list(bench.dark)] = 0.0
    for f, factor in bench.faint.items():
        light[f] *= factor
    x, edges, expected = x_true(np.arange(NY)), np.arange(NX + 1) - 0.5, np.zeros((NY, NX))
    for f in range(COUNT):
        offset = edges[None, :] - x[f][:, None]
        expected += light[f][:, None] * ((1 - bench.wings) * binned(offset, SIGMA_X) + bench.wings * binned(offset, 3.0))
    pixels = rng.poisson(np.maximum(expected, 0)) + NOISE * rng.normal(size=expected.shape)
    ivar = 1.0 / (expected + NOISE**2)
    for _ in range(bench.cosmics):
        i, j, n = rng.integers(0, NY - 8), rng.integers(0, NX - 8), rng.integers(1, 8)
        k = np.arange(n)
        pixels[i + k, j + (k * rng.integers(0, 2))] += rng.uniform(200, 5000)
    ivar[:, list(bench.bad_columns)] = 0.0
    return as_image(pixels, ivar)


def as_image(pixels: np.ndarray, ivar: np.ndarray) -> Image:
    ny, nx = pixels.shape
    section = Section(0, ny, 0, nx)
    amp = Amplifier(name="A", data=section, ccd=section, gain=1.0, corner="ll")
    mask = np.where(ivar > 0, 0, 1).astype(np.uint16)
    return Image(camera="r0", pixels=pixels.astype(np.float32), ivar=ivar.astype(np.float32), mask=mask, amplifiers=(amp,), read_noise={"A": NOISE})


def flat(bench: Bench = Bench(), level: float = 3000.0) -> Image:
    """A lamp that falls off at both ends."""
    t = 2.0 * np.arange(NY) / (NY - 1) - 1.0
    throughput = 1.0 + 0.1 * np.random.default_rng(3).normal(size=COUNT)
    return image(level * throughput[:, None] * (1.0 - 0.5 * t**2)[None, :], bench)


def lamp(elements: tuple[str, ...], lines: LampLines | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wavelengths, electrons and elements of the lines of lamps that fall on the detector: of each element the 12 strongest, from 1 to 30 in scale.

    The strengths follow the list by their rank alone, with scatter: those of real lamps do not follow lists either.
    """
    listed = lines or shipped_lines(LampLines)
    rng = np.random.default_rng(5)
    low, high = wave_true(np.array([10.0, NY - 10.0]))
    wave, light, own = [], [], []
    for element in elements:
        at = [i for i, n in enumerate(listed.name) if n.startswith(element + "_") and low < listed.wave[i] < high]
        top = sorted(at, key=lambda i: -listed.strength[i])[:12]
        apart = [i for i in top if all(abs(listed.wave[i] - listed.wave[j]) > 12.0 or listed.strength[i] > listed.strength[j] for j in top if j != i)]
        wave += [float(listed.wave[i]) for i in apart]
        light += list(20000.0 * 10 ** (-np.linspace(0.0, 1.3, len(apart)) + 0.2 * rng.normal(size=len(apart))))
        own += [element] * len(apart)
    return np.array(wave), np.array(light), np.array(own)


def arc(wave: np.ndarray, light: np.ndarray, bench: Bench = Bench()) -> Image:
    """Lines of these electrons."""
    edges, spectra = np.arange(NY + 1) - 0.5, np.full((COUNT, NY), 2.0)
    for y, e in zip(y_true(wave, bench).T, light, strict=True):
        spectra += e * binned(edges[None, :] - y[:, None], SIGMA_Y)
    return image(spectra, bench)


def spectrograph(**changes: object) -> Spectrograph:
    known: dict[str, object] = {"camera": "r0", "fibres": COUNT, "bundle": BUNDLE, "dispersion": DISPERSION * 1.05, "centre": CENTRE + 60.0}
    return Spectrograph(**(known | {"lamps": ("Ne", "Ar", "Hg", "Kr")} | changes))  # type: ignore[arg-type]
