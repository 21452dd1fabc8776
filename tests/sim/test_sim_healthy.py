"""What the rungs of the ladders mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quicklook.sim import sim_instruments
from quicklook.sim.exposure import simulate_exposure
from quicklook.sim.faults import Fault
from quicklook.sim.healthy import LADDERS
from quicklook.sim.plan import plan_exposure


def test_a_rung_of_the_light_leak_is_a_tenth_of_the_sky() -> None:
    (instrument,) = sim_instruments(("r0",), scale="small", seed=5)
    planned = plan_exposure("science", 7)
    leaking = replace(planned, faults=(Fault(name="light_leak", strength=LADDERS["light_leak"][1]),))
    healthy, faulty = (simulate_exposure(instrument, p).truth for p in (planned, leaking))
    leak = float((faulty.image_e - healthy.image_e).mean())
    assert healthy.spectra.sky is not None
    sky = float(np.median(healthy.spectra.sky)) / 7.0  # electron of a row in the seven pixels of a fibre
    assert 0.08 < leak / sky < 0.12, (leak, sky)
