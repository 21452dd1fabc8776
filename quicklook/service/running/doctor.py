"""The doctor: looks at a site before the night, and says of each thing whether it is in order, and what to do where it is not."""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from quicklook.core.contract import contract_of
from quicklook.core.errors import BadConfig, Hangs, QuicklookError, describe
from quicklook.core.product import Calibration
from quicklook.io.calib import INDEX, open_index
from quicklook.io.calibcensus import Listed
from quicklook.io.calibentry import CalibEntry
from quicklook.io.configfiles import list_configs
from quicklook.io.metricstore.opening import examine_store
from quicklook.io.naming import night_of
from quicklook.io.reader import camera_tags, open_reader
from quicklook.service.arrival import tree
from quicklook.service.arrival.patience import Look, Patience
from quicklook.service.journal import jobs
from quicklook.service.journal.journal import EVENTS, Journal, daemon_lives, journal_path
from quicklook.service.publishing.commands import command_endpoint, token_path
from quicklook.service.publishing.publish import ZmqParams
from quicklook.service.publishing.sinks import make_sink
from quicklook.service.rerun.restoring import store_of
from quicklook.service.running import hostchecks as host
from quicklook.service.running.hostchecks import Finding, ok, problem, warning
from quicklook.service.site import Site

log = logging.getLogger("quicklook.doctor")

_SILENT_S = 15.0
_OLD_CALIBRATION_DAYS = 365
_NAMED = 5


def examine_site(site: Site, told: Callable[[Finding], None] = lambda _finding: None) -> list[Finding]:
    """All checks of a site, one after the other; `told` hears of each finding at once. Raises nothing: what cannot be checked is a warning.

    A folder whose file system hangs is a problem, and is not looked at again.
    """
    found, patience, hanging = list[Finding](), Patience(), set[Path]()
    for topic, at, check in _checks(site, patience.look):
        if at in hanging:
            continue
        try:
            new = patience.run(partial(_guarded, topic, check), at or topic)
        except Hangs as error:
            hanging |= {at} if at else set()
            new = [problem(topic, str(error), error.what_next)]
        for finding in new:
            found.append(finding)
            told(finding)
    return found


def _checks(site: Site, look: Look) -> Iterator[tuple[str, Path | None, Callable[[], Iterable[Finding]]]]:
    """Topic, folder that is looked at, and check; one that looks often tells `look` of it. Nothing here looks at a folder by itself."""
    file, out, raw = site.file, site.out, Path(site.file.raw) if site.file.raw else None
    calib = Path(site.file.calib) if site.file.calib else None
    token = Path(file.commands.token) if file.commands.token else token_path(out)
    yield "configuration", None, partial(_configuration, site)
    yield "user", None, host.user_findings
    if raw is None:
        yield "raw files", None, lambda: [problem("raw files", "the site names no folder of raw files", "Write `raw: FOLDER` into the site.")]
    else:
        yield "raw files", raw, partial(host.folder_findings, "raw files", raw, write=False)
    yield "results", out, partial(host.folder_findings, "results", out, write=True)
    yield "clock", out, partial(host.clock_findings, out)
    yield "night", None, partial(_night, site)
    if raw is not None:
        yield "clock", raw, partial(_newest_raw, site, raw, look)
        yield "file systems", raw, partial(host.file_system_findings, raw, out, file.watch.mode, look)
    yield "disk", out, partial(host.disk_findings, "disk", out, file.disk.warn_gb, file.disk.keep_gb)
    yield "memory", None, partial(host.memory_findings, file.work.workers, file.work.threads)
    yield "cores", None, partial(host.core_findings, file.work.workers, file.work.threads)
    yield "metrics store", out, partial(_metrics_store, site)
    yield "kernel cache", None, _kernel_cache
    yield "calibrations", calib, partial(_calibrations, site, look)
    yield "ports", out, partial(_ports, site)
    yield "token", token.parent, partial(_token, token)
    yield "daemon", out, partial(_daemon, site)


