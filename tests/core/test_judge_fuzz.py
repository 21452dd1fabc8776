"""Whatever a QA returns, the runner makes a result that is strict JSON and validates against its schema; nothing that was not measured is NORMAL."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import numpy as np
import pytest
from core_toys import KEY, Index, Level, LevelQa, Ticks, reading

from quicklook.core.judge import Judge
from quicklook.core.metrics import Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.rejudge import rejudge
from quicklook.core.results import PartResult
from quicklook.core.runner import ChainRunner
from quicklook.core.status import Status, worst

CASES = 10_000
LIMITS = """
limits:
  - {metric: level, unit: adu, normal: [0, 10], warning: [-5, 20], reason: r, action: a}
  - {metric: amps, unit: electron, normal: [1, 4], warning: [0, 5], reason: r, action: a}
  - {metric: amps, unit: electron, normal: [1, null], when: {amp: [B, "1", "1.5"]}, reason: r, action: a}
  - {metric: amps, unit: electron, normal: [2, 3], when: {amp: C, flavor: zero}, reason: r, action: a}
"""
"""Pieces that make values and coordinates."""
VALUES: tuple[Any, ...] = (0.0, 1.0, 2.5, -3.0, 4.0, 5.0, math.nan, math.inf, -math.inf, 1e308, -1.7e308, 5e-324, 1e-300, -0.0, 10**400, 2**70, True, None, "7", "x", 1j, b"1", [], {})
COORDS = ("A", "B", "C", "", "a\nb", "é\u2028", "\ud800", "x" * 5000, 1, -7, 2**80, 1.5, math.nan, math.inf, True, None, (1,), np.int64(3), np.float32(0.1), np.str_("B"), np.bool_(True))
FACTS = (1, 1.5, math.nan, -math.inf, "text", "\udfff", None, True, np.float64(math.nan), np.int8(3), np.arange(2), [1], 10**400, np.datetime64("2020-01-01"))


class Odd(Exception):
    """An error that cannot even be told."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def pick(rng: np.random.Generator, pool: Any, plain: int) -> Any:
    """An item of a pool, in nine cases of ten one of its first `plain`."""
    return pool[int(rng.integers(plain if rng.random() < 0.9 else len(pool)))]


def values_of(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    kind = rng.integers(8)
    if kind == 0:
        return np.ones(shape).astype(pick(rng, ("float32", "int64", "bool", "float16", "uint8", "complex64", "U3", "M8[s]"), 5))
    if kind == 1:
        return np.ma.masked_all(shape)  # type: ignore[no-untyped-call]
    flat = [pick(rng, VALUES, 12) for _ in range(math.prod(shape))]
    if kind == 2 or not shape:
        return flat if shape else pick(rng, VALUES, 12)
    array = np.empty(len(flat), dtype=object)
    array[:] = flat
    return array.reshape(shape).tolist() if kind < 7 else array.reshape(shape)


def metric_of(rng: np.random.Generator) -> Any:
    name = pick(rng, ("amps", "amps", "amps", "level", "level", "surprise", "", "AMPS", None, 3), 5)
    if rng.random() < 0.03:
        return pick(rng, (None, 3, "amps", MetricDef("amps", "", doc="d"), not_applicable("amps", "x"), not_applicable("amps", "\ud800"), not_applicable("amps", None)), 7)  # type: ignore[arg-type]
    n = int(rng.integers(0, 6))
    axes: dict[str, Any] = {} if name == "level" and rng.random() < 0.9 else {"amp": tuple(pick(rng, COORDS, 3) for _ in range(n))}
    if rng.random() < 0.05:
        axes["fibre"] = (1, 2)
    shape = tuple(len(a) for a in axes.values())
    if rng.random() < 0.05:
        shape = tuple(int(s) for s in rng.integers(0, 4, size=rng.integers(0, 4)))
    values = values_of(rng, shape)
    first = axes.get("amp", ())[:1]
    remarks = {first: pick(rng, ("why", "", "\ud800", None, 3, "y" * 9999), 2)} if rng.random() < 0.2 else {}
    left_out = {pick(rng, COORDS[:16], 3)} if rng.random() < 0.1 else ()
    if rng.random() < 0.2:  # past the helper that makes float64 of it
        return Measured(name=name, values=values, coords=axes, remarks=remarks, left_out=frozenset(left_out))
    return measured(name, values, remarks=remarks, left_out=left_out, **axes)


def measures_of(rng: np.random.Generator) -> Any:
    """Something that a QA may return; it may as well raise."""
    kind = rng.random()
    if kind < 0.01:
        raise pick(rng, (ValueError("\ud800"), Odd(), RuntimeError("z" * 10**6), KeyError(np.arange(3)), MemoryError(), SystemExit(1), RecursionError()), 7)
    if kind < 0.02:
        return pick(rng, (None, 3, (), "x", [measured("level", 1.0)]), 5)
    metrics = tuple(metric_of(rng) for _ in range(rng.integers(0, 4)))
    facts = {pick(rng, ("a", "b", "\ud800", "f" * 3000, 3), 2): pick(rng, FACTS, 3) for _ in range(rng.integers(0, 3))}
    return Measures(metrics, facts=facts)


CHAIN = "chain: toy\nsteps: [{name: read, qas: [level_qa]}]\n"


def run_case(runner: ChainRunner, monkeypatch: pytest.MonkeyPatch, case: int) -> PartResult:
    """One result of a QA that returns what comes out of a generator with this seed."""
    rng = np.random.default_rng(case)

    def measure(self: Any, level: Level) -> Measures:
        return measures_of(rng)  # type: ignore[no-any-return]

    monkeypatch.setattr(LevelQa, "measure", measure)
    return runner.run(KEY, reading).result


def never_good_unmeasured(result: PartResult) -> int:
    """Checks that what has no number is not NORMAL, and that what is NORMAL lies within its limit; the number of elements that were judged."""
    judged = 0
    for metric in result.qas[0].metrics:
        for value, status, number in zip(metric.values, metric.statuses, metric.limit_of, strict=True):
            judged += status is not None
            assert (status is None) == (number is None)
            assert value is not None or status in (None, Status.UNKNOWN)
            if status is Status.NORMAL and value is not None and number is not None:
                low, high = metric.limits[number].normal
                assert low is None or value >= low
                assert high is None or value <= high
        assert metric.status is worst(metric.statuses) or not metric.statuses
    if result.qas[0].failure is not None:
        assert result.status is Status.UNKNOWN
    return judged


def test_whatever_a_qa_returns_leads_to_a_valid_result(limits: Callable[[str], Any], load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 results of a misbehaving QA. The seed is the number of the case."""
    schema = PartResult.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    judge = Judge(limits(LIMITS))
    runner = ChainRunner(chain=load(CHAIN), judge=judge, calibrations=Index(), clock=Ticks())
    judged = failed = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of what becomes of complex and masked values
        for case in range(CASES):
            result = run_case(runner, monkeypatch, case)
            judged += never_good_unmeasured(result)
            failed += result.qas[0].failure is not None
            text = result.model_dump_json()
            data = json.loads(text, parse_constant=lambda c: pytest.fail(f"case {case}: {c} in the JSON"))
            assert PartResult.model_validate_json(text) == result, case
            assert rejudge(judge, result, definitions={}).model_dump_json() == text, case
            if case % 10 == 0:
                problem = next(validator.iter_errors(data), None)
                assert problem is None, (case, problem)
    # the generator makes both: values that are judged, and what no judge can read
    assert judged > 3000
    assert 2000 < failed < 8000
