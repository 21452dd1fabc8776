"""The metrics store for scripts: ask it (`MetricStore`), and add measures of your own (`Monitor`). See docs/how-to/query-metrics.md."""

from __future__ import annotations

from quicklook.io.metricstore import MetricStore, MetricTable, store_path
from quicklook.io.metricstore.recorder import Monitor

__all__ = ["MetricStore", "MetricTable", "Monitor", "store_path"]
