"""What the housekeeping says of the exposures of a test: the fact `hk_out`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from quicklook.core.hkframes import ChannelDuring
from quicklook.core.severity import Severity
from quicklook.service.running.hkplace import HkPlace, joined_many
from quicklook.service.sessions.testruns import Taken
from quicklook.service.sessions.testwords import exposures_words

_FACT = "hk_out"
_NO_CHANNEL = "no channel that has a limit is joined to exposures (`exposures` of the configuration of housekeeping)"


@dataclass(slots=True, kw_only=True)
class HkFacts:
    """As facts of a test: how many channels were out of their limits (none where it is not known), in which exposures; or why it is not known."""

    numbers: dict[str, int] = field(default_factory=dict)
    told: dict[str, list[str]] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)


def hk_facts(place: HkPlace | None, taken: Sequence[Taken]) -> HkFacts:
    """From the store itself: what came late is in it by now. A channel that was out counts, though others are not known. Raises BadConfig."""
    joined = joined_many(place, [t.tags for t in taken])
    if joined is None:
        return HkFacts(unknown={_FACT: _why_none(place)})
    out: dict[str, dict[str, str]] = {}
    lacking: dict[str, list[str]] = {}
    judged = 0
    for one, found in zip(taken, joined, strict=True):
        if found.problem and not found.channels:
            lacking.setdefault("its channels", []).append(one.unit)
        for channel in found.channels:
            judged += channel.judged is True
            if said := _out(channel):
                out.setdefault(channel.channel, {})[one.unit] = said
            elif channel.judged is False:
                lacking.setdefault(channel.channel, []).append(one.unit)
    if out:
        told = [f"{name} {next(iter(said.values()))} ({exposures_words(list(said))})" for name, said in out.items()]
        return HkFacts(numbers={_FACT: len(out)}, told={_FACT: told})
    if lacking:
        units = list(dict.fromkeys(u for some in lacking.values() for u in some))
        names = ", ".join(list(lacking)[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        return HkFacts(unknown={_FACT: f"of {names} nothing is known in {exposures_words(units)}"})
    if not judged:
        return HkFacts(unknown={_FACT: _NO_CHANNEL})
    return HkFacts(numbers={_FACT: 0})


def _why_none(place: HkPlace | None) -> str:
    if place is None:
        return "no housekeeping is watched (`housekeeping` of the site)"
    return _NO_CHANNEL if place.store.is_file() else f"there is no store of housekeeping at {place.store}"


def _out(channel: ChannelDuring) -> str:
    """Why a channel was out of its limits, "" where it was not."""
    return next((e.text for e in channel.out if e.severity >= Severity.WARNING), "")
