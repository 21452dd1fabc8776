"""How much something matters, and so who is told. Pure."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """NOTICE is listed, WARNING shown, ALARM sent, CRITICAL gets people out of bed; NONE is nothing. Ordered by that, not as words."""

    NONE = "NONE"
    NOTICE = "NOTICE"
    WARNING = "WARNING"
    ALARM = "ALARM"
    CRITICAL = "CRITICAL"

    @property
    def rank(self) -> int:
        """0 for NONE up to 4 for CRITICAL."""
        return _RANKED.index(self)

    @classmethod
    def of_rank(cls, rank: int) -> Severity:
        """The severity of a rank, 0 to 4."""
        return _RANKED[rank]

    def __lt__(self, other: str) -> bool:
        return self.rank < Severity(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Severity(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Severity(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Severity(other).rank


_RANKED = list(Severity)
