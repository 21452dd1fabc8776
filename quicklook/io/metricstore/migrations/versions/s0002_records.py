"""What scripts record: series of points, and what has been done."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels = depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add them."""
    op.create_table("quicklook_done",
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("observation", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("log", "field", "observation", "tags"),
    )
    op.create_table("quicklook_points",
        sa.Column("series", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Double()),
        sa.PrimaryKeyConstraint("series", "time_ns"),
        sqlite_with_rowid=False,
    )
    op.create_table("quicklook_series",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("digest", sa.String(length=40), nullable=False),
        sa.Column("measurement", sa.Text(), server_default="", nullable=False),
        sa.Column("field", sa.Text(), server_default="", nullable=False),
        sa.Column("tags", sa.Text(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.execute(_VIEW)


_VIEW = """
CREATE VIEW quicklook_history AS
SELECT m.name AS metric, m.unit, m.dims, v.time_ns, r.night, r.expid, r.part AS camera, r.tag, r.revision, r.metrics_last AS last, r.flavor,
    r.program, q.name AS qa, v.n, v.value, v.low, v.high,
    CASE v.status WHEN 1 THEN 'NORMAL' WHEN 2 THEN 'UNKNOWN' WHEN 3 THEN 'WARNING' WHEN 4 THEN 'ALARM' ELSE '' END AS status,
    l.normal_low, l.normal_high, l.warning_low, l.warning_high, l.reason, l.action
FROM quicklook_values v
JOIN quicklook_metrics m ON m.id = v.metric
JOIN quicklook_results r ON r.id = v.result
JOIN quicklook_qas q ON q.id = v.qa
LEFT JOIN quicklook_limits l ON l.id = v.limits
"""
"""For other programs: a row a metric, with names in place of numbers."""
