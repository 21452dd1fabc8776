"""A small detector with fibres, lines and continuum of known place and width: made with erf, independent of the kernels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.special import erf

from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image
from quicklook.ccd.linelist import LineList, SkyLines
from quicklook.ccd.spectra import TraceSet
from quicklook.core.keys import Unit

NX, NY, PITCH, DISPERSION, W0 = 260, 700, 7.27, 0.6, 6000.0
WAVEMIN, WAVEMAX = W0 - 12.0, W0 + DISPERSION * NY + 12.0
LINES = np.array([6020.0, 6061.3, 6110.7, 6150.2, 6201.9, 6260.4, 6299.8, 6350.1, 6391.7])


def traces(nfibre: int = 30, sigma: tuple[float, float] = (1.05, 1.12)) -> TraceSet:
    """Nearly straight traces with a curvature and a smile."""
    f = np.arange(nfibre)
    u = 2.0 * f / (nfibre - 1) - 1.0
    x, y = np.zeros((nfibre, 4)), np.zeros((nfibre, 4))
    half = 0.5 * (WAVEMAX - WAVEMIN) / DISPERSION
    x[:, 0] = NX / 2 + PITCH * (f - 0.5 * (nfibre - 1))
    x[:, 1], x[:, 2] = 1.5 * u + 4.0, 0.3
    y[:, 0], y[:, 1], y[:, 2] = NY / 2 + 4.0 * u**2, half, 1.0
    xs, ys = np.tile([sigma[0], 0.0], (nfibre, 1)), np.tile([sigma[1], 0.03], (nfibre, 1))
    return TraceSet(
        x=x, y=y, wavemin=WAVEMIN, wavemax=WAVEMAX, npix_x=NX, npix_y=NY, fiber=np.arange(nfibre, dtype=np.int32), xsig=xs, ysig=ys
    )


def shifted(t: TraceSet, dx: tuple[float, ...], dy: tuple[float, ...]) -> TraceSet:
    """dx, dy: constant, slope along the slit, slope in wavelength (P1), as flexure does."""
    u = 2.0 * np.arange(t.nfibre) / (t.nfibre - 1) - 1.0
    x, y = t.x.copy(), t.y.copy()
    for c, d in ((x, dx), (y, dy)):
        c[:, 0] += d[0] + d[1] * u
        c[:, 1] += d[2]
    return replace(t, x=x, y=y)


def binned(edges: np.ndarray, sigma: np.ndarray | float) -> np.ndarray:
    """A unit Gaussian about 0 integrated between consecutive edges (last axis)."""
    return 0.5 * np.diff(erf(edges / (np.sqrt(2.0) * np.asarray(sigma)[..., None])), axis=-1)


@dataclass(frozen=True)
class Light:
    """Electrons of a line (on average), of continuum in a row, wings of the profile across the trace (fraction in 3 pixel sigma), noise."""

    line: float = 3000.0
    continuum: float = 60.0
    wings: float = 0.0
    noise: float = 3.0
    seed: int = 1
    fibres: dict[int, float] = field(default_factory=dict)
    waves: np.ndarray = field(default_factory=lambda: LINES)


def rows(t: TraceSet, light: Light) -> np.ndarray:
    """Expected electrons of every fibre and row, [nfibre, ny]."""
    assert t.ysig is not None
    edges = np.arange(NY + 1) - 0.5
    y, sigma = t.evaluate(t.y, light.waves), t.evaluate(t.ysig, light.waves)
    strength = light.line * (0.4 + 1.2 * np.random.default_rng(5).random(len(light.waves)))
    out = np.full((t.nfibre, NY), light.continuum)
    for i in range(len(light.waves)):
        out += strength[i] * binned(edges[None, :] - y[:, i, None], sigma[:, i])
    for f, factor in light.fibres.items():
        out[f] *= factor
    return out


def image(t: TraceSet, light: Light | None = None) -> Image:
    """An exposure of light on these traces, with Poisson and read noise."""
    light = light or Light()
    assert t.xsig is not None
    spectra, expected = rows(t, light), np.zeros((NY, NX))
    wave = np.linspace(WAVEMIN, WAVEMAX, 400)
    x, y, s = t.evaluate(t.x, wave), t.evaluate(t.y, wave), t.evaluate(t.xsig, wave)
    at, edges = np.arange(NY), np.arange(NX + 1) - 0.5
    for f in range(t.nfibre):
        centre, sigma = np.interp(at, y[f], x[f]), np.interp(at, y[f], s[f])
        offset = edges[None, :] - centre[:, None]
        profile = (1.0 - light.wings) * binned(offset, sigma) + light.wings * binned(offset, 3.0 + 0.0 * sigma)
        expected += spectra[f][:, None] * profile
    rng = np.random.default_rng(light.seed)
    pixels = (rng.poisson(expected) + light.noise * rng.normal(size=expected.shape)).astype(np.float32)
    ivar = (1.0 / (expected + light.noise**2)).astype(np.float32)
    return as_image(pixels, ivar, light.noise)


def as_image(pixels: np.ndarray, ivar: np.ndarray, noise: float = 3.0) -> Image:
    section = Section(0, NY, 0, NX)
    amp = Amplifier(name="A", data=section, ccd=section, gain=1.0, corner="ll")
    return Image(camera="r0", pixels=pixels, ivar=ivar, mask=np.zeros(pixels.shape, np.uint16), amplifiers=(amp,), read_noise={"A": noise})


def exposure(flavor: str = "science") -> Exposure:
    return Exposure(unit=Unit(20220101, 7), instrument="test", flavor=flavor, exptime=900.0)


def line_list(kind: type[LineList] = SkyLines, wave: np.ndarray = LINES, sigma: float = 0.003) -> Any:
    n = len(wave)
    return kind(wave=wave.copy(), sigma=np.full(n, sigma), window=np.full(n, 1.8), strength=np.full(n, 100.0), name=("Ne_I",) * n)


def errors(got: TraceSet, true: TraceSet) -> tuple[float, float]:
    """rms of the difference in x and in y over fibres and wavelengths on the detector, pixels."""
    wave = np.linspace(W0 + 10.0, W0 + DISPERSION * NY - 10.0, 30)
    dx = got.evaluate(got.x, wave) - true.evaluate(true.x, wave)
    dy = got.evaluate(got.y, wave) - true.evaluate(true.y, wave)
    return float(np.sqrt(np.mean(dx**2))), float(np.sqrt(np.mean(dy**2)))
