"""The runner: takes a part through a chain, in memory. It reads no clock and no file of its own.

It holds the latest product of each type, gives each step what its signature asks for, and adds what it returns. A QA that
raises is UNKNOWN and the chain goes on; a step that raises ends the chain of this part, and its later QAs name the cause. A step
that does not apply is left out with all that rests on what it would have made, and the verdict says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from quicklook.core.calibration import Absence, CalibrationSource, CalibrationsUsed, CalibrationUsed
from quicklook.core.chain import Chain, QaUse, Step
from quicklook.core.contract import Requirement, contract_of
from quicklook.core.errors import BadData, MissingCalibration, NotApplicable, NotReadyYet, describe
from quicklook.core.judge import Judge, add_bands
from quicklook.core.keys import PartKey
from quicklook.core.metrics import Measures
from quicklook.core.plots import Plot
from quicklook.core.plugin import MonitoringAlg, PipelineAlg
from quicklook.core.product import Calibration, Product
from quicklook.core.provenance import versions
from quicklook.core.reading import Read, Reading
from quicklook.core.results import NOT_APPLIED, Failure, PartResult, Provenance, QAResult, StepResult
from quicklook.core.status import Status, total


class Observer(Protocol):
    """Is told of every step and QA when it begins, and as soon as it ends."""

    def begins(self, step: str, qa: str = "") -> None:
        """A step begins, or a QA of it."""

    def step(self, result: StepResult) -> None:
        """A step has ended."""

    def qa(self, result: QAResult) -> None:
        """A QA has been judged."""


class Silent:
    """An observer that does nothing."""

    def begins(self, step: str, qa: str = "") -> None:
        """Nothing."""

    def step(self, result: StepResult) -> None:
        """Nothing."""

    def qa(self, result: QAResult) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What running a chain gives: the merged result, the products by type, the plots with limits as bands.

    `kept` holds, by label, what was asked for by `keep` of the runner, also where a later step has made another of its type; `made_by` says which
    step has made it.
    """

    result: PartResult
    products: Mapping[type[Product], Product]
    plots: tuple[Plot, ...]
    kept: Mapping[str, Product] = field(default_factory=dict)
    made_by: Mapping[str, str] = field(default_factory=dict)

    @property
    def retry(self) -> bool:
        """Whether what failed may go well later: the error was Transient or NotReadyYet."""
        return any(s.failure is not None and s.failure.error in ("Transient", "NotReadyYet") for s in self.result.steps)

    def __getitem__(self, product: type[Product]) -> Product:
        return self.products[product]


_Before = tuple[Mapping[type[Product], Product], Mapping[type[Product], str]]
"""What there was before a step: products by type, and what was unmade (see `_State`)."""


