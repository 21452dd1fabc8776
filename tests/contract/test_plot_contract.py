"""What every plot of a QA holds to beyond the contract of plugins: units that say what is meant, limits as bands, and it can be drawn."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import product_factories
import pytest
from contract_checks import call

from monitor.render.renderer import render_png
from quicklook.core.judge import Judge, add_bands
from quicklook.core.limits import Limit, LimitSet
from quicklook.core.metrics import Measures
from quicklook.core.plots import Axis, Plot, Table
from quicklook.core.registry import PluginRef, registered

QAS = [ref for ref in registered("qa").values() if ref.distribution == "spectroquicklook"]
MEASURED = ("wavelength", "age", "shift", "sigma", "row", "column", "CCD", "raw", "X", "Y", "magnitude", "effective")
"""First words of labels of what has a unit."""


def axes_of(plot: Plot) -> list[Axis]:
    """All axes, those of colours too."""
    panels = [p for p in plot.panels if not any(isinstance(layer, Table) for layer in p.layers)]
    colours = [c for p in panels for layer in p.layers if (c := getattr(layer, "c_axis", None)) is not None]
    return [a for p in panels for a in (p.x, p.y)] + colours


@pytest.mark.parametrize("ref", QAS, ids=lambda r: r.name)
def test_axes_have_units_and_limits_become_bands_and_it_is_drawn(ref: PluginRef) -> None:
    plugin: Any = ref.load()
    measures = call(plugin(), product_factories.inputs_of(plugin))
    if not isinstance(measures, Measures):
        pytest.skip(str(measures))
    limits = [Limit(metric=m.name, unit=m.unit, normal=(-1e3, 1e3), warning=(-2e3, 2e3), reason="r", action="a") for m in plugin.metrics]
    results = Judge(LimitSet(tuple(limits))).measures(plugin.metrics, measures, {})
    told = {r.name: r for r in results}
    for plot in measures.plots:
        for axis in axes_of(plot):
            word = axis.label.split()[0] if axis.label else ""
            assert axis.unit or word not in MEASURED or "/" in axis.label, f"{plot.name}: the axis {axis.label!r} has no unit"
        banded = add_bands(plot, results)
        for panel in banded.panels:
            shown = told.get(panel.metric or "")
            if shown is not None and shown.limits:
                assert [b.kind for b in panel.bands] == ["warning", "normal"], f"{plot.name}, {panel.title}: the limit of {panel.metric} is not shown"
                assert panel.y.unit == shown.unit, f"{plot.name}, {panel.title}: {panel.y.unit!r} at the axis, {shown.unit!r} of {panel.metric}"
        with warnings.catch_warnings(), np.errstate(all="raise", under="ignore"):
            warnings.simplefilter("error")
            assert render_png(banded, dpi=30).startswith(b"\x89PNG")
