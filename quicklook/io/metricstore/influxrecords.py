"""What scripts record, in InfluxDB: points as they are, and an entry of a log as a point of the measurement that is called as the log."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

from quicklook.core.errors import BadData, Transient, describe
from quicklook.io.influxdb import InfluxTarget, InfluxWriter
from quicklook.io.lineprotocol import Point as Line
from quicklook.io.lineprotocol import name_of
from quicklook.io.metricstore.records import Entry, Point

_MOST = 1 << 20


class InfluxRecords:
    """Points and logs in an InfluxDB. `database`: where InfluxQL finds them. Raises BadConfig for a target that cannot be used."""

    def __init__(self, target: InfluxTarget, database: str) -> None:
        self._target, self._database = target, database
        self._writer = InfluxWriter(target)

    def write(self, written: Sequence[Point], entries: Sequence[Entry]) -> str:
        """Write points, then entries; says what the server refuses for good (all others are written). Raises Transient."""
        lines = [Line(measurement=p.measurement, tags=p.tags, fields={p.field: p.value}, time_ns=p.time_ns) for p in written]
        made = [Line(measurement=e.log, tags={**e.tags, "observation": e.observation}, fields={e.field: 1.0}, time_ns=e.time_ns) for e in entries]
        refused = self._writer.write([*lines, *made])
        return f"InfluxDB refuses {len(refused)} lines for good, as {refused[0].line[:200]}: {refused[0].why}" if refused else ""

    def done(self, log: str, field: str, observation: str, tags: Mapping[str, str]) -> bool:
        """Whether there is such an entry. Raises Transient, BadData where the server cannot be asked so."""
        named = {**tags, "observation": observation}
        where = " AND ".join(f"{_quoted(name_of(k))} = {_text(name_of(v))}" for k, v in named.items())
        answer = self._ask(f"SELECT {_quoted(name_of(field))} FROM {_quoted(name_of(log))} WHERE {where} LIMIT 1")
        results = answer.get("results") or []
        if said := next((r["error"] for r in [answer, *results] if "error" in r), ""):
            raise BadData(f"InfluxDB cannot say what has been computed: {str(said)[:200]}", what_next="Look at database, and its rights.")
        return any(r.get("series") for r in results)

    def _ask(self, query: str) -> dict[str, Any]:
        parts = urlsplit(self._target.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=self._target.timeout_s)
        headers = {"Authorization": found} if (found := self._target.authorization()) else {}
        path = f"{parts.path.rstrip('/')}/query?{urlencode({'db': self._database, 'q': query})}"
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = answer.read(_MOST)
            found_ = json.loads(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Transient(f"InfluxDB at {parts.netloc} cannot be asked now: {describe(error)[:200]}") from None
        finally:
            connection.close()
        if not isinstance(found_, dict):
            raise Transient(f"InfluxDB at {parts.netloc} answered {answer.status}")
        return found_

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


def _quoted(name: str) -> str:
    """A name in InfluxQL."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(value: str) -> str:
    """A text in InfluxQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
