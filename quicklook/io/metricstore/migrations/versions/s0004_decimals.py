"""Elements that are decimals are packed as whole numbers: what was written before is read as it is, an older program cannot read what comes."""

from __future__ import annotations

revision = "0004"
down_revision: str | None = "0003"
branch_labels = depends_on = None


def upgrade() -> None:
    """No table changes."""
