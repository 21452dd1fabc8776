"""`quicklook bench`: how long every step takes, warm and in a new process, beside what the machine can do at best."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quicklook.cli.options import OneCameraOption, SetOption, one_of

if TYPE_CHECKING:
    from quicklook.api import Session

FIRST = "--measure-first-call"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("bench")(bench)


def bench(
    chain: Annotated[str, typer.Argument(help="Chain: a name or a file.")] = "raw",
    file: Annotated[Path | None, typer.Option(help="Raw file; default: one is simulated.")] = None,
    calib: Annotated[Path | None, typer.Option(help="Calibrations for --file.", file_okay=False)] = None,
    instrument: Annotated[str, typer.Option(help="Instrument of --file.")] = "desi",
    cameras: OneCameraOption = None,
    flavor: Annotated[str, typer.Option(help="Flavor that is simulated.")] = "science",
    scale: Annotated[str, typer.Option(help="Scale that is simulated: tiny, small, full.")] = "full",
    repeat: Annotated[int, typer.Option("--repeat", "-n", min=1, help="Warm runs.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the kernels.")] = 1,
    sets: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    first: Annotated[bool, typer.Option(FIRST, hidden=True)] = False,
) -> None:
    """Time every step and QA of a chain on one camera: the first call in a new process, then warm, and the floors of this machine."""
    camera = one_of(cameras, "--camera", "r0")
    with tempfile.TemporaryDirectory(prefix="quicklook-bench-") as folder:
        if file is None:
            file, calib = _simulate(Path(folder), camera, flavor, scale)
        session = _session(instrument, calib, Path(folder), threads, sets or [])
        if first:
            typer.echo(json.dumps(_once(session, chain, file, camera)))
            return
        cold = _first_call(chain, file, calib, instrument, camera, threads, sets or [])
        runs = [_once(session, chain, file, camera) for _ in range(repeat + 1)][1:]
        floors = _floors(session, file, camera, repeat)
    report = _report(cold, runs, floors)
    typer.echo(json.dumps(report, indent=1)) if as_json else _show(report, f"{file.name} {camera}, {threads} thread(s), {repeat} warm runs")


def _session(instrument: str, calib: Path | None, out: Path, threads: int, sets: list[str]) -> Session:
    from quicklook.api import open_session
    from quicklook.core.compiled import set_threads

    set_threads(threads)
    return open_session(instrument=instrument, calib=calib, out=out / "out", overrides=sets)


def _simulate(folder: Path, camera: str, flavor: str, scale: str) -> tuple[Path, Path]:
    from quicklook.core.errors import BadConfig
    from quicklook.sim import FLAVORS, WriteOptions, plan_exposure, sim_instruments, write_calibrations, write_exposure

    if flavor not in FLAVORS:
        raise BadConfig(f"there is no flavor {flavor!r}; there are {', '.join(FLAVORS)}")
    instruments = sim_instruments((camera,), scale=scale)  # type: ignore[arg-type]
    calib = write_calibrations(folder, instruments)
    return write_exposure(folder, plan_exposure(flavor, 102), instruments, WriteOptions(truth=False)), calib  # type: ignore[arg-type]


def _once(session: Session, chain: str, file: Path, camera: str) -> dict[str, float]:
    start = time.perf_counter()
    done = session.process(chain, file, camera)
    result = done.outcome.result
    failed = [s.failure.message for s in result.steps if s.failure] + [q.failure.message for q in result.qas if q.failure]
    if failed:
        from quicklook.core.errors import BadData

        raise BadData(f"the chain failed, so its times mean nothing: {failed[0]}")
    rows = {s.name: s.seconds for s in result.steps}
    rows |= {f"{q.step} / {q.name}": q.seconds for q in result.qas}
    return {**rows, "all QAs": sum(q.seconds for q in result.qas), "file to verdict": time.perf_counter() - start}


def _first_call(chain: str, file: Path, calib: Path | None, instrument: str, camera: str, threads: int, sets: list[str]) -> dict[str, float]:
    options = ["--file", str(file), "--instrument", instrument, "--camera", camera, "--threads", str(threads), FIRST]
    options += [word for setting in sets for word in ("-c", setting)]
    command = [sys.executable, "-m", "quicklook", "bench", chain, *options, *(["--calib", str(calib)] if calib else [])]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    whole = time.perf_counter() - start
    rows: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return {**rows, "new process to verdict": whole}


def _floors(session: Session, file: Path, camera: str, repeat: int) -> dict[str, float]:
    """What no program on this machine can beat: bytes moved once by memory, pixels decompressed once."""
    import numpy as np

    from quicklook.ccd.image import RawImage

    raw = next(p for p in session.read(file, camera).products if isinstance(p, RawImage))
    pixels, n = raw.pixels, int(np.prod(raw.image_shape))
    source = np.ones(32_000_000, np.float32)
    target = np.empty_like(source)
    copy_s = min(_timed(lambda: np.copyto(target, source)) for _ in range(7))
    bandwidth = 2 * source.nbytes / copy_s
    moved = pixels.nbytes + pixels.size * 4 + n * (4 + 4 + 2) + n * (4 + 4 + 2)
    return {
        "memory bandwidth, GB/s": bandwidth / 1e9,
        "read: decompress alone": min(_timed(lambda: _decompress(file, camera)) for _ in range(repeat)),
        "preproc: raw, bias, dark, pixel flat and mask read once, image, ivar and mask written once": moved / bandwidth,
    }


def _decompress(file: Path, camera: str) -> None:
    from quicklook.io.fitsfile import open_fits

    with open_fits(file) as fits:
        found = fits.structure.find(camera.upper()) or fits.structure.find(camera)
        fits.pixels(found.index if found else next(h.index for h in fits.structure.hdus if h.is_image))


def _timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _report(cold: dict[str, float], runs: list[dict[str, float]], floors: dict[str, float]) -> dict[str, Any]:
    import resource

    import numpy as np

    warm = {name: {"median": float(np.median([r[name] for r in runs])), "min": min(r[name] for r in runs)} for name in runs[0]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"first_call_s": cold, "warm_s": warm, "floors": floors, "peak_memory_MB": peak}


def _show(report: dict[str, Any], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", pad_edge=False)
    for name, right in (("step / QA", False), ("first call, s", True), ("warm median, s", True), ("warm best, s", True)):
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    warm = report["warm_s"]
    for name, first in report["first_call_s"].items():
        cells = (f"{warm[name]['median']:.4f}", f"{warm[name]['min']:.4f}") if name in warm else ("", "")
        table.add_row(name, f"{first:.3f}", *cells)
    console = Console(highlight=False)
    console.print(table)
    console.print("Floors of this machine:")
    for name, value in report["floors"].items():
        console.print(f"  {value:8.4f}  {name}" if "GB/s" not in name else f"  {value:8.2f}  {name}")
    console.print(f"Peak memory of this process {report['peak_memory_MB']:.0f} MB.")
