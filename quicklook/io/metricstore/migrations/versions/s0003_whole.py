"""Which cameras of exposures still have all elements of their metrics."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels = depends_on = None


def upgrade() -> None:
    """Add it."""
    op.add_column("quicklook_results", sa.Column("whole", sa.Boolean(), server_default=sa.true(), nullable=False))
