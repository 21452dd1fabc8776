"""Shared pieces of the simulator's tests."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from quicklook.sim import SimInstrument, sim_instruments

Slices = Callable[[str], tuple[slice, slice]]
SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def _slices(card: str) -> tuple[slice, slice]:
    """Index of an array from a section card, read here on its own and not by the simulator's code."""
    x0, x1, y0, y1 = (int(number) for number in re.findall(r"\d+", card))
    return slice(y0 - 1, y1), slice(x0 - 1, x1)


@pytest.fixture(scope="session")
def card_slices() -> Slices:
    return _slices


@pytest.fixture(scope="session")
def tiny() -> SimInstrument:
    return SimInstrument(camera="r0", scale="tiny", seed=7)


@pytest.fixture(scope="session")
def small() -> SimInstrument:
    return SimInstrument(camera="r0", scale="small", seed=7)


@pytest.fixture(scope="session")
def pair() -> tuple[SimInstrument, ...]:
    return sim_instruments(("b0", "r0"), scale="tiny", seed=7)


@pytest.fixture(scope="session")
def validation_kit() -> Path:
    folder = SHARED / "validation"
    if not (folder / "simulate.py").exists():
        pytest.skip("the validation kit is not there: ../shared/validation")
    return folder
