"""Housekeeping during an exposure, a test or a night, as blocks of a report: what was out of its limits, and the channels with their values.

What no sample says is said to be unknown; a channel without a limit is not judged.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from quicklook.core.errors import QuicklookError, describe
from quicklook.core.events import HkChanged
from quicklook.core.housekeeping import HkChange, HkState
from quicklook.core.housekeeping_watch import HkSeries, HkStoreLike
from quicklook.core.reporting import Absent, Block, Column, Grid, Listing, Prose, Section, Sentence
from quicklook.core.severity import Severity
from quicklook.core.status import Status
from quicklook.service.reporting.place import ReportPlace, RunUsed
from quicklook.service.reporting.words import NO_UNIT, counted, listed, moment_of, row_words, value_words

TITLE = "Housekeeping"
_MOST_CHANNELS = 150
_AT_ONCE = 25
_SECONDS = 1.2
"""So long channels are read; a store of thousands at ten a second has more than a report can show."""
_CHANGES_S = 1.0
"""So long the changes in the journal are read, the latest first."""
_RANK = {HkState.VIOLATING: 3, HkState.STALE: 2, HkState.UNKNOWN: 1}
_STATUS = {Severity.CRITICAL: Status.ALARM, Severity.ALARM: Status.ALARM, Severity.WARNING: Status.WARNING}

Span = tuple[float, float]
"""First and last moment, Unix seconds, UTC."""


def span_of(tags: dict[str, str]) -> Span | None:
    """The time of an exposure by its tags; None where they do not say."""
    try:
        start = datetime.fromisoformat(tags["start"]).timestamp()
        return start, start + max(float(tags.get("exptime", "0")), 0.0)
    except (KeyError, ValueError, OverflowError):
        return None


def housekeeping_section(place: ReportPlace, run: RunUsed | None, span: Span | None) -> Section:
    """What the sensors said in that time."""
    if span is None:
        return Section(title=TITLE, blocks=[Absent(text="Unknown: the header does not say when it began, so that no housekeeping can be joined.")])
    blocks: list[Block] = [Prose(paragraphs=[f"From {moment_of(span[0])} to {moment_of(span[1])}."])]
    watched = watched_in(place, span)
    try:
        store = place.hk_store(run)
    except QuicklookError as error:
        return Section(title=TITLE, blocks=[*blocks, Absent(text=f"Unknown: {describe(error)}.")])
    try:
        found, left, told = _read(store, span)
    except QuicklookError as error:
        return Section(title=TITLE, blocks=[*blocks, Absent(text=f"Unknown: the samples cannot be read: {describe(error)}.")])
    finally:
        store.close()
    if watched.out or any(len(s.times) for s in found):
        blocks += _judged(watched)
    blocks += _channels(found, left, told, {c.channel for c in watched.out})
    return Section(title=TITLE, blocks=blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the watch of housekeeping said of a time: what was out of limits or without data at any moment of it, what could not be judged, of how
    many things anything was said, and whether all that the journal has was looked through."""

    out: Sequence[HkChange]
    unknown: Sequence[str]
    n: int
    whole: bool


def watched_in(place: ReportPlace, span: Span) -> Watched:
    """The worst state of each thing in a time: that in which the last change before has left it, and those in it."""
    events, whole = place.events_back(HkChanged.kind, _CHANGES_S)
    standing: dict[str, HkChange] = {}
    within: dict[str, list[HkChange]] = {}
    for change in (c for event in events for c in HkChanged.model_validate(event.payload).changes):
        if change.time < span[0]:
            standing[change.subject] = change
        elif change.time <= span[1]:
            within.setdefault(change.subject, []).append(change)
    names = dict.fromkeys([*standing, *within])
    of = ([*([standing[name]] if name in standing else []), *within.get(name, [])] for name in names)
    each = [max(changes, key=lambda c: _RANK.get(c.state, 0)) for changes in of]
    bad = [c for c in each if c.state in (HkState.VIOLATING, HkState.STALE)]
    unknown = [c.subject for c in each if c.state is HkState.UNKNOWN]
    return Watched(out=sorted(bad, key=lambda c: (-c.severity.rank, c.channel)), unknown=unknown, n=len(each), whole=whole)