@dataclass(slots=True, kw_only=True)
class _State:
    """The working state of one run."""

    key: PartKey
    store: dict[type[Product], Product] = field(default_factory=dict)
    kept: dict[str, Product] = field(default_factory=dict)
    made_by: dict[str, str] = field(default_factory=dict)
    sequences: Mapping[type[Product], Sequence[Product]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    calibrations: dict[type[Calibration], tuple[Calibration, CalibrationUsed] | None] = field(default_factory=dict)
    absent: dict[str, Absence] = field(default_factory=dict)
    steps: list[StepResult] = field(default_factory=list)
    qas: list[QAResult] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    degraded: tuple[str, ...] = ()
    cause: str = ""
    unmade: dict[type[Product], str] = field(default_factory=dict)
    """What steps that were left out would have made, by type, and in words which step does not apply and why."""


_RESTS = "it rests on step"


def _refuse(unmade: Mapping[type[Product], str], needs: Sequence[Requirement]) -> None:
    """Raises NotApplicable where something is asked for that a step which does not apply would have made: what is there is not that."""
    for need in needs:
        for kind, why in unmade.items():
            if issubclass(kind, need.type) and not need.sequence:
                raise NotApplicable(f"{_RESTS} {why}")


def _latest(store: Mapping[type[Product], Product], wanted: type[Product]) -> Product | None:
    if wanted in store:
        return store[wanted]
    return next((p for t, p in reversed(list(store.items())) if issubclass(t, wanted)), None)


def _leave_out(state: _State, step: Step, plugin: type[PipelineAlg[Any]], why: str) -> str:
    """Take down what a step that does not apply would have made."""
    root = why.removeprefix(f"{_RESTS} ") if why.startswith(_RESTS) else f"{step.name}, which {NOT_APPLIED}: {why}"
    state.unmade |= dict.fromkeys(contract_of(plugin).outputs, root)
    return why


def _sequence(state: _State, need: Requirement) -> Sequence[Product] | None:
    """What the exposures of a group have of a type, one after another."""
    found = state.sequences.get(need.type)
    if found is None and not need.optional:
        raise BadData(f"there is no {need.type.kind} of the exposures of this group")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainRunner:
    """Runs one chain over parts. `clock` gives seconds that only grow; it is used for durations alone.

    `keep` are labels of products (see `Product.label`) that are wanted at the end beside the latest of each type. Products of the kinds in `spare`
    are let go as soon as no step and no QA still takes them, for they are large; the outcome does not have them then, unless they are kept.
    """

    chain: Chain
    judge: Judge
    calibrations: CalibrationSource
    clock: Callable[[], float]
    keep: frozenset[str] = frozenset()
    spare: frozenset[str] = frozenset()

    def run(self, key: PartKey, read: Read, *, tag: str = "live", revision: int = 0, observer: Observer | None = None) -> Outcome:
        """Take the part through the chain. Never raises for what a plugin or the data do; the result says what failed."""
        state, watch = _State(key=key), observer or Silent()
        for index, step in enumerate(self.chain.steps):
            before, unmade = dict(state.store), dict(state.unmade)
            if not state.cause:
                self._step(state, step, read if index == 0 else None, watch)
            for use in step.qas:
                self._qa(state, step, use, (before, unmade), watch)
            del before
            self._let_go(state, self.chain.steps[index + 1 :])
        result = self._merge(state, tag, revision)
        return Outcome(result=result, products=state.store, plots=tuple(state.plots), kept=state.kept, made_by=state.made_by)

    def _let_go(self, state: _State, rest: Sequence[Step]) -> None:
        plugins = [s.plugin for s in rest if s.plugin is not None] + [q.plugin for s in rest for q in s.qas]
        wanted = tuple({need.type for plugin in plugins for need in contract_of(plugin).inputs})
        for kind in [t for t in state.store if t.kind in self.spare and not issubclass(t, wanted)]:
            del state.store[kind]

    def _step(self, state: _State, step: Step, read: Read | None, watch: Observer) -> None:
        start, failure, left_out = self.clock(), None, None
        watch.begins(step.name)
        try:
            if read is not None:
                self._read(state, read)
            else:
                self._run_algorithm(state, step)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # a plugin may as well raise SystemExit
            if isinstance(error, NotApplicable) and step.plugin is not None:
                left_out = _leave_out(state, step, step.plugin, describe(error))
            else:
                failure = Failure.of(error)
                state.cause = f"step {step.name} failed: {failure.message}"
        seconds, algorithm = self.clock() - start, step.algorithm or "read"
        result = StepResult(name=step.name, algorithm=algorithm, seconds=seconds, failure=failure, not_applicable=left_out)
        state.steps.append(result)
        watch.step(result)

    def _read(self, state: _State, read: Read) -> None:
        reading: Reading = read()
        state.store = {type(p): p for p in reading.products}
        state.kept = {p.label: p for p in reading.products if p.label in self.keep}
        state.tags, state.degraded, state.sequences = dict(reading.tags), reading.degraded, reading.sequences

    def _run_algorithm(self, state: _State, step: Step) -> None:
        if step.plugin is None:
            raise NotReadyYet(f"step {step.name} has no algorithm")
        algorithm: PipelineAlg[Any] = step.plugin(step.params.resolve(state.tags))
        contract = contract_of(step.plugin)
        _refuse(state.unmade, contract.inputs)
        inputs = {r.name: self._input(state, r, state.store) for r in contract.inputs}
        made = algorithm.run(**inputs)  # type: ignore[attr-defined]
        for product in contract.products(step.algorithm, made):
            state.store.pop(type(product), None)
            state.unmade.pop(type(product), None)
            state.store[type(product)] = product
            if product.label in self.keep:
                state.kept[product.label], state.made_by[product.label] = product, step.name

    def _input(self, state: _State, need: Requirement, store: Mapping[type[Product], Product]) -> Product | Sequence[Product] | None:
        if need.sequence:
            return _sequence(state, need)
        if need.type is CalibrationsUsed:
            return CalibrationsUsed(used=tuple(found[1] for found in state.calibrations.values() if found), absent=dict(state.absent))
        found = _latest(store, need.type)
        if found is None and issubclass(need.type, Calibration):
            found = self._calibration(state, need.type)
        if found is None and not need.optional:
            if need.calibration:
                absence = state.absent[need.type.kind]
                raise MissingCalibration(f"no {need.type.kind} for {state.key}: {absence.why}; {absence.what_next}")
            raise BadData(f"there is no {need.type.kind} for {state.key}")
        return found

    def _calibration(self, state: _State, wanted: type[Calibration]) -> Calibration | None:
        if wanted not in state.calibrations:
            state.calibrations[wanted] = self.calibrations.find(wanted, state.key, state.tags)
            if state.calibrations[wanted] is None:
                state.absent[wanted.kind] = self.calibrations.absence(wanted, state.key, state.tags)
        found = state.calibrations[wanted]
        return found[0] if found else None

    def _qa(self, state: _State, step: Step, use: QaUse, before: _Before, watch: Observer) -> None:
        start = self.clock()
        watch.begins(step.name, use.name)
        result = self._unknown(state, step, use, state.cause) if state.cause else self._measure(state, step, use, before)
        result = result.model_copy(update={"seconds": self.clock() - start})
        state.qas.append(result)
        watch.qa(result)

    def _unknown(self, state: _State, step: Step, use: QaUse, why: str, failure: Failure | None = None) -> QAResult:
        metrics = self.judge.unknown(use.plugin.metrics, state.tags, why)
        failure = failure or Failure(error="NotRun", message=why, what_next="See the step that failed.")
        return QAResult(
            name=use.name, step=step.name, group=use.plugin.group, status=Status.UNKNOWN, seconds=0.0, metrics=metrics, failure=failure
        )

    def _measure(self, state: _State, step: Step, use: QaUse, before: _Before) -> QAResult:
        try:
            qa: MonitoringAlg[Any] = use.plugin(use.params.resolve(state.tags))
            needs = contract_of(use.plugin).inputs
            _refuse(state.unmade, [r for r in needs if not r.before])
            _refuse(before[1], [r for r in needs if r.before])
            measures: Measures = qa.measure(  # type: ignore[attr-defined]
                **{r.name: self._input(state, r, before[0] if r.before else state.store) for r in needs}
            )
            metrics = self.judge.measures(use.plugin.metrics, measures, state.tags)
            plots = [add_bands(p, metrics) for p in measures.plots]
            result = QAResult(
                name=use.name,
                step=step.name,
                group=use.plugin.group,
                status=_qa_status(metrics),
                seconds=0.0,
                metrics=metrics,
                facts={k: _fact(v) for k, v in measures.facts.items()},
                plots=[p.name for p in plots],
            )
        except NotApplicable as reason:
            said = describe(reason)
            why = said if said != type(reason).__name__ else "does not apply"
            return QAResult(name=use.name, step=step.name, group=use.plugin.group, status=None, seconds=0.0, not_applicable=why)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            failure = Failure.of(error)
            return self._unknown(state, step, use, f"QA {use.name} failed: {failure.message}", failure)
        state.plots += plots
        return result

    def _merge(self, state: _State, tag: str, revision: int) -> PartResult:
        statuses = [q.status for q in state.qas] + [Status.UNKNOWN for s in state.steps if s.failure]
        unit = state.key.unit
        due = [q for q in state.qas if q.status is not None]
        return PartResult(
            night=unit.night,
            expid=unit.expid,
            part=state.key.part,
            tag=tag,
            revision=revision,
            tags=state.tags,
            status=total(statuses),
            reasons=reasons_of(state.steps, state.qas),
            measured=sum(q.status is not Status.UNKNOWN for q in due),
            expected=len(due),
            degraded=list(state.degraded),
            steps=state.steps,
            qas=state.qas,
            provenance=Provenance(
                versions=versions(self.chain.distributions),
                chain=self.chain.name,
                config_sha256=self.chain.sha256,
                limits_sha256=self.judge.limits.sha256,
                calibrations=[used[1] for used in state.calibrations.values() if used],
            ),
        )


def _fact(value: Any) -> Any:
    """A fact as plain data: a numpy scalar as the number that it holds, what is not a finite number as null."""
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def _qa_status(metrics: list[Any]) -> Status | None:
    judged = [m.status for m in metrics if m.status is not None]
    return total(judged) if judged else None


def _by(qa: str, reason: str) -> str:
    """Which QA it was, behind the sentence, unless the metric that the sentence begins with is named like the QA."""
    return "" if reason.startswith(f"{qa} ") else f" [{qa}]"


def _left_out(steps: list[StepResult], qas: list[QAResult]) -> list[str]:
    """``NORMAL: step compute_sky does not apply: no sky fibres; left out with it: subtract_sky, 3 QAs``, for each such step."""
    out = []
    for root in (s for s in steps if s.not_applicable and not s.not_applicable.startswith(_RESTS)):
        resting = f"{_RESTS} {root.name},"
        names = [s.name for s in steps if (s.not_applicable or "").startswith(resting)]
        silent = sum((q.not_applicable or "").startswith(resting) for q in qas)
        names += [f"{silent} QA{'s' if silent > 1 else ''}"] if silent else []
        text = f"{Status.NORMAL}: step {root.name} {NOT_APPLIED}: {root.not_applicable}"
        out.append(f"{text}; left out with it: {', '.join(names)}" if names else text)
    return out


def reasons_of(steps: list[StepResult], qas: list[QAResult]) -> list[str]:
    """Sentences that explain a verdict, worst first: failed steps, then every metric that is not NORMAL; nothing twice.

    Metrics that were not measured at the same place for the same cause are one sentence. Each names its QA, where it does not begin with it. At the
    end stands what does not apply and was left out, whatever the verdict: what rests on it was not judged.
    """
    out = [f"UNKNOWN: step {s.name} failed: {s.failure.message}" for s in steps if s.failure]
    failed_step = bool(out)
    graded: list[tuple[int, str]] = []
    unmeasured: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for qa in qas:
        if qa.failure is not None:
            if not (failed_step and qa.failure.error == "NotRun"):
                graded.append((Status.UNKNOWN.severity, f"UNKNOWN: QA {qa.name} failed: {qa.failure.message}"))
            continue
        for metric in qa.metrics:
            if metric.status is Status.UNKNOWN and metric.cause:
                unmeasured.setdefault(metric.cause, []).append((metric.name, qa.name))
            elif metric.status and metric.status is not Status.NORMAL:
                graded.append((metric.status.severity, f"{metric.status}: {metric.reason}{_by(qa.name, metric.reason)}"))
    for (place, why), found in unmeasured.items():
        were, by = "was" if len(found) == 1 else "were", ", ".join(dict.fromkeys(qa for _, qa in found))
        graded.append((Status.UNKNOWN.severity, f"UNKNOWN: {', '.join(m for m, _ in found)} of {place} {were} not measured: {why} [{by}]"))
    graded.sort(key=lambda g: -g[0])
    graded += [(Status.NORMAL.severity, text) for text in _left_out(steps, qas)]
    return list(dict.fromkeys(out + [text for _, text in graded]))
