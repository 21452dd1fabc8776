"""Groups: the exposures that a calibration is made from, vetted one by one and then worked on together, one loaded at a time."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

import numpy as np

from quicklook.core.builder import Builder
from quicklook.core.calibration import CalibrationSource, CalibrationUsed
from quicklook.core.contract import contract_of
from quicklook.core.errors import BadData, MissingCalibration
from quicklook.core.judge import Judge
from quicklook.core.keys import PartKey
from quicklook.core.plugin import PipelineAlg
from quicklook.core.product import Product
from quicklook.core.provenance import sha256_of
from quicklook.core.reading import Read, Reading
from quicklook.core.results import Record
from quicklook.core.runner import ChainRunner, Observer, Outcome
from quicklook.core.status import Status

T = TypeVar("T")
Products = Mapping[type[Product], Product]

LIGHT_BYTES = 4 << 20
"""A product of an exposure that is smaller than this is kept from the first pass, whatever the number of exposures."""
KEPT_BYTES = 512 << 20
"""Larger ones are kept where those of the whole group come to less than this; else they are made again whenever they are asked for."""
_HELD = 3
"""Exposures held where a group algorithm goes through two sequences of large products side by side."""
_OF_ONE = ("night", "expid", "start")
"""Tags that the group takes from its first exposure although they differ."""
_SHAPES = {"raw_shape": "size in pixels", "image_shape": "size without overscan"}
"""Tags of the read-out that all exposures of a group must share, in words; those of the hardware are named by the tag bound_to."""


class Streamed(Sequence[T]):
    """A sequence whose items are loaded when they are asked for and are not kept: a group of any size in the memory of one."""

    def __init__(self, loaders: Sequence[Callable[[], T]]) -> None:
        self._loaders = tuple(loaders)

    def __len__(self) -> int:
        return len(self._loaders)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Streamed[T]: ...
    def __getitem__(self, index: int | slice) -> T | Streamed[T]:
        if isinstance(index, slice):
            return type(self)(self._loaders[index])
        return self._loaders[index]()

    def __iter__(self) -> Iterator[T]:
        return (load() for load in self._loaders)


def run_group(
    algorithm: PipelineAlg[Any], members: Mapping[type[Product], Sequence[Any]], single: Mapping[type[Product], Product] | None = None
) -> tuple[Product, ...]:
    """Run a group algorithm: `members` gives the sequence of each type, `single` what it needs once (a calibration, say).

    Raises MissingCalibration where an input that is not optional is absent, TypeError where it returns what its signature does not say.
    """
    contract, inputs = contract_of(type(algorithm)), {}
    for need in contract.inputs:
        found = members.get(need.type) if need.sequence else (single or {}).get(need.type)
        if found is None and not need.optional:
            raise MissingCalibration(f"{algorithm.name} needs {need.type.kind}, and the group has none")
        inputs[need.name] = found
    return contract.products(algorithm.name, algorithm.run(**inputs))  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An exposure that may be taken into a group, how it is read, and what its headers say it is (file, flavor), where that is known."""

    key: PartKey
    read: Read
    file: str = ""
    flavor: str = ""


