"""`quicklook run`: take raw files through a chain, here and now."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import (
    BadAmpsOption,
    CalibOption,
    CamerasOption,
    GoalOption,
    InstrumentOption,
    OutOption,
    RawOption,
    SetOption,
    SiteOption,
    TagOption,
    goals_of,
    site_of,
)

if TYPE_CHECKING:
    from rich.console import Console

    from quicklook.api import Session
    from quicklook.core.keys import Unit
    from quicklook.core.status import Status
    from quicklook.io.reader import Peek
    from quicklook.service.workers.processing import Processed


CHAIN_SUFFIXES = (".yaml", ".yml")
OnlyQaOption = Annotated[list[str] | None, typer.Option("--only-qa", metavar="NAME", help="This QA alone, on stored products; may be repeated.")]


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("run")(run)


def run(
    chain: Annotated[str | None, typer.Argument(help="Chain: a name (see `list chains`) or a file; default: by the flavor of each exposure.")] = None,
    files: Annotated[list[Path] | None, typer.Argument(help="Raw files.")] = None,
    site: SiteOption = None,
    instrument: InstrumentOption = None,
    calib: CalibOption = None,
    raw: RawOption = None,
    out: OutOption = None,
    tag: TagOption = None,
    night: Annotated[int | None, typer.Option(help="Night YYYYMMDD, with --expid in place of files.")] = None,
    expid: Annotated[int | None, typer.Option(help="Exposure number, with --night in place of files.")] = None,
    camera: CamerasOption = None,
    sets: SetOption = None,
    badamps: BadAmpsOption = None,
    goal: GoalOption = None,
    write: Annotated[str | None, typer.Option(help="Kinds of products to write, separated by commas, such as preproc.")] = None,
    plots: Annotated[bool, typer.Option(help="Draw plots, after the verdict.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Verdicts alone, no table.")] = False,
    hk: Annotated[Path | None, typer.Option("--hk", help="Join this store of housekeeping samples (default: that of the site).")] = None,
    only_qa: OnlyQaOption = None,
    dry: Annotated[bool, typer.Option("--dry", help="With --only-qa: show what would change, write nothing.")] = False,
) -> None:
    """Run a chain over raw files: a live table of steps, the verdict and its reasons, and at the end what to do; files go to --out.

    What was run before under the same --tag is kept: its files get its revision into their names.

    With --only-qa these QAs alone, without the chain, on the products that are stored under --out and --tag: their results take the place of the
    stored ones in a new revision of the merged QA, all else is kept, and the verdict is made again.

    Exit status: 0 NORMAL or WARNING, 1 ALARM, 3 UNKNOWN in any camera or a step that failed (its products are absent), 2 it could not run.
    """
    from rich.console import Console

    from quicklook.api import Session
    from quicklook.core.errors import BadConfig
    from quicklook.core.status import exit_status

    products = {"products": tuple(write.split(","))} if write else {}
    described = site_of(site, sets, badamps, instrument=instrument, calib=calib, raw=raw, out=out, tag=tag or "run", plots=plots, **products)
    session = Session(described if hk is None else described.with_housekeeping(hk))
    chain, paths = _named(session, chain, files or [], night, expid)
    console = Console()
    if only_qa:
        from quicklook.cli.onlyqa import run_only

        raise typer.Exit(run_only(console, session, only_qa, paths, camera, chain or "", dry=dry))
    if dry:
        raise BadConfig("--dry goes with --only-qa NAME")
    judged: list[tuple[Status, bool]] = []
    runs: dict[Unit, _Exposure] = {}
    whole = not camera and (not files or described.instrument.layout.camera_hdus is not None)
    goals = goals_of(goal)
    session.check_goals(goals)
    ending = _Ending(console, goals, described.instrument.cameras.expected if whole else ())
    for path in paths:
        judged += _run_file(session, chain, path, camera, quiet, runs, ending)
    for run_of_one in runs.values():
        run_of_one.conclude()
    note_in_store(console, session, runs)
    raise typer.Exit(exit_status([*judged, *ending.judged]))


def note_in_store(console: Console, session: Session, units: Collection[Unit]) -> None:
    """Bring what was written of exposures into the metrics store, where there is one; where that cannot be, it is said."""
    from rich.text import Text

    from quicklook.service.rerun.restoring import note_exposures

    if complaint := note_exposures(session.site, session.site.file.tag, units):
        console.print(Text(complaint, style="yellow"), soft_wrap=True)


def _named(session: Session, chain: str | None, files: Sequence[Path], night: int | None, expid: int | None) -> tuple[str | None, list[Path]]:
    """The chain and the raw files that a command line names: what stands first may be either. Raises BadConfig where there is no such thing."""
    from quicklook.core.errors import BadConfig
    from quicklook.io.configfiles import list_configs

    paths = list(files)
    if chain is not None and Path(chain).is_file() and not chain.endswith(CHAIN_SUFFIXES):
        paths, chain = [Path(chain), *paths], None
    if night is not None and expid is not None:
        paths += session.find(night, expid)
    if not paths:
        if chain is not None and not Path(chain).exists() and chain not in list_configs("chains"):
            what_next = "Say which raw files; `quicklook list chains` shows the chains."
            raise BadConfig(f"there is neither a raw file nor a chain {chain}", what_next=what_next)
        raise BadConfig("nothing to run: name raw files, or --night and --expid", what_next="As in: quicklook run science FILE --site site.yaml")
    if folders := [str(p) for p in paths if p.is_dir()]:
        what_next = "Name the raw files in it, of an observation book its M_index.yaml."
        raise BadConfig(f"{', '.join(folders)} is a folder", what_next=what_next)
    if missing := [str(p) for p in paths if not p.is_file()]:
        raise BadConfig(f"there is no file {', '.join(missing)}", what_next="Check the path.")
    if chain is not None:
        session.chain(chain)
    return chain, paths


class _Ending:
    """How exposures of this run end: where it is shown, what they were to reach, which cameras they should have, what was judged of the whole."""

    def __init__(self, console: Console, goals: Mapping[str, float], expected: Sequence[str]) -> None:
        self.console, self.goals, self.expected = console, goals, expected
        self.judged: list[tuple[Status, bool]] = []

    def end(self, session: Session, peek: Peek, chain: str, done: Sequence[Processed], started_ns: int) -> None:
        """Verdict, decision and receipt of one exposure."""
        from quicklook.cli.card import show_card
        from quicklook.core.status import worst

        concluded = session.conclude(peek, done, started_ns, chain=chain, goals=self.goals, expected=self.expected)
        status = worst(q.status for q in concluded.verdict.qas)
        self.judged += [(status, False)] if status else []
        if concluded.card is not None:
            show_card(self.console, concluded.card)


class _Exposure:
    """The cameras of one exposure that this run has processed, from whatever files, and the revision that they make up."""

    def __init__(self, session: Session, peek: Peek, chain: str, ending: _Ending) -> None:
        self._session, self._peek, self._chain, self._ending = session, peek, chain, ending
        self._begin()

    def _begin(self) -> None:
        self.revision, self._started_ns = self._session.next_revision(self._peek.unit), time.time_ns()
        self._done: list[Processed] = []

    def expect(self, camera: str) -> None:
        """Begin another revision if the camera is in this one: two files of one exposure."""
        if camera in [d.key.part for d in self._done]:
            self.conclude()
            self._begin()

    def add(self, done: Processed) -> None:
        """One more camera is done."""
        self._done.append(done)

    def conclude(self) -> None:
        """Write the verdict over its cameras, the decision and the receipt."""
        if self._done:
            self._ending.end(self._session, self._peek, self._chain, self._done, self._started_ns)


def _run_file(
    session: Session, chain: str | None, path: Path, camera: Sequence[str] | None, quiet: bool, runs: dict[Unit, _Exposure], ending: _Ending
) -> list[tuple[Status, bool]]:
    """Status of each camera, and whether a step of it failed."""
    from quicklook.core.errors import QuicklookError
    from quicklook.core.status import Status

    try:
        peek = session.peek(path)
    except QuicklookError as error:
        from rich.text import Text

        # as Text, since names and headers may hold what looks like markup
        name = path.name.encode(errors="backslashreplace").decode()
        ending.console.print(Text.assemble(("? UNKNOWN", "bold magenta"), f" {name}: {error}"), soft_wrap=True)
        return [(Status.UNKNOWN, True)]
    chosen = chain or session.site.chain_name(peek.flavor)
    cameras = cameras_of(peek, camera, path)
    exposure = runs.setdefault(peek.unit, _Exposure(session, peek, chosen, ending))
    return [_run_camera(ending.console, session, chosen, path, name, quiet, exposure) for name in cameras]


def cameras_of(peek: Peek, wanted: Sequence[str] | None, path: Path) -> list[str]:
    """The cameras that are named, or all of the file. Raises BadConfig for one that is not in it."""
    from quicklook.core.errors import BadConfig

    absent = [c for c in wanted or () if c not in peek.cameras]
    if absent:
        raise BadConfig(f"{path.name} has no camera {', '.join(absent)}; it has {', '.join(peek.cameras)}")
    return list(wanted or peek.cameras)


def _run_camera(
    console: Console, session: Session, chain: str, path: Path, camera: str, quiet: bool, exposure: _Exposure
) -> tuple[Status, bool]:
    from rich.live import Live

    from quicklook.cli.view import LiveTable, show_verdict

    exposure.expect(camera)
    table = LiveTable(f"{path.name}  camera {camera}  chain {chain}")
    if quiet:
        done = session.process(chain, path, camera, revision=exposure.revision)
    else:
        with Live(table, console=console, refresh_per_second=8, vertical_overflow="visible"):
            done = session.process(chain, path, camera, observer=table, revision=exposure.revision)
    exposure.add(done)
    if not console.is_terminal and not quiet:
        console.print()
    show_verdict(console, done.outcome.result)
    written = session.write(done, chain)
    folder = session.draw(written)
    console.print(f"  {done.seconds:.2f} s; files in {folder}", style="dim", highlight=False, markup=False, soft_wrap=True)
    result = done.outcome.result
    return result.status, any(step.failure for step in result.steps)
