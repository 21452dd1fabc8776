"""Fixtures of the tests of the core."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import core_toys
import pytest

from quicklook.core.chain import Chain, load_chain, with_overrides
from quicklook.core.document import Document
from quicklook.core.judge import Judge
from quicklook.core.limits import LimitSet, load_limits
from quicklook.core.overrides import parse_override
from quicklook.core.runner import ChainRunner, Outcome
from quicklook.core.yamlsource import parse_yaml

LoadChain = Callable[..., Chain]
RunChain = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def toy_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toys are the only plugins there are."""
    monkeypatch.setattr("quicklook.core.registry.registered", core_toys.registered)


def chain_of(text: str, *overrides: str) -> Chain:
    """The chain of a text; reading gives a Level."""
    doc = with_overrides(parse_yaml(text, "toy.yaml"), [parse_override(o) for o in overrides])
    return load_chain(doc, provides=(core_toys.Level,), tag_names=("camera", "arm", "flavor", "program", "instrument", "telescope", "night"))


@pytest.fixture
def load() -> LoadChain:
    return chain_of


def limits_of(text: str) -> LimitSet:
    """Limits of a text, for the metrics of the toys."""
    metrics = {m.name: m for qa in core_toys.QAS for m in qa.metrics}
    return load_limits([parse_yaml(text, "limits.yaml")], metrics, ("camera", "arm", "flavor", "program", "exptime", "night"))


@pytest.fixture
def limits() -> Callable[[str], LimitSet]:
    return limits_of


LIMITS = """
limits:
  - {metric: level, unit: adu, normal: [0, 100], reason: as always, action: look}
  - {metric: amps, unit: electron, normal: [0, 4], warning: [0, 8], reason: as always, action: call}
  - {metric: step, unit: adu, normal: [-50, 50], reason: as always, action: look}
  - {metric: total, unit: adu, normal: [0, 1000], reason: as always, action: look}
"""


@pytest.fixture
def run() -> RunChain:
    """Load and run a chain on a level of 10."""

    def run_(text: str, *overrides: str, calibrations: Any = None, value: float = 10.0, read: Any = None, **more: Any) -> Outcome:
        runner = ChainRunner(
            chain=chain_of(text, *overrides),
            judge=Judge(limits_of(LIMITS)),
            calibrations=calibrations or core_toys.Index(),
            clock=core_toys.Ticks(),
            keep=frozenset(more.pop("keep", ())),
        )
        tags: Mapping[str, str] = more.pop("tags", {})
        return runner.run(core_toys.KEY, read or (lambda: core_toys.reading(value, **tags)), **more)

    return run_


@pytest.fixture
def doc() -> Callable[[str], Document]:
    return lambda text: parse_yaml(text, "toy.yaml")
