"""The arithmetic of a scorecard."""

from __future__ import annotations

import pytest
from scipy.stats import beta

from quicklook.core.scorecard import Trial, anyone, cry_wolf, detections, upper_limit
from quicklook.core.status import Status

NORMAL, WARNING, ALARM, UNKNOWN = Status.NORMAL, Status.WARNING, Status.ALARM, Status.UNKNOWN


def trial(rung: int, *, absence: bool = False, fault: str = "leak", **statuses: Status) -> Trial:
    worst = max(statuses.values(), key=lambda s: s.severity)
    label = f"{10 * rung}" if fault else ""
    return Trial(
        flavor="science", seed=1, expid=rung, fault=fault, label=label, rung=rung, absence=absence, status=worst, statuses=statuses
    )  # fmt: skip


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 20), (0, 1000), (1, 20), (10, 1000), (50, 1000), (19, 20)])
def test_the_upper_limit_is_that_of_clopper_and_pearson(k: int, n: int) -> None:
    assert upper_limit(k, n) == pytest.approx(beta.ppf(0.95, k + 1, n - k), abs=1e-7)


def test_where_all_or_nothing_was_seen_the_upper_limit_is_one() -> None:
    assert upper_limit(5, 5) == 1.0
    assert upper_limit(0, 0) == 1.0


def test_a_fault_is_found_from_the_strength_on_from_which_all_stronger_ones_are() -> None:
    found = {0: (10, 0), 1: (10, 10), 2: (10, 8), 3: (10, 9), 4: (10, 10)}
    trials = [trial(rung, stray_light=ALARM if i < k else NORMAL) for rung, (n, k) in found.items() for i in range(n)]
    (card,) = detections(trials, "leak")
    assert card.found == (0, 10, 8, 9, 10)
    assert card.threshold == "30"
    assert detections(trials, "another") == []


def test_not_even_the_strongest() -> None:
    (card,) = detections([trial(0, a=WARNING), trial(1, a=NORMAL)], "leak")
    assert card.threshold is None


def test_unknown_finds_what_is_absent_and_nothing_else() -> None:
    assert not trial(0, snr=UNKNOWN).found_by("snr")
    assert trial(0, snr=UNKNOWN, absence=True).found_by("snr")
    assert not trial(0, absence=True, snr=UNKNOWN).found_by("throughput")


def test_the_frame_as_a_whole() -> None:
    trials = [trial(0, a=NORMAL, b=NORMAL), trial(1, a=UNKNOWN, b=NORMAL), trial(2, a=NORMAL, b=WARNING)]
    assert anyone(trials, "leak").found == (0, 1, 1)


def test_crying_wolf_counts_healthy_frames_alone_and_any_qa_of_them() -> None:
    trials = [trial(0, fault="", a=WARNING, b=ALARM), trial(1, fault="", a=NORMAL, b=NORMAL), trial(2, a=ALARM)]
    assert (cry_wolf(trials, WARNING).drawn, cry_wolf(trials, WARNING).frames) == (1, 2)
    assert cry_wolf(trials, ALARM).drawn == 1
    assert cry_wolf(trials, ALARM, "a").drawn == 0
    assert cry_wolf([], ALARM).upper == 1.0
