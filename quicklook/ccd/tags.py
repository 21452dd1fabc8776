"""Tags of a part, by which conditional parameters and limits are chosen. All are strings."""

from __future__ import annotations

TAGS = (
    "instrument",
    "telescope",
    "camera",
    "arm",
    "spectrograph",
    "detector",
    "flavor",
    "program",
    "exptime",
    "night",
    "expid",
    "test",
)
"""Names of tags that a reader may set. A condition on any other name is refused."""
