"""How bright the neighbours of a line are, from all fibres together: normal equations of a linear fit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.kernels.lines import PIXEL, add_gaussian, gaussian_form, slope_weight
from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_BIG = 1e30


@jit
def ratio_terms(
    flux: Array, var: Array, row0: Array, y: Array, sigma: Array, half: Array, neighbours: Any, use: Array, normal: Array, right: Array
) -> None:
    """Normal equations of what all fibres see at a line: normal [nline, n, n] and right [nline, n], n = 2 + the largest number of families.

    The unknowns are the light of the line and its kin, that light times the shift of everything, and the light of each family of other neighbours,
    in units of what the list says of it beside a line of light 1; level and slope of the continuum are those of each fibre and eliminated. flux, var,
    row0, y, sigma, half as in `algorithms.kernels.lines.shift_terms`; neighbours: (first, offset, ratio, listed, family), ratio the present one,
    listed that of the list, family -1 for kin; fibres with use [nline, nfibre] False are left out. Lines with no neighbours but kin, of which there
    is nothing to learn, have zeros.
    """
    first, offset, ratio, listed, family = neighbours
    n = normal.shape[1]
    rows = flux.shape[2]
    basis = np.empty((n, rows))
    sums, edge = np.empty((n, n)), np.empty((n, 3))
    normal[:] = 0.0
    right[:] = 0.0
    for i in range(flux.shape[0]):
        a, z = first[i], first[i + 1]
        m = 2
        for k in range(a, z):
            m = max(m, 3 + family[k])
        if m == 2:
            continue
        for f in range(flux.shape[1]):
            centre = y[i, f] - row0[i, f]
            middle = math.floor(centre + 0.5)
            lo, hi = middle - half[i], middle + half[i]
            if not (use[i, f] and lo >= 0 and hi < rows):
                continue
            form = gaussian_form(sigma[i, f] * sigma[i, f] + PIXEL)
            basis[:m, : hi - lo + 1] = 0.0
            add_gaussian(centre, form, lo, hi, 1.0, basis[0], 1.0, basis[1])
            for k in range(a, z):
                add_gaussian(centre + offset[k, f], form, lo, hi, listed[k], basis[0 if family[k] < 0 else 2 + family[k]], ratio[k], basis[1])
            _add(flux[i, f], var[i, f], centre, lo, hi, basis[:m], sums, edge, normal[i], right[i])


@jit
def _add(flux: Array, var: Array, centre: Any, lo: int, hi: int, basis: Array, sums: Array, edge: Array, normal: Array, right: Array) -> None:
    """The share of one fibre; its level and slope are eliminated (edge: sums of the basis and the data with 1 and with the slope)."""
    n = len(basis)
    sums[:] = 0.0
    edge[:] = 0.0
    s0 = s1 = s2 = f0 = f1 = mean = 0.0
    good = 0
    for k in range(lo, hi + 1):
        if not var[k] < _BIG:
            continue
        w, t = 1.0 / var[k], 0.2 * (k - centre)
        s0 += w
        s1 += w * t
        s2 += w * t * t
        f0 += w * flux[k]
        f1 += w * t * flux[k]
        mean += flux[k]
        good += 1
        for p in range(n):
            v = w * basis[p, k - lo]
            edge[p, 0] += v
            edge[p, 1] += v * t
            edge[p, 2] += v * flux[k]
            for q in range(p + 1):
                sums[p, q] += v * basis[q, k - lo]
    if good < hi - lo:  # one lost row at most
        return
    s2 += slope_weight(mean / good)
    det = s0 * s2 - s1 * s1
    if not det > 0.0:
        return
    for p in range(n):
        level = (s2 * edge[p, 0] - s1 * edge[p, 1]) / det
        slope = (s0 * edge[p, 1] - s1 * edge[p, 0]) / det
        right[p] += edge[p, 2] - level * f0 - slope * f1
        for q in range(p + 1):
            v = sums[p, q] - level * edge[q, 0] - slope * edge[q, 1]
            normal[p, q] += v
            if q != p:
                normal[q, p] += v
