"""Amplifiers that are known to be bad, as they are written in files and options: camera and amplifier in one word, as in b7D, or CCD1:E."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quicklook.ccd.geometry import Amplifier
from quicklook.core.errors import BadConfig

if TYPE_CHECKING:
    from quicklook.io.instrument import Instrument

_SHOWN = 40


def split_words(value: Any) -> Any:
    """``b7D,z8A`` as words; anything that is no text as it is."""
    return tuple(w for w in re.split(r"[,\s]+", value) if w) if isinstance(value, str) else value


def complaints(instrument: Instrument, words: Iterable[str]) -> list[str]:
    """A sentence on each word that can be no amplifier of the instrument, and what there is."""
    return [_complaint(instrument, w) for w in words if not _readings(instrument, w)]


def marked(instrument: Instrument, camera: str, amplifiers: Sequence[Amplifier]) -> tuple[Amplifier, ...]:
    """The amplifiers of a camera, `bad` where they are known to be. Raises BadConfig where a word names one that this camera has not."""
    names, bad = [a.name for a in amplifiers], set[str]()
    for word in instrument.bad_amplifiers:
        readings = _readings(instrument, word)
        own = [amp for where, amp in readings if where.casefold() == camera.casefold()]
        if "" in own:
            bad |= set(names)
        elif own and not set(own) & set(names) and len(own) == len(readings):
            raise BadConfig(f"bad amplifier {word[:_SHOWN]}: camera {camera} has amplifiers {', '.join(names)}")
        bad |= set(own) & set(names)
    return tuple(replace(a, bad=True) if a.name in bad else a for a in amplifiers)


def _readings(instrument: Instrument, word: str) -> list[tuple[str, str]]:
    """All ways to read a word as a camera and an amplifier of the instrument; no amplifier ("") is all that the camera has."""
    camera, colon, name = word.partition(":")
    splits = [(camera, name)] if colon else [(word[:i], word[i:]) for i in range(1, min(len(word), 100))]
    found = [(c, a) for c, a in splits if a and _is_camera(instrument, c) and _is_amplifier(instrument, a)]
    if not colon and all(len(layout.amplifiers) == 1 for layout in instrument.layouts) and _is_camera(instrument, word):
        found.append((word, ""))
    return found


def _is_camera(instrument: Instrument, text: str) -> bool:
    """Whether a camera may be called so: it is expected, or fits a pattern; any name where nothing says how they are named."""
    if text.casefold() in {c.casefold() for c in instrument.cameras.expected}:
        return True
    patterns = _camera_patterns(instrument)
    if not patterns:
        return bool(text) and not instrument.cameras.expected
    return any(re.fullmatch(p, text, re.IGNORECASE) for p in patterns)


def _camera_patterns(instrument: Instrument) -> list[str]:
    fixed = instrument.layout.camera
    patterns = [instrument.cameras.tags, instrument.layout.camera_hdus or "", "" if "{" in fixed else re.escape(fixed)]
    return [p for p in patterns if p][:1]


def _is_amplifier(instrument: Instrument, name: str) -> bool:
    known = _amplifiers(instrument)
    return name in known or any("{" in k for k in known)


def _amplifiers(instrument: Instrument) -> list[str]:
    return list(dict.fromkeys(name for layout in instrument.layouts for name in layout.amplifiers))


def _complaint(instrument: Instrument, word: str) -> str:
    shown = word if len(word) <= _SHOWN else f"{word[:_SHOWN]}..."
    places = range(1, min(len(word), 100) + 1)
    camera = word.partition(":")[0] if ":" in word else next((word[:i] for i in reversed(places) if _is_camera(instrument, word[:i])), "")
    names = ", ".join(_amplifiers(instrument))
    if camera and _is_camera(instrument, camera):
        return f"{shown}: camera {camera} of {instrument.name} has amplifiers {names}; write it as in {camera}{_amplifiers(instrument)[0]}"
    cameras = ", ".join(instrument.cameras.expected) or " or ".join(re.sub(r"\(\?P<\w+>([^()]*)\)", r"\1", p) for p in _camera_patterns(instrument))
    return f"{shown} begins with no camera of {instrument.name} (there are {cameras}); amplifiers are {names}"
