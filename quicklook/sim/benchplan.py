"""What a simulated test bench takes: the exposures of the tests of a session, with sequences that are aborted and frames that are lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from quicklook.core.errors import BadConfig
from quicklook.core.session import SessionFile, SessionTest

OVERHEAD_S = 90.0
"""Read-out and the rest between two exposures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchExposure:
    """One exposure: number, test, position in its sequence (from 1), flavor, time (s), wavelength (nm, 0: none), start (UTC)."""

    obsid: int
    test: str
    position: int
    flavor: str
    exptime: float
    wavelength: float
    start: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Mishaps:
    """What goes wrong, by test: `aborted` after so many exposures, and begun anew; `missing` frames, by position; `serials` of CCDs."""

    aborted: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, Sequence[int]] = field(default_factory=dict)
    serials: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def check(self, session: SessionFile) -> None:
        """Raises BadConfig for a test that there is not, and for numbers that it has not."""
        for name in (*self.aborted, *self.missing, *self.serials):
            test = session.test(name)
            for n in (*self.missing.get(name, ()), self.aborted.get(name, 1)):
                if not 1 <= n <= test.expected:
                    raise BadConfig(f"{name} has {test.expected} exposures; there is no number {n}")


def plan_bench(session: SessionFile, *, first: int, start: datetime, mishaps: Mishaps, tests: Sequence[str] = ()) -> list[BenchExposure]:
    """The exposures of a session in order, numbered from `first`. A frame that is lost has its number and its time, and no exposure here.

    Raises BadConfig for what is no test of the session.
    """
    mishaps.check(session)
    chosen = [session.test(name) for name in tests] or list(session.tests)
    out: list[BenchExposure] = []
    obsid, now = first, start
    for test in chosen:
        kinds = _kinds(test)
        runs = [kinds[: mishaps.aborted[test.name]]] if test.name in mishaps.aborted else []
        for sequence in (*runs, kinds):
            for position, (flavor, exptime, wavelength) in enumerate(sequence, start=1):
                if sequence is not kinds or position not in mishaps.missing.get(test.name, ()):
                    what = {"flavor": flavor, "exptime": exptime, "wavelength": wavelength}
                    out.append(BenchExposure(obsid=obsid, test=test.name, position=position, start=now, **what))  # type: ignore[arg-type]
                obsid, now = obsid + 1, now + timedelta(seconds=exptime + OVERHEAD_S)
    return out


def _kinds(test: SessionTest) -> list[tuple[str, float, float]]:
    """Flavor, time and wavelength of every exposure of a test."""
    out = []
    for expect in test.expect:
        flavor = expect.flavor or "flat"
        exptime = expect.exptime if expect.exptime is not None else {"zero": 0.0, "dark": 1800.0}.get(flavor, 10.0)
        out += [(flavor, exptime, expect.wavelength or 0.0)] * expect.count
    return out
