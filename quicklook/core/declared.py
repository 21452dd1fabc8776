"""What the installed QAs declare."""

from __future__ import annotations

import logging
from typing import Any

from quicklook.core.errors import BadConfig
from quicklook.core.metrics import MetricDef
from quicklook.core.plugin import MonitoringAlg
from quicklook.core.registry import registered

log = logging.getLogger("quicklook.config")


def declared_metrics() -> dict[str, MetricDef]:
    """All metrics that installed QAs declare. Raises BadConfig where two declare one name differently."""
    out: dict[str, MetricDef] = {}
    for ref in registered("qa").values():
        try:
            qa: type[MonitoringAlg[Any]] = ref.load()
        except BadConfig as error:
            # a package of somebody else that is half removed must not stop what does not need it
            log.warning("%s; its metrics are left out", error)
            continue
        for metric in qa.metrics:
            other = out.setdefault(metric.name, metric)
            if other != metric:
                raise BadConfig(f"metric {metric.name} is declared twice in different ways; one of them is in {ref.target}")
    return out
