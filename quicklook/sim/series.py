"""A series of exposures: some of given numbers, or several of one flavor, under conditions that change from one to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from quicklook.core.errors import BadConfig
from quicklook.sim.exposure import faulty_fibres
from quicklook.sim.faults import Fault
from quicklook.sim.instrument import SimInstrument
from quicklook.sim.plan import Flavor, PlannedExposure, plan_exposure
from quicklook.sim.streams import Purpose, stream

USUAL: dict[int, Flavor] = {100: "arc", 101: "flat", 103: "zero"}
"""Flavors of the numbers that are not science in a series without a flavor of its own."""


def plan_series(
    expids: Sequence[int],
    exposures: int = 1,
    *,
    flavor: Flavor | None = None,
    night: int = 20220101,
    seed: int = 0,
    exptime: float | None = None,
    airmass: float = 1.15,
    seeing: float = 1.25,
) -> list[PlannedExposure]:
    """Exposures of these numbers, and more after the highest until there are `exposures` of the flavor.

    The flavor is `flavor`, else 100 is an arc, 101 a flat, 103 a zero, and every other science. `exptime`, airmass and seeing are those of the
    science exposures (of all, where a flavor is given); further ones than the first have an airmass, a seeing and a brightness of the sky of
    their own, drawn by the seed, the night and their number. Raises BadConfig.
    """
    if not expids or len(set(expids)) != len(expids):
        raise BadConfig(f"exposures {list(expids)} must be different numbers, at least one")
    wanted: Flavor = flavor or "science"
    flavors = {expid: flavor or USUAL.get(expid, "science") for expid in expids}
    more = exposures - list(flavors.values()).count(wanted)
    flavors |= {max(expids) + 1 + i: wanted for i in range(more)}
    plan, first = [], True
    for expid, own in flavors.items():
        planned = plan_exposure(own, expid, night=night, exptime=exptime if own == wanted else None, airmass=airmass, seeing=seeing)
        plan.append(planned if own != "science" or first else _changed(planned, seed))
        first = first and own != "science"
    return plan


def _changed(planned: PlannedExposure, seed: int) -> PlannedExposure:
    rng = stream(seed, Purpose.PLAN, planned.night, planned.expid)
    airmass, seeing, sky = (round(float(v), 3) for v in rng.uniform((1.0, 0.9, 0.8), (1.6, 1.6, 1.4)))
    return replace(planned, airmass=airmass, seeing=seeing, sky_factor=sky)


def check_faults(faults: Sequence[Fault], instruments: Sequence[SimInstrument]) -> None:
    """Raise BadConfig where a fault is of a camera that is not simulated, or of fibres that it has not."""
    cameras = [i.camera for i in instruments]
    for fault in faults:
        if fault.camera is not None and fault.camera not in cameras:
            raise BadConfig(f"fault {fault.name}: camera {fault.camera} is not simulated; the cameras are {', '.join(cameras)}")
        for instrument in instruments:
            if fault.kind.of_fibers and fault.hits(instrument.camera):
                faulty_fibres(instrument, fault)


def with_faults(plan: Sequence[PlannedExposure], faults: Sequence[Fault], expid: int | None = None) -> list[PlannedExposure]:
    """The plan with these faults in exposure `expid`; without a number in the first science exposure, else in the first. Raises BadConfig."""
    if not faults:
        if expid is not None:
            raise BadConfig(f"exposure {expid} is to have a fault, but none is named")
        return list(plan)
    if expid is None:
        expid = next((e.expid for e in plan if e.flavor == "science"), plan[0].expid)
    if expid not in (numbers := [e.expid for e in plan]):
        raise BadConfig(f"exposure {expid} is to have a fault, but the exposures are {', '.join(str(n) for n in numbers)}")
    return [replace(e, faults=(*e.faults, *faults)) if e.expid == expid else e for e in plan]
