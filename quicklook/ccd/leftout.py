"""Exposures of a group that an algorithm did not use, and why."""

from __future__ import annotations

from dataclasses import dataclass

from quicklook.core.product import Product


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut(Product):
    """What a group algorithm left out of what it made: `units` (`night/expid`, as `str(Unit)` writes it) and, for each, `why` in words.

    Such exposures were in order by themselves, and stand out among the others. Raises ValueError where the two differ in length.
    """

    kind = "leftout"

    units: tuple[str, ...] = ()
    why: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.units) != len(self.why):
            raise ValueError(f"{len(self.units)} exposures were left out, with {len(self.why)} reasons")
