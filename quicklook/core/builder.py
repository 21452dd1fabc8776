"""Builders: how a calibration is made from the exposures of a group, from configuration, checked as a whole when it is loaded.

A builder has two lists of steps. `member` is a chain that every exposure goes through by itself, with its QAs: an exposure that they
do not find in order is left out of the group. `group` are the steps that work on all of them together, with QAs of what comes out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from quicklook.core.chain import DEFAULT_LOOKUP, Chain, Step, StepEntry, check_contracts, check_names, load_steps
from quicklook.core.conditional import ConditionalParams
from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.plugin import NoParams
from quicklook.core.product import Calibration, Product
from quicklook.core.status import Status
from quicklook.core.validation import validate

MEMBERS = "members"
"""Name of the first step of every group: going through its exposures."""


def _words(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


Names = Annotated[tuple[str, ...], BeforeValidator(_words), Field(min_length=1)]


class BuilderFile(BaseModel):
    """The contents of a builder file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    builder: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="name of the builder; files are named after it")
    doc: str = Field("", description="what it makes, and from what")
    flavor: Names = Field(description="flavor of the exposures, or a list of flavors; those of another one are left out")
    at_least: int = Field(1, ge=1, description="so many good exposures are needed")
    accept: tuple[Status, ...] = Field((Status.NORMAL, Status.WARNING), description="statuses with which an exposure is taken into the group")
    lookup: tuple[str, ...] = Field(DEFAULT_LOOKUP, description="tags by which conditional parameters are looked up, in this order")
    member: tuple[StepEntry, ...] = Field(min_length=1, description="the steps of each exposure; the first reads")
    group: tuple[StepEntry, ...] = Field(min_length=1, description="the steps of the group; an algorithm that asks for Sequence[T] goes through them")
    product: Names = Field(description="kind of the calibration that is made, or a list of kinds; the first names the files of the result")
    valid_days: int | None = Field(None, ge=1, description="it is valid for so many nights, that of its exposures included; left out: without end")


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """A builder that is ready to run: immutable, can be pickled. `products` are the types of the calibrations that it makes."""

    name: str
    doc: str
    source: str
    flavors: tuple[str, ...]
    at_least: int
    accept: tuple[Status, ...]
    member: Chain
    group: Chain
    products: tuple[type[Calibration], ...]
    valid_days: int | None

    @property
    def bare_member(self) -> Chain:
        """The chain of an exposure without its QAs: how its products are made when they are asked for again."""
        return replace(self.member, steps=tuple(replace(s, qas=()) for s in self.member.steps))

    def expand(self) -> dict[str, Any]:
        """The builder with every default written out, in the form of a builder file."""
        return {
            "builder": self.name,
            "doc": self.doc,
            "flavor": list(self.flavors),
            "at_least": self.at_least,
            "accept": [str(s) for s in self.accept],
            "lookup": list(self.member.lookup),
            "member": self.member.expand()["steps"],
            "group": self.group.expand()["steps"][1:],
            "product": [p.kind for p in self.products],
            "valid_days": self.valid_days,
        }


def load_builder(doc: Document, *, provides: Sequence[type[Product]], tag_names: Collection[str] | None = None) -> Builder:
    """Build a builder from its document and check it. `provides` are the products that reading gives.

    Raises BadConfig with file, path and line: all that is wrong in a chain, and a product that no step of the group makes.
    """
    spec = validate(BuilderFile, doc)
    member = load_steps(doc, "member", spec.member, spec.lookup, tag_names)
    group = load_steps(doc, "group", spec.group, spec.lookup, tag_names, reads=False)
    check_names(doc, {"member": member, "group": group})
    of_each = check_contracts(doc, "member", member, provides)
    made = check_contracts(doc, "group", group, (), of_each)
    return Builder(
        name=spec.builder,
        doc=spec.doc,
        source=doc.source,
        flavors=spec.flavor,
        at_least=spec.at_least,
        accept=spec.accept,
        member=Chain(name=f"{spec.builder} (each exposure)", doc=spec.doc, source=doc.source, lookup=spec.lookup, products=(), steps=member),
        group=Chain(name=spec.builder, doc=spec.doc, source=doc.source, lookup=spec.lookup, products=spec.product, steps=(_first(), *group)),
        products=_products(doc, spec, made),
        valid_days=spec.valid_days,
    )


def _first() -> Step:
    params = ConditionalParams.parse(NoParams, Document.from_data({}, "builder"), ("params",), ())
    return Step(name=MEMBERS, algorithm="read", plugin=None, params=params, qas=(), ref=None)


def _products(doc: Document, spec: BuilderFile, made: Sequence[type[Product]]) -> tuple[type[Calibration], ...]:
    by_kind = {t.kind: t for t in made if issubclass(t, Calibration)}
    absent = [kind for kind in spec.product if kind not in by_kind]
    if absent:
        there = ", ".join(sorted(by_kind)) or "none"
        raise BadConfig(f"{doc.where(('product',))}: no step of the group makes a calibration of kind {', '.join(absent)}; they make: {there}")
    return tuple(by_kind[kind] for kind in spec.product)
