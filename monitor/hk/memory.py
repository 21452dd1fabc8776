"""What a checker knows, as bytes, so that another one goes on with it: pending counts, hysteresis, what is stale, what was told.

It is kept with the samples and the positions of their sources, in one transaction: a restart at any point changes nothing of what is told. The time
in which nobody watched makes nothing stale.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from monitor.hk.loading import BoundLimit
from quicklook.core.errors import BadData
from quicklook.core.housekeeping import HkChange, HkState
from quicklook.core.severity import Severity

if TYPE_CHECKING:
    from monitor.hk.checker import Checker

_FORM = 1
_OF_CHANNELS = ("last", "last_valid", "value", "given", "base", "invalid", "constant_s", "source", "state", "stale")
_OF_LIMITS = ("x", "judged", "anchor_time", "anchor_value")
_OF_EDGES = ("history", "good", "violated", "since")
_OF_SPEAKERS = ("last", "since", "silent")
Arrays = dict[str, npt.NDArray[Any]]


def mark_of(limit: BoundLimit) -> str:
    """Tells a limit from one that was written otherwise before."""
    text = f"{limit.reference} {limit.constant!r} {limit.spec.model_dump_json(exclude={'reason', 'action'})}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def remembered(checker: Checker) -> bytes:
    """All that it knows."""
    c = checker
    arrays: Arrays = {f"c_{n}": getattr(c.fresh, n) for n in _OF_CHANNELS} | {"c_said": c.teller.said_data}
    arrays |= {f"l_{n}": getattr(c.limits, n) for n in _OF_LIMITS} | {"l_said": c.teller.said_limits}
    arrays |= {f"e_{n}": getattr(c.limits.edges, n) for n in _OF_EDGES} | {f"s_{n}": getattr(c.speakers, n) for n in _OF_SPEAKERS}
    known = {
        "form": _FORM,
        "looked": c.looked,
        "names": c.names,
        "texts": [i for i, f in enumerate(c.facts) if f.text],
        "worded": sorted(c.worded),
        "words": c.words,
        "subjects": [b.subject for b in c.limits.limits],
        "marks": c.marks,
        "speakers": c.speakers.names,
        "instrument": c.instrument.state,
    }
    buffer = io.BytesIO()
    arrays["known"] = np.frombuffer(json.dumps(known).encode(), dtype=np.uint8)
    np.savez(buffer, allow_pickle=False, **arrays)
    return zlib.compress(buffer.getvalue(), 1)


def remember(checker: Checker, blob: bytes) -> list[HkChange]:
    """A checker of which nothing is known yet goes on as that one; what was told of what is not watched any more is over, and is returned.

    Raises BadData where it cannot be read.
    """
    with _read_errors():
        arrays, known = _unpacked(blob)
        return _Going(checker, known, arrays).on()


def last_samples(blob: bytes) -> dict[str, float]:
    """When each source, and each feed of one, last gave a sample (Unix seconds), without those that never did. Raises BadData."""
    with _read_errors():
        arrays, known = _unpacked(blob, ("known", "s_last"))
        return {n: float(t) for n, t in zip(known["speakers"], arrays["s_last"], strict=True) if np.isfinite(t)}


def _unpacked(blob: bytes, names: Sequence[str] = ()) -> tuple[Arrays, dict[str, Any]]:
    with np.load(io.BytesIO(zlib.decompress(blob)), allow_pickle=False) as file:
        arrays = {name: file[name] for name in names or file.files}
    known = json.loads(arrays.pop("known").tobytes())
    if known["form"] != _FORM:
        raise ValueError(f"it has the form {known['form']}")
    return arrays, known


@contextmanager
def _read_errors() -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, zlib.error, zipfile.BadZipFile, EOFError, OSError) as error:
        raise BadData(f"what was known before cannot be read ({type(error).__name__}: {error})") from error


class _Going:
    """The way from what was known to a checker of perhaps another configuration: by names."""

    def __init__(self, checker: Checker, known: Mapping[str, Any], arrays: Arrays) -> None:
        self._c, self._known, self._arrays = checker, known, arrays

    def on(self) -> list[HkChange]:
        c, known = self._c, self._known
        c.grow(known["names"])
        c.looked = float(known["looked"])
        c.instrument.resume(known["instrument"])
        gone = [*self._speakers(), *self._channels(), *self._limits()]
        c.again()
        return gone

    def _speakers(self) -> list[HkChange]:
        speakers, names = self._c.speakers, self._known["speakers"]
        self._places = [speakers.number(n) if speakers.knows(n) else -1 for n in names]
        there = np.array([p >= 0 for p in self._places], dtype=bool)
        for name in _OF_SPEAKERS:
            getattr(speakers, name)[np.array(self._places, dtype=np.int64)[there]] = self._arrays[f"s_{name}"][there]
        silent = np.flatnonzero(self._arrays["s_silent"] & ~there)
        return [gone(f"source:{names[i]}", self._c.looked, HkState.STALE) for i in silent.tolist()]

    def _channels(self) -> list[HkChange]:
        c, a, names = self._c, self._arrays, self._known["names"]
        pairs = [(i, c.index[n]) for i, n in enumerate(names) if n in c.index]
        kind = set(self._known["texts"])
        # a channel that held numbers and now holds words, or the other way, is another one
        pairs = [(i, j) for i, j in pairs if (i in kind) == c.facts[j].text]
        old, new = (np.array([p[k] for p in pairs], dtype=np.int64) for k in (0, 1))
        a["c_source"] = np.array([*self._places, -1], dtype=np.int64)[a["c_source"]]
        self._recode(names)
        for name in _OF_CHANNELS:
            getattr(c.fresh, name)[new] = a[f"c_{name}"][old]
        c.teller.said_data[new] = a["c_said"][old]
        return [gone(f"{names[i]}/data", c.looked, HkState.STALE) for i, j in pairs if a["c_said"][i] and not c.watched[j]]

    def _recode(self, names: Sequence[str]) -> None:
        """Words have numbers in the order in which they came: of another configuration they have others."""
        c, words = self._c, self._known["words"]
        codes, worded = np.array([c.code(w) for w in words], dtype=float), set(self._known["worded"])
        for i, name in enumerate(names):
            if name in c.index and i in worded:
                c.worded.add(c.index[name])
                for array in (self._arrays["c_value"], self._arrays["c_given"]):
                    if 0 <= array[i] < len(codes):
                        array[i] = codes[int(array[i])]

    def _limits(self) -> list[HkChange]:
        c, a, known = self._c, self._arrays, self._known
        place = {b.subject: i for i, b in enumerate(c.limits.limits)}
        pairs = [(i, place[s]) for i, s in enumerate(known["subjects"]) if s in place]
        old, new = (np.array([p[k] for p in pairs], dtype=np.int64) for k in (0, 1))
        c.teller.said_limits[new] = a["l_said"][old]
        same = np.array([known["marks"][i] == c.marks[j] for i, j in pairs], dtype=bool)
        for name in _OF_LIMITS:
            getattr(c.limits, name)[new[same]] = a[f"l_{name}"][old[same]]
        for name in _OF_EDGES:
            getattr(c.limits.edges, name)[new[same]] = a[f"e_{name}"][old[same]]
        told = a["l_said"] % 8
        return [gone(s, c.looked, c.state_of(int(told[i]))) for i, s in enumerate(known["subjects"]) if s not in place and told[i]]


def gone(subject: str, time: float, before: HkState) -> HkChange:
    """What was told of it is over: it is not watched any more."""
    channel, _, limit = subject.rpartition("/")
    return HkChange(
        subject=subject, channel=channel, limit=limit, kind="gone", state=HkState.OFF, before=before, severity=Severity.NONE, time=time, since=time,
        text="the configuration does not have it any more",
    )  # fmt: skip


def as_text(changes: Sequence[HkChange]) -> str:
    """Changes, to be kept."""
    return json.dumps([dataclasses.asdict(c) for c in changes])


def from_text(text: str) -> list[HkChange]:
    """The changes. Raises BadData."""
    try:
        return [
            HkChange(**{**d, "state": HkState(d["state"]), "before": HkState(d["before"]), "severity": Severity(d["severity"])})
            for d in json.loads(text)
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise BadData(f"changes that were to be told cannot be read: {error}") from error
