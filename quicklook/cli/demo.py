"""`quicklook demo`: a simulated night from nothing, watched by the real daemon."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from quicklook.client import Subscriber
    from quicklook.core.events import Event
    from quicklook.sim import PlannedExposure

SITE = """\
# The site of the demonstration, written by `quicklook demo`. A site of your own looks the same.
instrument: desi
cameras: [r0, z0]
raw: raw
calib: calib
out: out
sinks:
  files: {{}}
  render: {{}}
  zmq: {{endpoint: "{endpoint}"}}
"""
MARK = ".quicklook-demo"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("demo")(demo)


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder of the demonstration; it is emptied first.", file_okay=False)] = Path("demo-output"),
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Number of exposures.")] = 20,
    pause: Annotated[float, typer.Option(min=0, help="Seconds between exposures.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of the simulation.")] = 20220101,
) -> None:
    """Simulate a night whose exposures arrive one by one, one of them faulty; process them as they arrive; sum up.

    Exit status 0 if the faulty exposure was found and every other one was called good.
    """
    from rich.console import Console

    from quicklook.client import Subscriber
    from quicklook.sim import plan_night, sim_instruments, write_calibrations

    console = Console(highlight=False, soft_wrap=True)
    _empty(folder)
    instruments = sim_instruments(("r0", "z0"), scale="small", seed=seed)
    plan = plan_night(20220101, count, cameras=("r0", "z0"), seed=seed)
    write_calibrations(folder, instruments)
    (folder / "raw").mkdir()
    endpoint = f"ipc://{(folder / 'events.ipc').absolute()}"
    (folder / "site.yaml").write_text(SITE.format(endpoint=endpoint), encoding="utf-8")
    daemon = _start(folder)
    try:
        with Subscriber(endpoint, timeout_s=None) as events:
            console.print("The daemon starts; the first time on a machine it compiles its kernels, which takes a minute or two.", style="dim")
            _await_workers(events, 900.0, daemon, folder)
            console.print(f"A night of {count} exposures of cameras r0 and z0 arrives; `quicklook watch --site {folder}/site.yaml` sees to them.\n")
            verdicts = _night(console, folder, plan, instruments, events, pause, daemon)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(20)
    raise typer.Exit(_summary(console, folder, plan, verdicts))


def _empty(folder: Path) -> None:
    from quicklook.core.errors import BadConfig

    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).exists():
            raise BadConfig(f"{folder} is not empty and was not made by the demonstration; name another folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()


def _start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "quicklook", "watch", "--site", str(folder / "site.yaml")]
    with (folder / "daemon.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _await_workers(events: Subscriber, timeout_s: float, daemon: subprocess.Popen[bytes], folder: Path) -> None:
    """Until the daemon says that a worker is warm."""
    from quicklook.core.errors import Transient

    end = time.monotonic() + timeout_s
    while time.monotonic() < end and daemon.poll() is None:
        message = events.receive(0.5)
        if message is not None and message.event.kind == "heartbeat" and message.event.payload["workers"]:
            return
    raise Transient(f"the daemon did not start; see {folder / 'daemon.log'}")


def _night(
    console: Console,
    folder: Path,
    plan: list[PlannedExposure],
    instruments: Any,
    events: Subscriber,
    pause: float,
    daemon: subprocess.Popen[bytes],
) -> dict[int, Event]:
    """Write one exposure after another while verdicts come in; returns the verdict of each."""
    from quicklook.sim import write_exposure

    verdicts: dict[int, Event] = {}
    for planned in plan:
        write_exposure(folder, planned, instruments)
        _listen(console, events, verdicts, pause)
    end = time.monotonic() + 60
    while len(verdicts) < len(plan) and time.monotonic() < end and daemon.poll() is None:
        _listen(console, events, verdicts, 0.5)
    console.print("All verdicts are there; plots are still being drawn.", style="dim")
    _await_plots(events, 240.0)
    return verdicts


def _await_plots(events: Subscriber, timeout_s: float) -> None:
    """Until the renderer has taken every event, as the heartbeat tells."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        message = events.receive(1.0)
        if message is not None and message.event.kind == "heartbeat" and message.event.payload["sinks"].get("render", 0) == 0:
            return


