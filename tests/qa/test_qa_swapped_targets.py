"""Fibres that have each other's targets: pairs are named, alike ones are not told, and what is something else is no pair."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import qa_spectra as s

from qa.kernels.skyparts import whole_light
from qa.swapped_targets import SwappedTargets, SwappedTargetsParams
from qa.swaps import departing, exchanged, expected, told
from quicklook.ccd.spectra import Frame, SkyModel
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measures

PER_FLUX = 20.0  # electron/Angstrom of a nanomaggie
FLUX = np.where(np.isin(np.arange(s.NFIBRE), s.SKY), 0.0, 10 ** (-0.4 * (np.linspace(18.0, 23.0, s.NFIBRE) - 22.5)))


def science(seen: np.ndarray = FLUX, stated: np.ndarray = FLUX, seed: int = 3, status: np.ndarray | None = None) -> tuple[Frame, SkyModel]:
    """Fibres that see the fluxes `seen`, in nanomaggies, where the fibre map states others; a tenth of scatter, and a sky that is known."""
    rng = np.random.default_rng(seed)
    sky = np.full((s.NFIBRE, s.NWAVE), s.LEVEL)
    light = PER_FLUX * seen * rng.normal(1.0, 0.05, s.NFIBRE)
    columns = {"FIBERFLUX_R": stated} if status is None else {"FIBERFLUX_R": stated, "FIBERSTATUS": status}
    frame = s.frame(sky + light[:, None] + rng.normal(0.0, s.SIGMA, sky.shape), stage="fframe", fibermap=s.fibermap(**columns))
    ivar, mask = np.ones(sky.shape, np.float32), np.zeros(sky.shape, np.uint32)
    return frame, SkyModel(flux=sky.astype(np.float32), ivar=ivar, mask=mask, wave=frame.wave, fibers=tuple(500 + i for i in s.SKY))


def swap(*pairs: tuple[int, int], flux: np.ndarray = FLUX) -> np.ndarray:
    """The fluxes with those of pairs exchanged."""
    out = flux.copy()
    for a, b in pairs:
        out[[a, b]] = flux[[b, a]]
    return out


def pairs_of(got: Measures) -> tuple[float, str]:
    metric = got["swapped_targets"]
    return float(metric.values), metric.remarks.get((), "")


@pytest.mark.parametrize("pair", [(1, 3 * 19), (3, 40), (1, 22), (2, 50)])
def test_a_pair_is_found_and_named(pair: tuple[int, int]) -> None:
    number, words = pairs_of(SwappedTargets().measure(*science(swap(pair))))
    assert number == 1
    assert words.startswith(f"fibres {500 + pair[0]} and {500 + pair[1]} (light ")


def test_two_pairs_are_kept_apart() -> None:
    number, words = pairs_of(SwappedTargets().measure(*science(swap((1, 30), (7, 45)))))
    assert number == 2
    assert "501 and 530" in words
    assert "507 and 545" in words


def test_sound_fibres_are_no_pair() -> None:
    for seed in range(40):
        got = SwappedTargets().measure(*science(seed=seed))
        assert pairs_of(got) == (0, "")
        assert float(got["swapped_targets_told"].values) > 0.5


def test_two_alike_cannot_be_told() -> None:
    assert FLUX[1] / FLUX[2] < 1.1
    assert pairs_of(SwappedTargets().measure(*science(swap((1, 2)))))[0] == 0


def test_light_that_is_lost_and_light_that_is_strange_are_no_pair_alone() -> None:
    missed, stray = FLUX.copy(), FLUX.copy()
    missed[4], stray[12] = 0.0, 3.0 * FLUX[4]
    for seen in (missed, stray, np.where(np.arange(s.NFIBRE) == 4, missed, stray)):  # the stray light is not that of the lost target
        got = SwappedTargets().measure(*science(seen))
        assert pairs_of(got)[0] == 0
        assert float(got["departing_fibers"].values) >= 1


def test_known_bad_fibres_are_left_out() -> None:
    status = np.zeros(s.NFIBRE, np.int32)
    status[3] = 1 << 2
    assert pairs_of(SwappedTargets().measure(*science(swap((3, 40)), status=status)))[0] == 0


def test_a_catalogue_of_another_field_names_no_pairs() -> None:
    stated = FLUX.copy()
    targets = np.flatnonzero(FLUX > 0)
    stated[targets[:20]] = np.random.default_rng(1).permutation(FLUX[targets[:20]])
    got = SwappedTargets(SwappedTargetsParams()).measure(*science(stated=stated))
    assert got["swapped_targets"].not_applicable or float(got["swapped_targets"].values) <= 2  # an exchange of two may be among them


@pytest.mark.parametrize("value", [1e-320, 1e300, np.inf, np.nan, -1.0])
def test_a_catalogue_of_impossible_numbers_does_no_harm(value: float) -> None:
    stated = FLUX.copy()
    stated[[4, 5, 40]] = value
    frame, sky = science(swap((1, 30)), stated=stated)
    flux = frame.flux.copy()
    flux[7], flux[8, ::3] = np.nan, np.inf
    assert pairs_of(SwappedTargets().measure(replace(frame, flux=flux), sky))[0] == 1


def test_where_it_does_not_apply() -> None:
    frame, sky = science(stated=np.zeros(s.NFIBRE))
    with pytest.raises(NotApplicable, match="states no flux"):
        SwappedTargets().measure(frame, sky)
    with pytest.raises(NotApplicable, match="too few targets stand out"):
        SwappedTargets().measure(*science(seen=1e-4 * FLUX))
    frame, sky = science()
    few = replace(sky, **{name: getattr(sky, name)[:5] for name in ("flux", "ivar", "mask", "wave")})
    with pytest.raises(NotApplicable, match="no sky model of these fibres"):
        SwappedTargets().measure(frame, few)


def test_the_likelihoods_are_those_of_gaussians() -> None:
    """The ratio of the likelihoods of the only pair, by hand, sets where `evidence` lets it through."""
    n = 30
    catalogue, sky, noise = np.linspace(10.0, 40.0, n), np.full(n, 100.0), np.full(n, 1.5)
    light = sky + 2.0 * catalogue
    light[[4, 9]] = light[[9, 4]] + (2.0, -3.0)
    of = expected(light, sky, noise, catalogue, np.zeros(n, bool))
    assert of is not None
    assert of.scatter == 0.05
    due = 2.0 * catalogue
    x = light - sky

    def logarithm(i: int, k: int) -> float:
        """ln of what the light of fibre i is worth as that of target k."""
        usual, odd = (math.sqrt(1.5**2 + (0.02 * 100.0) ** 2 + (part * due[k]) ** 2) for part in (0.05, 0.25))
        z, v = (x[i] - due[k]) / usual, (x[i] - due[k]) / odd
        likely = 0.9 * math.exp(-z * z / 2) + 0.1 * usual / odd * math.exp(-v * v / 2) + math.exp(-18)
        return math.log(likely / (0.9 + 0.1 * usual / odd + math.exp(-18)))

    ratio = logarithm(4, 9) + logarithm(9, 4) - logarithm(4, 4) - logarithm(9, 9)
    assert ratio > 1.0
    off = departing(of, 1.5)
    assert off.tolist() == [4, 9]
    assert exchanged(of, off, 4.0, ratio - 1e-6) == [(4, 9)]
    assert exchanged(of, off, 4.0, ratio + 1e-6) == []


def test_what_could_be_told_is_counted_pair_by_pair() -> None:
    n = 12
    catalogue = np.array([20.0] * 6 + [100.0] * 6)
    of = expected(100.0 + catalogue, np.full(n, 100.0), np.full(n, 1.0), catalogue, np.zeros(n, bool))
    assert of is not None
    assert told(of, 3.0, 16.0, 64) == pytest.approx(36 / 66)  # of the pairs of 12 those of one faint and one bright


def test_light_and_sky_of_the_samples_by_a_plain_mean() -> None:
    frame, sky = science()
    mask = frame.mask.copy()
    mask[5, :40] = 1
    frame = replace(frame, mask=mask)
    whole = np.empty((s.NFIBRE, 3))
    whole_light(frame.flux, frame.ivar, frame.mask, sky.flux, 16, 50, whole)
    columns = [j for j in range(s.NWAVE) if j % 50 < 16]
    for row in (0, 5, 17):
        use = [j for j in columns if frame.mask[row, j] == 0]
        noise = np.sqrt((1.0 / frame.ivar[row, use].astype(float)).sum()) / len(use)
        np.testing.assert_allclose(whole[row], [frame.flux[row, use].astype(float).mean(), s.LEVEL, noise], rtol=1e-6)  # float32 in, sums in double
