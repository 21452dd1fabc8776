"""`quicklook aim`: data that are there, done again under a tag of their own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

    from quicklook.cli.aimrun import Run
    from quicklook.core.keys import Unit
    from quicklook.service.rerun.aimplan import Existing, Mode, Options, Plan
    from quicklook.service.rerun.choosing import Choice, Wanted
    from quicklook.service.site import Site


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("aim")(aim)


def aim(
    night: Annotated[list[str] | None, typer.Option("--night", metavar="A[-B]", help="Night YYYYMMDD, or nights; several with commas.")] = None,
    expid: Annotated[list[str] | None, typer.Option("--expid", metavar="A[-B]", help="Exposure numbers, as in 100-199 or 100,105.")] = None,
    camera: Annotated[
        list[str] | None, typer.Option("--camera", metavar="SPEC", help="Cameras: r0,z1, or a0123b4 (all arms of 0-3, arm b of 4).")
    ] = None,
    test: Annotated[list[str] | None, typer.Option("--test", help="Exposures of this test, of --session or by their headers; repeatable.")] = None,
    session: Annotated[Path | None, typer.Option("--session", help="Session file with the exposures that wait mode has found.")] = None,
    where: Annotated[list[str] | None, typer.Option("--where", metavar="CONDITION", help="As in 'flavor=science and exptime>300'.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Name of the new processing; default: aim- and the time.")] = None,
    from_step: Annotated[str | None, typer.Option("--from-step", metavar="STEP", help="Start at this step, on stored products.")] = None,
    only_qa: Annotated[list[str] | None, typer.Option("--only-qa", metavar="NAME", help="This QA alone, on stored products; repeatable.")] = None,
    from_tag: Annotated[
        str | None, typer.Option("--from-tag", help="Tag of the stored products; or default, last.", show_default="default")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be done, counts first; do nothing.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was interrupted (of --tag, else the latest), with its options.")
    ] = False,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave out what has results under the tag.")] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first camera that cannot be processed.")] = False,
    pdb: Annotated[bool, typer.Option("--pdb", help="In this process alone; where a step or QA raises, stop in the debugger.")] = False,
    workers: Annotated[int, typer.Option("--workers", "-j", help="Worker processes; 0: one a core.", min=0)] = 0,
    draw: Annotated[bool, typer.Option("--draw", help="Pictures too; without it plots are kept as data (see `quicklook plot`).")] = False,
    write: Annotated[str | None, typer.Option(help="Kinds of products to write beside those of the chain, separated by commas.")] = None,
    goal: GoalOption = None,
    listing: Annotated[bool, typer.Option("--list", help="List the processings of the exposures: tags, revisions, default, last.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --list: as JSON.")] = False,
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
    could not run. With --dry-run and --list: 0, and 3 where nothing is chosen, 2 where it could not run.
    """
    from rich.console import Console

    from quicklook.cli.aimrun import Run
    from quicklook.cli.aimview import announce
    from quicklook.service.rerun.aimplan import Options

    chosen = {"--night": night, "--expid": expid, "--camera": camera, "--test": test, "--where": where}
    _refuse_empty({**chosen, "--tag": tag, "--from-step": from_step, "--only-qa": only_qa, "--from-tag": from_tag})
    place: dict[str, Any] = {"instrument": instrument, "raw": raw, "out": out}
    given = Options(calib=str(calib.absolute()) if calib else None, sets=sets or [], badamps=badamps, write=write, goals=goal or [], draw=draw)
    console, live = Console(), site_of(site, **place)
    if default is not None:
        raise typer.Exit(_make_default(console, live.out, default))
    tag = _tag(live, tag, resume=resume)
    if resume:
        modes = {"--from-step": from_step, "--only-qa": only_qa, "--from-tag": from_tag, "--session": session, "--skip-existing": skip_existing}
        given = _as_begun(live.out / tag, given, {**chosen, **modes, "--list": listing})
    described = _described(site, place, given, tag)
    mode = _mode(described, tag, live.file.tag, from_step or "", only_qa or [], from_tag, pdb=pdb)
    run = Run(console=console, site=described, live=live.file.tag, fail_fast=fail_fast, pdb=pdb, workers=workers, draw=given.draw,
              goals=goals_of(given.goals), place={"site": site, **place})  # fmt: skip
    if resume:
        raise typer.Exit(run.resume(dry=dry_run))
    wanted = _wanted(described, chosen, session)
    if listing:
        raise typer.Exit(_list(console, described, wanted, live.file.tag, as_json=as_json))
    choice = _choose(described, wanted)
    plan, existing = _plan(described, choice, tag, mode, given, skip_existing=skip_existing)
    announce(console, plan, choice, existing, described, skip_existing=skip_existing, dry=dry_run)
    raise typer.Exit(_outcome(run, plan, choice, dry=dry_run))


def _refuse_empty(given: Mapping[str, str | Sequence[str] | None]) -> None:
    """An empty text is a variable of a shell that was not set: without it more would be chosen than was meant. Raises BadConfig."""
    from quicklook.core.errors import BadConfig

    for option, value in given.items():
        texts = [value] if isinstance(value, str) else value or []
        if any(not text.strip() for text in texts):
            raise BadConfig(f"{option} is empty", what_next=f"Give {option} a value, or leave it out.")
        if option == "--where" and len(texts) > 1:
            raise BadConfig("--where is given more than once", what_next="Join the conditions with `and`, or with `or`.")


