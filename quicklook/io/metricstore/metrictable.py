"""What a query gives: columns of one length, with their units, for astropy, pandas, CSV and JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from quicklook.core.errors import BadConfig

if TYPE_CHECKING:
    import pandas as pd
    from astropy.table import Table

TIME = "time_ns"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricTable:
    """Rows in the order of time. `columns` are arrays of one length by name, `units` of those that have one; `name` is what was asked for.

    Texts are arrays of objects, times int64 (UTC, ns, `time_ns`); NaN is a number that is not known. `more`: there are older rows beyond the limit.
    `medians`: some rows are the median of a metric whose elements are not kept any more, and have no coordinates.
    """

    name: str
    columns: Mapping[str, npt.NDArray[Any]]
    units: Mapping[str, str] = field(default_factory=dict)
    more: bool = False
    medians: bool = False

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, column: str) -> npt.NDArray[Any]:
        return self.columns[column]

    def header(self, column: str) -> str:
        """A column with its unit, as in ``read_noise [electron]``: the value of one metric has its name."""
        name = self.name if column == "value" and "unit" not in self.columns else "time" if column == TIME else column
        unit = self.units.get(column, "")
        return f"{name} [{unit}]" if unit else name

    def rows(self) -> Iterator[list[Any]]:
        """Rows as plain values: times as ISO text (UTC), None for a number that is not known."""
        plain = [list(map(_iso, c.tolist())) if n == TIME else [_plain(v) for v in c.tolist()] for n, c in self.columns.items()]
        yield from (list(row) for row in zip(*plain, strict=True))

    def to_csv(self) -> str:
        """As CSV, units in the header; what is not known is empty."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([self.header(c) for c in self.columns])
        writer.writerows(["" if v is None else v for v in row] for row in self.rows())
        return out.getvalue()

    def to_json(self) -> dict[str, Any]:
        """As plain data: name, columns, units, rows as lists; what is no finite number is null."""
        columns = ["time" if c == TIME else c for c in self.columns]
        rows = [[_strict(v) for v in row] for row in self.rows()]
        return {"name": self.name, "columns": columns, "units": dict(self.units), "rows": rows, "more": self.more}

    def to_astropy(self) -> Table:
        """As a table of astropy: `time` as Time (UTC), units where astropy knows them, texts as text."""
        from astropy.table import Table
        from astropy.time import Time
        from astropy.units import Unit

        made = Table(meta={"name": self.name})
        for name, column in self.columns.items():
            if name == TIME:
                made["time"] = Time((column // 10**9).astype(float), (column % 10**9) / 1e9, format="unix", scale="utc")
                made["time"].format = "isot"
            else:
                made[name] = column.astype(str) if column.dtype == object else column
                if unit := self.units.get(name, ""):
                    made[name].unit = Unit(unit, parse_strict="silent")
        return made

    def to_pandas(self) -> pd.DataFrame:
        """As a data frame: `time` with time zone UTC; units in ``attrs["units"]``. Raises BadConfig where pandas is not installed."""
        try:
            import pandas as pd
        except ImportError as error:
            raise BadConfig("pandas is not installed here", what_next="pip install pandas, or ask for an astropy table.") from error
        columns = {("time" if n == TIME else n): pd.to_datetime(c, unit="ns", utc=True) if n == TIME else c for n, c in self.columns.items()}
        frame = pd.DataFrame(columns)
        frame.attrs = {"name": self.name, "units": dict(self.units)}
        return frame


def _plain(value: Any) -> Any:
    return None if value != value else value


def _strict(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _iso(ns: int) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    except OverflowError:
        return str(ns)
