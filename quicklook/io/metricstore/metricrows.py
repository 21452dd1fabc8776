"""A judged metric as one row of the store."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from quicklook.io.metricstore.dictionaries import Numbers, plain
from quicklook.io.metricstore.packing import CODES, limit_numbers, pack, status_codes
from quicklook.io.metricstore.tables import AXES, LIMITS, METRICS, QAS

_TOLD = ("reason", "not_applicable", "left_out")
"""Remarks on single elements stay in the merged QA files: nobody asks for them here, and they would be a fifth of the store."""


def metric_rows(connection: sa.Connection, numbers: Numbers, qa: Mapping[str, Any], result: int, time_ns: int) -> list[dict[str, Any]]:
    """Rows of `VALUES` for the metrics of one QA, as an event or a file says it."""
    if not qa["metrics"]:
        return []
    by = numbers.of(connection, QAS, {"name": plain(qa["name"]), "step": plain(qa["step"]), "grp": plain(qa["group"])})
    at = {"time_ns": time_ns, "result": result, "qa": by}
    return [{**at, **_row(connection, numbers, metric)} for metric in qa["metrics"]]


def _row(connection: sa.Connection, numbers: Numbers, metric: Mapping[str, Any]) -> dict[str, Any]:
    values: Sequence[float | None] = metric["values"]
    coords: Mapping[str, Sequence[Any]] = metric["coords"]
    about = {"name": plain(metric["name"]), "unit": plain(metric["unit"]), "dims": ",".join(map(plain, coords))}
    status = CODES[metric["status"]]
    row: dict[str, Any] = {
        "metric": numbers.of(connection, METRICS, about, {"doc": plain(metric["doc"])}),
        "axes": numbers.of(connection, AXES, {"coords": plain(json.dumps(coords, ensure_ascii=False))}) if coords else None,
        "limits": _limits(connection, numbers, metric),
        "n": len(values),
        "status": status,
        "worst": metric["worst"],
        "limit_of": limit_numbers(metric["limit_of"]) if metric["limits"] else None,
        "details": _details(metric),
        **_numbers(values),
    }
    codes = status_codes(metric["statuses"])
    same = codes is not None or not values or CODES[metric["statuses"][0]] == status
    row["statuses"] = codes if same else pack(np.full(len(values), CODES[metric["statuses"][0]], np.uint8))
    return row


def _numbers(values: Sequence[float | None]) -> dict[str, Any]:
    """The value, or the median, least and largest of those that were measured, and all of them packed."""
    if len(values) < 2:
        value = values[0] if values else None
        return {"value": value if value is None or math.isfinite(value) else None, "low": None, "high": None, "elements": None}
    array = np.array(values, dtype=np.float64)
    good = array[np.isfinite(array)]
    found = (float(np.median(good)), float(good.min()), float(good.max())) if good.size else (None, None, None)
    return {"value": found[0], "low": found[1], "high": found[2], "elements": pack(array)}


def _limits(connection: sa.Connection, numbers: Numbers, metric: Mapping[str, Any]) -> int | None:
    """The limits that were used, as one row; its columns are those of the limit that decided."""
    used: Sequence[Mapping[str, Any]] = metric["limits"]
    if not used:
        return None
    worst, limit_of = metric["worst"], metric["limit_of"]
    deciding = used[(limit_of[worst] if worst is not None and limit_of else 0) or 0]
    (normal_low, normal_high), (warning_low, warning_high) = deciding["normal"], deciding["warning"]
    texts = {"used": plain(json.dumps(used, ensure_ascii=False, sort_keys=True)), "source": plain(deciding["source"])}
    ranges = {"normal_low": normal_low, "normal_high": normal_high, "warning_low": warning_low, "warning_high": warning_high}
    return numbers.of(connection, LIMITS, texts, {**ranges, "reason": plain(deciding["reason"]), "action": plain(deciding["action"])})


def _details(metric: Mapping[str, Any]) -> str | None:
    told = {name: metric[name] for name in _TOLD if metric.get(name)}
    return plain(json.dumps(told, ensure_ascii=False)) if told else None
