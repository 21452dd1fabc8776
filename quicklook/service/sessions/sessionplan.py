"""A session with all that it names, read and checked: flags, analyses with their builders, chains, sub-tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from quicklook.core.builder import Builder
from quicklook.core.chain import Chain
from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.flags import Flags, load_flags
from quicklook.core.metrics import MetricDef
from quicklook.core.series import AnalysisFile, load_analysis, names_of
from quicklook.core.session import SessionFile, SessionTest, Todo, load_session, parse_todo
from quicklook.core.validation import suggest
from quicklook.io.configfiles import find_config, is_path
from quicklook.service.rerun.choosing import fact_names
from quicklook.service.site import Site, declared_metrics


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
    metrics = declared_metrics()
    analyses = {name: load_analysis(found, metrics) for name, found in _analysis_documents(doc, session).items()}
    flags = [_named(doc, ("flags",), "flags", name) for name in session.flags]
    return SessionPlan(
        session=session,
        path=Path(settings.file).absolute() if is_path(settings.file) else None,
        source=doc.source,
        todo=parse_todo(settings.todo, session, check_only=settings.check_only),
        flags=load_flags(flags, metrics, names_of(analyses.values())),
        analyses=analyses,
        builders={name: builder for name, a in analyses.items() if (builder := _builder(site, a)) is not None},
        chains={t.name: _chains(site, doc, i, t) for i, t in enumerate(session.tests)},
        metrics=metrics,
    )


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