def _listen(console: Console, events: Subscriber, verdicts: dict[int, Event], seconds: float) -> None:
    from quicklook.cli.view import status_text
    from quicklook.core.keys import Unit
    from quicklook.core.status import Status

    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 or seconds == 0:
        message = events.receive(max(0.0, left))
        if message is None:
            return
        event = message.event
        if event.kind == "unit_verdict" and event.unit:
            expid = Unit.parse(event.unit).expid
            verdicts[expid] = event
            line = status_text(Status(event.payload["status"]))
            reasons = event.payload["reasons"]
            console.print(f"{event.unit}  {event.payload['tags'].get('flavor', ''):8s}", line, f"  {reasons[0]}" if reasons else "", markup=False)


def _summary(console: Console, folder: Path, plan: list[PlannedExposure], verdicts: dict[int, Event]) -> int:
    from quicklook.cli.view import reasons_block

    faulty = {p.expid: p for p in plan if p.faults}
    good = [e for e, v in verdicts.items() if v.payload["status"] == "NORMAL"]
    bad = {e: v for e, v in verdicts.items() if v.payload["status"] != "NORMAL"}
    silent = [p.expid for p in plan if p.expid not in verdicts]
    console.print(f"\n[bold]Summary[/]: {len(plan)} exposures, {len(good)} good, {len(bad)} not good, {len(silent)} without a verdict.")
    for expid, verdict in bad.items():
        _explain(console, folder, expid, verdict, faulty, reasons_block)
    seconds = sorted(_seconds_to_verdict(folder, p) for p in plan if p.expid in verdicts)
    if seconds:
        console.print(f"From the last byte of a file to its verdict: median {seconds[len(seconds) // 2]:.2f} s, longest {seconds[-1]:.2f} s.")
    drawn = len(list((folder / "out").rglob("*.png")))
    console.print(f"{drawn} plots were drawn, beside the way of the verdicts.")
    console.print(
        f"Where to look: {folder}/out/live/exposures/NIGHT/EXPID has verdict.json, receipt.json, qa-CAMERA-EXPID.json and plots/;\n"
        f"the events are in {folder}/out/journal.sqlite, the daemon's log is {folder}/daemon.log. The wiring is {folder}/site.yaml.\n"
        f"All of it as a page: {_quicklook()} serve --site {folder}/site.yaml"
    )
    as_planned = set(bad) == set(faulty) and not silent
    if not as_planned:
        console.print("[bold red]Not as planned[/]: the faulty exposures were " + ", ".join(map(str, faulty)))
    return 0 if as_planned else 1


def _quicklook() -> str:
    """The command as it can be typed here: `make demo` leaves nobody in its environment."""
    own = Path(sys.executable).with_name("quicklook")
    return "quicklook" if shutil.which("quicklook") or not own.is_file() else os.path.relpath(own)


def _explain(console: Console, folder: Path, expid: int, verdict: Event, faulty: dict[int, PlannedExposure], block: Any) -> None:
    from quicklook.cli.view import status_text
    from quicklook.core.status import Status
    from quicklook.sim import fault_summary

    console.print(f"\n{verdict.unit}:", status_text(Status(verdict.payload["status"])))
    console.print(block(verdict.payload["reasons"]), markup=False)  # they name QAs in brackets
    planned = f"the simulator had put in: {fault_summary(faulty[expid])}" if expid in faulty else "the simulator had put in no fault"
    console.print(f"  ({planned})\n  look at {folder}/out/live/exposures/{verdict.unit}/plots", style="dim")


def _seconds_to_verdict(folder: Path, planned: PlannedExposure) -> float:
    import json

    path = folder / "out" / "live" / "exposures" / str(planned.night) / f"{planned.expid:08d}" / "receipt.json"
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds_to_verdict"])
    except (OSError, ValueError, KeyError):
        return float("nan")
