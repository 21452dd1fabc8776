"""Exposures told apart: which test they are of, what was aborted, what was repeated."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any

from quicklook.core.keys import Unit
from quicklook.core.sequence import Came, Taking, assign
from quicklook.core.session import SessionFile

BIAS: Mapping[str, Any] = {"name": "BIAS01", "of": {"program": "bias01"}, "expect": [{"flavor": "zero", "count": 3}]}
PTC: Mapping[str, Any] = {"name": "PTC01", "of": {"program": "ptc01"}, "expect": [{"count": 2, "exptime": 1}, {"count": 2, "exptime": 5}]}
ZEROS: Mapping[str, Any] = {"name": "Z", "expect": [{"flavor": "zero", "count": 2}]}
MORE: Mapping[str, Any] = {"name": "Y", "expect": [{"flavor": "zero", "count": 2}]}


def session(*tests: Mapping[str, Any], **more: Any) -> SessionFile:
    return SessionFile.model_validate({"session": "s", "tests": tests, **more})


def zeros(program: str, *numbers: int, **tags: str) -> list[Came]:
    return [Came(unit=Unit(20220101, n), tags={"flavor": "zero", "program": program, "exptime": "0", **tags}) for n in numbers]


def flat(n: int, exptime: int) -> Came:
    return Came(unit=Unit(20220101, n), tags={"flavor": "flat", "program": "ptc01", "exptime": str(exptime)})


def numbers(units: list[Unit]) -> list[int]:
    return [u.expid for u in units]


def only(of: SessionFile, came: list[Came], **more: Any) -> Taking:
    (row,) = assign(of, came, **more)
    return row


def test_a_test_gets_its_exposures_in_whatever_order_they_are_seen() -> None:
    came = [*zeros("bias01", 1, 2, 3), *zeros("other", 4)]
    random.Random(1).shuffle(came)
    row = only(session(BIAS), came)
    assert (numbers(row.units), row.missing, row.extra, row.strays) == ([1, 2, 3], 0, [], {})


def test_an_exposure_of_the_test_that_it_does_not_expect_is_a_stray() -> None:
    row = only(session(BIAS), [*zeros("bias01", 1), Came(unit=Unit(20220101, 2), tags={"flavor": "dark", "program": "bias01"})])
    assert row.missing == 2
    assert list(row.strays.values()) == ["flavor is dark, not zero"]


def test_without_labels_tests_are_filled_in_order() -> None:
    first, second = assign(session(ZEROS, MORE), zeros("", 1, 2, 3))
    assert (numbers(first.units), numbers(second.units)) == ([1, 2], [3])


def test_a_position_that_falls_begins_the_sequence_again() -> None:
    aborted = [zeros("bias01", n, position=str(n))[0] for n in (1, 2)]
    again = [zeros("bias01", 10 + n, position=str(n))[0] for n in (1, 2, 3)]
    row = only(session(BIAS, position="position"), [*aborted, *again])
    assert (numbers(row.units), numbers(row.aborted), row.missing) == ([11, 12, 13], [1, 2], 0)


def test_a_frame_that_is_lost_is_no_new_sequence() -> None:
    row = only(session(BIAS, position="position"), [zeros("bias01", n, position=str(n))[0] for n in (1, 3)])
    assert (numbers(row.units), row.aborted, row.missing) == ([1, 3], [], 1)


def test_the_order_of_kinds_tells_a_sequence_that_is_begun_again() -> None:
    row = only(session(PTC), [flat(1, 1), flat(2, 1), flat(3, 5), flat(4, 1), flat(5, 1), flat(6, 5), flat(7, 5)])
    assert (numbers(row.units), numbers(row.aborted), row.missing) == ([4, 5, 6, 7], [1, 2, 3], 0)
    unordered = only(session({**PTC, "ordered": False}), [flat(1, 1), flat(2, 1), flat(3, 5), flat(4, 1)])
    assert (numbers(unordered.units), numbers(unordered.extra)) == ([1, 2, 3], [4])


def test_a_number_to_start_at_leaves_out_what_was_before() -> None:
    row = only(session(BIAS), zeros("bias01", 1, 2, 3, 4, 5), start=3)
    assert (numbers(row.units), row.missing) == ([3, 4, 5], 0)
    assert numbers(only(session(BIAS, start_expid=2), zeros("bias01", 1, 2, 3)).units) == [2, 3]


def test_what_comes_after_a_test_is_over_repeats_it() -> None:
    came = zeros("bias01", 1, 2, 3, 4)
    done = {Unit(20220101, n) for n in (1, 2, 3)}
    row = only(session(BIAS), came, over={"BIAS01": 1}, taken=done)
    assert (row.name, row.repetition, numbers(row.units)) == ("BIAS01.2", 2, [4])
    assert assign(session({**BIAS, "repeats": False}), came, over={"BIAS01": 1}, taken=done) == []


def test_more_than_expected() -> None:
    row = only(session({**BIAS, "repeats": False}), zeros("bias01", 1, 2, 3, 4))
    assert (numbers(row.units), numbers(row.extra)) == ([1, 2, 3], [4])
    further = [zeros("bias01", n, position=str(n))[0] for n in (1, 2, 3, 4)]
    row = only(session(BIAS, position="position"), further)  # its position says that it goes on
    assert (numbers(row.units), numbers(row.extra)) == ([1, 2, 3], [4])


def test_a_test_that_is_taken_again_before_it_is_closed_is_told_apart() -> None:
    """When it is closed is a matter of milliseconds, and must change nothing."""
    first, again = assign(session(BIAS), zeros("bias01", *range(1, 6)))
    assert (first.name, numbers(first.units), first.extra) == ("BIAS01", [1, 2, 3], [])
    assert (again.name, numbers(again.units), again.missing) == ("BIAS01.2", [4, 5], 1)
    closed = only(session(BIAS), zeros("bias01", *range(1, 6)), over={"BIAS01": 1}, taken={Unit(20220101, n) for n in (1, 2, 3)})
    assert (closed.name, closed.units) == (again.name, again.units)


def test_without_labels_a_test_that_is_over_is_not_repeated_before_the_others_were_taken() -> None:
    of, came, gone = session(ZEROS, MORE), zeros("", *range(1, 8)), {Unit(20220101, n) for n in (1, 2)}
    repeated, second = assign(of, came[:4], over={"Z": 1}, taken=gone)
    assert (repeated.name, repeated.every, numbers(second.units)) == ("Z.2", [], [3, 4])
    repeated, second = assign(of, came[:5], over={"Z": 1}, taken=gone)
    assert (numbers(repeated.units), numbers(second.units)) == ([5], [3, 4])


def test_without_labels_a_sequence_that_is_begun_anew_is_no_repetition_of_another() -> None:
    ptc = {**PTC, "of": {}}
    came = [flat(11, 1), flat(12, 1), flat(13, 5), flat(14, 1)]
    first, ramp = assign(session({"name": "F", "expect": [{"count": 1, "exptime": 1}]}, ptc), came, over={"F": 1})
    assert (first.every, numbers(ramp.aborted), numbers(ramp.units)) == ([], [11, 12, 13], [14])


def test_of_two_tests_with_one_label_it_is_the_one_that_expects_it() -> None:
    darks = {"name": "DARKS", "of": {"program": "x"}, "expect": [{"flavor": "dark", "count": 1}]}
    dark, bias = assign(session(darks, {**BIAS, "of": {"program": "x"}}), zeros("x", 1))
    assert (dark.every, numbers(bias.units)) == ([], [1])
    flat = Came(unit=Unit(20220101, 2), tags={"flavor": "flat", "program": "x"})
    dark, bias = assign(session(darks, {**BIAS, "of": {"program": "x"}}), [flat])
    assert (dark.strays[flat.unit], bias.every) == ("flavor is flat, not dark", [])


def test_the_exposures_of_a_long_session_are_told_apart_in_no_time() -> None:
    many = session({"name": "N", "expect": [{"flavor": "zero", "count": 4000}]})
    begun = time.process_time()
    assert only(many, zeros("", *range(1, 4001))).missing == 0
    assert time.process_time() - begun < 1.0  # 0.05 s; 2.4 s where it goes with the square
