"""Templates of target classes: their features stand where nature has them."""

from __future__ import annotations

import numpy as np
import pytest

from quicklook.ccd.templates import GRID, template

LINES = {"ELG": (3728.5, 0.6, 1.6), "BGS": (6564.6, 0.1, 0.4)}


@pytest.mark.parametrize("kind", ["ELG", "LRG", "QSO", "BGS", "STD"])
def test_a_template_is_a_mean_square(kind: str) -> None:
    made = template(kind)
    assert made.shape == GRID.shape
    assert (made >= 0).all()
    assert made.max() > 0
    assert not made.flags.writeable


@pytest.mark.parametrize("kind", list(LINES))
def test_most_of_the_signal_of_a_line_is_where_its_redshifts_put_it(kind: str) -> None:
    rest, low, high = LINES[kind]
    made = template(kind)
    redshift = GRID / rest - 1
    inside = (redshift > low - 0.003) & (redshift < high + 0.003)
    assert made[inside].sum() > 0.5 * made.sum()


def test_a_break_is_the_signal_of_a_red_galaxy() -> None:
    made = template("LRG")
    crossed = (GRID > 4000 * 1.4 - 200) & (GRID < 4000 * 2.0 + 200)  # the break at redshifts 0.4 to 1.0
    assert np.argmax(made) in np.flatnonzero(crossed)


def test_what_has_no_template_is_refused() -> None:
    with pytest.raises(KeyError):
        template("SKY")
