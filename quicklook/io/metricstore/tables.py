"""The tables of the metrics store, as they are now. `migrations` makes them, and brings older ones up to date.

What repeats stands once, in a table with a digest: metrics, QAs, axes (coordinates), limits, sets of tags. A metric of a camera is one row of
`VALUES`: its value (of many elements their median), their range, its status, its limit; the elements themselves are packed (see `packing`).
"""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()
VERSION_TABLE = "quicklook_store_version"


def _number() -> sa.Column[int]:
    # SQLite counts by itself in columns of type INTEGER alone
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True)


def _digest() -> sa.Column[str]:
    return sa.Column("digest", sa.String(40), nullable=False, unique=True)


def _text(name: str, default: str = "") -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


METRICS = sa.Table("quicklook_metrics", METADATA, _number(), _digest(), _text("name"), _text("unit"), _text("dims"), _text("doc"))
QAS = sa.Table("quicklook_qas", METADATA, _number(), _digest(), _text("name"), _text("step"), _text("grp"))
AXES = sa.Table("quicklook_axes", METADATA, _number(), _digest(), _text("coords"))
TAGSETS = sa.Table("quicklook_tagsets", METADATA, _number(), _digest(), _text("tags"))
LIMITS = sa.Table(
    "quicklook_limits", METADATA, _number(), _digest(),
    *(sa.Column(name, sa.Double) for name in ("normal_low", "normal_high", "warning_low", "warning_high")),
    _text("reason"), _text("action"), _text("source"), _text("used"),
)  # fmt: skip

EXPOSURES = sa.Table(
    "quicklook_exposures",
    METADATA,
    sa.Column("night", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("expid", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("tag", sa.Text, primary_key=True),
    _text("flavor"),
    _text("program"),
    sa.Column("exptime_s", sa.Double),
    sa.Column("time_ns", sa.BigInteger, nullable=False),
    _text("tags", "{}"),
    _text("path"),
    sa.Column("size", sa.BigInteger),
    sa.Column("seen_ns", sa.BigInteger),
    sa.Column("seconds_to_verdict", sa.Double),
    sa.Index("quicklook_exposures_time", "time_ns"),
)

RESULTS = sa.Table(
    "quicklook_results",
    METADATA,
    _number(),
    sa.Column("night", sa.Integer, nullable=False),
    sa.Column("expid", sa.BigInteger, nullable=False),
    _text("tag"),
    _text("part"),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("time_ns", sa.BigInteger, nullable=False),
    _text("flavor"),
    _text("program"),
    sa.Column("tagset", sa.BigInteger),
    sa.Column("has_metrics", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("metrics_last", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("verdict_last", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("status", sa.SmallInteger),
    sa.Column("verdict_ns", sa.BigInteger),
    sa.Column("measured", sa.Integer),
    sa.Column("expected", sa.Integer),
    sa.Column("seconds", sa.Double),
    _text("reasons", "[]"),
    _text("path"),
    sa.Column("whole", sa.Boolean, nullable=False, server_default=sa.true()),  # no elements of its metrics were dropped
    sa.UniqueConstraint("night", "expid", "tag", "part", "revision", name="quicklook_results_key"),
    sa.Index("quicklook_results_part_time", "part", "time_ns"),
    sa.Index("quicklook_results_time", "time_ns"),
)

VALUES = sa.Table(
    "quicklook_values",
    METADATA,
    sa.Column("metric", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time_ns", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("result", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("qa", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("axes", sa.BigInteger),
    sa.Column("limits", sa.BigInteger),
    sa.Column("n", sa.Integer, nullable=False),
    sa.Column("status", sa.SmallInteger),
    sa.Column("worst", sa.Integer),
    sa.Column("value", sa.Double),
    sa.Column("low", sa.Double),
    sa.Column("high", sa.Double),
    sa.Column("elements", sa.LargeBinary),
    sa.Column("statuses", sa.LargeBinary),
    sa.Column("limit_of", sa.LargeBinary),
    sa.Column("details", sa.Text),
    sqlite_with_rowid=False,
)

DECISIONS = sa.Table(
    "quicklook_decisions",
    METADATA,
    sa.Column("night", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("expid", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("tag", sa.Text, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time_ns", sa.BigInteger, nullable=False),
    sa.Column("status", sa.SmallInteger),
    *map(_text, ("decision", "rule", "why", "action")),
    sa.Column("measured", sa.Integer),
    sa.Column("expected", sa.Integer),
    _text("card", "{}"),
)

TESTS = sa.Table(
    "quicklook_tests",
    METADATA,
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("tag", sa.Text, primary_key=True),
    sa.Column("time_ns", sa.BigInteger, nullable=False),
    sa.Column("status", sa.SmallInteger),
    sa.Column("complete", sa.Boolean, nullable=False),
    _text("reasons", "[]"),
    _text("exposures", "[]"),
    _text("path"),
)

FLAGS = sa.Table(
    "quicklook_flags",
    METADATA,
    *(sa.Column(name, sa.Text, primary_key=True) for name in ("run", "test", "tag", "flag")),
    sa.Column("time_ns", sa.BigInteger, nullable=False),
)

# the two below have no key of their own in the events: epoch and number of the event tell them apart, so that one that comes again is the same row
OVERRIDES = sa.Table(
    "quicklook_overrides",
    METADATA,
    sa.Column("epoch", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("night", sa.Integer, nullable=False),
    sa.Column("expid", sa.BigInteger, nullable=False),
    *map(_text, ("tag", "part")),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("time_ns", sa.BigInteger, nullable=False),
    sa.Column("was", sa.SmallInteger),
    sa.Column("status", sa.SmallInteger),
    *map(_text, ("by", "reason")),
)

HOUSEKEEPING = sa.Table(
    "quicklook_housekeeping",
    METADATA,
    sa.Column("epoch", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time_ns", sa.BigInteger, nullable=False),
    *map(_text, ("tag", "subject", "channel", "rule", "state", "before", "severity", "direction")),
    sa.Column("value", sa.Double),
    sa.Column("bound", sa.Double),
    *map(_text, ("unit", "text", "reason")),
    sa.Index("quicklook_housekeeping_channel", "channel", "time_ns"),
)

POSITIONS = sa.Table(
    "quicklook_positions", METADATA, sa.Column("epoch", sa.Text, primary_key=True), sa.Column("seq", sa.BigInteger, nullable=False)
)

SERIES = sa.Table("quicklook_series", METADATA, _number(), _digest(), _text("measurement"), _text("field"), _text("tags", "{}"))
POINTS = sa.Table(
    "quicklook_points",
    METADATA,
    sa.Column("series", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time_ns", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("value", sa.Double),
    sqlite_with_rowid=False,
)
DONE = sa.Table(
    "quicklook_done",
    METADATA,
    *(sa.Column(name, sa.Text, primary_key=True) for name in ("log", "field", "observation", "tags")),
    sa.Column("time_ns", sa.BigInteger, nullable=False),
)
