"""`quicklook simulate-bench`: the tests of a session, as a CCD test bench takes them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("simulate-bench")(simulate_bench)


def simulate_bench(
    out: Annotated[Path, typer.Argument(help="Folder; gets raw/ with a folder per day, and truth.json.", file_okay=False)],
    session: Annotated[str, typer.Option(help="Session whose tests are taken: a name or a file.")] = "vis_bench",
    tests: Annotated[str | None, typer.Option(help="These tests alone, separated by commas.")] = None,
    first: Annotated[int, typer.Option(help="Number of the first exposure.", min=0, max=10**9)] = 100,
    ccds: Annotated[int, typer.Option(help="Number of CCDs, all on ROE1.", min=1, max=12)] = 3,
    scale: Annotated[str, typer.Option(help="small (398 x 1064 pixels) or full (4238 x 4172).")] = "small",
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same pixels.", min=0)] = 20161125,
    start: Annotated[str, typer.Option(help="Start of the first exposure, UTC.")] = "2016-11-25T09:00:00",
    abort: Annotated[list[str] | None, typer.Option(metavar="TEST:N", help="The test is aborted after N exposures, and begun anew.")] = None,
    miss: Annotated[list[str] | None, typer.Option(metavar="TEST:N", help="The Nth exposure of the test is lost.")] = None,
    serial: Annotated[
        list[str] | None, typer.Option(metavar="TEST:CAMERA=SERIAL", help="In this test another CCD is mounted, as in FLAT01:ROE1_CCD2=X-1.")
    ] = None,
    pause: Annotated[float, typer.Option(help="Seconds between exposures.", min=0)] = 0.0,
) -> None:
    """Simulate the tests of a session of a CCD test bench: a file per CCD and exposure, the log of exposures, the logs of housekeeping, truth."""
    from quicklook.core.errors import BadConfig
    from quicklook.core.session import load_session
    from quicklook.io.configfiles import find_config
    from quicklook.io.instrument import load_instrument
    from quicklook.service.rerun.choosing import fact_names
    from quicklook.sim.bench import bench_of, write_bench_truth
    from quicklook.sim.benchplan import Mishaps, plan_bench

    if scale not in ("small", "full"):
        raise BadConfig(f"--scale {scale}: there are small and full")
    known = fact_names(frozenset(load_instrument("vis_bench").header.tags))
    loaded = load_session(find_config("sessions", session), tag_names=known)
    missing: dict[str, list[int]] = {}
    for name, n in _pairs("--miss", miss or []):
        missing.setdefault(name, []).append(n)
    mishaps = Mishaps(aborted=dict(_pairs("--abort", abort or [])), missing=missing, serials=_serials(serial or []))
    chosen = () if tests is None else [t.strip() for t in tests.split(",")]
    plan = plan_bench(loaded, first=first, start=_time(start), mishaps=mishaps, tests=chosen)
    cameras = [f"ROE1_CCD{n}" for n in range(1, ccds + 1)]
    bench = bench_of(loaded, out / "raw", cameras, seed=seed, scale=scale, mishaps=mishaps)  # type: ignore[arg-type]
    try:
        write_bench_truth(out / "truth.json", bench, plan)
        for exposure in plan:
            bench.write(exposure)
            typer.echo(f"{exposure.obsid:6d}  {exposure.test:8s} {exposure.position:3d}  {exposure.flavor:5s} {exposure.exptime:6g} s")
            time.sleep(pause)
    except OSError as error:
        why = f"{out} cannot be written: {error.strerror or error}"
        raise BadConfig(why, what_next="Name a folder that can be, with room on its disk.") from error


def _pairs(option: str, texts: Iterable[str]) -> list[tuple[str, int]]:
    from quicklook.core.errors import BadConfig

    out = []
    for text in texts:
        name, _, number = text.partition(":")
        if not (name and number.isascii() and number.isdigit()):
            raise BadConfig(f"{option} {text}: write TEST:N, as in BIAS01:2")
        out.append((name, int(number)))
    return out


def _serials(texts: Iterable[str]) -> dict[str, dict[str, str]]:
    from quicklook.core.errors import BadConfig

    out: dict[str, dict[str, str]] = {}
    for text in texts:
        name, _, rest = text.partition(":")
        camera, _, serial = rest.partition("=")
        if not (name and camera and serial):
            raise BadConfig(f"--serial {text}: write TEST:CAMERA=SERIAL, as in FLAT01:ROE1_CCD2=X-1")
        out.setdefault(name, {})[camera] = serial
    return out


def _time(text: str) -> datetime:
    from quicklook.core.errors import BadConfig

    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadConfig(f"--start {text}: write 2016-11-25T09:00:00") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
