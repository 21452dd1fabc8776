"""The ranges that limits give a channel which do not move: within the performance range all is normal, within the survival range it is a warning."""

from __future__ import annotations

from monitor.hk.loading import HkConfig
from quicklook.core.housekeeping_watch import HkRange


def ranges_of(config: HkConfig, channel: str) -> tuple[HkRange, ...]:
    """Of the first limit with each level that is absolute, or relative to a number; none of what is relative to another channel, a rate, a word."""
    fixed = [b.spec for b in config.limits_on(channel) if b.spec.kind == "absolute" or (b.spec.kind == "relative" and not b.reference)]
    out: list[HkRange] = []
    for level in ("performance", "survival"):
        spec = next((s for s in fixed if getattr(s, level) is not None), None)
        if spec is not None:
            zero = float(spec.reference) * spec.factor if isinstance(spec.reference, int | float) else 0.0
            low, high = (None if v is None else v + zero for v in getattr(spec, level).range)
            out.append(HkRange(limit=spec.name, level=level, low=low, high=high))
    return tuple(out)
