"""Housekeeping during the exposure: statistics of the channels that the configuration of housekeeping joins to frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.hkframes import QA_NAME, STATISTICS, ChannelDuring, ExposureHousekeeping
from quicklook.core.metrics import Coord, Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot
from quicklook.core.plugin import MonitoringAlg
from quicklook.core.severity import Severity

_DIMS = ("channel", "statistic")
_OVER = "over the samples of its exposure time: mean, median, rms (about the mean), peak_to_peak"


def _quantity(name: str, unit: str, of: str) -> MetricDef:
    return MetricDef(name, unit, dims=_DIMS, doc=f"Statistics of each joined channel in {of}, {_OVER}.")


TEMPERATURE = _quantity("hk_temperature", "deg_C", "degrees Celsius")
KELVIN = _quantity("hk_kelvin", "K", "kelvin (temperatures, or differences of such)")
VOLTAGE = _quantity("hk_voltage", "V", "volt")
CURRENT = _quantity("hk_current", "A", "ampere")
PRESSURE = _quantity("hk_pressure", "Pa", "pascal")
PERCENT = _quantity("hk_percent", "%", "per cent")
VALUE = _quantity("hk_value", "", "any other unit, as its configuration says (or none)")
INVALID = MetricDef(
    "hk_invalid_fraction", "", dims=("channel",), doc="Part of the samples in the exposure time that is no valid value (fill values, implausible)."
)
AWAY = MetricDef(
    "hk_nearest", "s", dims=("channel",), doc="Time from the exposure to the nearest valid sample of a channel; 0 where there is one within it."
)
OUT = MetricDef(
    "hk_out_of_range", "", dims=("channel",), flag=True, doc="1 where a channel violated a limit of its configuration during the exposure."
)
SEVERE = MetricDef("hk_severe", "", dims=("channel",), flag=True, doc="1 where that is an ALARM or worse by the configuration of housekeeping.")

UNITS: dict[str, tuple[MetricDef, float]] = {
    **dict.fromkeys(("degC", "deg_C", "C", "°C", "Celsius"), (TEMPERATURE, 1.0)),
    "K": (KELVIN, 1.0), "mK": (KELVIN, 1e-3),
    "V": (VOLTAGE, 1.0), "mV": (VOLTAGE, 1e-3), "kV": (VOLTAGE, 1e3),
    "A": (CURRENT, 1.0), "mA": (CURRENT, 1e-3), "uA": (CURRENT, 1e-6),
    "Pa": (PRESSURE, 1.0), "hPa": (PRESSURE, 100.0),
    "mbar": (PRESSURE, 100.0), "bar": (PRESSURE, 1e5), "kPa": (PRESSURE, 1e3), "Torr": (PRESSURE, 133.322),
    "percent": (PERCENT, 1.0), "%": (PERCENT, 1.0),
}  # fmt: skip
"""By the unit of a channel: the metric that has its statistics, and the factor from its unit to that of the metric."""
_LABELS = {"hk_temperature": "temperature", "hk_kelvin": "temperature", "hk_voltage": "voltage", "hk_current": "current", "hk_pressure": "pressure"}
QUANTITIES = (TEMPERATURE, KELVIN, VOLTAGE, CURRENT, PRESSURE, PERCENT, VALUE)


class HousekeepingParams(Params):
    """Nothing to set: channels, margins and limits are said by the configuration of housekeeping (`exposures`)."""


class Housekeeping(MonitoringAlg[HousekeepingParams]):
    """Statistics of the channels that the configuration of housekeeping joins to frames, over the exposure, and whether their limits held.

    Where no sample lies within the exposure, the nearest valid one counts, within the time after which the channel is stale, and a remark says so. A
    fill value is never a value: it counts as invalid. A channel without a valid sample, and one that is frozen, is not measured.

    Formula: hk_temperature, hk_kelvin, hk_voltage, hk_current, hk_pressure, hk_percent, hk_value (by the unit of the channel) = statistics of x, the
    valid samples with start - margin <= t <= start + exptime + margin: mean = sum x / n; median; rms = sqrt(sum (x - mean)^2 / n); peak_to_peak =
    max x - min x (these two of two samples or more); hk_invalid_fraction = invalid samples / all samples; hk_nearest = distance in time to the
    nearest valid sample; hk_out_of_range, hk_severe = 1 where the checker of housekeeping (persistence, hysteresis, states of the instrument) finds
    a limit violated in that time, severity WARNING or worse, ALARM or worse. No error is given: rms / sqrt(n) is one where samples do not depend on
    each other.
    Source: own definition, over the limits of `configs/hk`.
    """

    name = QA_NAME
    group = "Exposure"
    metrics = (*QUANTITIES, INVALID, AWAY, OUT, SEVERE)

    def measure(self, housekeeping: ExposureHousekeeping | None) -> Measures:
        """Of an exposure. Raises NotApplicable where no housekeeping is joined to it, BadData where it is and not even its channels are known."""
        if housekeeping is None:
            raise NotApplicable("no housekeeping is joined to this exposure (`housekeeping` of the site, `exposures` of its configuration)")
        channels = housekeeping.channels
        if not channels and housekeeping.problem:
            raise BadData(housekeeping.problem, what_next="Look at the store of samples, and at its disk (`quicklook doctor`).")
        if not channels:
            raise NotApplicable("the configuration of housekeeping joins no channel to exposures")
        metrics = [_statistics(definition, channels) for definition in QUANTITIES]
        metrics.append(_each(INVALID, channels, lambda c: c.invalid_fraction))
        metrics.append(_each(AWAY, channels, lambda c: c.away_s))
        metrics += [_flag(OUT, channels, Severity.WARNING), _flag(SEVERE, channels, Severity.ALARM)]
        facts = {
            "start": housekeeping.start.isoformat() if housekeeping.start else None,
            "exptime_s": housekeeping.exptime_s,
            "late": ", ".join(housekeeping.late) or None,
            "problem": housekeeping.problem or None,
        }
        return Measures(tuple(metrics), plots=_plots(channels, housekeeping.exptime_s), facts=facts)


def _metric_of(channel: ChannelDuring) -> tuple[MetricDef, float]:
    return UNITS.get(channel.unit, (VALUE, 1.0))


def _statistics(definition: MetricDef, channels: Sequence[ChannelDuring]) -> Measured:
    """Of the channels whose unit is that of the metric; those of words have none."""
    some = [c for c in channels if not c.text and _metric_of(c)[0] is definition]
    if not some:
        return not_applicable(definition.name, "no joined channel has such a unit")
    values = [[c.numbers[s] * _metric_of(c)[1] for s in STATISTICS] for c in some]
    remarks: dict[Coord | tuple[Coord, ...], str] = {}
    for channel in some:
        own = f"in {channel.unit}" if definition is VALUE and channel.unit else ""
        if said := "; ".join(t for t in (own, channel.note) if t):
            remarks |= {(channel.channel, s): said for s in STATISTICS}
    return measured(definition.name, values, channel=[c.channel for c in some], statistic=STATISTICS, remarks=remarks)


def _each(definition: MetricDef, channels: Sequence[ChannelDuring], of: Callable[[ChannelDuring], float]) -> Measured:
    remarks: dict[Coord | tuple[Coord, ...], str] = {c.channel: c.note for c in channels if c.note}
    return measured(definition.name, [of(c) for c in channels], channel=[c.channel for c in channels], remarks=remarks)


def _flag(definition: MetricDef, channels: Sequence[ChannelDuring], least: Severity) -> Measured:
    """1 where a limit of at least that severity was violated; NaN where that is not known; not judged where the channel has no limit that applies."""
    values, remarks, none = [], dict[Coord | tuple[Coord, ...], str](), list[Coord | tuple[Coord, ...]]()
    for channel in channels:
        bad = [e for e in channel.out if e.severity.rank >= least.rank]
        values.append(1.0 if bad else math.nan if channel.judged is False else 0.0)
        told = "; ".join(e.text for e in bad) if bad else channel.note
        if told:
            remarks[channel.channel] = told
        if channel.judged is None:
            none.append(channel.channel)
    return measured(definition.name, values, channel=[c.channel for c in channels], remarks=remarks, left_out=none)


def _plots(channels: Sequence[ChannelDuring], exptime_s: float) -> tuple[Plot, ...]:
    """The channels that were out of range, else the first ones, through the time of the exposure."""
    drawn = [c for c in channels if c.times.size > 1 and np.isfinite(c.values).any()]
    shown = sorted(drawn, key=lambda c: not c.out)[:6]
    if not shown:
        return ()
    end = f", {exptime_s:g} s" if math.isfinite(exptime_s) else ""
    panels = tuple(_panel(c) for c in shown)
    return (Plot(name=QA_NAME, title=f"Housekeeping during the exposure{end}", panels=panels, columns=min(2, len(panels))),)


def _panel(channel: ChannelDuring) -> Panel:
    """One channel, with the ends of the ranges that it has passed."""
    definition, factor = _metric_of(channel)
    strange = definition is VALUE and bool(channel.unit)
    y = Axis(label=f"value, {channel.unit}" if strange else _LABELS.get(definition.name, "value"), unit=definition.unit)
    ends = np.array([channel.times[0], channel.times[-1]])
    bounds = [(e.limit, e.bound * factor) for e in channel.out if e.bound is not None]
    layers = (
        Line(x=channel.times, y=channel.values * factor, label="samples" if bounds else ""),
        *(Line(x=ends, y=np.full(2, bound), label=f"limit {name}") for name, bound in bounds),
    )
    title = f"{channel.channel}: OUT OF RANGE" if channel.out else channel.channel
    return Panel(x=Axis(label="time from the start of the exposure", unit="s"), y=y, layers=layers, title=title)