def _judged(watched: Watched) -> list[Block]:
    """What is to be said of limits; where nobody judged, that, and never that all was well."""
    blocks: list[Block] = []
    if watched.out:
        blocks += [Prose(paragraphs=["Out of limits, or without data, in that time:"]), Listing(items=[_said(c) for c in watched.out])]
    elif watched.n:
        blocks.append(Prose(paragraphs=["No limit was reported as violated in that time."]))
    else:
        blocks.append(Absent(text="Unknown: the journal does not say (any more) whether limits were kept in that time."))
    if watched.unknown:
        blocks.append(Absent(text=f"Unknown, as it could not be judged: {listed(watched.unknown, 20)}."))
    if watched.n and not watched.whole:
        blocks.append(Absent(text="The journal has more changes than there was time to look through: what stood for long before may be missing."))
    return blocks


def _said(change: HkChange) -> Sentence:
    state = "no data: " if change.state is HkState.STALE else ""
    return Sentence(text=f"{state}{change.sentence}. {change.action}".strip(), status=_STATUS.get(change.severity))


def _read(store: HkStoreLike, span: Span) -> tuple[list[HkSeries], int, list[str]]:
    """Samples of the channels, as many as there is time for; how many are left out; the names of all."""
    names = list(store.channels())
    found: list[HkSeries] = []
    end = time.monotonic() + _SECONDS
    for i in range(0, min(len(names), _MOST_CHANNELS), _AT_ONCE):
        if time.monotonic() > end:
            break
        found += store.fetch(names[i : i + _AT_ONCE], span[0], max(span[1], span[0] + 1.0)).values()
    return found, len(names) - len(found), names


def _channels(found: Sequence[HkSeries], left: int, names: Sequence[str], out: set[str]) -> list[Block]:
    silent = [s.channel for s in found if not len(s.times)]
    rows = [_channel_row(s, s.channel in out) for s in found if len(s.times)]
    if not names:
        return [Absent(text="Unknown: the store has no channel.")]
    columns = [
        Column(title="channel", share=3), Column(title="unit", share=1.2), Column(title="samples", kind="number"),
        Column(title="invalid", kind="number"), Column(title="lowest", kind="number", share=1.3), Column(title="mean", kind="number", share=1.3),
        Column(title="highest", kind="number", share=1.3), Column(title="rms", kind="number", share=1.3), Column(title="limits", share=1.5),
    ]  # fmt: skip
    blocks: list[Block] = []
    if rows:
        note = f"{counted(left, 'channel')} more {'is' if left == 1 else 'are'} left out: `quicklook hk history` shows them." if left else ""
        blocks.append(Grid(title="Channels", columns=columns, rows=rows, note=note))
    if silent:
        blocks.append(Absent(text=f"Unknown: no sample in that time of {listed(silent, 20)}."))
    return blocks


def _channel_row(series: HkSeries, out: bool) -> list[str]:
    valid = np.ma.compressed(series.values)
    said = "out of limits" if out else ""
    counts = [str(len(series.times)), str(len(series.times) - len(valid))]
    if series.words:
        told = [t for t in series.texts if t is not None]
        return [series.channel, "word", *counts, "", listed(told, 3) or "no valid value", "", "", said]
    if not len(valid):
        return [series.channel, series.unit or NO_UNIT, *counts, "", "no valid value", "", "", said]
    numbers = row_words([float(valid.min()), float(valid.mean()), float(valid.max())])
    return [series.channel, series.unit or NO_UNIT, *counts, *numbers, value_words(float(valid.std())), said]