def _as_begun(folder: Path, given: Options, others: Mapping[str, object]) -> Options:
    """The options of the run that is gone on with, in place of those that are not given. Raises BadConfig for options that its plan has settled."""
    from quicklook.core.errors import BadConfig
    from quicklook.service.rerun.aimplan import PlanFile

    if idle := [option for option, value in others.items() if value]:
        what_next = "Leave them out, or begin a run of its own."
        raise BadConfig(f"--resume goes on with the plan of the run, which {', '.join(idle)} cannot change", what_next=what_next)
    plan = PlanFile(folder).read()
    return given if plan is None else given.over(plan.options)


def _described(site: Path | None, place: Mapping[str, Any], given: Options, tag: str) -> Site:
    products = {"products": tuple(given.write.split(","))} if given.write else {}
    calib = Path(given.calib) if given.calib else None
    return site_of(site, given.sets, given.badamps, **place, calib=calib, **products, tag=tag)


def _tag(live: Site, tag: str | None, *, resume: bool) -> str:
    """The tag of the new processing. Raises BadConfig for that of live work, and where there is nothing to resume."""
    from quicklook.core.errors import BadConfig
    from quicklook.service.rerun.aimplan import unfinished
    from quicklook.service.rerun.processings import is_live

    if resume and tag is None:
        tag = next(iter(unfinished(live.out)), None)
        if tag is None:
            raise BadConfig(f"no run under {live.out} was interrupted; there is nothing to resume", what_next="Begin a run.")
    tag = tag or time.strftime("aim-%Y%m%dT%H%M%S", time.gmtime())
    if tag == live.file.tag or is_live(live.out, tag):
        raise BadConfig(f"{tag!r} is the tag of live work, which aim mode never writes to", what_next="Name another --tag.")
    return tag


def _mode(site: Site, tag: str, live: str, from_step: str, only_qa: list[str], from_tag: str | None, *, pdb: bool) -> Mode:
    """What of the chains is done. Raises BadConfig for options that do not go together."""
    from quicklook.core.errors import BadConfig
    from quicklook.service.rerun.aimplan import Mode

    if from_tag and not (from_step or only_qa):
        raise BadConfig("--from-tag goes with --from-step or --only-qa; the whole chain begins at raw files", what_next="Leave it out, or name one.")
    mode = Mode(from_step=from_step, only_qa=only_qa, source=_source(site, from_tag or "default", tag, live) if from_step or only_qa else "")
    if mode.from_step and mode.only_qa:
        raise BadConfig("give --from-step or --only-qa, not both")
    if pdb and mode.only_qa:
        raise BadConfig("--pdb does not go with --only-qa; use --from-step, or `quicklook run --only-qa`")
    return mode


def _outcome(run: Run, plan: Plan, choice: Choice, *, dry: bool) -> int:
    """Carry out the plan, unless it is only to be shown; the exit status, in which a file that cannot be read counts as UNKNOWN."""
    from quicklook.cli.aimrun import recipe_of, refuse_lacking
    from quicklook.core.status import Status, exit_status

    if dry and plan.units:
        refuse_lacking(recipe_of(run.site, plan), plan)
    judged = [(Status.UNKNOWN, True)] * len(choice.unreadable)
    if dry or not plan.units:
        return 3 if not choice.exposures or (judged and not dry) else 0
    return max(run.begin(plan), exit_status(judged) if judged else 0, key=lambda code: (code == 1, code == 3))


def _source(site: Site, name: str, tag: str, live: str) -> str:
    from quicklook.core.errors import BadConfig
    from quicklook.service.rerun.processings import tag_of

    source = tag_of(site.out, name, live=live)
    if source == tag:
        raise BadConfig(f"products of tag {source} cannot be taken for results under the same tag", what_next="Name another --tag or --from-tag.")
    return source


def _wanted(site: Site, chosen: Mapping[str, list[str] | None], session: Path | None) -> Wanted:
    from quicklook.core.errors import BadConfig
    from quicklook.core.selection import Numbers, Parts, parse_nights
    from quicklook.core.where import parse_where
    from quicklook.service.rerun.choosing import Wanted, fact_names
    from quicklook.service.rerun.found import found_of

    night, expid, camera, where = (",".join(chosen[option] or ()) for option in ("--night", "--expid", "--camera", "--where"))
    tests = chosen["--test"] or []
    if not (night or expid or tests):
        raise BadConfig("which exposures? give --night, --expid or --test", what_next="As in --night 20220101.")
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


def _plan(site: Site, choice: Choice, tag: str, mode: Mode, given: Options, *, skip_existing: bool) -> tuple[Plan, Existing]:
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
    return Plan(tag=tag, mode=mode, options=given, started_ns=time.time_ns(), configuration=configuration, units=units), existing


def _list(console: Console, site: Site, wanted: Wanted, live: str, *, as_json: bool) -> int:
    """The processings of the exposures that are there as raw files; of what is stored alone where there is no folder of these."""
    from quicklook.cli.aimview import list_processings

    units: list[tuple[Unit, str]] = []
    if site.file.raw and site.raw.is_dir():
        units = [(e.unit, e.flavor) for e in _choose(site, wanted).exposures]
    else:
        from quicklook.service.rerun.processings import stored_units

        units = [(unit, flavor) for unit, flavor in stored_units(site.out) if wanted.takes_unit(unit)]
    return list_processings(console, site.out, units, live, as_json=as_json)


def _make_default(console: Console, out: Path, tag: str) -> int:
    from quicklook.cli.aimview import sayer
    from quicklook.service.rerun.processings import make_default

    make_default(out, tag)
    sayer(console)(f"{tag} is the default of {out}")
    return 0
