"""Healthy exposures as they differ from one to the next, and faults from faint to strong: what a scorecard of the QAs is made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from quicklook.core.errors import BadConfig
from quicklook.sim.exposure import faulty_fibres
from quicklook.sim.faults import FAULTS, Fault
from quicklook.sim.instrument import SimInstrument
from quicklook.sim.plan import Flavor, PlannedExposure, plan_exposure
from quicklook.sim.streams import Purpose, stream

SPREAD: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "flexure_x": (-0.1, 0.1),
        "flexure_y": (-0.1, 0.1),
        "transparency": (0.7, 1.1),
        "noise_factor": (0.9, 1.1),
        "sky_factor": (0.7, 1.3),
        "airmass": (1.0, 1.6),
        "seeing": (0.8, 1.6),
    }
)
"""Between what the conditions of a healthy exposure lie, each drawn evenly: pixel, factors, airmass, arcsec."""

LADDERS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "hot_noise_amp": (1.2, 1.5, 2.0, 3.0, 5.0),
        "bias_step": (2.0, 5.0, 10.0, 20.0, 50.0),
        # 3.5 electron at the corner are 1.25 electron in the mean pixel: a tenth of the dark sky of 1000 s, which is 12 to 15 electron in a pixel
        # of a fibre (seven of them across its trace); 1.3 at the corner would be a tenth of it where the leak is brightest.
        "light_leak": (1.0, 3.5, 10.0, 30.0, 300.0),
        "saturated": (5e4, 1e5, 2e5, 4e5, 6e5),
        "cosmics_storm": (1.5, 2.0, 3.0, 5.0, 10.0),
        "trace_shift": (0.2, 0.3, 0.5, 1.0, 1.5),
        "wavelength_shift": (0.2, 0.3, 0.5, 1.0, 1.5),
        "lost_sky": (24.0, 23.0, 22.0, 21.0, 20.0),
        "low_throughput": (0.9, 0.85, 0.75, 0.6, 0.4),
        "dead_fibers": (1.0, 2.0, 3.0, 5.0, 10.0),
        "low_fibers": (0.9, 0.8, 0.7, 0.5, 0.1),
        "swapped_fibers": (0.5, 1.0, 2.0, 4.0, 8.0),
        "nan_calib": (10.0, 30.0, 100.0, 200.0, 1000.0),
        "wrong_night": (1.0, 2.0, 7.0, 30.0, 365.0),
        "truncated_file": (0.99, 0.95, 0.9, 0.7, 0.3),
    }
)
"""Strengths of each fault that has one, from faint to strong; of dead_fibers the number of fibres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One step of the ladder of a fault: how it is called, and the fault itself."""

    label: str
    fault: Fault


def healthy_exposure(seed: int, expid: int, flavor: Flavor = "science") -> PlannedExposure:
    """An exposure with nothing wrong, under conditions drawn from `SPREAD` by the seed and the number."""
    rng = stream(seed, Purpose.PLAN, expid, 1)
    drawn = {name: round(float(rng.uniform(low, high)), 4) for name, (low, high) in SPREAD.items()}
    planned = replace(plan_exposure(flavor, expid), noise_factor=drawn["noise_factor"])
    if flavor != "science":
        return planned
    return replace(
        planned,
        flexure=(drawn["flexure_x"], drawn["flexure_y"]),
        transparency=drawn["transparency"],
        sky_factor=drawn["sky_factor"],
        airmass=drawn["airmass"],
        seeing=drawn["seeing"],
    )


def ladder(name: str, instrument: SimInstrument) -> list[Rung]:
    """The rungs of a fault, faintest first: five where it has a strength, else what kinds of it there are. Raises BadConfig for an unknown one."""
    if name not in FAULTS:
        raise BadConfig(f"fault {name!r} is not known: use one of {', '.join(FAULTS)}")
    if name == "dead_fibers":
        rows = _fibres(instrument, int(max(LADDERS[name])))
        return [Rung(label=f"{n:g}", fault=Fault(name=name, fibers=tuple(rows[: int(n)]))) for n in LADDERS[name]]
    if name == "missing_keywords":
        amp = instrument.amp_names[0]
        keys = (("GAIN" + amp,), ("BIASSEC" + amp,), ("EXPTIME",), ("FLAVOR", "OBSTYPE"), ())
        return [Rung(label="+".join(k) or "four of them", fault=Fault(name=name, keys=k)) for k in keys]
    if name in LADDERS:
        return [Rung(label=f"{v:g}", fault=Fault(name=name, strength=v)) for v in LADDERS[name]]
    if FAULTS[name].amp is not None:
        return [Rung(label=a, fault=Fault(name=name, amp=a)) for a in "ABCD"]
    return [Rung(label="", fault=Fault(name=name))]


def _fibres(instrument: SimInstrument, n: int) -> list[int]:
    """So many rows of fibres that are sound, in an order by the seed: the default choice of the fault first."""
    first = faulty_fibres(instrument, Fault(name="dead_fibers"))
    layout = instrument.layout
    others = np.setdiff1d(np.arange(layout.nfibre), [layout.dead_fibre, *instrument.low_fibres, *first])
    rng = stream(instrument.seed, Purpose.FIBRES, instrument.spectrograph, 9)
    return [int(row) for row in (*rng.permutation(first), *rng.permutation(others))][:n]
