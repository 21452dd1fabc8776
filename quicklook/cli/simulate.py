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
    wings: Annotated[float, typer.Option(help="Fraction of the light in wings of 3 pixel across the traces.")] = 0.0,
    sky_gradient: Annotated[float, typer.Option(help="Relative difference of the sky between the centre and the edge of the focal plane.")] = 0.0,
    traces: Annotated[list[str] | None, typer.Option(help="Real traces, a PSF file: FILE, or CAMERA=FILE for one of several.")] = None,
    exptime: Annotated[float | None, typer.Option(help="Exposure time of the one exposure, s; default: as usual for its flavor.")] = None,
    airmass: Annotated[float, typer.Option(help="Airmass of the one exposure.")] = 1.15,
    seeing: Annotated[float, typer.Option(help="Seeing of the one exposure, arcsec.")] = 1.25,
    pause: Annotated[float, typer.Option(help="Seconds between exposures.", min=0)] = 0.0,
    calibrations: Annotated[bool, typer.Option(help="Write the calibrations too.")] = True,
) -> None:
    """Simulate one exposure, or a night of them, in the DESI format: raw files, fibre maps, calibrations, truth."""
    from quicklook.core.errors import BadConfig
    from quicklook.sim import FLAVORS, plan_exposure, plan_night, sim_instruments, simulate_night, write_calibrations

    faults = tuple(_fault(text) for text in fault or [])
    if flavor is not None and flavor not in FLAVORS:
        raise BadConfig(f"there is no flavor {flavor!r}; there are {', '.join(FLAVORS)}")
    names = tuple(c.strip() for c in cameras.split(","))
    files = _trace_files(traces or [], names)
    instruments = sim_instruments(names, scale=scale, seed=seed, wings=wings, sky_gradient=sky_gradient, trace_files=files)  # type: ignore[arg-type]
    if flavor is not None:
        plan = [plan_exposure(flavor, expid, night=night, exptime=exptime, airmass=airmass, seeing=seeing, faults=faults)]  # type: ignore[arg-type]
    else:
        plan = plan_night(night, count, cameras=tuple(i.camera for i in instruments), seed=seed, first_expid=expid, faulty=faults or None)
    if calibrations:
        typer.echo(f"calibrations in {write_calibrations(out, instruments, faults)}")

    def told(planned: PlannedExposure, path: Path) -> None:
        typer.echo(describe(planned, path.relative_to(out)))

    simulate_night(out, plan, instruments, on_exposure=told, pause_s=pause)


def describe(planned: PlannedExposure, path: Path) -> str:
    """One line about an exposure that was written."""
    from quicklook.sim import fault_summary

    faulty = f"  fault: {fault_summary(planned)}" if planned.faults else ""
    return f"{planned.expid:8d}  {planned.flavor:8s} {planned.exptime:6.0f} s  {path}{faulty}"


def _trace_files(given: list[str], cameras: tuple[str, ...]) -> dict[str, str]:
    """PSF file by camera. Raises BadConfig."""
    from quicklook.core.errors import BadConfig

    files: dict[str, str] = {}
    for text in given:
        camera, equals, path = text.partition("=")
        if not equals and len(cameras) > 1:
            raise BadConfig(f"--traces {text}: for which camera? write {cameras[0]}={text}")
        files |= {camera: path} if equals else {cameras[0]: text}
    return files


def _fault(text: str) -> Fault:
    from quicklook.core.errors import BadConfig
    from quicklook.sim import Fault

    name, _, strength = text.partition(":")
    try:
        return Fault(name=name, strength=float(strength) if strength else None)
    except ValueError as error:
        raise BadConfig(f"--fault {text}: the strength is a number, as in hot_noise_amp:3") from error
