"""What time series are told apart by: few names with few values each, whatever stands in headers."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from pathlib import Path
from typing import Any

from quicklook.core.errors import Transient
from quicklook.core.events import Event
from quicklook.io.atomic import write_json
from quicklook.io.lineprotocol import name_of

log = logging.getLogger("quicklook.stores")

OTHER = "other"
_UNITS = 256


class Bounds:
    """Lets so many different values of each label through."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[str, set[str]] = {}

    def admits(self, name: str, value: str) -> bool:
        """Whether the value may stand under that name: it did before, or there is room for one more."""
        known = self._known.setdefault(name, set())
        if value in known:
            return True
        if len(known) >= self._most:
            return False
        known.add(value)
        if len(known) == self._most:
            log.warning("%s has %d different values: others are left out, or are %r from here on", name, self._most, OTHER)
        return True

    def label(self, name: str, value: str) -> str:
        """The value, or `OTHER` where there are too many."""
        return value if not value or self.admits(name, value) else OTHER


class KnownUnits:
    """Flavor, program and start of the last exposures, which events after the first do not repeat; in a small file, for a restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._units: OrderedDict[str, dict[str, str]] = OrderedDict()
        try:
            read: Any = json.loads(path.read_text(encoding="utf-8"))
            self._units.update({str(key): {str(k): str(v) for k, v in facts.items()} for key, facts in read.items()})
        except FileNotFoundError:
            pass
        except (OSError, ValueError, AttributeError) as error:
            log.warning("%s is not readable and is made anew (%s)", path, type(error).__name__)

    def learn(self, event: Event, tags: dict[str, str]) -> None:
        """Remember the tags of an exposure. Raises Transient where they cannot be written."""
        facts = {name: name_of(tags[name]) for name in ("flavor", "program", "start") if tags.get(name)}
        key = f"{event.unit} {event.tag}"
        if self._units.get(key) == facts:
            return
        self._units[key] = facts
        self._units.move_to_end(key)
        while len(self._units) > _UNITS:
            self._units.popitem(last=False)
        try:
            write_json(self._path, self._units, sync=False)
        except OSError as error:
            raise Transient(f"{self._path} cannot be written: {error.strerror or error}") from error

    def of(self, event: Event) -> dict[str, str]:
        """What is known of the exposure of an event."""
        return self._units.get(f"{event.unit} {event.tag}", {})
