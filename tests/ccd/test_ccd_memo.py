"""What was found out of an array is kept as long as it lives, and no longer."""

from __future__ import annotations

import gc
import weakref

import numpy as np

from quicklook.ccd import memo
from quicklook.ccd.memo import remembered


def test_asked_once_per_array_and_key() -> None:
    calls: list[str] = []

    def make(name: str) -> str:
        calls.append(name)
        return name

    array, other = np.zeros(3), np.zeros(3)
    for one in (array, other):
        one.flags.writeable = False
    assert [remembered(array, "k", lambda: make("a")) for _ in range(2)] == ["a", "a"]
    assert remembered(array, "other", lambda: make("b")) == "b"
    assert remembered(other, "k", lambda: make("c")) == "c"
    assert calls == ["a", "b", "c"]


def test_nothing_is_kept_of_what_may_change() -> None:
    array = np.zeros(4)
    view = array[:2]
    view.flags.writeable = False
    results = iter(range(4))
    assert [remembered(a, "k", lambda: next(results)) for a in (array, array, view, view)] == [0, 1, 2, 3]


def test_it_goes_with_the_array() -> None:
    """At once: megabytes must not wait for the collector of garbage."""
    array = np.zeros(5)
    array.flags.writeable = False
    result = weakref.ref(remembered(array, "k", lambda: np.ones(5)))
    number = id(array)
    assert number in memo._known
    assert result() is not None
    gc.disable()
    try:
        del array
        assert number not in memo._known
        assert result() is None
    finally:
        gc.enable()