class MemberVerdict(Record):
    """What was found of one exposure of a group: its status, whether it was taken, and why not."""

    night: int
    expid: int
    file: str = ""
    status: Status | None
    taken: bool
    reasons: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOutcome:
    """What running a builder gives: products, plots and judged result of the group, and what was found of each exposure."""

    outcome: Outcome
    members: tuple[MemberVerdict, ...]

    @property
    def made_from(self) -> tuple[MemberVerdict, ...]:
        """The exposures that were taken."""
        return tuple(m for m in self.members if m.taken)

    @property
    def left_out(self) -> tuple[MemberVerdict, ...]:
        """The exposures that were not."""
        return tuple(m for m in self.members if not m.taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vetted:
    """An exposure after its own chain: verdict, tags, calibrations, and the products that are kept."""

    member: Member
    verdict: MemberVerdict
    tags: Mapping[str, str]
    calibrations: tuple[CalibrationUsed, ...]
    kept: Products


def nbytes(product: Product) -> int:
    """Bytes of the arrays of a product, one level deep (mappings of arrays too)."""
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(product) if dataclasses.is_dataclass(product) else ()
    values = [getattr(product, f.name) for f in fields]
    arrays = [a for v in values for a in (v.values() if isinstance(v, Mapping) else (v,)) if isinstance(a, np.ndarray)]
    return sum(a.nbytes for a in arrays)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRunner:
    """Runs one builder over the exposures of one camera.

    Every exposure goes through the chain of the members first, with its QAs; those that are not accepted, further copies of the same one, and
    those of another detector or read-out than the others are left out. The steps of the group then get the products of the others as sequences.
    Of a large group an item is made when it is asked for, by the same chain without QAs, and is not kept. `each` maps a function over the
    exposures, `stream` makes a sequence from loaders: both may use threads.
    """

    builder: Builder
    judge: Judge
    calibrations: CalibrationSource
    clock: Callable[[], float]
    each: Callable[[Callable[[Member], Any], Iterable[Member]], Iterable[Any]] = map
    stream: Callable[[Sequence[Callable[[], Any]]], Sequence[Any]] = Streamed
    told: Callable[[MemberVerdict], None] = field(default=lambda _verdict: None)

    def run(self, members: Sequence[Member], *, tag: str = "calib", observer: Observer | None = None) -> GroupOutcome:
        """Build from these exposures (one at least). Never raises for what a plugin or the data do; the result says what failed."""
        vetted: list[_Vetted] = []

        room = max(LIGHT_BYTES, KEPT_BYTES // (len(members) * max(1, len(self._wanted()))))

        def read() -> Reading:
            for one in self.each(functools.partial(self._vet, room, _first_of(members)), members):
                vetted.append(one)
                self.told(one.verdict)
            vetted[:] = _of_one_detector(vetted)
            return self._reading(vetted)

        runner = self._runner(self.builder.group)
        first = next((m for m in members if m.flavor in self.builder.flavors), members[0])
        outcome = runner.run(first.key, read, tag=tag, observer=observer)
        return GroupOutcome(outcome=self._with_origin(outcome, vetted), members=tuple(v.verdict for v in vetted))

    def _runner(self, chain: Any) -> ChainRunner:
        return ChainRunner(chain=chain, judge=self.judge, calibrations=self.calibrations, clock=self.clock)

    def _vet(self, room: int, first_of: Mapping[PartKey, Member], member: Member) -> _Vetted:
        """Take an exposure through its chain; of its products those are kept that the group asks for and that have room."""
        if (first := first_of[member.key]) is not member:
            verdict = _left_out(member, None, f"it is the same exposure as {_name(first)}")
            return _Vetted(member=member, verdict=verdict, tags={}, calibrations=(), kept={})
        if member.flavor and member.flavor not in self.builder.flavors:
            verdict = self._verdict(member, None, member.flavor, ())
            return _Vetted(member=member, verdict=verdict, tags={}, calibrations=(), kept={})
        outcome = self._runner(self.builder.member).run(member.key, member.read)
        if left_out := [f"step {s.name} does not apply: {s.not_applicable}" for s in outcome.result.steps if s.not_applicable]:
            return _Vetted(member=member, verdict=_left_out(member, outcome.result.status, left_out[0]), tags={}, calibrations=(), kept={})
        wanted = tuple(self._wanted())
        return _Vetted(
            member=member,
            verdict=self._verdict(member, outcome.result.status, outcome.result.tags.get("flavor", ""), outcome.result.reasons),
            tags=outcome.result.tags,
            calibrations=tuple(outcome.result.provenance.calibrations),
            kept={t: p for t, p in outcome.products.items() if issubclass(t, wanted) and nbytes(p) <= room},
        )

    def _verdict(self, member: Member, status: Status | None, flavor: str, reasons: Sequence[str]) -> MemberVerdict:
        fits = not flavor or flavor in self.builder.flavors
        told = list(reasons) if fits else [f"its flavor is {flavor}, not {' or '.join(self.builder.flavors)}"]
        taken, unit = fits and status in self.builder.accept, member.key.unit
        return MemberVerdict(night=unit.night, expid=unit.expid, file=member.file, status=status, taken=taken, reasons=told)

    def _reading(self, vetted: Sequence[_Vetted]) -> Reading:
        taken = [v for v in vetted if v.verdict.taken]
        if len(taken) < self.builder.at_least:
            raise self._too_few(vetted)
        return Reading(products=(), tags=_common(taken), sequences=self._sequences(taken))

    def _too_few(self, vetted: Sequence[_Vetted]) -> BadData:
        good = sum(v.verdict.taken for v in vetted)
        why = "; ".join(f"{v.verdict.expid}: {(v.verdict.reasons or [str(v.verdict.status)])[0]}" for v in vetted if not v.verdict.taken)
        needed = f"{self.builder.name} is made from {self.builder.at_least} good exposures ({' or '.join(self.builder.flavors)}) at least"
        message = f"{needed}; {good} of {len(vetted)} are" + (f" ({why})" if why else "")
        return BadData(message, what_next="Take more exposures, or mend the causes.")

    def _sequences(self, taken: Sequence[_Vetted]) -> dict[type[Product], Sequence[Product]]:
        wanted = self._wanted()
        found = {need: t for need in wanted for t in taken[0].kept if issubclass(t, need)}
        kept = {need: tuple(v.kept[t] for v in taken) for need, t in found.items() if all(t in v.kept for v in taken)}
        large = [need for need in wanted if need not in kept]

        def make(index: int) -> dict[type[Product], Product | None]:
            products = self._products(taken[index].member)
            return {need: next((p for t, p in reversed(list(products.items())) if issubclass(t, need)), None) for need in large}

        load = functools.lru_cache(maxsize=_HELD)(make) if len(large) > 1 else make
        return {**kept, **{need: self.stream([functools.partial(_item, load, i, need) for i in range(len(taken))]) for need in large}}

    def _wanted(self) -> list[type[Product]]:
        """Types that the steps and QAs of the group ask for as sequences."""
        plugins = [p for s in self.builder.group.steps for p in (s.plugin, *(q.plugin for q in s.qas)) if p is not None]
        return list(dict.fromkeys(need.type for p in plugins for need in contract_of(p).inputs if need.sequence))

    def _products(self, member: Member) -> Products:
        """The products of one exposure, made again. Raises BadData where that fails now."""
        outcome = self._runner(self.builder.bare_member).run(member.key, member.read)
        for step in outcome.result.steps:
            if step.failure is not None:
                raise BadData(f"exposure {member.key.unit}: step {step.name} failed when it was gone through again: {step.failure.message}")
        return outcome.products

    def _with_origin(self, outcome: Outcome, vetted: Sequence[_Vetted]) -> Outcome:
        """The result with the checksum of the whole builder, and with the calibrations that the exposures were worked on with."""
        result = outcome.result
        used = [*result.provenance.calibrations, *(c for v in vetted if v.verdict.taken for c in v.calibrations)]
        by_source = {(c.kind, c.source): c for c in reversed(used)}
        update = {"config_sha256": sha256_of(self.builder.expand()), "calibrations": list(reversed(by_source.values()))}
        provenance = result.provenance.model_copy(update=update)
        return dataclasses.replace(outcome, result=result.model_copy(update={"provenance": provenance}))


def _item(load: Callable[[int], Mapping[type[Product], Product | None]], index: int, need: type[Product]) -> Product:
    product = load(index)[need]
    if product is None:
        raise BadData(f"an exposure of the group has no {need.kind}")
    return product


def _name(member: Member) -> str:
    return member.file or f"exposure {member.key.unit.expid} of night {member.key.unit.night}"


def _left_out(member: Member, status: Status | None, why: str) -> MemberVerdict:
    unit = member.key.unit
    return MemberVerdict(night=unit.night, expid=unit.expid, file=member.file, status=status, taken=False, reasons=[why])


def _first_of(members: Sequence[Member]) -> dict[PartKey, Member]:
    """The first member of every key: an exposure counts once, however many copies of it there are."""
    return {m.key: m for m in reversed(members)}


def _of_one_detector(vetted: Sequence[_Vetted]) -> list[_Vetted]:
    """Those that are of another detector, or were read out in another way, than most are left out; of two equal shares the first stays."""
    taken = [v for v in vetted if v.verdict.taken]
    if not taken:
        return list(vetted)
    names = {name: name for v in taken for name in v.tags.get("bound_to", "").split(",") if name} | _SHAPES
    of = {id(v): tuple(v.tags.get(name, "") for name in names) for v in taken}
    most = collections.Counter(of.values()).most_common(1)[0][0]

    def checked(one: _Vetted) -> _Vetted:
        other = [
            f"its {word} is {has or 'not stated'}, that of the others {wanted or 'not stated'}"
            for word, has, wanted in zip(names.values(), of.get(id(one), most), most, strict=True)
            if has != wanted
        ]
        return dataclasses.replace(one, verdict=_left_out(one.member, one.verdict.status, other[0]), kept={}) if other else one

    return [checked(v) for v in vetted]


def _common(taken: Sequence[_Vetted]) -> dict[str, str]:
    """Tags that all exposures share, and night, number and start of the first."""
    first = taken[0].tags
    return {k: v for k, v in first.items() if k in _OF_ONE or all(t.tags.get(k) == v for t in taken)}
