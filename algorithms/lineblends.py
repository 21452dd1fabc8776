"""Neighbours of lines: how much of their light lies beside a line is measured in the exposure, so that it does not move the line."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.ccd.linelist import LineList

Array = npt.NDArray[Any]

_FAMILY = 1.0
"""What the light of all neighbours of one name may differ from the list, in units of it, where the exposure says nothing."""
_SINGLE = 0.2
"""What that of each neighbour may differ from the others of its name: populations of levels, blends that the list has as one line."""


class Blends:
    """The neighbours of some lines of a list within `reach` Angstrom [nline].

    `wave` [nneighbour] Angstrom and `first` [nline + 1]: those of line i are first[i] ... first[i + 1]; `line` [nneighbour]: i; `ratio`
    [nneighbour]: of their light to that of the line, that of the list until `measure` was called; `extra` [nline]: error of the line's place in
    pixel, because the ratios are uncertain. Neighbours with the name of the line are its kin and keep the listed ratio (`family` -1); those of
    each other name rise and fall together (`family` 0, 1, ...).
    """

    def __init__(self, lines: LineList, chosen: Array, reach: Array) -> None:
        near = [_near(lines, int(i), float(r)) for i, r in zip(chosen, reach, strict=True)]
        count = np.array([len(n) for n in near], np.int64)
        every = np.concatenate([np.empty(0, np.int64), *near]).astype(np.int64)
        self.first = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
        self.line = np.repeat(np.arange(len(chosen)), count)
        self.wave = lines.wave[every]
        self.listed = lines.strength[every] / lines.strength[chosen][self.line]
        self.family = np.full(len(every), -1)
        for i, part in enumerate(self._parts()):
            own = lines.name[chosen[i]]
            names = sorted({lines.name[k] for k in every[part]} - {own})
            self.family[part] = [-1 if lines.name[k] == own else names.index(lines.name[k]) for k in every[part]]
        self.ratio = self.listed.copy()
        self.extra = np.zeros(len(chosen))

    def _parts(self) -> list[slice]:
        """The neighbours of every line."""
        return [slice(a, z) for a, z in zip(self.first, self.first[1:], strict=False)]

    def settle(self, middle: Array, width: Array, half: Array) -> None:
        """Set what does not change with the light of neighbours; call this before `measure`.

        middle [nneighbour]: their mean distance from the line, width [nline]: mean sigma, pixel; half [nline]: rows on either side. Lines whose
        neighbours are kin alone have their `extra` from here.
        """
        self._middle, self._width, self._half = middle, width, half
        self._mixed = [i for i, part in enumerate(self._parts()) if (self.family[part] >= 0).any()]
        for i, part in enumerate(self._parts()):
            if part.start < part.stop and i not in self._mixed:
                self.extra[i] = self._uncertain(i, part, np.empty(0))

    def _uncertain(self, i: int, part: slice, scales: Array) -> float:
        """Error of the place of line i, pixel, because single neighbours may differ from the others of their names."""
        pull = leverage(self._middle[part], self.listed[part], self.family[part], scales, float(self._width[i]), int(self._half[i]))
        return float(_SINGLE * np.sqrt(np.sum((self.ratio[part] * pull) ** 2)))

    def measure(self, flux: Array, var: Array, row0: Array, y: Array, offset: Array, sigma: Array, use: Array) -> None:
        """Set `ratio` and `extra` from what all fibres show; arguments as in `algorithms.kernels.blends.ratio_terms`."""
        from algorithms.kernels.blends import ratio_terms

        if not self._mixed:
            return
        n = 3 + int(self.family.max())
        normal, right = np.empty((len(y), n, n)), np.empty((len(y), n))
        ratio_terms(flux, var, row0, y, sigma, self._half, (self.first, offset, self.ratio, self.listed, self.family), use, normal, right)
        for i in self._mixed:
            part = slice(self.first[i], self.first[i + 1])
            m = 3 + int(self.family[part].max())
            scales, common = solve_scales(normal[i, :m, :m], right[i, :m])
            self.ratio[part] = self.listed[part] * np.append(scales, 1.0)[self.family[part]]  # kin, -1, take the last one
            self.extra[i] = np.hypot(common, self._uncertain(i, part, scales))


def _near(lines: LineList, i: int, reach: float) -> Array:
    return np.flatnonzero((np.abs(lines.wave - lines.wave[i]) < reach) & (lines.wave != lines.wave[i]))


def solve_scales(normal: Array, right: Array) -> tuple[Array, float]:
    """How bright the families of neighbours of a line are against the list [nfamily], and the error of the line's shift from that, pixel.

    normal, right as from `ratio_terms`, for one line. A family is expected to have the light that the list gives it beside the line, within
    `_FAMILY` of it: rows of the fit, in units of the light of the line in a first solution. A line that is not seen keeps the list.
    """
    n = len(right) - 2
    light = right[0] / normal[0, 0] if normal[0, 0] > 0 else 0.0
    if not light > 0:
        return np.ones(n), 0.0
    about = np.concatenate([-np.ones((n, 1)), np.zeros((n, 1)), np.eye(n)], axis=1)
    for _ in range(3):
        full = normal + about.T @ about / (_FAMILY * light) ** 2
        inverse = np.linalg.inv(full + 1e-12 * np.diag(np.diagonal(full)))
        solution = inverse @ right
        if not solution[0] > 0:
            return np.ones(n), 0.0
        light = float(solution[0])
    alone = full[0, 0] / (full[0, 0] * full[1, 1] - full[0, 1] ** 2)
    return np.clip(solution[2:] / light, 0.0, None), float(np.sqrt(max(inverse[1, 1] - alone, 0.0)) / light)


def leverage(offset: Array, listed: Array, family: Array, scales: Array, sigma: float, half: int) -> Array:
    """Shift of a line, pixel, for light of one more line strength in each of its neighbours [nneighbour].

    offset pixel, listed ratio, family of the neighbours as in `Blends`, scales [nfamily]; sigma pixel; on the rows -half ... half about the line,
    all with the same weight.
    """
    z = np.arange(-half, half + 1)[:, None] - np.concatenate([[0.0], offset])
    s2 = sigma**2 + 1.0 / 12.0
    g = np.exp(-0.5 * z**2 / s2) / np.sqrt(2.0 * np.pi * s2)
    now = np.concatenate([[1.0], listed * np.append(scales, 1.0)[family]])
    kin = np.concatenate([[1.0], np.where(family < 0, listed, 0.0)])
    groups = [g[:, 1:] @ np.where(family == k, listed, 0.0) for k in range(len(scales))]
    basis = np.stack([g @ kin, (g * z / s2) @ now, np.ones(len(z)), z[:, 0], *groups], axis=1)
    normal = basis.T @ basis
    normal[np.diag_indices(len(normal))] += 1e-9 * np.trace(normal)  # a family out of the window has no light in it
    return np.asarray(np.linalg.solve(normal, basis.T @ g[:, 1:])[1])
