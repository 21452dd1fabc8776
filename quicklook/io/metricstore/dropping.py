"""What is old is made smaller: of a metric with several elements the median, least, largest and status stay, and the elements go."""

from __future__ import annotations

import sqlalchemy as sa

from quicklook.io.database import database_errors
from quicklook.io.metricstore.opening import name_of
from quicklook.io.metricstore.tables import METRICS, RESULTS, VALUES

DAY_NS = 86400 * 10**9
_LONGEST_DAYS = 36500.0
_BATCH = 20
"""Cameras of exposures in one transaction, some hundredths of a second: who writes does not wait."""
_FIRST_NS = -(2**63)

# the metric stands first in the key: with all of them named, each row is found by its key
_DROP = (
    sa.update(VALUES)
    .where(VALUES.c.metric.in_(sa.select(METRICS.c.id)), VALUES.c.time_ns == sa.bindparam("at"), VALUES.c.result == sa.bindparam("of"))
    .where(VALUES.c.elements.is_not(None))
    .values(elements=None, statuses=None, limit_of=None)
)


def before_days(days: float, now_ns: int) -> int:
    """The moment so many days ago, UTC ns."""
    return now_ns - int(min(days, _LONGEST_DAYS) * DAY_NS)


def _old(before_ns: int) -> tuple[sa.ColumnElement[bool], ...]:
    """Cameras of exposures that are whole, and were exposed and judged before: a rerun of old data is as new as its verdict."""
    judged = sa.func.coalesce(RESULTS.c.verdict_ns, RESULTS.c.time_ns)
    return RESULTS.c.has_metrics, RESULTS.c.whole, RESULTS.c.time_ns < before_ns, judged < before_ns


def count_old(engine: sa.Engine, before_ns: int) -> int:
    """Of how many cameras of exposures a pass would drop elements. Raises Transient."""
    wanted = sa.select(sa.func.count()).select_from(RESULTS).where(*_old(before_ns))
    with database_errors(name_of(engine)), engine.execution_options(reading=True).connect() as connection:
        return int(connection.execute(wanted).scalar() or 0)


class Dropping:
    """One pass over what is older than a moment (UTC ns), in turns; counts cameras of exposures, and metrics whose elements went."""

    def __init__(self, engine: sa.Engine, before_ns: int) -> None:
        self._engine, self._name, self._before_ns, self._from_ns = engine, name_of(engine), before_ns, _FIRST_NS
        self.cameras = self.metrics = 0

    def turn(self, most: int = _BATCH) -> bool:
        """Drop the elements of some, in one transaction; False: there are no more. Raises Transient: then nothing was dropped."""
        wanted = sa.select(RESULTS.c.id, RESULTS.c.time_ns).where(*_old(self._before_ns), RESULTS.c.time_ns >= self._from_ns)
        with database_errors(self._name), self._engine.execution_options(reading=True).connect() as connection:
            found = connection.execute(wanted.order_by(RESULTS.c.time_ns).limit(most)).all()
        if not found:
            return False
        with database_errors(self._name), self._engine.begin() as connection:
            dropped = sum(connection.execute(_DROP, {"at": row.time_ns, "of": row.id}).rowcount for row in found)
            connection.execute(sa.update(RESULTS).where(RESULTS.c.id.in_([row.id for row in found])).values(whole=False))
        self.cameras, self.metrics, self._from_ns = self.cameras + len(found), self.metrics + dropped, found[-1].time_ns
        return True
