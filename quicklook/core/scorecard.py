"""A scorecard of the QAs: how faint a fault each of them finds, and how often a healthy frame is called anything but good. Pure.

A fault is found by a QA where that QA is a WARNING or an ALARM; by UNKNOWN where the fault is that something is absent, so that there is
nothing to measure. The limits that the number of frames allows are those of Clopper and Pearson (1934, Biometrika 26,
404): exact for a binomial distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quicklook.core.status import Status

CONFIDENCE = 0.95
FOUND_FRACTION = 0.9
"""A fault counts as found at a strength where this part of the frames that have it is noticed."""
_TROUBLE = (Status.WARNING, Status.ALARM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One frame that was simulated and judged.

    `fault` is "" for a healthy one; `label` says how strong the fault was and `rung` counts from 0, the faintest; `statuses` are those of the
    QAs by name, what has none left out; a step that failed, or a file that was refused, stands among them as UNKNOWN under its name.
    """

    flavor: str
    seed: int
    expid: int
    fault: str = ""
    label: str = ""
    rung: int = 0
    absence: bool = False
    status: Status
    statuses: Mapping[str, Status]
    reasons: tuple[str, ...] = ()

    def found_by(self, qa: str) -> bool:
        """Whether this QA noticed."""
        status = self.statuses.get(qa)
        return status in _TROUBLE or (self.absence and status is Status.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """How often a QA found a fault at each strength: labels, how many frames, in how many it was found."""

    qa: str
    labels: tuple[str, ...]
    frames: tuple[int, ...]
    found: tuple[int, ...]

    @property
    def threshold(self) -> str | None:
        """The faintest strength from which on the fault is found in 90 % of the frames; None where it is not even at the last."""
        good = [f >= FOUND_FRACTION * n and n > 0 for f, n in zip(self.found, self.frames, strict=True)]
        first = len(good)
        while first and good[first - 1]:
            first -= 1
        return self.labels[first] if first < len(good) else None


def detections(trials: Sequence[Trial], fault: str) -> list[Detection]:
    """One entry for each QA that found the fault at all, those that find it best first."""
    mine = [t for t in trials if t.fault == fault]
    rungs = sorted({(t.rung, t.label) for t in mine})
    names = sorted({name for t in mine for name in t.statuses})
    out = []
    for qa in names:
        at = [[t.found_by(qa) for t in mine if t.rung == rung] for rung, _ in rungs]
        if any(map(any, at)):
            labels = tuple(label for _, label in rungs)
            out.append(Detection(qa=qa, labels=labels, frames=tuple(map(len, at)), found=tuple(map(sum, at))))
    return sorted(out, key=lambda d: (-sum(d.found), d.qa))


def anyone(trials: Sequence[Trial], fault: str) -> Detection:
    """As `detections`, for the frame as a whole: whatever QA it was, the frame was not called NORMAL."""
    mine = [t for t in trials if t.fault == fault]
    rungs = sorted({(t.rung, t.label) for t in mine})
    at = [[t.status is not Status.NORMAL for t in mine if t.rung == rung] for rung, _ in rungs]
    return Detection(qa="any", labels=tuple(label for _, label in rungs), frames=tuple(map(len, at)), found=tuple(map(sum, at)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CryWolf:
    """How many of some healthy frames drew a status, and the upper limit of their fraction that so many frames allow (95 %, one-sided)."""

    frames: int
    drawn: int
    upper: float


def cry_wolf(trials: Sequence[Trial], status: Status, qa: str = "") -> CryWolf:
    """Healthy frames with that status, anywhere or in one QA."""
    healthy = [t for t in trials if not t.fault]
    drawn = sum(status in t.statuses.values() if not qa else t.statuses.get(qa) is status for t in healthy)
    return CryWolf(frames=len(healthy), drawn=drawn, upper=upper_limit(drawn, len(healthy)))


def upper_limit(k: int, n: int) -> float:
    """Upper limit of a fraction of which k in n were seen: with it, k or fewer would be seen in 5 % of all cases only. 1 where nothing was tried."""
    if k >= n:
        return 1.0
    low, high = k / n, 1.0
    while high - low > 1e-9:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _at_most(k, n, middle) > 1.0 - CONFIDENCE else (low, middle)
    return high


def _at_most(k: int, n: int, p: float) -> float:
    """Probability of k or fewer among n of probability p."""
    term = (1.0 - p) ** n
    if term == 0.0:
        return 0.0
    total = term
    for i in range(1, k + 1):
        term *= (n - i + 1) / i * p / (1.0 - p)
        total += term
    return total
