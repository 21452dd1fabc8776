"""`quicklook aim`: data that are there, done again under a tag of their own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import (
    BadAmpsOption,
    CalibOption,
    GoalOption,
    InstrumentOption,
    OutOption,
    RawOption,
    SetOption,
    SiteOption,
    goals_of,
    site_of,
)

if TYPE_CHECKING:
    from rich.console import Console

    from quicklook.service.rerun.aimplan import Existing, Mode, Plan, PlanFile
    from quicklook.service.rerun.choosing import Choice, Wanted
    from quicklook.service.site import Site
    from quicklook.service.workers.processing import Recipe

_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("aim")(aim)


def aim(
    night: Annotated[str | None, typer.Option("--night", metavar="A[-B]", help="Night YYYYMMDD, or nights; several with commas.")] = None,
    expid: Annotated[str | None, typer.Option("--expid", metavar="A[-B]", help="Exposure numbers, as in 100-199 or 100,105.")] = None,
    camera: Annotated[str | None, typer.Option("--camera", metavar="SPEC", help="Cameras: r0,z1, or a0123b4 (all arms of 0-3, arm b of 4).")] = None,
    test: Annotated[list[str] | None, typer.Option("--test", help="Exposures of this test, of --session or by their headers; repeatable.")] = None,
    session: Annotated[Path | None, typer.Option("--session", help="Session file with the exposures that wait mode has found.")] = None,
    where: Annotated[str | None, typer.Option("--where", metavar="CONDITION", help="As in 'flavor=science and exptime>300'.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Name of the new processing; default: aim- and the time.")] = None,
    from_step: Annotated[str | None, typer.Option("--from-step", metavar="STEP", help="Start at this step, on stored products.")] = None,
    only_qa: Annotated[list[str] | None, typer.Option("--only-qa", metavar="NAME", help="This QA alone, on stored products; repeatable.")] = None,
    from_tag: Annotated[str, typer.Option("--from-tag", help="Tag of the stored products; or default, last.")] = "default",
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be done, counts first; do nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted (of --tag, else the latest).")] = False,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave out what has results under the tag.")] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first camera that cannot be processed.")] = False,
    pdb: Annotated[bool, typer.Option("--pdb", help="In this process alone; where a step or QA raises, stop in the debugger.")] = False,
    workers: Annotated[int, typer.Option("--workers", "-j", help="Worker processes; 0: one a core.", min=0)] = 0,
    draw: Annotated[bool, typer.Option("--draw", help="Pictures too; without it plots are kept as data (see `quicklook plot`).")] = False,
    write: Annotated[str | None, typer.Option(help="Kinds of products to write beside those of the chain, separated by commas.")] = None,
    goal: GoalOption = None,
    listing: Annotated[bool, typer.Option("--list", help="List the processings of the exposures: tags, revisions, default, last.")] = False,
    default: Annotated[str | None, typer.Option("--make-default", metavar="TAG", help="Make a tag the default here, and end.")] = None,
    sets: SetOption = None,
    badamps: BadAmpsOption = None,
    site: SiteOption = None,
    instrument: InstrumentOption = None,
    calib: CalibOption = None,
    raw: RawOption = None,
    out: OutOption = None,
) -> None:
    """Process data again that are there, under a tag of their own. Raw files and results under other tags stay as they are.

    Exposures are chosen by night, number, test, camera, and by a condition; all cores work on them. What is done is noted, so that a run that was
    interrupted goes on with --resume. Under a tag that has results each exposure gets a new revision. `quicklook diff` compares two tags.

    Exit status: 0 NORMAL or WARNING, 1 ALARM, 3 UNKNOWN in any camera or exposure, or one that failed, or a file that cannot be read, 2 it
    could not run. With --dry-run and --list: 0, and 3 where nothing is chosen.
    """
    from rich.console import Console

    products = {"products": tuple(write.split(","))} if write else {}
    options = {"instrument": instrument, "calib": calib, "raw": raw, "out": out, **products}
    console, live = Console(), site_of(site, sets, badamps, **options)
    if default is not None:
        raise typer.Exit(_make_default(console, live.out, default))
    tag = _tag(live, tag, resume=resume)
    described = site_of(site, sets, badamps, **options, tag=tag)
    mode = _mode(described, tag, from_step or "", only_qa or [], from_tag, pdb=pdb)
    run = _Run(console, described, fail_fast=fail_fast, pdb=pdb, workers=workers, draw=draw, goals=goals_of(goal))
    if resume:
        raise typer.Exit(run.resume(dry=dry_run))
    wanted = _wanted(described, night, expid, camera, test or [], session, where)
    choice = _choose(described, wanted)
    if listing:
        raise typer.Exit(_list(console, described.out, choice))
    plan, existing = _plan(described, choice, tag, mode, skip_existing=skip_existing)
    _announce(console, plan, choice, existing, described, skip_existing=skip_existing, dry=dry_run)
    raise typer.Exit(_outcome(run, plan, choice, dry=dry_run))


def _tag(live: Site, tag: str | None, *, resume: bool) -> str:
    """The tag of the new processing. Raises BadConfig for that of live work, and where there is nothing to resume."""
    from quicklook.core.errors import BadConfig
    from quicklook.service.rerun.aimplan import unfinished

    if resume and tag is None:
        tag = next(iter(unfinished(live.out)), None)
        if tag is None:
            raise BadConfig(f"no run under {live.out} was interrupted; there is nothing to resume")
    tag = tag or time.strftime("aim-%Y%m%dT%H%M%S", time.gmtime())
    if tag == live.file.tag:
        raise BadConfig(f"{tag!r} is the tag of live work, which aim mode never writes to", what_next="Name another --tag.")
    return tag


def _mode(site: Site, tag: str, from_step: str, only_qa: list[str], from_tag: str, *, pdb: bool) -> Mode:
    """What of the chains is done. Raises BadConfig for options that do not go together."""
    from quicklook.core.errors import BadConfig
    from quicklook.service.rerun.aimplan import Mode

    mode = Mode(from_step=from_step, only_qa=only_qa, source=_source(site, from_tag, tag) if from_step or only_qa else "")
    if mode.from_step and mode.only_qa:
        raise BadConfig("give --from-step or --only-qa, not both")
    if pdb and mode.only_qa:
        raise BadConfig("--pdb does not go with --only-qa; use --from-step, or `quicklook run --only-qa`")
    return mode


def _outcome(run: _Run, plan: Plan, choice: Choice, *, dry: bool) -> int:
    """Carry out the plan, unless it is only to be shown; the exit status, in which a file that cannot be read counts as UNKNOWN."""
    from quicklook.core.status import Status, exit_status

    judged = [(Status.UNKNOWN, True)] * len(choice.unreadable)
    if dry or not plan.units:
        return 3 if not choice.exposures or (judged and not dry) else 0
    return max(run.begin(plan), exit_status(judged) if judged else 0, key=lambda code: (code == 1, code == 3))


def _source(site: Site, name: str, tag: str) -> str:
    from quicklook.core.errors import BadConfig
    from quicklook.service.rerun.processings import tag_of

    source = tag_of(site.out, name)
    if source == tag:
        raise BadConfig(f"products of tag {source} cannot be taken for results under the same tag", what_next="Name another --tag or --from-tag.")
    return source


def _wanted(
    site: Site, night: str | None, expid: str | None, camera: str | None, tests: Sequence[str], session: Path | None, where: str | None
) -> Wanted:
    from quicklook.core.errors import BadConfig
    from quicklook.core.selection import Numbers, Parts, parse_nights
    from quicklook.core.where import parse_where
    from quicklook.service.rerun.choosing import Wanted, fact_names
    from quicklook.service.rerun.found import found_of

    if night is None and expid is None and not tests:
        raise BadConfig("which exposures? give --night, --expid or --test")
    if session is not None and not tests:
        raise BadConfig("--session goes with --test NAME")
    return Wanted(
        nights=parse_nights(night) if night else None,
        expids=Numbers.parse(expid, "--expid") if expid else None,
        parts=Parts.parse(camera) if camera else Parts(),
        where=parse_where(where, fact_names(site.tag_names)) if where else None,
        tests=found_of(session, tests) if session is not None else None,
        test_tags=frozenset(tests) if session is None else frozenset(),
    )


def _choose(site: Site, wanted: Wanted) -> Choice:
    from quicklook.io.reader import open_reader
    from quicklook.service.rerun.choosing import choose

    return choose(site.raw, open_reader(site.instrument), wanted)


def _recipe(site: Site, mode: Mode, plan: Plan) -> Recipe:
    """The recipe of a mode, with the chains that the plan needs. Raises BadConfig also where a stored product is lacking."""
    from quicklook.service.rerun.aim import chains_of, recipe_for

    return recipe_for(site.recipe(chains_of(site, {u.flavor for u in plan.units})), mode)


def _plan(site: Site, choice: Choice, tag: str, mode: Mode, *, skip_existing: bool) -> tuple[Plan, Existing]:
    from quicklook.core.errors import BadConfig
    from quicklook.service.rerun.aim import chains_of, not_for
    from quicklook.service.rerun.aimplan import Plan, configuration_of, plan_units

    recipe = site.recipe(chains_of(site, {e.flavor for e in choice.exposures}))
    why = {flavor: not_for(recipe.chain_for(flavor), mode) for flavor in {e.flavor for e in choice.exposures}}
    if why and all(why.values()):
        raise BadConfig("; ".join(sorted(set(why.values()))), what_next="Name another step or QA.")
    fitting = [e for e in choice.exposures if not why[e.flavor]]
    units, existing = plan_units(fitting, site.out, tag, skip_existing=skip_existing)
    existing.unfit = len(choice.exposures) - len(fitting)
    configuration = configuration_of(recipe, (u.flavor for u in units))
    return Plan(tag=tag, mode=mode, started_ns=time.time_ns(), configuration=configuration, units=units), existing


def _n(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _announce(
    console: Console, plan: Plan, choice: Choice, existing: Existing, site: Site, *, skip_existing: bool, dry: bool
) -> None:
    """What is to be done, counts first; the exposures one by one where that is all."""
    say = _say(console)
    nights = len({u.key.night for u in plan.units})
    say(f"{_n(len(plan.units), 'exposure')}, {_n(plan.cameras, 'camera')} of {_n(nights, 'night')} -> tag {plan.tag} in {site.out}")
    for flavor, n in sorted(Counter(u.flavor for u in plan.units).items()):
        say(f"  {n:6d}  {flavor or 'flavor unknown'}: chain {site.chain_name(flavor)}")
    mode = plan.mode
    if mode.from_step or mode.only_qa:
        say(f"          {f'from step {mode.from_step} on' if mode.from_step else 'QA ' + ', '.join(mode.only_qa)}, products of tag {mode.source}")
    if existing.unfit:
        say(f"  {existing.unfit:6d}  left out (exposures): their chain has no such {'step' if mode.from_step else 'QA'}")
    if existing.cameras and skip_existing:
        say(f"  {existing.cameras:6d}  cameras left out: they have results under the tag")
    elif existing.cameras:
        say(f"  {existing.cameras:6d}  cameras have results under the tag: those are kept as earlier revisions (--skip-existing leaves them out)")
    if choice.unreadable:
        say(f"  {len(choice.unreadable):6d}  files cannot be read:")
        for path, why in list(choice.unreadable.items())[:_SHOWN]:
            say(f"          {path.name}: {why}")
    if choice.doubles:
        say(f"  {len(choice.doubles):6d}  files left out: another one has the same camera of the same exposure, such as {choice.doubles[0]}")
    if dry:
        for unit in plan.units[:_SHOWN]:
            say(f"{unit.unit}  {unit.flavor:8s} revision {unit.revision}  {' '.join(unit.cameras)}")
        if len(plan.units) > _SHOWN:
            say(f"and {len(plan.units) - _SHOWN} more")


def _say(console: Console) -> Callable[[str], None]:
    """Prints a line as it is: names may hold what looks like markup."""

    def say(text: str) -> None:
        console.print(text.encode(errors="backslashreplace").decode(), markup=False, highlight=False, soft_wrap=True)

    return say


def _list(console: Console, out: Path, choice: Choice) -> int:
    """The processings of each exposure, the last one first; 3 where no exposure is chosen."""
    from datetime import UTC, datetime

    from quicklook.service.rerun.processings import processings

    say = _say(console)
    for exposure in choice.exposures:
        found = processings(out, exposure.unit)
        say(f"{exposure.unit}  {exposure.flavor}: {_n(len(found), 'processing')}")
        for p in found:
            when = datetime.fromtimestamp(p.time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
            marks = " ".join(m for m, on in (("default", p.default), ("last", p.last)) if on)
            say(f"    {p.tag}@{p.revision}  {p.status}  {_n(len(p.parts), 'camera')}  {when}  {marks}".rstrip())
    return 0 if choice.exposures else 3


def _make_default(console: Console, out: Path, tag: str) -> int:
    from quicklook.service.rerun.processings import make_default

    make_default(out, tag)
    _say(console)(f"{tag} is the default of {out}")
    return 0


@dataclass(frozen=True, slots=True)
class _Run:
    """How a plan is carried out."""

    console: Console
    site: Site
    fail_fast: bool
    pdb: bool
    workers: int
    draw: bool
    goals: dict[str, float]

    def begin(self, plan: Plan) -> int:
        """A new plan; the exit status."""
        from quicklook.core.errors import BadConfig

        recipe = _recipe(self.site, plan.mode, plan)
        self._refuse_lacking(recipe, plan)
        file = self._file()
        try:
            old = file.read()
            if old is not None and old.state == "running":
                what_next = f"--resume --tag {plan.tag} goes on with it; to give it up, remove {file.path}."
                raise BadConfig(f"a run under tag {plan.tag} was interrupted and is not finished", what_next=what_next)
            file.begin(plan)
            return self._go(recipe, plan, file)
        finally:
            file.release()

    def resume(self, *, dry: bool) -> int:
        """Go on with the plan of the tag; the exit status."""
        from quicklook.core.errors import BadConfig
        from quicklook.service.rerun.aim import chains_of
        from quicklook.service.rerun.aimplan import configuration_of

        file = self._file(there=True)
        try:
            plan = file.read()
            if plan is None or plan.state != "running":
                raise BadConfig(f"there is no interrupted run under tag {self.site.file.tag} in {self.site.out}")
            flavors = {u.flavor for u in plan.units}
            if configuration_of(self.site.recipe(chains_of(self.site, flavors)), flavors) != plan.configuration:
                what_next = "Give the same options as before, or begin under another --tag."
                raise BadConfig("chains, parameters or limits are not those that the run began with: its results would not belong together",
                                what_next=what_next)  # fmt: skip
            left = sum(not file.is_done(u.key) for u in plan.units)
            _say(self.console)(f"{_n(left, 'exposure')} of {len(plan.units)} of tag {plan.tag} {'are' if left != 1 else 'is'} not finished")
            return 0 if dry else self._go(_recipe(self.site, plan.mode, plan), plan, file)
        finally:
            file.release()

    def _file(self, *, there: bool = False) -> PlanFile:
        """The plan of the tag, locked. Raises BadConfig where another process has it; with `there` also where there is none."""
        from quicklook.core.errors import BadConfig
        from quicklook.service.rerun.aimplan import PlanFile

        file = PlanFile(self.site.out / self.site.file.tag)
        if there and not file.path.is_file():
            raise BadConfig(f"there is no interrupted run under tag {self.site.file.tag} in {self.site.out}")
        file.lock()
        return file

    @staticmethod
    def _refuse_lacking(recipe: Recipe, plan: Plan) -> None:
        from quicklook.core.errors import BadData
        from quicklook.service.rerun.aim import lacking

        if found := lacking(recipe, plan):
            sentences = [f"{why} ({_n(len(keys), 'camera')}, such as {keys[0]})" for why, keys in found.items()]
            raise BadData("\n  ".join(sentences), what_next="Have these products stored, or start at an earlier step.")

    def _go(self, recipe: Recipe, plan: Plan, file: PlanFile) -> int:
        from quicklook.cli.aimview import Progress, show_summary
        from quicklook.core.errors import Transient
        from quicklook.core.status import exit_status
        from quicklook.service.rerun.aim import AimRun, executor_for
        from quicklook.service.rerun.fromstored import Debugging

        if self.pdb:
            recipe = replace(recipe, runner=Debugging(look=_post_mortem, inner=recipe.runner))
        left = sum(not file.is_done(u.key) for u in plan.units)
        cameras = sum(len(u.cameras) for u in plan.units if not file.is_done(u.key))
        with Progress(cameras, left, quiet=self.pdb) as progress:
            run = AimRun(recipe=recipe, plan=plan, file=file, teller=progress, attempts=self.site.file.work.attempts,
                         fail_fast=self.fail_fast, draw=self.draw, goals=self.goals)  # fmt: skip
            executor = executor_for(recipe, self.site.file.work, self.workers, inline=self.pdb or cameras <= 1, most=cameras)
            try:
                summary = run.run(executor)
            except (KeyboardInterrupt, Transient):
                _say(self.console)(f"interrupted; go on with: quicklook aim --resume --tag {plan.tag}")
                raise
            finally:
                executor.stop()
        show_summary(self.console, summary, plan, self.site.out, self._other(plan))
        return exit_status(summary.judged) if summary.judged else 0


    def _other(self, plan: Plan) -> str:
        """The tag to compare with: where products came from, else the default, where it has results."""
        from quicklook.io.history import FileHistory
        from quicklook.service.rerun.processings import default_tag

        other = plan.mode.source or default_tag(self.site.out)
        return other if other in FileHistory(self.site.out).tags() else ""


def _post_mortem(error: BaseException, traceback: object) -> None:
    import pdb

    typer.echo(f"{type(error).__name__}: {error}", err=True)
    pdb.post_mortem(traceback)  # type: ignore[arg-type]
