"""Columns of the table SCORES of stored spectra, as metrics over fibres: what the chain has summed of each of them, stage by stage."""

from __future__ import annotations

import math
import re
from pathlib import Path

from monitor.web.api import ExposureAsk
from monitor.web.images_cache import Kept, state_of
from quicklook.ccd.spectra import Scores
from quicklook.core.errors import BadData, NotReadyYet, Transient
from quicklook.core.hosting import FileRef, Host
from quicklook.core.metrics import METRIC_NAME
from quicklook.core.results import MetricResult
from quicklook.io.spectrafile import read_scores

FIBER = "fiber"
_FRAMES = ("frame", "cframe")
"""Products that have the table, the one with the most columns last."""
_MOST_BYTES = 30_000_000
_NOTHING_BYTES = 1000
"""That a file has none is kept too, and takes some room."""
_KEPT: Kept[Scores | None] = Kept(_MOST_BYTES, lambda s: _NOTHING_BYTES if s is None else s.fiber.nbytes * (2 + 2 * len(s.columns)))


def scores(host: Host, ask: ExposureAsk) -> dict[str, dict[str, MetricResult]]:
    """By camera and name. The names are those of the columns in small letters without the arm, so that an arm is one map."""
    stored = host.files(ask.unit, ask.tag, "product", None, ask.revision)
    refs = {ref.part: ref for name in _FRAMES for ref in stored if ref.name == name}
    return {camera: _metrics(found) for camera, ref in sorted(refs.items()) if (found := _read(ref)) is not None}


def _read(ref: FileRef) -> Scores | None:
    """None where there are none, or where they cannot be read: the metrics are shown without them."""
    try:
        return _KEPT.get(state_of(ref.path), lambda: read_scores(Path(ref.path), ref.part))
    except (OSError, NotReadyYet, BadData, Transient):
        return None


def _metrics(found: Scores) -> dict[str, MetricResult]:
    fibers = [int(f) for f in found.fiber]
    out = {}
    for column, values in found.columns.items():
        of_all_arms = column.removesuffix(f"_{found.camera[:1].upper()}")
        name = of_all_arms.lower()
        if not re.fullmatch(METRIC_NAME, name) or len(values) != len(fibers):
            continue
        given = [v if math.isfinite(v) else None for v in values.tolist()]
        out[name] = MetricResult(
            name=name, unit=found.units.get(column, ""), doc=f"Column {of_all_arms} of SCORES.", coords={FIBER: list(fibers)}, values=given,
            status=None, statuses=[None] * len(fibers), limit_of=[None] * len(fibers),
        )  # fmt: skip
    return out
