"""Every fault of both simulators goes through the chain: no traceback, and never a verdict NORMAL for what the truth calls bad."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from quicklook.api import Session
from quicklook.core.errors import QuicklookError
from quicklook.core.status import Status
from quicklook.io.configfiles import list_configs
from quicklook.service.site import load_site
from quicklook.sim import FAULTS, Fault, plan_exposure, sim_instruments, write_calibrations, write_exposure

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif("science" not in list_configs("chains"), reason="the chain for science exposures is not installed"),
]
THEIRS = (
    "dead_amp", "hot_noise_amp", "trace_shift", "saturated", "light_leak", "lost_sky", "missing_fibermap", "wrong_night", "truncated_file",
    "cosmics_storm", "wavelength_shift", "low_throughput", "nan_calib",
)  # fmt: skip


def verdict(folder: Path, path: Path) -> tuple[Status, list[str]]:
    """Of camera r0; a file that is refused is UNKNOWN."""
    site = load_site(None, options={"instrument": "desi", "calib": str(folder / "calib"), "out": str(folder / "out")})
    session = Session(site)
    try:
        flavor = session.peek(path).flavor
    except QuicklookError as error:
        return Status.UNKNOWN, [str(error)]
    done = session.process(session.site.chain_name(flavor), path, "r0")
    result = done.outcome.result
    failures = [f for f in (*(s.failure for s in result.steps), *(q.failure for q in result.qas)) if f is not None]
    unforeseen = [f.message for f in failures if f.error not in ("BadData", "MissingCalibration", "NotReadyYet", "Transient", "NotRun", "NotApplicable")]
    assert not unforeseen, f"a plugin failed without a plan: {unforeseen}"
    return result.status, list(result.reasons)


def kit(folder: Path, script: Path, *options: str) -> Path:
    command = [sys.executable, str(script / "simulate.py"), "--out", str(folder), "--scale", "small", "--expids", "102", *options]
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    return folder / "raw/20220101/00000102/desi-00000102.fits.fz"


FLEXURE = "trace_shift of axis x is 0.22"
"""The kit's flexure of 0.22 pixel is a warning by itself (limit 0.2): no fault of the exposure."""


def test_a_sound_exposure_has_its_flexure_alone(tmp_path: Path, shared_validation: Path) -> None:
    status, reasons = verdict(tmp_path, kit(tmp_path, shared_validation))
    assert status in (Status.NORMAL, Status.WARNING)
    assert [r for r in reasons if FLEXURE not in r] == []


@pytest.mark.parametrize("fault", THEIRS)
def test_faults_of_the_kit(tmp_path: Path, shared_validation: Path, fault: str) -> None:
    status, reasons = verdict(tmp_path, kit(tmp_path, shared_validation, "--fault", fault))
    assert status is not Status.NORMAL
    assert [r for r in reasons if FLEXURE not in r], "nothing but the flexure was noticed"


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "missing_camera"])
def test_our_faults(tmp_path: Path, fault: str) -> None:
    cameras, faults = sim_instruments(("r0",), scale="small", seed=5), (Fault(name=fault),)
    write_calibrations(tmp_path, cameras, faults)
    status, _ = verdict(tmp_path, write_exposure(tmp_path, plan_exposure("science", 102, faults=faults), cameras))
    assert status is not Status.NORMAL


def test_a_sound_exposure_of_ours_is_normal(tmp_path: Path) -> None:
    cameras = sim_instruments(("r0",), scale="small", seed=5)
    write_calibrations(tmp_path, cameras)
    status, reasons = verdict(tmp_path, write_exposure(tmp_path, plan_exposure("science", 102), cameras))
    assert status is Status.NORMAL, reasons
