"""Likely causes: channels of housekeeping that were out of their range while QAs that they matter for were out of theirs. Pure.

Nothing is a cause that is not declared to be able to be one (`exposures` of the configuration of housekeeping), and nothing that was in its range.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from quicklook.core.decision import Finding
from quicklook.core.findings import findings, fits, listed
from quicklook.core.hkframes import QA_NAME, ChannelDuring, Excursion, ExposureHousekeeping, share_words
from quicklook.core.judge import number
from quicklook.core.results import Cause, MetricResult, QAResult, Spoiled, UnitVerdict
from quicklook.core.severity import Severity
from quicklook.core.status import Status
from quicklook.core.unitparts import UnitParts

MOST = 8
_MOST_SIGMA = 999.0
_FOUND = (Status.ALARM, Status.WARNING)
_WHOLE = "exposure"
_SEVERITY = {Status.ALARM: Severity.ALARM, Status.WARNING: Severity.WARNING}


def likely_causes(housekeeping: ExposureHousekeeping, parts: UnitParts, verdict: UnitVerdict) -> list[Cause]:
    """The likeliest first, `MOST` at most: by what they have spoiled, whether that is of one camera that the channel belongs to, for how much of the
    exposure, how far from what is usual."""
    found = [f for f in findings(parts, verdict) if f.status in _FOUND and f.metric and f.qa != QA_NAME]
    if not found:
        return []
    own = next((q for q in verdict.qas if q.name == QA_NAME), None)
    ranked = []
    for channel in housekeeping.channels:
        spoiled, own_camera, why = _concerned(channel, found)
        for out in (*channel.out, *_by_limits(channel, own, housekeeping)) if spoiled else ():
            worst = max(f.status.severity for f in spoiled)
            sigma = _sigma(out)
            key = (worst, own_camera, out.overlap >= 0.5, sigma or 0.0, out.severity.rank, out.overlap)
            ranked.append((key, _cause(channel, out, spoiled, why, sigma)))
    ranked.sort(key=lambda r: tuple(-float(k) for k in r[0]))
    return [cause for _, cause in ranked[:MOST]]


def _concerned(channel: ChannelDuring, found: Sequence[Finding]) -> tuple[list[Finding], bool, str]:
    """What was found that the channel matters for, whether some of it is of cameras that it belongs to alone, and how it spoils them."""
    spoiled, own_camera, why = list[Finding](), False, list[str]()
    for concern in channel.concerns:
        some = [f for f in found if fits(f.part or _WHOLE, concern.parts) and (fits(f.metric, concern.spoils) or fits(f.qa, concern.spoils))]
        spoiled += [f for f in some if f not in spoiled]
        own_camera |= bool(some) and "*" not in concern.parts
        why += [concern.why] if some else []
    return spoiled, own_camera, " ".join(dict.fromkeys(why))


def _by_limits(channel: ChannelDuring, own: QAResult | None, housekeeping: ExposureHousekeeping) -> Iterator[Excursion]:
    """Statistics of the channel that are outside of a limit of a limits file, where it violated none of its configuration."""
    if own is None or channel.out:
        return
    for metric in own.metrics:
        if list(metric.coords) == ["channel", "statistic"] and channel.channel in metric.coords["channel"]:
            yield from _elements(channel.channel, metric, housekeeping)


def _elements(channel: str, metric: MetricResult, housekeeping: ExposureHousekeeping) -> Iterator[Excursion]:
    width = len(metric.coords["statistic"])
    row = metric.coords["channel"].index(channel)
    for k, statistic in enumerate(metric.coords["statistic"]):
        flat = row * width + k
        status, value, limit = metric.statuses[flat], metric.values[flat], metric.limit_of[flat]
        if status not in _FOUND or value is None or limit is None:
            continue
        low, high = metric.limits[limit].normal
        direction = "high" if high is not None and value > high else "low"
        yield Excursion(
            limit=f"{metric.name} {statistic}", severity=_SEVERITY[status], direction=direction, value=value,
            bound=high if direction == "high" else low, unit=metric.unit, since=housekeeping.start.timestamp() if housekeeping.start else math.nan,
            overlap=1.0, reason=metric.limits[limit].reason, action=metric.limits[limit].action,
        )  # fmt: skip


def _sigma(out: Excursion) -> float | None:
    """How far from what is usual, in robust standard deviations; None where that is not known."""
    if out.value is None or not (math.isfinite(out.usual) and math.isfinite(out.scatter)):
        return None
    away = abs(out.value - out.usual)
    return min(_MOST_SIGMA, away / out.scatter) if out.scatter > 0 else _MOST_SIGMA if away > 0 else 0.0


def _excess(out: Excursion) -> float | None:
    """How far beyond the end of its range; None where that is not known, or it is within it again (hysteresis)."""
    if out.value is None or out.bound is None:
        return None
    beyond = out.bound - out.value if out.direction == "low" else out.value - out.bound
    return beyond if beyond > 0 else None


def _cause(channel: ChannelDuring, out: Excursion, spoiled: Sequence[Finding], why: str, sigma: float | None) -> Cause:
    excess = _excess(out)
    return Cause(
        channel=channel.channel, limit=out.limit, overlap=out.overlap, excess=excess, unit=out.unit, sigma=sigma,
        spoiled=[Spoiled(part=f.part, qa=f.qa, metric=f.metric, status=f.status) for f in spoiled],
        sentence=_sentence(channel, out, spoiled, why, excess, sigma),
    )  # fmt: skip


def _sentence(channel: ChannelDuring, out: Excursion, spoiled: Sequence[Finding], why: str, excess: float | None, sigma: float | None) -> str:
    unit = f" {out.unit}" if out.unit else ""
    when = share_words(out.overlap)
    if excess is not None and out.value is not None and out.bound is not None:
        side = "below" if out.direction == "low" else "above"
        how = f"{number(excess)}{unit} {side} its range ({number(out.value, 6)}, limit {out.limit} {number(out.bound, 6)}{unit})"
    else:
        how = f"out of its limit {out.limit} ({out.text})"
    usual = ""
    if sigma is not None:
        times = f"{sigma:.0f} times its scatter" if sigma < _MOST_SIGMA else "far more than it ever moved"
        usual = f", {times} from the {number(out.usual, 6)}{unit} of the {out.history_h:g} h before"
    metrics = listed([f"{f.metric}{f' of {f.part}' if f.part else ''} ({f.status})" for f in spoiled])
    return f"likely: {channel.channel} was {how} {when}{usual}; at the same time {metrics}. {why}"
