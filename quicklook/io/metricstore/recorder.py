"""What scripts add of their own: values of fields, kept until they are written, and a log of what has been computed already."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from quicklook.core.document import Document
from quicklook.core.errors import BadData
from quicklook.core.validation import validate
from quicklook.io.configfiles import read_config
from quicklook.io.influxdb import InfluxPlace, InfluxTarget
from quicklook.io.metricstore.influxrecords import InfluxRecords
from quicklook.io.metricstore.place import StorePlace
from quicklook.io.metricstore.records import Entry, Point, SqlRecords

LOG = "obs_process_log"
"""The log where none is named: the one of the Simons Observatory, so that what is in theirs is known here."""
OBSERVATION = "observation"
"""The tag of a log that says of which observation an entry is."""
_NS = 10**9
_FIRST_NS, _LAST_NS = -(2**63), 2**63 - 1

Tags = Mapping[str, object]
Times = float | datetime | np.datetime64 | Sequence[float | datetime] | npt.NDArray[Any]


class Backend(Protocol):
    """Where it goes."""

    def write(self, written: Sequence[Point], entries: Sequence[Entry]) -> str:
        """Write points and entries of logs; says what was refused for good, "": nothing.

        Raises Transient where that cannot be done now: nothing is lost if the same are written again.
        """

    def done(self, log: str, field: str, observation: str, tags: Mapping[str, str]) -> bool:
        """Whether a log has such an entry."""

    def close(self) -> None:
        """Let go of everything."""


class MonitorConfig(BaseModel):
    """What `Monitor.from_configs` reads: one of `sql` and `influxdb`. The file of `sql` is relative to that of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sql: StorePlace | None = Field(None, description="a metrics store: SQLite or PostgreSQL")
    influxdb: InfluxPlace | None = Field(None, description="an InfluxDB")

    @model_validator(mode="after")
    def _one(self) -> MonitorConfig:
        if (self.sql is None) == (self.influxdb is None):
            raise ValueError("say one of sql and influxdb: where what is recorded goes")
        return self


