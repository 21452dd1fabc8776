"""Chains: an ordered list of steps from configuration, checked as a whole when it is loaded.

A chain whose signatures cannot be met, by an earlier step or by a calibration, is refused with the file, the path inside it
and the line.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from quicklook.core.calibration import CalibrationsUsed
from quicklook.core.conditional import ConditionalParams
from quicklook.core.contract import Requirement, contract_of
from quicklook.core.document import Document, Path
from quicklook.core.errors import BadConfig
from quicklook.core.overrides import Override, apply_to
from quicklook.core.plugin import MonitoringAlg, NoParams, PipelineAlg
from quicklook.core.product import Product
from quicklook.core.provenance import sha256_of
from quicklook.core.registry import PluginRef, find
from quicklook.core.unitparts import UnitParts
from quicklook.core.validation import validate

SECTIONS = ("steps", "member", "group")
"""Keys under which steps stand: of a chain, of the exposures of a builder, of its group."""
UNIT_QAS = "unit_qas"
"""Key of a chain under which the QAs of the unit stand."""
DEFAULT_LOOKUP = ("camera", "arm", "flavor", "program", "instrument", "telescope")


class QaEntry(BaseModel):
    """A QA of a step: its plugin, the name it has here (default: the plugin's), its parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    qa: str = Field(description="name of the QA plugin")
    name: str = Field("", description="name within the chain; default: the plugin's")
    params: dict[str, Any] = Field(default_factory=dict, description="parameters, any of them conditional by tags")


class StepEntry(BaseModel):
    """A step: its name, the algorithm (default: of the same name), parameters, QAs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="name within the chain; the first step is `read`")
    alg: str = Field("", description="name of the algorithm plugin; default: the name of the step")
    params: dict[str, Any] = Field(default_factory=dict, description="parameters, any of them conditional by tags")
    qas: tuple[str | QaEntry, ...] = Field((), description="QAs that measure this step: names, or mappings with qa, name, params")


class ChainFile(BaseModel):
    """The contents of a chain file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chain: str = Field(description="name of the chain")
    doc: str = Field("", description="what it is for")
    lookup: tuple[str, ...] = Field(DEFAULT_LOOKUP, description="tags by which conditional parameters are looked up, in this order")
    products: tuple[str, ...] = Field((), description="kinds of products that are written")
    steps: tuple[StepEntry, ...] = Field(min_length=1, description="the steps; the first reads")
    unit_qas: tuple[str | QaEntry, ...] = Field(
        (), description="QAs over all parts of the unit, run once on their metrics when each has its verdict or the deadline has passed"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QaUse:
    """A QA at its place in a chain."""

    name: str
    plugin: type[MonitoringAlg[Any]]
    params: ConditionalParams[Any]
    ref: PluginRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of a chain; `plugin` is None for the step that reads."""

    name: str
    algorithm: str
    plugin: type[PipelineAlg[Any]] | None
    params: ConditionalParams[Any]
    qas: tuple[QaUse, ...]
    ref: PluginRef | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain that is ready to run: immutable, can be pickled. `sha256` covers every parameter, defaults included.

    `unit_qas` measure the unit as a whole, once all of its parts have gone through the steps.
    """

    name: str
    doc: str
    source: str
    lookup: tuple[str, ...]
    products: tuple[str, ...]
    steps: tuple[Step, ...]
    unit_qas: tuple[QaUse, ...] = ()

    def expand(self) -> dict[str, Any]:
        """The chain with every default written out, in the form of a chain file."""
        return {
            "chain": self.name,
            "doc": self.doc,
            "lookup": list(self.lookup),
            "products": list(self.products),
            "steps": [_expand_step(s) for s in self.steps],
            "unit_qas": [_expand_qa(q) for q in self.unit_qas],
        }

    @property
    def sha256(self) -> str:
        """Checksum of the expanded chain."""
        return sha256_of(self.expand())

    @property
    def distributions(self) -> tuple[str, ...]:
        """Names of the packages that its plugins come from."""
        refs = [s.ref for s in self.steps if s.ref] + [q.ref for q in (*self.qas, *self.unit_qas)]
        return tuple(dict.fromkeys(r.distribution for r in refs))

    @property
    def qas(self) -> tuple[QaUse, ...]:
        """All QAs of the steps, in order; those of the unit are in `unit_qas`."""
        return tuple(q for s in self.steps for q in s.qas)


def _expand_step(step: Step) -> dict[str, Any]:
    return {"name": step.name, "alg": step.algorithm, "params": step.params.expand(), "qas": [_expand_qa(q) for q in step.qas]}


def _expand_qa(use: QaUse) -> dict[str, Any]:
    # by the name of the registry: an entry point may give a class another name than its own
    return {"qa": use.ref.name, "name": use.name, "params": use.params.expand()}


def load_chain(doc: Document, *, provides: Sequence[type[Product]], tag_names: Collection[str] | None = None) -> Chain:
    """Build a chain from its document and check it. `provides` are the products that reading gives.

    Raises BadConfig with file, path and line: unknown plugins (with the nearest name), parameters, names used twice, and inputs
    that no earlier step, calibration or reader provides.
    """
    spec = validate(ChainFile, doc)
    steps = load_steps(doc, "steps", spec.steps, spec.lookup, tag_names)
    unit_qas = tuple(_qa(doc, spec.lookup, (UNIT_QAS, j), q, tag_names) for j, q in enumerate(spec.unit_qas))
    check_names(doc, {"steps": steps}, unit_qas)
    check_contracts(doc, "steps", steps, provides)
    for j, use in enumerate(unit_qas):
        _require(doc, (UNIT_QAS, j), use.plugin.name, contract_of(use.plugin).inputs, (UnitParts,), (), None)
    return Chain(
        name=spec.chain, doc=spec.doc, source=doc.source, lookup=spec.lookup, products=spec.products, steps=steps, unit_qas=unit_qas
    )


def load_steps(
    doc: Document, section: str, entries: Sequence[StepEntry], lookup: tuple[str, ...], tag_names: Collection[str] | None, *, reads: bool = True
) -> tuple[Step, ...]:
    """The steps that stand under the key `section` of a document; the first one reads, unless `reads` is False. Raises BadConfig."""
    return tuple(_step(doc, (section, i), entry, lookup, tag_names, reads and i == 0) for i, entry in enumerate(entries))


def _plugin(doc: Document, path: Path, kind: str, name: str, base: type) -> tuple[PluginRef, Any]:
    try:
        ref = find(kind, name)
    except BadConfig as error:
        raise BadConfig(f"{doc.where(path)}: {error}") from error
    plugin = ref.load()
    if not (isinstance(plugin, type) and issubclass(plugin, base)):
        raise BadConfig(f"{doc.where(path)}: {ref.target} is registered as {kind} {name!r} and is no {base.__name__}")
    return ref, plugin


def _step(doc: Document, path: Path, entry: StepEntry, lookup: tuple[str, ...], tag_names: Collection[str] | None, reads: bool) -> Step:
    qas = tuple(_qa(doc, lookup, (*path, "qas", j), q, tag_names) for j, q in enumerate(entry.qas))
    name = entry.alg or entry.name
    if reads:
        if name != "read":
            raise BadConfig(f"{doc.where(path)}: the first step reads; call it `read`, it is {entry.name!r}")
        params = ConditionalParams.parse(NoParams, doc, (*path, "params"), lookup, tag_names)
        return Step(name=entry.name, algorithm="read", plugin=None, params=params, qas=qas, ref=None)
    ref, plugin = _plugin(doc, (*path, "alg") if entry.alg else (*path, "name"), "algorithm", name, PipelineAlg)
    params = ConditionalParams.parse(plugin.params_type, doc, (*path, "params"), lookup, tag_names)
    return Step(name=entry.name, algorithm=name, plugin=plugin, params=params, qas=qas, ref=ref)


def _qa(doc: Document, lookup: tuple[str, ...], path: Path, entry: str | QaEntry, tag_names: Collection[str] | None) -> QaUse:
    use = QaEntry(qa=entry) if isinstance(entry, str) else entry
    ref, plugin = _plugin(doc, path, "qa", use.qa, MonitoringAlg)
    params = ConditionalParams.parse(plugin.params_type, doc, (*path, "params"), lookup, tag_names)
    return QaUse(name=use.name or use.qa, plugin=plugin, params=params, ref=ref)


def check_names(doc: Document, sections: Mapping[str, Sequence[Step]], unit_qas: Sequence[QaUse] = ()) -> None:
    """Refuse a name that is used twice among the steps and QAs of the sections, and the QAs of the unit. Raises BadConfig."""
    names: list[tuple[str, Path]] = []
    for section, steps in sections.items():
        for i, step in enumerate(steps):
            names.append((step.name, (section, i)))
            names += [(q.name, (section, i, "qas", j)) for j, q in enumerate(step.qas)]
    names += [(q.name, (UNIT_QAS, j)) for j, q in enumerate(unit_qas)]
    seen: set[str] = set()
    for name, path in names:
        if name in seen:
            raise BadConfig(f"{doc.where(path)}: the name {name!r} is used twice; give one of them another `name`")
        seen.add(name)


def check_contracts(
    doc: Document, section: str, steps: Sequence[Step], provides: Iterable[type[Product]], members: Sequence[type[Product]] | None = None
) -> list[type[Product]]:
    """Refuse steps and QAs whose inputs nothing gives; returns the types that are there at the end.

    `members` are the types that a group has of each of its exposures; without it (a chain of one exposure) a group algorithm is refused.
    Raises BadConfig.
    """
    there: list[type[Product]] = list(provides)
    for i, step in enumerate(steps):
        before = [] if step.algorithm == "read" else list(there)  # nothing stands before reading
        if step.plugin is not None:
            contract = contract_of(step.plugin)
            if contract.group and members is None:
                raise BadConfig(f"{doc.where((section, i))}: {step.algorithm} works on a group of exposures, not in the chain of one")
            _require(doc, (section, i), step.algorithm, contract.inputs, there, there, members)
            there += contract.outputs
        for j, use in enumerate(step.qas):
            _require(doc, (section, i, "qas", j), use.plugin.name, contract_of(use.plugin).inputs, there, before, members)
    return there


def _require(
    doc: Document,
    path: Path,
    who: str,
    inputs: Iterable[Requirement],
    there: Sequence[type],
    before: Sequence[type],
    members: Sequence[type] | None,
) -> None:
    for need in inputs:
        have = (members or ()) if need.sequence else before if need.before else there
        indexed = need.calibration and not need.before and not need.sequence
        if need.optional or indexed or need.type is CalibrationsUsed or any(issubclass(t, need.type) for t in have):
            continue
        when = " of each exposure" if need.sequence else " before this step" if need.before else ""
        made = ", ".join(sorted({t.__name__ for t in have}))
        raise BadConfig(f"{doc.where(path)}: {who} needs {need.type.__name__} ({need.name}), and nothing gives one{when}; there are: {made}")


def with_overrides(doc: Document, overrides: Iterable[Override]) -> Document:
    """The document of a chain with parameters of its steps and QAs replaced; an override may name a step or a QA.

    Raises BadConfig for a name that is not in the chain, with the nearest one.
    """
    for override in overrides:
        paths = _targets(doc, override.target)
        if not paths:
            raise _unknown_target(doc, override)
        for path in paths:
            if isinstance(doc.get(path), str):
                doc = doc.with_value(path, {"qa": override.target}, override.source)
            doc = apply_to(doc, (*path, "params"), override)
    return doc


def _entries(doc: Document) -> Iterable[tuple[str, Path]]:
    """Names of steps and QAs as they are written, and their paths."""
    for section in SECTIONS:
        steps = doc.get((section,))
        for i, step in enumerate(steps if isinstance(steps, list) else []):
            if not isinstance(step, Mapping):
                continue
            yield str(step.get("name")), (section, i)
            yield from _qa_entries(step.get("qas"), (section, i, "qas"))
    yield from _qa_entries(doc.get((UNIT_QAS,)), (UNIT_QAS,))


def _qa_entries(qas: Any, path: Path) -> Iterable[tuple[str, Path]]:
    for j, qa in enumerate(qas if isinstance(qas, list) else []):
        name = (qa.get("name") or qa.get("qa")) if isinstance(qa, Mapping) else qa
        yield str(name), (*path, j)


def entry_names(doc: Document) -> tuple[str, ...]:
    """Names of the steps and QAs of a chain, as they are written; of a document that is no chain, what can be found."""
    return tuple(name for name, _ in _entries(doc))


def _targets(doc: Document, target: str) -> list[Path]:
    return [path for name, path in _entries(doc) if name == target]


def _unknown_target(doc: Document, override: Override) -> BadConfig:
    names = list(dict.fromkeys(entry_names(doc)))
    near = difflib.get_close_matches(override.target, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"
    return BadConfig(f"{override.source}: {doc.source} has no step or QA called {override.target!r}; {hint}")
