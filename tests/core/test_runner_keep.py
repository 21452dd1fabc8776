"""Products of earlier stages that are asked for are there at the end, by their label."""

from __future__ import annotations

from collections.abc import Callable

from core_toys import FineLevel, Level, Total

from quicklook.core.reading import Reading
from quicklook.core.runner import Outcome

Run = Callable[..., Outcome]
TWICE = "chain: a\nsteps: [{name: read}, {name: scale}, {name: sum}, {name: again, alg: scale, params: {factor: 5}}]\n"


def test_nothing_is_kept_unasked(run: Run) -> None:
    assert run(TWICE).kept == {}


def test_a_label_is_the_kind_unless_a_type_says_otherwise() -> None:
    assert (Level(value=1.0).label, FineLevel(value=1.0).label) == ("level", "fine_level")


def test_the_latest_of_each_label_is_kept(run: Run) -> None:
    kept = run(TWICE, keep=("level", "total", "fine_level", "never_made")).kept
    assert kept == {"level": Level(value=100.0), "total": Total(value=20.0), "fine_level": FineLevel(value=20.0)}


def test_stages_of_one_type_are_kept_beside_each_other(run: Run) -> None:
    class Staged(Level):
        kind = "staged"

        @property
        def label(self) -> str:
            return "high" if self.value > 15.0 else "low"

    kept = run(TWICE, keep=("low", "high", "level"), read=lambda: Reading(products=(Staged(value=10.0),))).kept
    assert kept == {"low": Staged(value=10.0), "level": Level(value=100.0)}
