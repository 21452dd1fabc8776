"""The metrics store: every metric, verdict, exposure, decision, test and override, in SQL, with its history. See docs/how-to/query-metrics.md."""

from __future__ import annotations

from quicklook.io.metricstore.history import MetricInfo
from quicklook.io.metricstore.metrictable import MetricTable
from quicklook.io.metricstore.opening import store_path
from quicklook.io.metricstore.store import MetricStore

__all__ = ["MetricInfo", "MetricStore", "MetricTable", "store_path"]
