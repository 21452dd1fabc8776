"""Amplifiers and overscan of a detector from the statistics of its frames: pixels that do not follow the light, steps in the level of the bias.

The frames are one with much light and (better) one without. Overscan is what light does not reach: its level is that of the frame without
light, whatever the light, and its noise is constant. Amplifiers differ in the level of their bias and in gain, so the level steps at their borders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.ccd.geometry import Section

Array = npt.NDArray[Any]
_DARK = 0.01
"""Lines whose level rises by less than this part of the light are overscan."""
_FEWEST = 3
"""Lines of the narrowest strip of overscan."""
_WIDEST = 8
"""A strip of more than one in so many lines is rather a part of the detector without light."""
_ROUND = 512
_SHARP = 0.2
_FAINT, _BRIGHT = 6.0, 100.0
"""Light in units of the noise of a pixel: below the first nothing can be said, below the second not much."""
_MOST = 400
_DIVISIONS = (2, 4)
_STEP = 6.0
_NO_STRIP = "overscan: no strip was found that light does not reach; is there none, or is no frame bright enough?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amp:
    """An amplifier as it was found: sections of the raw image, half open; None where there is no such strip."""

    name: str
    data: Section
    overscan: Section | None
    prescan: Section | None
    parallel: Section | None
    corner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Amplifiers of an image, and what is not certain of them."""

    amps: tuple[Amp, ...]
    unsure: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Along one axis: data spans (start, stop) of the amplifiers, strips without light, whether the bias steps at the borders; `dim`: strips beside
    which light sets in slowly."""

    spans: tuple[tuple[int, int], ...]
    strips: tuple[tuple[int, int], ...]
    seen: bool
    dim: tuple[tuple[int, int], ...] = ()


def find_amplifiers(bright: Array, dark: Array | None, within: Section | None = None) -> Found:
    """Amplifiers of an image [ny, nx] from a frame with light and one without (ADU); without `dark` the darkest strips have to serve.

    `within`: what the header says to be data, so that no strip in it is taken for overscan; None where it says nothing. Where that hides what would
    be found without it, a sentence says so.
    """
    found = _found(bright, dark, within)
    if within is None or _NO_STRIP not in found.unsure:
        return found
    hidden = [s for a in _found(bright, dark, None).amps for s in (a.overscan, a.prescan, a.parallel) if s is not None]
    if not hidden:
        return found
    places = " and ".join(dict.fromkeys(str(s) for s in hidden))
    told = f"overscan: none, as the header calls {within} data (DATASEC or TRIMSEC); but light does not reach {places}: is the header right?"
    return Found(amps=found.amps, unsure=tuple(told if u == _NO_STRIP else u for u in found.unsure))


def _found(bright: Array, dark: Array | None, within: Section | None) -> Found:
    """See `find_amplifiers`: along x, or where no strip is there along y."""
    found, no_columns = _find(bright, dark, within)
    if not no_columns or not any(a.parallel for a in found.amps):
        return found
    turned = None if within is None else Section(within.x0, within.x1, within.y0, within.y1)
    other, nothing = _find(bright.T, None if dark is None else dark.T, turned)  # the overscan follows each column: it is read out along y
    return found if nothing else Found(amps=tuple(_turned(a) for a in other.amps), unsure=other.unsure)


def _turned(amp: Amp) -> Amp:
    """An amplifier of the transposed image."""

    def section(one: Section | None) -> Section | None:
        return None if one is None else Section(one.x0, one.x1, one.y0, one.y1)

    data = section(amp.data)
    assert data is not None
    corner = {"ll": "ll", "lr": "ul", "ul": "lr", "ur": "ur"}[amp.corner]
    return Amp(name=amp.name, data=data, overscan=section(amp.overscan), prescan=section(amp.prescan), parallel=section(amp.parallel), corner=corner)


def _find(bright: Array, dark: Array | None, within: Section | None) -> tuple[Found, bool]:
    """The amplifiers as far as their overscan lies beside them; whether there is no such strip."""
    unsure = list[str]()
    columns, lines = (None, None) if within is None else ((within.x0, within.x1), (within.y0, within.y1))
    x = _axis(bright, dark, 1, None, columns)
    inside = np.concatenate([np.arange(a, b) for a, b in x.spans])
    # else a slit's dark margins cannot be told from overscan rows, which few detectors have
    faint = dark is None or brightness(bright, dark) < _BRIGHT
    y = _axis(bright[:, inside], None if dark is None else dark[:, inside], 0, () if faint else None, lines)
    rows = np.concatenate([np.arange(a, b) for a, b in y.spans])
    x = _axis(bright[rows], None if dark is None else dark[rows], 1, x.strips, columns)
    if dark is None:
        unsure.append("overscan: found without a zero, by what light does not reach; give zeros to be certain")
    if 0 < (light := brightness(bright, dark)) < _BRIGHT and (x.strips or y.strips):
        unsure.append(f"overscan: the brightest frame has light of {light:.0f} times the noise alone; dim parts of the detector look like overscan")
    if not x.strips and not y.strips:
        unsure.append(_NO_STRIP)
    for axis, name, n in ((x, "columns", len(x.spans)), (y, "rows", len(y.spans))):
        if n > 1 and not axis.seen:
            unsure.append(f"amplifiers: {n} along the {name}, by the strips between them; the level of the bias shows no step there")
        unsure += [f"overscan: {name} {a + 1} to {b} get no light, but light sets in slowly beside them: are they a dark part of the detector?"
                   for a, b in axis.dim if within is None]  # fmt: skip
    amps = tuple(_amp(i, j, x, y, dark if dark is not None else bright, unsure) for j in range(len(y.spans)) for i in range(len(x.spans)))
    if len(amps) > 4:
        unsure.append(f"amplifiers: {len(amps)} were found; that many are rare, look at the borders")
    return Found(amps=_named(amps), unsure=tuple(dict.fromkeys(unsure))), not x.strips


def brightness(bright: Array, dark: Array | None) -> float:
    """Light of a frame in units of the noise of a pixel."""
    lit, unlit = _lines(bright, 1), None if dark is None else _lines(dark, 1)
    base = float(np.percentile(lit, 1)) if unlit is None else float(np.median(unlit))
    return (float(np.percentile(lit, 75)) - base) / _noise(lit if unlit is None else unlit)


def _lines(image: Array, axis: int) -> Array:
    """The image with the axis of interest first: [nline, nsample], at most about 1500 samples of each line."""
    turned = image if axis == 0 else image.T
    return np.asarray(turned[:, :: max(1, turned.shape[1] // 1500)], np.float32)


def _axis(bright: Array, dark: Array | None, axis: int, strips: tuple[tuple[int, int], ...] | None, within: tuple[int, int] | None = None) -> _Axis:
    lit, unlit = _lines(bright, axis), None if dark is None else _lines(dark, axis)
    strips, dim = _strips(lit, unlit, within) if strips is None else (strips, ())
    inner, position = list[tuple[int, int]](), 0
    for a, b in (*strips, (lit.shape[0], lit.shape[0])):
        if a - position >= _MOST // 8:
            inner.append((position, a))
        position = b
    spans = inner or [(0, lit.shape[0])]
    if len(spans) > 1:
        level = lit if unlit is None else unlit
        return _Axis(tuple(spans), strips, all(_step(level, a[1], b[0]) > _STEP for a, b in pairwise(spans)), dim)
    borders = _borders(lit if unlit is None else unlit, *spans[0]) if unlit is not None else []
    edges = [spans[0][0], *borders, spans[0][1]]
    return _Axis(tuple(pairwise(edges)), strips, bool(borders), dim)


def _strips(lit: Array, unlit: Array | None, within: tuple[int, int] | None) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
    """Runs of lines that light does not reach, at the ends of the axis or in the middle of it; and those beside which light sets in slowly.

    Nothing that the header calls data (`within`) is one. Detectors have round numbers of lines: where there is one with the lines at the ends,
    these are taken for data.
    """
    high = np.percentile(lit, 90, axis=1)
    base = np.percentile(unlit, 90, axis=1) if unlit is not None else np.full(high.shape, np.percentile(high, 1))
    rise, n = high - base, lit.shape[0]
    light, noise = float(np.percentile(rise, 75)), _noise(lit if unlit is None else unlit)
    if not light > _FAINT * noise:
        return (), ()
    dark = rise < max(_DARK * light, noise)
    if within is not None:
        dark[within[0] : within[1]] = False
    out, dim = [], []
    for a, b in _runs(dark):
        at_end, central = a == 0 or b == n, abs(0.5 * (a + b) - 0.5 * n) < 0.02 * n + 2
        if at_end and n % _ROUND == 0:
            continue
        if (at_end or central) and b - a >= _FEWEST and b - a <= max(n // _WIDEST, 2 * _FEWEST):
            out.append((a, b))
            beside = [rise[k] for k in (a - 3, b + 2) if 0 <= k < n]
            if min(beside) < _SHARP * light:
                dim.append((a, b))
    return tuple(out), tuple(dim)


def _runs(flags: Array) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _noise(lines: Array) -> float:
    """Robust scatter of neighbouring samples of a line."""
    return max(1.4826 * float(np.median(np.abs(np.diff(lines, axis=1)))) / math.sqrt(2), 0.3)


def _borders(unlit: Array, start: int, stop: int) -> list[int]:
    """Borders between amplifiers within the data: where the level of the bias steps, at equal divisions of the data."""
    for n in reversed(_DIVISIONS):
        if (stop - start) % n:
            continue
        width = (stop - start) // n
        if width < _MOST // 8:
            continue
        edges = [start + k * width for k in range(1, n)]
        if all(_step(unlit, e, e) > _STEP and _sharp(unlit, e) for e in edges):
            return edges
    return []


def _step(unlit: Array, left: int, right: int) -> float:
    """Difference in level of the lines before `left` and from `right` on, in units of its error by the scatter of the lines themselves."""
    means = np.mean(np.clip(unlit, *np.percentile(unlit, [1, 99])), axis=1)
    a, b = means[max(left - 40, 0) : left], means[right : right + 40]
    if a.size < 4 or b.size < 4:
        return 0.0
    scatter = max(1.4826 * float(np.median(np.abs(np.concatenate([a - np.median(a), b - np.median(b)])))), 1e-3)
    return abs(float(np.median(a) - np.median(b))) / (scatter * math.sqrt(2.0 / 6.0))


def _sharp(unlit: Array, edge: int) -> bool:
    """Whether the level steps at this very line, and is no slope or structure: most of the step is between the lines next to it."""
    means = np.mean(np.clip(unlit, *np.percentile(unlit, [1, 99])), axis=1)
    whole = float(np.median(means[edge : edge + 12]) - np.median(means[edge - 12 : edge]))
    near = float(np.mean(means[edge : edge + 2]) - np.mean(means[edge - 2 : edge]))
    return abs(near) > 0.5 * abs(whole)


def _amp(i: int, j: int, x: _Axis, y: _Axis, level: Array, unsure: list[str]) -> Amp:
    (x0, x1), (y0, y1) = x.spans[i], y.spans[j]
    data = Section(y0, y1, x0, x1)
    over, pre = _beside(i, x, level, data, unsure)
    parallel = _above(j, y)
    corner = ("u" if j == len(y.spans) - 1 and len(y.spans) > 1 else "l") + ("r" if i == len(x.spans) - 1 and len(x.spans) > 1 else "l")
    return Amp(
        name="",
        data=data,
        overscan=None if over is None else Section(y0, y1, *over),
        prescan=None if pre is None else Section(y0, y1, *pre),
        parallel=None if parallel is None else Section(*parallel, x0, x1),
        corner=corner,
    )


def _beside(i: int, x: _Axis, level: Array, data: Section, unsure: list[str]) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Columns of the overscan and of the prescan of amplifier i along x."""
    if not x.strips:
        return None, None
    n, first, last = len(x.spans), x.spans[0][0], x.spans[-1][1]
    left = [s for s in x.strips if s[1] <= first]
    right = [s for s in x.strips if s[0] >= last]
    middle = [s for s in x.strips if first < s[0] and s[1] < last]
    if middle and n == 2:  # read out from the outer corners: overscan in the middle, half of it each
        a, b = middle[0]
        half = (a + b) // 2
        outer = (left if i == 0 else right) or [None]  # type: ignore[list-item]
        return ((a, half) if i == 0 else (half, b)), outer[0]
    ends = [s for s in (*left, *right)]
    if n == 1:
        widest = max(ends, key=lambda s: s[1] - s[0])
        rest = [s for s in ends if s != widest]
        return widest, rest[0] if rest else None
    if left and right and n == 2:
        unsure.append("overscan: strips at both ends; each is given to the amplifier beside it, and may be what is read out first")
        return (left[0] if i == 0 else right[0]), None
    return _shared(i, n, ends[0], level, data, unsure), None


