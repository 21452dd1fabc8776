"""Synthetic exposures with known truth, in DESI's raw format.

from pathlib import Path
from quicklook.sim import plan_exposure, sim_instruments, write_calibrations, write_exposure

cameras = sim_instruments(("b0", "r0"), scale="small", seed=1)
write_calibrations(Path("sim"), cameras)
write_exposure(Path("sim"), plan_exposure("science", 102), cameras)
"""

from __future__ import annotations

from quicklook.sim.calibrations import write_calibrations
from quicklook.sim.exposure import ExposureTruth, SimulatedCamera, simulate_exposure
from quicklook.sim.faults import FAULTS, Fault, FaultKind, parse_fault
from quicklook.sim.files import WriteOptions, fault_summary, raw_path, simulate_night, write_exposure
from quicklook.sim.geometry import SCALES, Scale
from quicklook.sim.instrument import DEFAULT_SEED, Hardware, SimInstrument, sim_instruments
from quicklook.sim.plan import FLAVORS, Flavor, PlannedExposure, plan_exposure, plan_night
from quicklook.sim.series import check_faults, plan_series, with_faults

__all__ = [
    "DEFAULT_SEED",
    "FAULTS",
    "FLAVORS",
    "SCALES",
    "ExposureTruth",
    "Fault",
    "FaultKind",
    "Flavor",
    "Hardware",
    "PlannedExposure",
    "Scale",
    "SimInstrument",
    "SimulatedCamera",
    "WriteOptions",
    "check_faults",
    "fault_summary",
    "parse_fault",
    "plan_exposure",
    "plan_night",
    "plan_series",
    "raw_path",
    "sim_instruments",
    "simulate_exposure",
    "simulate_night",
    "with_faults",
    "write_calibrations",
    "write_exposure",
]
