"""Events of exposures with few metrics, for the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quicklook.core.events import Event, PartVerdict, Payload, QADone, Seen, draft
from quicklook.core.keys import Unit
from quicklook.core.results import LimitUsed, MetricResult
from quicklook.core.status import Status

NIGHT = 20220101
START = 1_641_081_600  # 2022-01-02T00:00 UTC
LIMIT = LimitUsed(normal=(1.0, 4.0), warning=(0.5, 5.0), reason="why", action="do", source="limits.yaml:3")
WIDE = LimitUsed(normal=(None, 9.0), warning=(None, None), when={"amp": ["D"]})


class Told:
    """Numbers events as a journal does."""

    def __init__(self, epoch: str = "one") -> None:
        self.epoch, self.seq = epoch, 0

    def __call__(self, payload: Payload, unit: Unit, part: str | None = None, *, tag: str = "live", revision: int = 0) -> Event:
        self.seq += 1
        said = draft(payload, unit=unit, part=part, tag=tag, revision=revision)
        return Event(**said.model_dump(), epoch=self.epoch, seq=self.seq, time=START * 10**9 + self.seq * 10**6)


def unit_of(expid: int, night: int = NIGHT) -> Unit:
    return Unit(night, expid)


def seen(expid: int, **tags: str) -> Seen:
    facts = {"flavor": "science", "program": "dark", "exptime": "900", "start": f"2022-01-02T00:{expid % 60:02d}:00+00:00", **tags}
    return Seen(file=f"{expid}.fits", size=1, parts=["r0"], tags=facts)


def metric(name: str, values: Sequence[float | None], unit: str = "", **fields: Any) -> MetricResult:
    statuses = fields.pop("statuses", [None] * len(values))
    status = fields.pop("status", None)
    return MetricResult(name=name, unit=unit, values=list(values), statuses=statuses, status=status, doc=f"what {name} is", **fields)


def qa(*metrics: MetricResult, name: str = "read_noise", **fields: Any) -> QADone:
    return QADone(name=name, step="read", group="CCDs", status=None, seconds=0.1, metrics=list(metrics), **fields)


def noise(values: Sequence[float | None] = (2.0, 3.0, 4.5, 8.0)) -> MetricResult:
    """By amplifier, each with a status, the last one with a limit of its own."""
    statuses = [Status.UNKNOWN if v is None else Status.NORMAL if v < 4 else Status.WARNING if v < 5 else Status.NORMAL for v in values]
    coords = {"amp": ["A", "B", "C", "D"]}
    return metric(
        "read_noise", values, "electron", coords=coords, statuses=statuses, status=Status.WARNING, limits=[LIMIT, WIDE], limit_of=[0, 0, 0, 1], worst=2
    )


def verdict(status: Status = Status.NORMAL, reasons: Sequence[str] = ()) -> PartVerdict:
    return PartVerdict(status=status, reasons=list(reasons), measured=1, expected=1, seconds=1.5, path="")


def exposure(told: Told, expid: int, cameras: Sequence[str] = ("r0",), level: float = 2.0, **where: Any) -> list[Event]:
    """All that a small exposure says."""
    unit = unit_of(expid, where.pop("night", NIGHT))
    out = [told(seen(expid), unit, tag=where.get("tag", "live"))]
    for camera in cameras:
        out.append(told(qa(noise((level, 3.0, 4.5, 8.0)), metric("dead_fibers", [float(expid)])), unit, camera, **where))
        out.append(told(verdict(), unit, camera, **where))
    return out