def _shared(i: int, n: int, strip: tuple[int, int], level: Array, data: Section, unsure: list[str]) -> tuple[int, int]:
    """The part of one strip that belongs to amplifier i of n: equal parts, each given to the amplifier of the same level."""
    a, b = strip
    if (b - a) % n:
        unsure.append(f"overscan: the strip {a + 1}:{b} is not {n} times as wide as one part; its parts are cut to equal widths")
    width = (b - a) // n
    parts = [(a + k * width, a + (k + 1) * width) for k in range(n)]
    edge = level[data.y0 : data.y1]
    own = float(np.median(edge[:, data.x0 : data.x1]))
    levels = [float(np.median(edge[:, p[0] + 1 : p[1]])) for p in parts]
    spread = max(levels) - min(levels)
    nearest = int(np.argmin([abs(v - own) for v in levels]))
    if spread < 1.0 or abs(levels[i] - own) <= abs(levels[nearest] - own) + 0.1 * spread:
        if spread < 1.0:
            unsure.append("overscan: the parts of the strip have one level; they are given to the amplifiers in the order of the columns")
        return parts[i]
    unsure.append("overscan: its parts are given to the amplifiers by their levels, not in the order of the columns")
    return parts[nearest]


def _above(j: int, y: _Axis) -> tuple[int, int] | None:
    """Rows of the parallel overscan of amplifier row j."""
    if not y.strips:
        return None
    n, first, last = len(y.spans), y.spans[0][0], y.spans[-1][1]
    middle = [s for s in y.strips if first < s[0] and s[1] < last]
    if middle and n == 2:
        a, b = middle[0]
        half = (a + b) // 2
        return (a, half) if j == 0 else (half, b)
    ends = [s for s in y.strips if s[1] <= first or s[0] >= last]
    if not ends:
        return None
    if n == 1:
        return max(ends, key=lambda s: s[1] - s[0])
    near = [s for s in ends if (s[1] <= first if j == 0 else s[0] >= last)]
    return near[0] if near else None


def _named(amps: tuple[Amp, ...]) -> tuple[Amp, ...]:
    """Named L and R for two side by side, A, B, C, ... for others, in the order of rows and columns."""
    beside = len(amps) == 2 and amps[0].data.y0 == amps[1].data.y0
    names = ("L", "R") if beside else tuple("ABCDEFGHIJKLMNOP"[: len(amps)])
    return tuple(Amp(name=n, data=a.data, overscan=a.overscan, prescan=a.prescan, parallel=a.parallel, corner=a.corner)
                 for n, a in zip(names, amps, strict=True))  # fmt: skip