class InfluxLogin(BaseModel):
    """An InfluxDB 1.x as configurations of the Simons Observatory name it. The password may be named as env:NAME or file:/path, too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(description="name of the machine")
    port: int = Field(8086, description="its port")
    database: str = Field(description="database; it must be there")
    username: str = Field("", description="user")
    password: str = Field("", description="password of the user", repr=False)
    path: str = Field("", description="path of the InfluxDB on the machine")
    ssl: bool = Field(False, description="whether it is asked by https")

    @property
    def target(self) -> InfluxTarget:
        """The same, to be written to."""
        url = f"{'https' if self.ssl else 'http'}://{self.host}:{self.port}/{self.path.strip('/')}"
        return InfluxTarget(url=url, database=self.database, user=self.username, password=self.password)


class Monitor:
    """Records values of fields, with tags, into SQL or InfluxDB.

        monitor = Monitor.from_configs("monitor.yaml")
        if not monitor.check("white_noise", observation, tags):
            monitor.record("white_noise", noise, times, tags, "detectors", log_tags={"observation": observation, **tags})
            monitor.write()
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._points: list[Point] = []
        self._entries: list[Entry] = []

    @classmethod
    def from_configs(cls, configs: str | Path | Mapping[str, Any]) -> Monitor:
        """From a file, or from the same as a mapping: ``{sql: {url: metrics.sqlite}}``, ``{influxdb: {url: ..., database: ...}}``, or
        ``{host: ..., port: ..., database: ..., username: ..., password: ..., path: ..., ssl: ...}``.

        Raises BadConfig with file and line, Transient where the database cannot be reached.
        """
        if isinstance(configs, Mapping):
            document, folder = Document.from_data(dict(configs), "monitor"), Path()
        else:
            document, folder = read_config(configs), Path(configs).parent
        if isinstance(document.data, Mapping) and "host" in document.data:
            login = validate(InfluxLogin, document)
            return cls(InfluxRecords(login.target, login.database))
        config = validate(MonitorConfig, document)
        if config.sql is not None:
            config.sql.check()
            return cls(SqlRecords(config.sql.address(folder)))
        assert config.influxdb is not None
        return cls(InfluxRecords(config.influxdb.target, config.influxdb.database))

    def check(self, field: str, observation: str, tags: Tags | None = None, log: str = LOG) -> bool:
        """Whether a field has been computed for an observation: the log has an entry whose tags have all of these, or it waits to be written.

        Raises Transient where that cannot be asked now.
        """
        wanted = _tags(tags or {})
        waits = (e for e in self._entries if (e.log, e.field, e.observation) == (log, field, observation))
        if any(wanted.items() <= e.tags.items() for e in waits):
            return True
        return self._backend.done(log, field, observation, wanted)

    def record(
        self,
        field: str,
        values: npt.ArrayLike,
        timestamps: Times,
        tags: Tags | Sequence[Tags],
        measurement: str,
        log: str = LOG,
        log_tags: Tags | None = None,
    ) -> None:
        """Keep values of a field, to be written later: a number or an array [n].

        `timestamps`: Unix seconds (UTC) or times, one or [n]. `tags`: of all values, or a list [n]. `log_tags`: an entry of the log that this field
        has been computed, for the observation that its tag `observation` names; without any none is made.

        Raises BadData where these do not belong together; nothing is kept.
        """
        if not field or not measurement or "." in measurement:
            raise BadData("a record needs a field and a measurement, the latter without a point", what_next="Name both.")
        numbers = _numbers(values)
        times = _times(timestamps)
        each = [_tags(tags)] if isinstance(tags, Mapping) else [_tags(t) for t in tags]
        n = max(len(numbers), len(times), len(each)) if min(len(numbers), len(times), len(each)) else 0
        if any(len(given) not in (1, n) for given in (numbers, times, each)):
            said = f"{field}: {len(numbers)} values, {len(times)} times and {len(each)} sets of tags do not belong together"
            raise BadData(said, what_next="Give as many of each, or one for all.")
        entry = None
        if log_tags:
            named = _tags(log_tags)
            observation = named.pop(OBSERVATION, "")
            if not observation:
                raise BadData(f"{field}: the tags of the log name no {OBSERVATION}", what_next=f"Add {OBSERVATION} to log_tags.")
            entry = Entry(log=log, field=field, observation=observation, tags=named, time_ns=time.time_ns())
        rows = zip(_all(each, n), _all(times, n), _all(numbers, n), strict=True)
        self._points += [Point(measurement=measurement, field=field, tags=t, time_ns=at, value=v) for t, at, v in rows]
        if entry is not None:
            self._entries.append(entry)

    @property
    def waiting(self) -> int:
        """Values that are not written yet."""
        return len(self._points)

    def write(self) -> int:
        """Write what is kept; returns how many values. Raises Transient where that cannot be done now: all stays, to be written again.

        Raises BadData where the database refuses some for good: these are not kept any more, and all others are written.
        """
        points, entries = list(self._points), list(self._entries)
        refused = self._backend.write(points, entries) if points or entries else ""
        del self._points[: len(points)], self._entries[: len(entries)]
        if refused:
            raise BadData(refused, what_next="Compare the types of fields there, and how far back its retention goes.")
        return len(points)

    def close(self) -> None:
        """Let go of the database. What was not written is forgotten."""
        self._backend.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _all(given: Sequence[Any], n: int) -> Sequence[Any]:
    return given if len(given) == n else list(given) * n


def _tags(tags: Tags) -> dict[str, str]:
    return {str(k): str(v) for k, v in tags.items()}


def _numbers(values: npt.ArrayLike) -> list[float]:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadData("values are numbers, one or a list of them", what_next="Record numbers; what is text belongs into tags.") from error
    if found.ndim > 1:
        what_next = "Record an array line by line, each with its tags."
        raise BadData(f"values have the shape {found.shape}; they are one number or a list", what_next=what_next)
    return [float(v) for v in np.atleast_1d(found).tolist()]


def _times(given: Times) -> list[int]:
    several = isinstance(given, list | tuple) or (isinstance(given, np.ndarray) and given.ndim > 0)
    found = [_ns(t) for t in (given if several else [given])]  # type: ignore[union-attr]
    if any(not _FIRST_NS <= t <= _LAST_NS for t in found):
        raise BadData("a time is beyond the years 1678 to 2262", what_next="Give Unix seconds (UTC).")
    return found


def _ns(moment: Any) -> int:
    if isinstance(moment, np.datetime64):
        return int(moment.astype("datetime64[ns]").astype(np.int64))
    if isinstance(moment, datetime):
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    try:
        seconds = float(moment)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadData(f"{str(moment)[:80]!r} is no time", what_next="Give Unix seconds (UTC), datetime or datetime64.") from error
    if not math.isfinite(seconds):
        raise BadData(f"{seconds} is no time", what_next="Give Unix seconds (UTC).")
    # whole seconds and the rest apart: a double has not the digits for both
    whole = math.floor(seconds)
    return whole * _NS + round((seconds - whole) * _NS)
