"""The metrics store as scripts, pages and commands see it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType

import sqlalchemy as sa

from quicklook.core.errors import BadConfig
from quicklook.core.validation import suggest
from quicklook.core.where import parse_where
from quicklook.io.database import database_errors
from quicklook.io.metricstore.asking import Ask, Revisions, parse_query
from quicklook.io.metricstore.history import MetricInfo, history
from quicklook.io.metricstore.lists import LISTS, listed
from quicklook.io.metricstore.metrictable import MetricTable
from quicklook.io.metricstore.opening import name_of, open_store, stamp_of
from quicklook.io.metricstore.records import Recorded, points, recorded
from quicklook.io.metricstore.tables import EXPOSURES, METRICS, RESULTS, TAGSETS

MOST = 100_000
"""Rows of an answer, unless another limit is given."""
_LATEST = 500
"""Exposures, sets of tags and results that are looked at for names: these hardly ever change."""
_NAMED = {"camera": RESULTS.c.part, "part": RESULTS.c.part, "flavor": RESULTS.c.flavor, "program": RESULTS.c.program, "tag": RESULTS.c.tag}
_WORD = re.compile(r"[^\s=<>!(),\"']+")
_SHOWN = 30


class MetricStore:
    """A store: the path of its file, ``sqlite:///FILE`` or ``postgresql://USER@HOST/NAME``. May be used by several threads at once.

    Raises NotReadyYet where there is none `to_read` yet, BadConfig where it is none or is newer than this program; everything raises Transient where
    the database cannot be reached.
    """

    def __init__(self, where: str | Path, *, to_read: bool = True) -> None:
        self.engine = open_store(str(where), to_read=to_read)
        self.name = name_of(self.engine)
        self._stamp = stamp_of(self.engine)

    @property
    def replaced(self) -> bool:
        """Whether another file, or none, is there under its name now, or somebody began or ceased to write it: it is to be opened anew."""
        return stamp_of(self.engine) != self._stamp

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> MetricStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def metrics(self) -> list[MetricInfo]:
        """All metrics that there are, by name; one that was stored with several units or axes comes several times."""
        with self._reading() as connection:
            return _metrics(connection)

    def recorded(self) -> list[Recorded]:
        """What scripts have recorded: measurements, fields, sets of tags."""
        with self._reading() as connection:
            return recorded(connection)

    def history(
        self,
        metric: str | Sequence[str],
        where: str = "",
        since: int | str | None = None,
        until: int | str | None = None,
        limit: int = MOST,
        *,
        tag: str = "",
        revision: Revisions = "last",
        summary: bool = False,
    ) -> MetricTable:
        """The newest `limit` rows of a metric (names or patterns with *) that meet a condition, in the order of time: a row an element.

        `where` is as in `quicklook.core.where`, over camera, night, expid, flavor, program, status, value, qa, any tag of exposures and any
        coordinate of the metric. `since` and `until` are nights or times (ISO, UTC). `tag` "": any. `summary`: a row a metric, its value or median.
        Of measurements of scripts (``measurement.field``) and of lists (verdicts, exposures, decisions, tests, flags, overrides, housekeeping)
        likewise.

        Raises BadConfig, with the nearest names, for what there is not.
        """
        names = (metric,) if isinstance(metric, str) else tuple(metric)
        ask = Ask(names=names, where=where, tag=tag, revision=revision, limit=max(limit, 0), summary=summary).between(since, until)
        with self._reading() as connection:
            if len(names) == 1 and names[0] in LISTS:
                return listed(connection, names[0], _tag_names(connection), ask)
            if len(names) == 1 and "." in names[0]:
                return points(connection, names[0], ask)
            return history(connection, _chosen(_metrics(connection), names), _tag_names(connection), ask)

    def query(
        self,
        text: str,
        *,
        since: int | str | None = None,
        until: int | str | None = None,
        limit: int = MOST,
        tag: str = "",
        revision: Revisions = "last",
        summary: bool = False,
    ) -> MetricTable:
        """As `history`, for ``read_noise where camera = r0 and night >= 20220101``. Raises BadConfig for what cannot be read."""
        names, where = parse_query(text)
        return self.history(names, where, since, until, limit, tag=tag, revision=revision, summary=summary)

    def doubts(self, text: str, tag: str = "") -> list[str]:
        """Why a query that could be read finds nothing: cameras, flavors, programs and the tag that no recent result has, in sentences."""
        where = parse_query(text)[1]
        required = parse_where(where, _WORD.findall(where)).required if where else ()
        asked = [(name, values) for name, op, values in required if name in _NAMED and op in ("=", "==", "in")]
        if tag and all(name != "tag" for name, _ in asked):
            asked.append(("tag", (tag,)))
        with self._reading() as connection:
            latest = connection.execute(sa.select(*dict.fromkeys(_NAMED.values())).order_by(RESULTS.c.id.desc()).limit(_LATEST)).all()
        out = []
        for name, values in asked:
            known = sorted({getattr(row, _NAMED[name].name) for row in latest} - {""})
            if known and not set(values) & set(known):
                listed = ", ".join([*known[:_SHOWN], *(["..."] if len(known) > _SHOWN else [])])
                out.append(f"no recent result has {name} {values[0]!r}; there are {listed}")
        return out

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with database_errors(self.name), self.engine.execution_options(reading=True).connect() as connection:
            yield connection


def _metrics(connection: sa.Connection) -> list[MetricInfo]:
    rows = connection.execute(sa.select(METRICS).order_by(METRICS.c.name, METRICS.c.id))
    return [MetricInfo(name=r.name, unit=r.unit, dims=tuple(filter(None, r.dims.split(","))), doc=r.doc, number=r.id) for r in rows]


def _chosen(infos: Sequence[MetricInfo], names: Sequence[str]) -> list[MetricInfo]:
    """Metrics of these names or patterns. Raises BadConfig for one that there is not."""
    out: dict[int, MetricInfo] = {}
    for name in names:
        found = [i for i in infos if i.name == name] or [i for i in infos if fnmatchcase(i.name, name)]
        if not found:
            if name in LISTS:
                raise BadConfig(f"{name} is a list, and is asked for alone", what_next="Ask for lists and metrics one after the other.")
            valid = sorted({i.name for i in infos})
            hint = suggest(name[:80].lower(), [*valid, *LISTS], noun="metrics") if valid else "; the store has no metrics yet"
            raise BadConfig(f"there is no metric {name[:80]!r} in the store{hint}", what_next="`quicklook query --list` shows all that there is.")
        out |= {i.number: i for i in found}
    return list(out.values())


def _tag_names(connection: sa.Connection) -> list[str]:
    """Names of tags of the latest exposures and of cameras, so that a condition that names none of them is refused."""
    newest = sa.select(EXPOSURES.c.tags).order_by(EXPOSURES.c.time_ns.desc()).limit(_LATEST)
    of_parts = sa.select(TAGSETS.c.tags).order_by(TAGSETS.c.id.desc()).limit(_LATEST)
    texts = [*connection.execute(newest).scalars(), *connection.execute(of_parts).scalars()]
    return list(dict.fromkeys(name for text in texts for name in json.loads(text)))
