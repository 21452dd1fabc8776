"""`quicklook scorecard` and `scorecard-exposures`: how faint a fault each QA finds, and how often a healthy frame is called anything but good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quicklook.cli.options import OneCameraOption, one_of, words_of

if TYPE_CHECKING:
    from quicklook.core.scorecard import Trial


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("scorecard")(scorecard)
    app.command("scorecard-exposures")(scorecard_exposures)


def scorecard(
    healthy: Annotated[int, typer.Option(help="Healthy frames of each flavor.", min=0)] = 1000,
    seeds: Annotated[int, typer.Option(help="Frames of each fault at each strength, each of another instrument.", min=0)] = 20,
    first_seed: Annotated[int, typer.Option(help="First seed; the others follow.", min=0)] = 1,
    flavors: Annotated[str, typer.Option("--flavor", help="Flavors, separated by commas: science, arc, flat, zero, dark.")] = "science",
    faults: Annotated[list[str] | None, typer.Option("--fault", help="This fault alone; may be repeated. Default: all.")] = None,
    cameras: OneCameraOption = None,
    exptime: Annotated[float | None, typer.Option(help="Exposure time, s; default: that which is usual for the flavor.", min=0.1)] = None,
    scale: Annotated[str, typer.Option(help="tiny, small or full.")] = "small",
    jobs: Annotated[int | None, typer.Option(help="Processes; default: one for each core.", min=1)] = None,
    page_file: Annotated[Path | None, typer.Option("--page", help="Write the page (markdown) here; default: print it.", dir_okay=False)] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every trial (JSON) here.", dir_okay=False)] = None,
) -> None:
    """Inject every fault of the simulator at five strengths, and none, over many seeds, and say what each QA finds.

    Ends with 1 where more of the healthy frames draw an ALARM than one in a hundred or a WARNING than one in twenty, else with 0.
    """
    import os

    from quicklook.core.errors import BadConfig
    from quicklook.service.proofs.scorecard import LEFT_OUT, plan_batches, run_batches
    from quicklook.service.proofs.scorepage import page
    from quicklook.sim import FAULTS, FLAVORS, SCALES

    camera, names = one_of(cameras, "--camera", "r0"), words_of([flavors])
    if scale not in SCALES:
        raise BadConfig(f"--scale {scale}: use one of {', '.join(SCALES)}")
    if not names or [f for f in names if f not in FLAVORS]:
        raise BadConfig(f"--flavor {flavors}: use some of {', '.join(FLAVORS)}, separated by commas")
    wanted = faults if faults is not None else [f for f in FAULTS if f not in LEFT_OUT]
    numbers = {"healthy": healthy, "seeds": seeds, "first_seed": first_seed}
    batches = plan_batches(camera, scale, flavors=names, faults=wanted, exptime=exptime, **numbers)  # type: ignore[arg-type]
    if not batches:
        raise BadConfig("there is nothing to do: ask for healthy frames (--healthy) or for faults (--seeds)")
    trials = _all(run_batches(batches, jobs or os.cpu_count() or 1), len(batches))
    timed = [] if exptime is None else ["--exptime", f"{exptime:g}"]
    title = f"Scorecard: {camera}, {scale} scale" + (f", exposures of {exptime:g} s" if timed else "")
    command = " ".join([_command(camera, scale, names, faults, numbers), *timed])
    _told(trials, page(trials, title, command), page_file, json_file)


def scorecard_exposures(
    healthy: Annotated[int, typer.Option(help="Healthy exposures.", min=0)] = 100,
    seeds: Annotated[int, typer.Option(help="Exposures of each fault at each strength, each of another instrument.", min=0)] = 5,
    first_seed: Annotated[int, typer.Option(help="First seed; the others follow.", min=0)] = 1,
    faults: Annotated[list[str] | None, typer.Option("--fault", help="This fault alone; may be repeated. Default: all.")] = None,
    scale: Annotated[str, typer.Option(help="tiny, small or full.")] = "small",
    jobs: Annotated[int | None, typer.Option(help="Processes; default: one for each core.", min=1)] = None,
    page_file: Annotated[
        Path | None, typer.Option("--page", help="Write its part of the page here, beside that on cameras; default: print it.", dir_okay=False)
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every trial (JSON) here.", dir_okay=False)] = None,
) -> None:
    """The same for the QAs over the cameras of an exposure: absent cameras, arms and spectrographs that are dim, patterns over the focal plane.

    Exposures of five cameras. Ends with 1 where more of the healthy ones draw an ALARM than one in a hundred or a WARNING than one in twenty, else
    with 0.
    """
    import os

    from quicklook.core.errors import BadConfig
    from quicklook.service.proofs.scorecard import run_all
    from quicklook.service.proofs.scorepage import exposures_page
    from quicklook.service.verdicts.exposurecard import plan_exposure_batches, run_exposure_batch
    from quicklook.sim import SCALES
    from quicklook.sim.wholefaults import WHOLE_FAULTS

    if scale not in SCALES:
        raise BadConfig(f"--scale {scale}: use one of {', '.join(SCALES)}")
    numbers: dict[str, Any] = {"healthy": healthy, "seeds": seeds, "first_seed": first_seed}
    wanted = faults if faults is not None else list(WHOLE_FAULTS)
    batches = plan_exposure_batches(scale, faults=wanted, **numbers)  # type: ignore[arg-type]
    if not batches:
        raise BadConfig("there is nothing to do: ask for healthy exposures (--healthy) or for faults (--seeds)")
    trials = _all(run_all(run_exposure_batch, batches, jobs or os.cpu_count() or 1), len(batches))
    command = " ".join(["quicklook scorecard-exposures", "--scale", scale, *_counted(numbers), *_named(faults)])
    _told(trials, exposures_page(trials, scale, command), page_file, json_file)


def _told(trials: list[Trial], text: str, page_file: Path | None, json_file: Path | None) -> None:
    """Write or print the page, or its part, and say by the exit status whether healthy frames were called bad too often."""
    from quicklook.io.atomic import atomic, write_json
    from quicklook.service.proofs.scorepage import as_data, cries_wolf, joined

    if json_file:
        write_json(json_file, as_data(trials))
    if page_file:
        before = page_file.read_text() if page_file.is_file() else ""
        with atomic(page_file) as file:
            file.write(joined(before, text).encode())
    else:
        typer.echo(text)
    if cries_wolf(trials):
        typer.echo("too many healthy frames were called bad: see the first table", err=True)
        raise typer.Exit(1)


def _counted(numbers: dict[str, int]) -> list[str]:
    return [word for name, n in numbers.items() for word in (f"--{name.replace('_', '-')}", str(n))]


def _named(faults: list[str] | None) -> list[str]:
    return [word for fault in faults or () for word in ("--fault", fault)]


def _command(camera: str, scale: str, flavors: list[str], faults: list[str] | None, numbers: dict[str, int]) -> str:
    """The command that makes the same again, wherever it writes."""
    about = ["--camera", camera, "--scale", scale, "--flavor", ",".join(flavors)]
    return " ".join(["quicklook scorecard", *about, *_counted(numbers), *_named(faults)])


def _all(batches: Iterator[list[Trial]], total: int) -> list[Trial]:
    """The trials of all batches, in order, with a bar of progress on the terminal."""
    from rich.console import Console
    from rich.progress import track

    trials = [trial for batch in track(batches, total=total, description="frames", console=Console(stderr=True)) for trial in batch]
    return sorted(trials, key=lambda t: (t.flavor, t.fault, t.rung, t.seed, t.expid))
