"""What a simulated test bench takes: the exposures of the tests of a session, with sequences that are aborted and frames that are lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from quicklook.core.errors import BadConfig
from quicklook.core.session import SessionFile, SessionTest
from quicklook.core.validation import suggest

OVERHEAD_S = 90.0
"""Read-out and the rest between two exposures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchExposure:
    """One exposure: number, test, position in its sequence (from 1), flavor, time (s), wavelength (nm, 0: none), start (UTC),
    what its header says of the test ("": its name)."""

    obsid: int
    test: str
    position: int
    flavor: str
    exptime: float
    wavelength: float
    start: datetime
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mishaps:
    """What goes wrong, by test: `aborted` after so many exposures, and begun anew; `missing` frames, by position; `serials` of CCDs."""

    aborted: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, Sequence[int]] = field(default_factory=dict)
    serials: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def check(self, session: SessionFile, cameras: Sequence[str] = ()) -> None:
        """Raises BadConfig for a test or (where they are named) a CCD that there is not, and for numbers that the test has not."""
        for camera in (c for of in self.serials.values() for c in of if cameras and c not in cameras):
            raise BadConfig(f"the bench has no CCD {camera!r}{suggest(camera, cameras, noun='CCDs')}")
        for name in (*self.aborted, *self.missing, *self.serials):
            test = session.test(name)
            for n in (*self.missing.get(name, ()), self.aborted.get(name, 1)):
                if not 1 <= n <= test.expected:
                    raise BadConfig(f"{name} has {test.expected} exposures; there is no number {n}")


def plan_bench(session: SessionFile, *, first: int, start: datetime, mishaps: Mishaps, tests: Sequence[str] = ()) -> list[BenchExposure]:
    """The exposures of a session in order, numbered from `first`. A frame that is lost has its number and its time, and no exposure here.

    Raises BadConfig for what is no test of the session, and for times beyond the calendar.
    """
    mishaps.check(session)
    chosen = [session.test(name) for name in tests] or list(session.tests)
    try:
        return _exposures(chosen, first, start, mishaps)
    except OverflowError as error:
        raise BadConfig(f"the tests begin at {start:%Y-%m-%dT%H:%M:%S} and would end after the year 9999; let them begin earlier") from error


def _exposures(tests: Sequence[SessionTest], first: int, start: datetime, mishaps: Mishaps) -> list[BenchExposure]:
    out: list[BenchExposure] = []
    obsid, now = first, start
    for test in tests:
        kinds = _kinds(test)
        label = test.of.get("program", test.name)
        runs = [kinds[: mishaps.aborted[test.name]]] if test.name in mishaps.aborted else []
        for sequence in (*runs, kinds):
            for position, (flavor, exptime, wavelength) in enumerate(sequence, start=1):
                if sequence is not kinds or position not in mishaps.missing.get(test.name, ()):
                    what = {"flavor": flavor, "exptime": exptime, "wavelength": wavelength}
                    out.append(BenchExposure(obsid=obsid, test=test.name, label=label, position=position, start=now, **what))  # type: ignore[arg-type]
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
