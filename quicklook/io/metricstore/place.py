"""Where a store is, as configuration says it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from quicklook.core.params import Params
from quicklook.io.database import make_engine, refuse_secrets, with_password
from quicklook.io.metricstore.opening import store_path


class StorePlace(Params):
    """Where the metrics store is. Nothing secret stands here."""

    url: str = Field(
        "", description="a file (relative to the output folder), or postgresql://USER@HOST/NAME, or env:NAME; empty: metrics.sqlite there"
    )
    password: str = Field("", description="password of the PostgreSQL server, as env:NAME or file:/path; else PGPASSWORD or ~/.pgpass")

    def check(self) -> None:
        """Raises BadConfig: a password in it, a secret that cannot be had, no driver."""
        refuse_secrets(self.url, self.password)
        make_engine(self.address("."), "metrics store").dispose()

    def address(self, out: str | Path) -> str:
        """The address, with its password; not to be shown. Raises BadConfig where it cannot be had."""
        url = with_password(self.url, self.password)
        return url if "://" in url else str(Path(out) / url if url else store_path(out))


class StoreParams(StorePlace):
    """Parameters of the sink that fills a store."""

    elements_days: float = Field(
        400.0, ge=0, allow_inf_nan=False, description="so long a metric keeps each of its values, days; then median, least and largest; 0: for ever"
    )
