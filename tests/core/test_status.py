"""How statuses are summed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicklook.core.status import EXIT_STATUS, Status, exit_status, total, worst

N, W, A, U = Status.NORMAL, Status.WARNING, Status.ALARM, Status.UNKNOWN


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([N, N], N),
        ([N, U], U),
        ([U, W], W),
        ([W, A, N, U], A),
        ([N, None], N),
        ([None, W, None], W),
    ],
)
def test_worst_first_alarm_warning_unknown_normal(statuses: list[Status | None], expected: Status) -> None:
    assert worst(statuses) is expected
    assert total(statuses) is expected


@pytest.mark.parametrize("statuses", [[], [None], [None, None]])
def test_nothing_judged_is_never_green(statuses: list[Status | None]) -> None:
    assert worst(statuses) is None
    assert total(statuses) is U


@given(st.lists(st.sampled_from([N, W, A, U, None])))
def test_a_sum_is_normal_only_if_all_that_was_judged_is_normal(statuses: list[Status | None]) -> None:
    judged = [s for s in statuses if s is not None]
    assert (total(statuses) is N) == (bool(judged) and all(s is N for s in judged))


@given(st.lists(st.sampled_from([N, W, A, U, None])), st.lists(st.sampled_from([N, W, A, U, None])))
def test_sums_of_sums_are_sums(left: list[Status | None], right: list[Status | None]) -> None:
    assert worst([worst(left), worst(right)]) is worst(left + right)


def test_exit_status_2_is_kept_for_what_could_not_run() -> None:
    assert EXIT_STATUS == {N: 0, W: 0, A: 1, U: 3}
    assert set(EXIT_STATUS) == set(Status)


@pytest.mark.parametrize(
    ("judged", "code"),
    [
        ([(N, False), (W, False)], 0),
        ([(W, True)], 3),  # a step failed, so products are absent, although the sum of the statuses is a WARNING
        ([(N, False), (U, False), (W, False)], 3),  # one of three was not judged
        ([(A, True), (U, True)], 1),
        ([(A, False), (W, True)], 1),
        ([], 3),
    ],
)
def test_exit_status_over_parts(judged: list[tuple[Status, bool]], code: int) -> None:
    assert exit_status(judged) == code


def test_statuses_are_their_names_in_text() -> None:
    assert [str(s) for s in (A, W, U, N)] == ["ALARM", "WARNING", "UNKNOWN", "NORMAL"]
