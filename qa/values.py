"""Short forms for the metrics that QAs of frames return."""

from __future__ import annotations

from collections.abc import Mapping

from quicklook.core.metrics import Coord, Measured, MetricDef, measured


def per_amp(definition: MetricDef, values: Mapping[str, float], remarks: Mapping[str, str] | None = None) -> Measured:
    """One value per amplifier; remarks of amplifiers that have no value, and empty ones, are left out."""
    told: dict[Coord | tuple[Coord, ...], str] = {k: v for k, v in (remarks or {}).items() if v and k in values}
    return measured(definition.name, list(values.values()), amp=tuple(values), remarks=told)


def scalar(definition: MetricDef, value: float, remark: str = "") -> Measured:
    """One value without dimensions, and what is to be said of it."""
    return measured(definition.name, value, remarks={(): remark} if remark else None)
