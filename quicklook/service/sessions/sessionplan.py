"""A session with all that it names, read and checked: flags, analyses with their builders, chains, sub-tasks."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from quicklook.core.builder import Builder, load_builder
from quicklook.core.chain import Chain
from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.flags import Flags, load_flags
from quicklook.core.metrics import MetricDef
from quicklook.core.series import AnalysisFile, load_analysis, names_of
from quicklook.core.session import SessionFile, SessionTest, Todo, load_session, parse_todo
from quicklook.core.validation import suggest
from quicklook.io.configfiles import find_config, is_path, list_configs
from quicklook.service.rerun.choosing import fact_names
from quicklook.service.sessions.coadding import PROVIDES
from quicklook.service.site import Site, declared_metrics

log = logging.getLogger("quicklook.session")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPlan:
    """A session that is ready to be run. `path` is its file where it is named by one: exposure numbers that are found are written there.

    `analyses` and `builders` by the name of the analysis as the session has it, `chains` by test and flavor.
    """

    session: SessionFile
    path: Path | None
    source: str
    todo: Todo
    flags: Flags
    analyses: Mapping[str, AnalysisFile]
    builders: Mapping[str, Builder]
    chains: Mapping[str, Mapping[str, Chain]]
    metrics: Mapping[str, MetricDef]

    def analyses_of(self, test: SessionTest) -> tuple[AnalysisFile, ...]:
        """The group analyses of a test."""
        return tuple(self.analyses[name] for name in test.analyses)


def plan_session(site: Site) -> SessionPlan:
    """The session of a site. Raises BadConfig, with file and line, for anything in it or in what it names that cannot be used."""
    settings = site.file.session
    doc = find_config("sessions", settings.file)
    session = load_session(doc, tag_names=fact_names(site.tag_names), instrument=site.instrument.name)
    _check_names(site, doc, session)
    metrics = declared_metrics()
    _check_levels(doc, session, metrics)
    analyses = {name: load_analysis(found, metrics) for name, found in _analysis_documents(doc, session).items()}
    flags = [_named(doc, ("flags",), "flags", name) for name in session.flags]
    return SessionPlan(
        session=session,
        path=Path(settings.file).absolute() if is_path(settings.file) else None,
        source=doc.source,
        todo=parse_todo(settings.todo, session, check_only=settings.check_only),
        flags=load_flags(flags, metrics, series_names(metrics, analyses.values())),
        analyses=analyses,
        builders={name: builder for name, a in analyses.items() if (builder := _builder(site, a)) is not None},
        chains={t.name: _chains(site, doc, i, t) for i, t in enumerate(session.tests)},
        metrics=metrics,
    )


def series_names(metrics: Mapping[str, MetricDef], analyses: Iterable[AnalysisFile] = ()) -> tuple[str, ...]:
    """Metrics that series make: of these analyses, and of all that are installed, since flags are shared by sessions."""
    every = list(analyses)
    for name in list_configs("analyses"):
        try:
            every.append(load_analysis(find_config("analyses", name), metrics))
        except BadConfig as error:
            log.warning("analysis %s is left out: %s", name, error)
    return names_of(every)


def _check_names(site: Site, doc: Document, session: SessionFile) -> None:
    """What would silently fit no exposure, or no camera: a test would wait for it, and a serial number would never be compared."""
    flavors, cameras = site.instrument.flavors, site.instrument.cameras
    for i, test in enumerate(session.tests):
        for k, expect in enumerate(test.expect):
            if expect.flavor and expect.flavor not in flavors:
                where = doc.where(("tests", i, "expect", k, "flavor"))
                raise BadConfig(f"{where}: {site.instrument.name} has no flavor {expect.flavor!r}{suggest(expect.flavor, flavors, noun='flavors')}")
    tables = [(("hardware",), session.hardware), *((("tests", i, "hardware"), t.hardware) for i, t in enumerate(session.tests))]
    for place, table in tables:
        for name in (n for n in table if not {"*", "?", "["} & set(n) and n not in cameras.expected):
            if cameras.tags and not re.fullmatch(cameras.tags, name):
                hint = suggest(name, cameras.expected, noun="cameras") if cameras.expected else ""
                raise BadConfig(f"{doc.where((*place, name))}: {site.instrument.name} has no camera {name!r}{hint}")


def _check_levels(doc: Document, session: SessionFile, metrics: Mapping[str, MetricDef]) -> None:
    for i, test in enumerate(session.tests):
        for k, expect in enumerate(test.expect):
            for name in (n for n in expect.levels if n not in metrics):
                where = doc.where(("tests", i, "expect", k, "levels", name))
                raise BadConfig(f"{where}: no QA measures {name!r}{suggest(name, sorted(metrics), noun='metrics')}")


def _analysis_documents(doc: Document, session: SessionFile) -> dict[str, Document]:
    names = {name: ("tests", i, "analyses") for i, t in enumerate(session.tests) for name in t.analyses}
    return {name: _named(doc, place, "analyses", name) for name, place in names.items()}


def _named(doc: Document, place: tuple[str | int, ...], kind: str, name: str) -> Document:
    """A configuration that the session names; a path is relative to the session."""
    beside = Path(doc.source).parent / name if is_path(name) else name
    try:
        return find_config(kind, beside)
    except BadConfig as error:
        raise BadConfig(f"{doc.where(place)}: {error}") from error


def _builder(site: Site, analysis: AnalysisFile) -> Builder | None:
    if analysis.coadd:
        return load_builder(find_config("coadds", analysis.coadd), provides=PROVIDES, tag_names=site.tag_names)
    name = analysis.builders.get(site.instrument.name, analysis.builder)
    if not name:
        return None
    # what the site says of its own builders does not concern these
    return replace(site.builder(name), name=name)


def _chains(site: Site, doc: Document, index: int, test: SessionTest) -> dict[str, Chain]:
    flavors = ("_default", *site.instrument.flavors)
    out = {}
    for flavor, name in test.chains.items():
        where = doc.where(("tests", index, "chains", flavor))
        if flavor not in flavors:
            raise BadConfig(f"{where}: {site.instrument.name} has no flavor {flavor!r}{suggest(flavor, flavors, noun='flavors')}")
        try:
            out[flavor] = site.chain(name)
        except BadConfig as error:
            raise BadConfig(f"{where}: {error}") from error
    return out
