"""A plan of aim mode carried out, begun or gone on with, and its exit status."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import typer

from quicklook.cli.aimview import sayer
from quicklook.cli.past import counted

if TYPE_CHECKING:
    from rich.console import Console

    from quicklook.service.rerun.aimplan import Plan, PlanFile
    from quicklook.service.site import Site
    from quicklook.service.workers.processing import Recipe


def recipe_of(site: Site, plan: Plan) -> Recipe:
    """The recipe of the mode of a plan, with the chains that the plan needs. Raises BadConfig where the index of calibrations cannot be used."""
    from quicklook.io.calib import open_calibrations
    from quicklook.service.rerun.aim import chains_of, recipe_for

    recipe = recipe_for(site.recipe(chains_of(site, {u.flavor for u in plan.units})), plan.mode)
    open_calibrations(recipe.calib)  # else each camera would fail for the same reason
    return recipe


def plan_file(site: Site, *, there: bool = False) -> PlanFile:
    """The plan of the tag of a site, locked. Raises BadConfig where another process has it; with `there` also where there is none."""
    from quicklook.core.errors import BadConfig
    from quicklook.service.rerun.aimplan import PlanFile

    file = PlanFile(site.out / site.file.tag)
    if there and not file.path.is_file():
        raise BadConfig(f"there is no interrupted run under tag {site.file.tag} in {site.out}", what_next="Name another --tag, or begin a run.")
    file.lock()
    return file


def refuse_lacking(recipe: Recipe, plan: Plan) -> None:
    """Raises BadData where cameras cannot be started from stored products: which are lacking, and how they can be had."""
    from quicklook.core.errors import BadData
    from quicklook.service.rerun.aim import lacking

    if found := lacking(recipe, plan):
        sentences = [f"{why} ({counted(len(keys), 'camera')}, such as {keys[0]})" for why, keys in found.items()]
        raise BadData("\n  ".join(sentences), what_next="Have these products stored, or start at an earlier step.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a plan is carried out; `live` is the tag of live work, `place` what was given on the command line of where things are."""

    console: Console
    site: Site
    live: str
    fail_fast: bool
    pdb: bool
    workers: int
    draw: bool
    goals: dict[str, float]
    place: Mapping[str, object] = field(default_factory=dict)

    @property
    def goes_on(self) -> str:
        """The command that goes on with the run; it knows the other options by itself."""
        where = [word for option, value in self.place.items() if value is not None for word in (f"--{option}", str(value))]
        return shlex.join(["quicklook", "aim", "--resume", "--tag", self.site.file.tag, *where])

    def begin(self, plan: Plan) -> int:
        """A new plan; the exit status."""
        from quicklook.core.errors import BadConfig

        recipe = recipe_of(self.site, plan)
        refuse_lacking(recipe, plan)
        file = plan_file(self.site)
        try:
            old = file.read()
            if old is not None and old.state == "running":
                what_next = f"`{self.goes_on}` goes on with it; to give it up, remove {file.path}."
                raise BadConfig(f"a run under tag {plan.tag} was interrupted and is not finished", what_next=what_next)
            file.begin(plan)
            return self._go(recipe, plan, file)
        finally:
            file.release()

    def resume(self, *, dry: bool) -> int:
        """Go on with the plan of the tag; the exit status, over what was done before, too."""
        from quicklook.core.errors import BadConfig
        from quicklook.service.rerun.aim import chains_of
        from quicklook.service.rerun.aimplan import configuration_of, differences

        file = plan_file(self.site, there=True)
        try:
            plan = file.read()
            if plan is None or plan.state != "running":
                raise BadConfig(f"there is no interrupted run under tag {self.site.file.tag} in {self.site.out}",
                                what_next="What is done there is done; begin a run.")  # fmt: skip
            flavors = {u.flavor for u in plan.units}
            if differ := differences(plan.configuration, configuration_of(self.site.recipe(chains_of(self.site, flavors)), flavors)):
                raise BadConfig(f"what the run began with is another now: {'; '.join(differ)}; its results would not belong together",
                                what_next="Restore it or give the same options as then, or begin under another --tag.")  # fmt: skip
            left = sum(not file.is_done(u.key) for u in plan.units)
            sayer(self.console)(f"{counted(left, 'exposure')} of {len(plan.units)} of tag {plan.tag} {'are' if left != 1 else 'is'} not finished")
            return 0 if dry else self._go(recipe_of(self.site, plan), plan, file)
        finally:
            file.release()

    def _go(self, recipe: Recipe, plan: Plan, file: PlanFile) -> int:
        from quicklook.cli.aimview import Progress, show_summary
        from quicklook.core.errors import Transient
        from quicklook.core.status import exit_status
        from quicklook.service.rerun.aim import AimRun, executor_for
        from quicklook.service.rerun.fromstored import Debugging
        from quicklook.service.rerun.restoring import note_exposures

        if self.pdb:
            recipe = replace(recipe, runner=Debugging(look=_post_mortem, inner=recipe.runner))
        left = [u for u in plan.units if not file.is_done(u.key)]
        cameras = sum(len(u.cameras) for u in left)
        with Progress(cameras, len(left), quiet=self.pdb) as progress:
            run = AimRun(recipe=recipe, plan=plan, file=file, teller=progress, attempts=self.site.file.work.attempts,
                         fail_fast=self.fail_fast, draw=self.draw, goals=self.goals)  # fmt: skip
            executor = executor_for(recipe, self.site.file.work, self.workers, inline=self.pdb or cameras <= 1, most=cameras)
            try:
                summary = run.run(executor)
            except (KeyboardInterrupt, Transient):
                sayer(self.console)(f"interrupted; go on with: {self.goes_on}")
                raise
            finally:
                executor.stop()
        if complaint := note_exposures(self.site, plan.tag, list(summary.units)):
            sayer(self.console)(complaint)
        show_summary(self.console, summary, plan, self.site.out, self._other(plan), self.goes_on)
        return exit_status(summary.judged) if summary.judged else 0

    def _other(self, plan: Plan) -> str:
        """The tag to compare with: where products came from, else the default, where it has results."""
        from quicklook.io.history import FileHistory
        from quicklook.service.rerun.processings import default_tag

        other = plan.mode.source or default_tag(self.site.out, self.live)
        return other if other in FileHistory(self.site.out).tags() else ""


def _post_mortem(error: BaseException, traceback: object) -> None:
    import pdb

    typer.echo(f"{type(error).__name__}: {error}", err=True)
    pdb.post_mortem(traceback)  # type: ignore[arg-type]
