"""`quicklook simulate`: synthetic exposures in the format of a real instrument, with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quicklook.cli.options import words_of

if TYPE_CHECKING:
    from quicklook.sim import Fault, PlannedExposure, SimInstrument

    Plan = list[PlannedExposure]


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("simulate")(simulate)


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder; gets raw/, calib/ and truth/.", file_okay=False)],
    flavor: Annotated[str | None, typer.Option(help="Exposures of this flavor (zero, dark, arc, flat, science) in place of a night.")] = None,
    expid: Annotated[int, typer.Option(help="Number of the (first) exposure.")] = 100,
    expids: Annotated[
        str | None, typer.Option(help="These exposures in place of a night: 100 an arc, 101 a flat, 103 a zero, others science, or all of --flavor.")
    ] = None,
    exposures: Annotated[
        int | None, typer.Option(help="So many of the flavor (science), the further ones under other conditions, in place of a night.", min=1)
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="Number of exposures of a night.", min=1)] = 20,
    night: Annotated[int, typer.Option(help="Night YYYYMMDD.")] = 20220101,
    cameras: Annotated[list[str] | None, typer.Option("--camera", help="Cameras b0 ... z9: b0,r0; may be repeated. Default: b0,r0.")] = None,
    scale: Annotated[str, typer.Option(help="tiny, small or full.")] = "small",
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same pixels.")] = 20220101,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="NAME[:STRENGTH][,camera=r0][,amp=C][,fibers=5+17][,keys=EXPTIME+FLAVOR], see `list faults`; in one exposure."),
    ] = None,
    fault_expid: Annotated[int | None, typer.Option(help="The exposure that has the faults; default: a science exposure.")] = None,
    wings: Annotated[float, typer.Option(help="Fraction of the light in wings of 3 pixel across the traces.")] = 0.0,
    sky: Annotated[str, typer.Option(help="model: lines of our own; uves: the atlas in --sky-file; or a file, see --sky-file.")] = "model",
    sky_file: Annotated[
        Path | None, typer.Option(help="Spectrum of the sky: two columns (vacuum Angstrom, strength), or FITS (1e-17 erg/(s cm2 Angstrom arcsec2)).")
    ] = None,
    sky_gradient: Annotated[float, typer.Option(help="Relative difference of the sky between the centre and the edge of the focal plane.")] = 0.0,
    arc_lines: Annotated[Path | None, typer.Option(help="Lines of the lamp: vacuum Angstrom, and electrons of a fibre in 5 s (else drawn).")] = None,
    nsky: Annotated[int | None, typer.Option(help="Number of sky fibres.", min=0)] = None,
    standards: Annotated[int | None, typer.Option(help="Number of standard stars.", min=0)] = None,
    low_fibers: Annotated[int, typer.Option(help="Number of low fibres that the calibrations know; new ones are a fault.", min=0)] = 0,
    traces: Annotated[list[str] | None, typer.Option(help="Real traces, a PSF file: FILE, or CAMERA=FILE for one of several.")] = None,
    exptime: Annotated[float | None, typer.Option(help="Exposure time, s, of the science exposures or of --flavor; default: as usual.")] = None,
    airmass: Annotated[float, typer.Option(help="Airmass of the first exposure.")] = 1.15,
    seeing: Annotated[float, typer.Option(help="Seeing of the first exposure, arcsec.")] = 1.25,
    pause: Annotated[float, typer.Option(help="Seconds between exposures.", min=0)] = 0.0,
    calibrations: Annotated[bool, typer.Option(help="Write the calibrations too.")] = True,
) -> None:
    """Simulate one exposure, or a night of them, in the DESI format: raw files, fibre maps, calibrations, truth."""
    from quicklook.sim import check_faults, parse_fault, sim_instruments

    faults = tuple(parse_fault(text) for text in fault or [])
    _check_flavor(flavor)
    names = tuple(words_of(cameras)) or ("b0", "r0")
    instruments = sim_instruments(
        names, scale=scale, seed=seed, wings=wings, sky_gradient=sky_gradient, trace_files=_trace_files(traces or [], names),  # type: ignore[arg-type]
        sky_file=_sky_path(sky, sky_file), arc_file=str(arc_lines or ""), nsky=nsky, nstd=standards, nlow=low_fibers,
    )  # fmt: skip
    check_faults(faults, instruments)
    if flavor is None and expids is None and exposures is None:
        plan = _night(faults, fault_expid, night, count, names, seed, expid)
    else:
        same = {"night": night, "seed": seed, "exptime": exptime, "airmass": airmass, "seeing": seeing}
        plan = _series(faults, fault_expid, _numbers(expids) if expids else [expid], exposures or 1, flavor=flavor, **same)
    _write(out, plan, instruments, faults if calibrations else None, pause)


def _check_flavor(flavor: str | None) -> None:
    """Raises BadConfig for one that is not simulated."""
    from quicklook.core.errors import BadConfig
    from quicklook.sim import FLAVORS

    if flavor is not None and flavor not in FLAVORS:
        raise BadConfig(f"there is no flavor {flavor!r}; there are {', '.join(FLAVORS)}")


def _write(out: Path, plan: Plan, instruments: tuple[SimInstrument, ...], known: tuple[Fault, ...] | None, pause: float) -> None:
    """Write the exposures, and before them the calibrations with the faults `known` to them (None: no calibrations); tell of each."""
    from quicklook.sim import simulate_night, write_calibrations

    if known is not None:
        typer.echo(f"calibrations in {write_calibrations(out, instruments, known)}")

    def told(planned: PlannedExposure, path: Path) -> None:
        typer.echo(describe(planned, path.relative_to(out)))

    simulate_night(out, plan, instruments, on_exposure=told, pause_s=pause)


def _night(faults: tuple[Fault, ...], fault_expid: int | None, night: int, count: int, cameras: tuple[str, ...], seed: int, first: int) -> Plan:
    """A night; without `fault_expid` the seed chooses the exposure and the camera that have the faults."""
    from quicklook.sim import plan_night, with_faults

    drawn = faults if fault_expid is None else ()
    plan = plan_night(night, count, cameras=cameras, seed=seed, first_expid=first, faulty=drawn or None)
    return plan if drawn else with_faults(plan, faults, fault_expid)


def _series(faults: tuple[Fault, ...], fault_expid: int | None, *numbers: Any, **conditions: Any) -> Plan:
    from quicklook.sim import plan_series, with_faults

    return with_faults(plan_series(*numbers, **conditions), faults, fault_expid)


def _sky_path(sky: str, file: Path | None) -> str:
    """The file of the sky, empty for our own lines. Raises BadConfig."""
    from quicklook.core.errors import BadConfig
    from quicklook.sim.atlas import is_fits

    if sky == "model" and file is None:
        return ""
    path = str(file or ("" if sky == "uves" else sky))
    if sky == "uves" and not (path and is_fits(path)):
        raise BadConfig("--sky uves: name the FITS file of the atlas, --sky-file FILE")
    if not Path(path).is_file():
        raise BadConfig(f"--sky {sky}: there is no file {path}; give model, uves or a file")
    return path


def _numbers(text: str) -> list[int]:
    from quicklook.core.errors import BadConfig

    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise BadConfig(f"--expids {text}: must be numbers separated by commas, such as 100,101,102") from error


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
