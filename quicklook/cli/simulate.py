"""`quicklook simulate`: synthetic exposures in the format of a real instrument, with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from quicklook.sim import Fault, PlannedExposure


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("simulate")(simulate)


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder; gets raw/, calib/ and truth/.", file_okay=False)],
    flavor: Annotated[str | None, typer.Option(help="One exposure of this flavor (zero, dark, arc, flat, science) in place of a night.")] = None,
    expid: Annotated[int, typer.Option(help="Number of the (first) exposure.")] = 100,
    count: Annotated[int, typer.Option("--count", "-n", help="Number of exposures of a night.", min=1)] = 20,
    night: Annotated[int, typer.Option(help="Night YYYYMMDD.")] = 20220101,
    cameras: Annotated[str, typer.Option("--camera", help="Cameras b0 ... z9, separated by commas.")] = "b0,r0",
    scale: Annotated[str, typer.Option(help="tiny, small or full.")] = "small",
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same pixels.")] = 20220101,
    fault: Annotated[list[str] | None, typer.Option(help="Fault NAME[:STRENGTH] (see `list faults`); of a night, in one of its exposures.")] = None,
    pause: Annotated[float, typer.Option(help="Seconds between exposures.", min=0)] = 0.0,
    calibrations: Annotated[bool, typer.Option(help="Write the calibrations too.")] = True,
) -> None:
    """Simulate one exposure, or a night of them, in the DESI format: raw files, fibre maps, calibrations, truth."""
    from quicklook.core.errors import BadConfig
    from quicklook.sim import FLAVORS, plan_exposure, plan_night, sim_instruments, simulate_night, write_calibrations

    faults = tuple(_fault(text) for text in fault or [])
    if flavor is not None and flavor not in FLAVORS:
        raise BadConfig(f"there is no flavor {flavor!r}; there are {', '.join(FLAVORS)}")
    instruments = sim_instruments(tuple(c.strip() for c in cameras.split(",")), scale=scale, seed=seed)  # type: ignore[arg-type]
    if flavor is not None:
        plan = [plan_exposure(flavor, expid, night=night, faults=faults)]  # type: ignore[arg-type]
    else:
        plan = plan_night(night, count, cameras=tuple(i.camera for i in instruments), seed=seed, first_expid=expid, faulty=faults or None)
    if calibrations:
        typer.echo(f"calibrations in {write_calibrations(out, instruments)}")

    def told(planned: PlannedExposure, path: Path) -> None:
        typer.echo(describe(planned, path.relative_to(out)))

    simulate_night(out, plan, instruments, on_exposure=told, pause_s=pause)


def describe(planned: PlannedExposure, path: Path) -> str:
    """One line about an exposure that was written."""
    from quicklook.sim import fault_summary

    faulty = f"  fault: {fault_summary(planned)}" if planned.faults else ""
    return f"{planned.expid:8d}  {planned.flavor:8s} {planned.exptime:6.0f} s  {path}{faulty}"


def _fault(text: str) -> Fault:
    from quicklook.core.errors import BadConfig
    from quicklook.sim import Fault

    name, _, strength = text.partition(":")
    try:
        return Fault(name=name, strength=float(strength) if strength else None)
    except ValueError as error:
        raise BadConfig(f"--fault {text}: the strength is a number, as in hot_noise_amp:3") from error
