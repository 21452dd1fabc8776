"""A site: which instrument, where its files are, how they are worked on, who is told. One YAML file, or options in its place."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from quicklook.ccd.tags import TAGS
from quicklook.core import declared
from quicklook.core.builder import Builder, load_builder
from quicklook.core.chain import Chain, entry_names, load_chain, with_overrides
from quicklook.core.deciding import check_goals, load_decisions
from quicklook.core.decision import DecisionsFile
from quicklook.core.document import Document
from quicklook.core.document import Path as DocumentPath
from quicklook.core.errors import BadConfig
from quicklook.core.limits import LimitSet, load_limits
from quicklook.core.metrics import MetricDef
from quicklook.core.overrides import Override, parse_override
from quicklook.core.registry import registered
from quicklook.core.validation import suggest, validate
from quicklook.io.badamps import complaints
from quicklook.io.configfiles import find_config, is_path, list_configs, read_config
from quicklook.io.instrument import Instrument, load_instrument
from quicklook.io.limitvalues import doubtful_values, shadowed
from quicklook.io.products import can_write
from quicklook.io.reader import open_reader
from quicklook.service.calibrating.adopting import Adoption
from quicklook.service.calibrating.buildmembers import BuildPlan
from quicklook.service.running.hkplace import hk_place
from quicklook.service.settings import SessionSettings, SiteFile
from quicklook.service.workers.processing import Recipe

log = logging.getLogger("quicklook.config")


_SINK_FOLDERS = {"alarms": ("book", "template"), "mirror": ("raw",), "render": ("folder",), "zmq": ("keys",)}
_SINK_CONFIGS = {"alarms": ("rules",), "prometheus": ("housekeeping",), "render": ("figures",)}
"""Parameters of sinks that are paths, and that are names or paths of configurations: they are relative to the site file, as all others there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A site that was read and checked; `file` has its paths resolved."""

    file: SiteFile
    source: str
    instrument: Instrument
    document: Document
    overrides: tuple[Override, ...] = field(default=())

    @property
    def tag_names(self) -> frozenset[str]:
        """Tags by which parameters and limits can be chosen here: the common ones, and those that the instrument declares."""
        declared = (t for mounted in self.instrument.hardware for t in mounted.all_tags)
        of_camera = re.compile(self.instrument.cameras.tags).groupindex
        return frozenset((*TAGS, *of_camera, *self.instrument.header.tags, *declared))

    @property
    def out(self) -> Path:
        """Output folder."""
        return Path(self.file.out)

    def with_sink_param(self, sink: str, name: str, value: Any) -> Site:
        """A copy in which one parameter of a sink is set; the sink is added if it is not there."""
        sinks = {**self.file.sinks, sink: {**self.file.sinks.get(sink, {}), name: value}}
        document = self.document.with_value(("sinks", sink, name), value, f"option for {sink}.{name}")
        return replace(self, file=self.file.model_copy(update={"sinks": sinks}), document=document)

    def with_housekeeping(self, store: Path) -> Site:
        """A copy with this store of samples; where the site names no configuration of housekeeping, with that of its instrument. Raises BadConfig."""
        if not store.is_file():
            raise BadConfig(f"there is no store of housekeeping at {store}")
        config = self.file.housekeeping.config or self.instrument.name
        if not self.file.housekeeping.config and config not in list_configs("hk"):
            what_next = "Name one in a site file, under `housekeeping`."
            raise BadConfig(f"the site names no configuration of housekeeping, and there is none called {config!r}", what_next=what_next)
        settings = self.file.housekeeping.model_copy(update={"config": config, "store": str(store.absolute())})
        return replace(self, file=self.file.model_copy(update={"housekeeping": settings}))

    def with_session(
        self, file: str | None, start_expid: int | None, todo: Sequence[str], *, check_only: bool = False, until_done: bool = False,
        fresh: bool = False, label: str = "",
    ) -> Site:
        """A copy with what is given of wait mode in place of what the site file says. Raises BadConfig for options without a session."""
        given = {"file": file, "start_expid": start_expid, "todo": tuple(todo) or None, "check_only": check_only or None}
        given |= {"until_done": until_done or None, "fresh": fresh or None, "label": label or None}
        session = self.file.session.model_copy(update={k: v for k, v in given.items() if v is not None})
        if not session.file and session != SessionSettings(label=session.label):
            raise BadConfig("--start-expid, --todo, --check-only, --fresh and --until-done go with a session", what_next="Name it: --session FILE.")
        return replace(self, file=self.file.model_copy(update={"session": session}))

    @property
    def raw(self) -> Path:
        """Folder of raw files. Raises BadConfig if none is named."""
        if not self.file.raw:
            raise BadConfig(f"{self.source} names no folder of raw files; write `raw: FOLDER` or give --raw")
        return Path(self.file.raw)

    def chain(self, name: str) -> Chain:
        """A chain by name or path, with the parameters of the site and of the command line laid over it, checked."""
        doc = self._find("chains", name, next((("chains", f) for f, n in self.file.chains.items() if n == name), None))
        chain = load_chain(self._overridden(doc), provides=open_reader(self.instrument).provides, tag_names=self.tag_names)
        _check_products(chain.products, doc.where(("products",)))
        _check_products(self.file.products, f"{self.source} (products)")
        return chain

    def builder(self, name: str) -> Builder:
        """A builder of calibrations by name or path, with the parameters of the site and of the command line laid over it, checked.

        The instrument may name another one for a kind, as for a slit in place of fibres.
        """
        doc = self._overridden(self._find("builders", self.instrument.builders.get(name, name), None))
        return load_builder(doc, provides=open_reader(self.instrument).provides, tag_names=self.tag_names)

    def _overridden(self, doc: Document) -> Document:
        """With the parameters of the site, as far as they are for its steps and QAs, and with those of the command line."""
        known = entry_names(doc)
        doc = with_overrides(doc, [o for o in _site_overrides(self) if o.target in known])
        return with_overrides(doc, self.overrides)

    def chains(self) -> dict[str, Chain]:
        """Chains by flavor; ``""`` for every other one."""
        named = self.file.chains or _default_chains(self.instrument)
        loaded = {name: self.chain(name) for name in dict.fromkeys(named.values())}
        _check_params(self, loaded.values())
        return {"" if flavor == "_default" else flavor: loaded[name] for flavor, name in named.items()}

    def chain_name(self, flavor: str) -> str:
        """The chain for exposures of a flavor. Raises BadConfig if none is configured."""
        named = self.file.chains or _default_chains(self.instrument)
        name = named.get(flavor) or named.get("_default")
        if name is None:
            raise BadConfig(f"{self.source} names no chain for flavor {flavor!r}, and no _default")
        return name

    def limits(self) -> LimitSet:
        """The limits in force. Raises BadConfig, with file and line."""
        names = list(self.file.limits) or [n for n in ("default", self.instrument.name) if n in list_configs("limits")]
        written = bool(self.file.limits)
        documents = [self._find("limits", n, ("limits", i) if written else None) for i, n in enumerate(names)]
        limits = load_limits(documents, declared_metrics(), self.tag_names)
        for doubt in (*doubtful_values(limits.limits, self.instrument), *shadowed(limits.limits)):
            log.warning("%s", doubt)
        return limits

    def decisions(self) -> DecisionsFile | None:
        """The rules for decisions, and the goals of the site checked against them. Raises BadConfig, with file and line."""
        if not self.file.decisions:
            return None
        place: DocumentPath | None = ("decisions",) if self.document.get(("decisions",)) else None
        rules = load_decisions(self._find("decisions", self.file.decisions, place), declared_metrics(), registered("qa"))
        check_goals(rules, self.file.goals, self.document.where(("goals",)))
        return rules

    def _find(self, kind: str, name: str, place: DocumentPath | None) -> Document:
        """A configuration by name or path; `place` is where the site names it."""
        try:
            return find_config(kind, name)
        except BadConfig as error:
            if place is None:
                raise
            raise BadConfig(f"{self.document.where(place)}: {error}") from error

    def check(self) -> None:
        """Refuse what no exposure of the instrument can ever meet: chains for other flavors, names that no camera of it has."""
        flavors = ("_default", "unknown", *self.instrument.flavors)
        for flavor in self.file.chains:
            if flavor not in flavors:
                where = self.document.where(("chains", flavor))
                raise BadConfig(f"{where}: {self.instrument.name} has no flavor {flavor!r}{suggest(flavor, flavors, noun='flavors')}")
        for flavor in self.file.work.priorities:
            if flavor not in flavors:
                where = self.document.where(("work", "priorities", flavor))
                raise BadConfig(f"{where}: {self.instrument.name} has no flavor {flavor!r}{suggest(flavor, flavors, noun='flavors')}")
        pattern = self.instrument.cameras.tags
        for i, camera in enumerate(self.file.cameras or ()):
            if pattern and not re.fullmatch(pattern, self.instrument.camera_name(camera)):
                where = self.document.where(("cameras", i))
                raise BadConfig(f"{where}: {self.instrument.name} has no camera {camera!r}; its cameras are named as {pattern}")

    def live_recipe(self) -> Recipe:
        """What workers of the daemon need: as `recipe`, with the builders, and with the index that takes over calibrations.

        Raises BadConfig where calibrations are to be taken over and no folder for them is named, or a builder cannot be used.
        """
        adoption, where = None, self.document.where(("adopt",))
        if self.file.adopt.kinds:
            if not self.file.calib:
                raise BadConfig(f"{where}: calibrations can only be adopted into a folder; name it under `calib`")
            adoption = Adoption(settings=self.file.adopt, folder=Path(self.file.calib))
        builders = {name: self.builder(name) for name in self.file.build}
        return replace(self.recipe(), keep_gb=self.file.disk.keep_gb, adoption=adoption, builders=builders)

    def build_plans(self, builders: Mapping[str, Builder]) -> tuple[BuildPlan, ...]:
        """When which of these builders is started. Raises BadConfig where a group would be smaller than its builder needs."""
        plans = []
        for name, settings in self.file.build.items():
            builder, where = builders[name], self.document.where(("build", name))
            flavor = settings.flavor or builder.flavors[0]
            if flavor not in builder.flavors:
                raise BadConfig(f"{where}: builder {name} is for {' or '.join(builder.flavors)}, not for {flavor}")
            if settings.count < builder.at_least:
                raise BadConfig(f"{where}: builder {name} needs {builder.at_least} exposures at least, count is {settings.count}")
            plans.append(replace(BuildPlan.of(builder, flavor, settings.count), builder=name))
        return tuple(plans)

    def recipe(self, chains: Mapping[str, Chain] | None = None) -> Recipe:
        """What workers need."""
        return Recipe(
            instrument=self.instrument,
            chains=dict(chains if chains is not None else self.chains()),
            limits=self.limits(),
            calib=Path(self.file.calib) if self.file.calib else None,
            out=self.out,
            tag=self.file.tag,
            products=self.file.products,
            plots=self.file.plots,
            decisions=self.decisions(),
            goals=self.file.goals,
            housekeeping=hk_place(self.file.housekeeping, self.out),
        )


def _check_products(kinds: Iterable[str], where: str) -> None:
    for kind in kinds:
        if not can_write(kind):
            raise BadConfig(f"{where}: products of kind {kind!r} have no form on disk")


def _default_chains(instrument: Instrument) -> dict[str, str]:
    """What the instrument names; else what can be done with any detector: spectra need traces, which most have not."""
    return {"zero": "zero", "_default": "raw", **instrument.chains}


def _check_params(site: Site, chains: Iterable[Chain]) -> None:
    """Refuse parameters for a step or QA that is in no chain and is no plugin: a misspelt name would set nothing."""
    known = {name for c in chains for s in c.steps for name in (s.name, *(q.name for q in (*s.qas, *c.unit_qas)))}
    known |= {*registered("algorithm"), *registered("qa")}
    for target in site.file.params:
        if target not in known:
            raise BadConfig(f"{site.source} (params.{target}): no step or QA is called {target!r}{suggest(target, sorted(known), noun='names')}")


def _site_overrides(site: Site) -> list[Override]:
    return [
        Override(target=target, path=(name,), value=value, text=f"{target}.{name}={value} (params of {site.source})")
        for target, params in site.file.params.items()
        for name, value in params.items()
    ]


def declared_metrics() -> dict[str, MetricDef]:
    """All metrics that installed QAs declare. Raises BadConfig where two declare one name differently."""
    return declared.declared_metrics()


def load_site(path: Path | None, *, options: Mapping[str, Any] | None = None, overrides: Sequence[str] = ()) -> Site:
    """Read a site file, or make a site from options alone; options lie over the file, `-c` overrides over all.

    Raises BadConfig: no instrument, a file that cannot be read, anything in it that is wrong.
    """
    given = {k: v for k, v in (options or {}).items() if v is not None}
    doc = read_config(path) if path is not None else Document.from_data({}, "command line")
    for key, value in given.items():
        doc = doc.with_value((key,), value, f"option --{key}")
    if "instrument" not in doc.data:
        raise BadConfig("which instrument? give --site FILE (or QUICKLOOK_SITE), or --instrument NAME; `quicklook list instruments` shows them")
    file = validate(SiteFile, doc)
    base = path.parent if path is not None else Path()
    here: dict[str, Any] = {k: _resolved(Path() if k in given else base, getattr(file, k)) for k in ("raw", "calib", "out")}
    own = {k: _resolved(base, str(Path(v).expanduser())) for k in ("keys", "token") if (v := getattr(file.commands, k))}
    here["commands"] = file.commands.model_copy(update=own)
    page = {k: _resolved(base, str(Path(v).expanduser())) for k in ("token", "read_token", "keys") if (v := getattr(file.web, k))}
    here["web"] = file.web.model_copy(update=page)
    config = _beside(base, file.housekeeping.config)  # absolute: reports of a run read it from its copy of the site, wherever they are made
    watched = {"config": str(Path(config).absolute()) if is_path(config) else config, "store": _resolved(base, file.housekeeping.store)}
    here["housekeeping"] = file.housekeeping.model_copy(update=watched)
    here["session"] = file.session.model_copy(update={"file": _beside(base, file.session.file)})
    here["sinks"] = {name: _sink_beside(base, name, params) for name, params in file.sinks.items()}
    if "chains" not in given:
        here["chains"] = {flavor: _beside(base, n) for flavor, n in file.chains.items()}
    if "limits" not in given:
        here["limits"] = tuple(_beside(base, n) for n in file.limits)
    if "decisions" not in given:
        here["decisions"] = _beside(base, file.decisions)
    file = file.model_copy(update=here)
    name = file.instrument
    local = base / name
    instrument = load_instrument(str(local) if path is not None and "instrument" not in given and local.is_file() else name)
    if file.cameras is not None:
        expected = tuple(instrument.camera_name(c) for c in file.cameras)
        cameras = instrument.cameras.model_copy(update={"expected": expected})
        instrument = instrument.model_copy(update={"cameras": cameras})
    if wrong := complaints(instrument, file.badamps):
        raise BadConfig(f"{doc.where(('badamps',))}: {'; '.join(wrong)}")
    instrument = instrument.model_copy(update={"bad_amplifiers": tuple(dict.fromkeys((*instrument.bad_amplifiers, *file.badamps)))})
    return Site(file=file, source=doc.source, instrument=instrument, document=doc, overrides=tuple(parse_override(o) for o in overrides))


def _resolved(base: Path, text: str) -> str:
    return str((base / text).absolute()) if text else ""


def _sink_beside(base: Path, name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a sink, those that are paths relative to the site file. What is no text is refused by the sink itself."""
    found = dict(params)
    for key in _SINK_FOLDERS.get(name, ()):
        if isinstance(text := found.get(key), str):
            found[key] = _resolved(base, str(Path(text).expanduser()) if text else "")
    for key in _SINK_CONFIGS.get(name, ()):
        if isinstance(names := found.get(key), str):
            found[key] = _beside(base, names)
        elif isinstance(names, list | tuple):
            found[key] = [_beside(base, n) if isinstance(n, str) else n for n in names]
    return found


def _beside(base: Path, name: str) -> str:
    """A configuration named by a path, which is relative to the file that names it; a bare name as it is."""
    return str(base / Path(name).expanduser()) if is_path(name) else name


def site_path(given: Path | None) -> Path | None:
    """The site file: as given, or from QUICKLOOK_SITE, or none."""
    text = os.environ.get("QUICKLOOK_SITE", "")
    return given or (Path(text) if text else None)
