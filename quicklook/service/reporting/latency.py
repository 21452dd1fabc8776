"""How long it took until a verdict, by the latency receipt of an exposure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quicklook.core.events import LAIN_S
from quicklook.core.reporting import Absent, Column, Grid, Section
from quicklook.service.reporting.words import duration_words

_OF_CAMERAS = ("/started", "/verdict", "/products_written")
_LONGEST_S = 1e10
_LAST_NS = 2**62
"""Later is no time."""


def read_receipt(folder: Path) -> dict[str, Any]:
    """The receipt of an exposure; empty where there is none that can be read."""
    try:
        found = json.loads((folder / "receipt.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def verdict_ns(receipt: Mapping[str, Any]) -> int | None:
    """When the verdict was given (UTC, ns)."""
    times = receipt.get("times_ns")
    found = times.get("verdict") if isinstance(times, dict) else None
    return found if isinstance(found, int) and 0 < found < _LAST_NS else None


def latency_s(receipt: Mapping[str, Any]) -> float:
    """Seconds until the verdict, from the last byte of the file, or from when it was seen where it had lain there before; NaN: not known."""
    return _seconds(receipt.get("seconds_to_verdict")) - old_s(receipt)


def old_s(receipt: Mapping[str, Any]) -> float:
    """Seconds that a file had lain there when it was seen; 0 where it came just before, or the receipt does not say."""
    seconds = receipt.get("seconds")
    seen = _seconds(seconds.get("seen")) if isinstance(seconds, dict) else math.nan
    return seen if seen > LAIN_S else 0.0


def _seconds(found: object) -> float:
    """A number of seconds; NaN for what is none, or is older than any file."""
    return float(found) if isinstance(found, int | float) and abs(found) < _LONGEST_S else math.nan


def latency_words(receipt: Mapping[str, Any]) -> str:
    """How long it took, in words."""
    age, took = old_s(receipt), duration_words(latency_s(receipt))
    return f"{took} after the file was seen; it was {duration_words(age)} old then" if age else took


def latency_section(receipt: Mapping[str, Any]) -> Section:
    """The chapter on it."""
    seconds = receipt.get("seconds")
    if not isinstance(seconds, dict) or not seconds:
        return Section(title="Latency receipt", blocks=[Absent(text="There is no receipt.")])
    age = old_s(receipt)
    by_name: dict[str, list[float]] = {}
    for name, value in seconds.items():
        at = _seconds(value)
        if math.isfinite(at) and ("/" not in name or name.endswith(_OF_CAMERAS)) and not (age and name == "closed"):
            by_name.setdefault(name.rpartition("/")[2], []).append(at - age)
    since = "it was seen" if age else "the last byte"
    columns = [
        Column(title="what", share=2), Column(title="times", kind="number"), Column(title=f"first, s after {since}", kind="number", share=2),
        Column(title=f"last, s after {since}", kind="number", share=2),
    ]  # fmt: skip
    rows = [[k.replace("_", " "), str(len(v)), f"{min(v):.2f}", f"{max(v):.2f}"] for k, v in by_name.items()]
    note = f"The file was {duration_words(age)} old when it was seen." if age else ""
    return Section(title="Latency receipt", blocks=[Grid(columns=columns, rows=rows, note=note)])
