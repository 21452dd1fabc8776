"""Latency receipts: when each thing happened to a unit, by name, in the order of time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from quicklook.core.events import Receipt
from quicklook.service.workers.processing import Processed


def receipt_of(rows: Iterable[Any], closed_ns: int | None, seen_ns: int, verdict_ns: int) -> Receipt:
    """From the events of a unit as the journal has them (kind, part, time, payload), and when its file was closed and seen, UTC ns."""
    times = {"closed": closed_ns or seen_ns, "seen": seen_ns}
    for row in rows:
        times |= _times_of(row.kind, row.part, row.time, row.payload)
    return _receipt(times, times["closed"], verdict_ns)


def receipt_of_run(done: Iterable[Processed], started_ns: int, verdict_ns: int) -> Receipt:
    """Of parts that were processed by hand: from the start of that, since the file may be of last year."""
    times = {"seen": started_ns}
    for each in done:
        part = each.key.part
        ended = max(each.times.values(), default=each.started_ns)
        times |= {f"{part}/started": each.started_ns, **_of_part(part, each.times), f"{part}/verdict": ended}
    return _receipt(times, started_ns, verdict_ns)


def _receipt(times: Mapping[str, int], start_ns: int, verdict_ns: int) -> Receipt:
    in_order = dict(sorted({**times, "verdict": verdict_ns}.items(), key=lambda item: item[1]))
    return Receipt(times=in_order, seconds_to_verdict=(verdict_ns - start_ns) / 1e9)


def _times_of(kind: str, part: str | None, time_ns: int, payload: str) -> dict[str, int]:
    if kind == "seen":
        return {"readable": time_ns}
    if part is None or kind not in ("started", "verdict"):
        return {}
    own = {f"{part}/{kind}": time_ns}
    if kind == "verdict":
        own |= _of_part(part, json.loads(payload).get("times", {}))
    return own


def _of_part(part: str, times: Mapping[str, int]) -> dict[str, int]:
    return {f"{part}/{name}": t for name, t in times.items()}