def _guarded(topic: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    found = list[Finding]()
    try:
        found.extend(check())
    except QuicklookError as error:
        found.append(problem(topic, describe(error), error.what_next))
    except Exception as error:  # of somebody else's plugin, or a system that is unlike ours: the other checks go on
        log.debug("%s could not be checked", topic, exc_info=True)
        found.append(warning(topic, f"it could not be checked: {describe(error)}", "Check it by hand."))
    return found


# ---- what the site says


def _configuration(site: Site) -> Iterator[Finding]:
    site.check()
    recipe = site.live_recipe()
    site.build_plans(recipe.builders)
    for name, params in site.file.sinks.items():
        make_sink(name, params, site.document)
    said = f"{site.source}: instrument {site.instrument.name}, {len(recipe.chains)} chains, {len(recipe.limits.limits)} limits"
    yield ok("configuration", f"{said}, sinks {', '.join(site.file.sinks) or 'none'}")


def _night(site: Site) -> Iterator[Finding]:
    place = site.instrument.site
    night = night_of(datetime.now(UTC), place)
    if place.longitude_deg == 0.0:
        what = f"Write `site: {{longitude_deg: ...}}` into the file of instrument {site.instrument.name} if that is not so."
        yield warning("night", f"it is night {night}, at longitude 0", what)
    else:
        yield ok("night", f"it is night {night} at longitude {place.longitude_deg:g}; it changes at {place.night_change_hour:g} h local mean time")


def _metrics_store(site: Site) -> Iterator[Finding]:
    url = store_of(site)
    if url is not None:
        yield ok("metrics store", examine_store(url))


def _newest_raw(site: Site, raw: Path, look: Look) -> Iterator[Finding]:
    reader = open_reader(site.instrument)
    newest = None
    for entries, _ in tree.walk(str(raw)):
        for entry in (e for e in entries if reader.accepts(e.path)):
            look(entry.path)
            changed = entry.stat().st_mtime
            newest = changed if newest is None else max(newest, changed)
        look(raw)
    yield from host.future_findings(newest)


# ---- what is needed


def _kernel_cache() -> Iterator[Finding]:
    importlib.import_module("quicklook.core.compiled")  # it chooses the folder
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    if folder.name.startswith("quicklook-numba-"):
        what = "Name a folder that this user can write, and that is its own, in QUICKLOOK_CACHE_DIR."
        yield warning("kernel cache", f"compiled kernels cannot be kept ({folder} is for this process alone): each start compiles for a minute", what)
        return
    kernels = sum(1 for _ in folder.rglob("*.nbi"))
    yield from (f for f in host.folder_findings("kernel cache", folder, write=True) if f.status != host.OK)
    yield ok("kernel cache", f"{folder}: {kernels} kernels are compiled" + ("" if kernels else "; the first start takes a minute more"))


def _calibrations(site: Site, look: Look) -> Iterator[Finding]:
    needed = _needed_kinds(site)
    if not site.file.calib:
        if any(needed.values()):
            names = ", ".join(kind for kind, must in needed.items() if must)
            yield problem("calibrations", f"the site names no folder of calibrations, and its chains need {names}", "Write `calib: FOLDER` into it.")
        return
    folder = Path(site.file.calib)
    write = bool(site.file.adopt.kinds)
    yield from (f for f in host.folder_findings("calibrations", folder, write=write) if f.status != host.OK)
    if not folder.is_dir():
        return
    index = open_index(folder)
    entries = [e for e in index.entries() if e.quality != "bad"]
    night = night_of(datetime.now(UTC), site.instrument.site)
    for kind, must in needed.items():
        look(folder)
        yield from _of_kind(site, index, [e for e in entries if e.of_kind == kind], kind, must, night)
    if write and not (folder / INDEX).is_file():
        yield ok("calibrations", f"{folder} has no {INDEX} yet; it is made when the first calibration is adopted")


def _needed_kinds(site: Site) -> dict[str, bool]:
    """Kinds of calibrations that chains take; whether one of them cannot do without."""
    out = dict[str, bool]()
    for chain in site.chains().values():
        made = set[type]()
        for plugin in (step.plugin for step in chain.steps if step.plugin is not None):
            contract = contract_of(plugin)
            for need in contract.inputs:
                if need.calibration and need.type not in made and issubclass(need.type, Calibration):
                    out[need.type.kind] = out.get(need.type.kind, False) or not need.optional
            made |= set(contract.outputs)
    return dict(sorted(out.items(), key=lambda item: (not item[1], item[0])))


def _of_kind(site: Site, index: Listed, entries: Sequence[CalibEntry], kind: str, must: bool, night: int) -> Iterator[Finding]:
    topic = f"calibration {kind}"
    built = [name for name in list_configs("builders") if name == kind or (kind, name) == ("psf", "traces")]
    make = f"Make it: `quicklook calib build {built[0]}`; or add it: `quicklook calib add`." if built else "Add it: `quicklook calib add`."
    valid = [e for e in entries if e.valid(night)]
    if not valid and not must and not built:
        return  # a refinement that few have
    if not valid:
        said = f"there is none for night {night}" + (f" ({len(entries)} for other nights)" if entries else "")
        yield problem(topic, f"{said}, and the chains need it", make) if must else warning(topic, f"{said}; the work goes on without it", make)
        return
    if gone := [e for e in valid if not index.locate(e).is_file()]:
        named = ", ".join(str(index.locate(e)) for e in gone[:_NAMED])
        what = "Bring them back, or take them out of the index; `quicklook calib check` tells more."
        yield problem(topic, f"{len(gone)} files are not there: {named}", what)
    if lacking := [c for c in site.instrument.cameras.expected if not any(_is_for(site, e, c) for e in valid)]:
        yield (problem if must else warning)(topic, f"there is none for {' '.join(lacking)}", make)
    nights = [n for e in valid if (n := e.night or e.valid_from)]
    age = f"the newest is of night {max(nights)}, {_days(max(nights), night)} days old" if nights else "of what night they are is not said"
    said = f"{len(valid)} hold on night {night}; {age}"
    if nights and _days(max(nights), night) > _OLD_CALIBRATION_DAYS:
        yield warning(topic, said, make)
    else:
        yield ok(topic, said)


def _is_for(site: Site, entry: CalibEntry, camera: str) -> bool:
    """Whether an entry may be for a camera: what only a frame tells (its settings, serial number) is taken to fit."""
    tags = {"instrument": site.instrument.name, "camera": camera, **camera_tags(site.instrument, camera)}
    plain = entry.model_copy(update={"serial": "", "when": {k: v for k, v in entry.when.items() if k in tags}})
    return not plain.misfit(tags)


def _days(first: int, last: int) -> int:
    return (datetime.strptime(str(last), "%Y%m%d") - datetime.strptime(str(first), "%Y%m%d")).days


# ---- the doors, the daemon


def _lives(out: Path) -> tuple[bool, Finding | None]:
    """Whether a daemon works there; where this user may not see that, the finding that says so."""
    try:
        return daemon_lives(out), None
    except BadConfig as error:
        return False, problem("daemon", str(error), error.what_next)


def _ports(site: Site) -> Iterator[Finding]:
    lives, _ = _lives(site.out)
    if "zmq" in site.file.sinks:
        params = ZmqParams.model_validate(site.file.sinks["zmq"])
        yield from host.port_findings("events", params.endpoint, daemon_lives=lives)
        yield from host.port_findings("replay", params.replay_at, daemon_lives=lives)
    commands = command_endpoint(site.out, site.file.commands)
    if site.file.commands.endpoint and not commands:
        what = "Name an endpoint under `commands` of the site."
        yield warning("commands", f"{site.out} is too long for a socket: the daemon takes no commands", what)
    yield from host.port_findings("commands", commands, daemon_lives=lives)


def _token(path: Path) -> Iterator[Finding]:
    if not path.is_file():
        return
    if path.stat().st_mode & 0o077:
        yield problem("token", f"{path} can be read by others, who could command the daemon", f"Run: chmod 600 {path}")
    else:
        yield ok("token", f"{path} can be read by its owner alone")


def _daemon(site: Site) -> Iterator[Finding]:
    path, (lives, unseen) = journal_path(site.out), _lives(site.out)
    if unseen is not None:
        yield unseen
    if not path.is_file():
        yield ok("daemon", "none has worked here yet")
        return
    journal = Journal(path, time.time_ns, to_read=True)
    try:
        with journal.reading() as connection:
            last = connection.execute(sa.select(sa.func.max(EVENTS.c.time))).scalar()
            count = jobs.counts(connection, site.file.tag)
    finally:
        journal.close()
    age = None if last is None else (time.time_ns() - int(last)) / 1e9
    if age is not None and age < -1:
        yield problem("journal", f"its last event is {-age:.0f} s in the future", "The clock was set back: wait, or set it right.")
    yield ok("journal", f"{path}, {path.stat().st_size / 1e6:.1f} MB")
    if lives and age is not None and age > _SILENT_S:
        yield problem("daemon", f"it runs, and has said nothing for {age:.0f} s", "Look at its log; restart it.")
    else:
        yield ok("daemon", "it runs" if lives else "it does not run now")
    if n := count.get(jobs.FAILED):
        yield warning("jobs", f"{n} have failed", "`quicklook jobs --failed` says why; `--requeue` has them done again.")
