"""Where the housekeeping of a site is, and what of it belongs to an exposure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from quicklook.core.hkframes import ExposureHousekeeping, ExposureJoin
from quicklook.core.housekeeping_watch import hk_monitor
from quicklook.io.configfiles import find_config
from quicklook.service.settings import HousekeepingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class HkPlace:
    """Where the housekeeping of a site is: its configuration (a name or a path), the file of its samples. Can be pickled."""

    config: str
    store: Path

    def open(self) -> ExposureJoin:
        """What reads it. Raises BadConfig."""
        return hk_monitor().join(find_config("hk", self.config), self.store)


def hk_place(settings: HousekeepingSettings, out: Path) -> HkPlace | None:
    """That of a site; None where it names no configuration."""
    if not settings.config:
        return None
    return HkPlace(config=settings.config, store=Path(settings.store) if settings.store else out / "hk.sqlite")


def joined_now(place: HkPlace | None, tags: Mapping[str, str]) -> ExposureHousekeeping | None:
    """The housekeeping of an exposure with these tags, here and now; see `joined_many`."""
    found = joined_many(place, [tags])
    return None if found is None else found[0]


def joined_many(place: HkPlace | None, exposures: Sequence[Mapping[str, str]]) -> list[ExposureHousekeeping] | None:
    """The housekeeping of exposures with these tags; None where there is none: no configuration, none that joins a channel, no store yet.

    Raises BadConfig where the configuration cannot be used.
    """
    if place is None or not place.store.is_file():
        return None
    join = place.open()
    try:
        return [join.during(*time_of(tags)) for tags in exposures] if join.wanted else None
    finally:
        join.close()


def time_of(tags: Mapping[str, str]) -> tuple[datetime | None, float]:
    """Start (UTC) and exposure time (s) of an exposure, from its tags; None and NaN where they do not say it."""
    start, exptime = None, math.nan
    with suppress(ValueError):
        start = datetime.fromisoformat(tags.get("start", ""))
    with suppress(ValueError):
        exptime = float(tags.get("exptime", ""))
    return start, exptime
