"""Plots by configuration: named figures of panels that show metrics against each other or against their dimensions.

They are laid out from finished results alone (see `quicklook.core.figures`): no pixel is read, and nothing waits for them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from quicklook.core.document import Document
from quicklook.core.document import Path as DocumentPath
from quicklook.core.errors import BadConfig
from quicklook.core.metrics import Coord, MetricDef
from quicklook.core.plots import Colours
from quicklook.core.validation import suggest, validate

FIELDS = ("camera", "night", "expid", "flavor", "program")
"""What titles may name in braces."""
_FIELD = re.compile(r"\{(.*?)\}")


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _several(value: Any) -> Any:
    return [_named(v) for v in value] if isinstance(value, list | tuple) else [_named(value)]


def _strings(value: Any) -> Any:
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(str(v) for v in items)


class AxisSpec(_Spec):
    """What an axis or a colour shows: a metric, or a dimension of the metrics of the panel. A bare name is short for it."""

    name: str = Field(min_length=1, description="a metric, or a dimension such as fiber, amp or wave")
    title: str = Field("", description="what is written at the axis; default: the name; the unit is added")
    range: tuple[float | None, float | None] = Field((None, None), description="ends; null: by the data. In reverse they turn the axis round")
    log: bool = Field(False, description="whether the axis is logarithmic")
    at: dict[str, Coord] = Field({}, description="which elements, where the metric has further dimensions, as in {window: 0}")
    colours: Colours = Field("auto", description="map of colours (heat map), for z alone")


OneAxis = Annotated[AxisSpec, BeforeValidator(_named)]
SomeAxes = Annotated[tuple[AxisSpec, ...], BeforeValidator(_several), Field(min_length=1)]


class Panel2d(_Spec):
    """Points, lines or bars: one metric or several (of one unit) against another one, or against their dimension."""

    kind: Literal["2d"]
    title: str = ""
    x: OneAxis
    y: SomeAxes
    style: Literal["auto", "points", "line", "bars"] = Field("auto", description="auto: bars over names, points over numbers")


class Panel3d(_Spec):
    """Points coloured by a third metric."""

    kind: Literal["3d"]
    title: str = ""
    x: OneAxis
    y: OneAxis
    z: OneAxis
    equal: bool = Field(False, description="equal scales on both axes, as on the focal plane")


class PanelPatch(_Spec):
    """A grid of cells coloured by a metric: two dimensions of it, or one that is laid out by names or by bundles."""

    kind: Literal["patch"]
    title: str = ""
    z: OneAxis
    x: OneAxis | None = Field(None, description="for two dimensions: the one across; default: the last one")
    layout: tuple[tuple[Coord, ...], ...] = Field((), description="for one dimension: its coordinates in rows from above, as in [[C, D], [A, B]]")
    bundle: int = Field(0, ge=0, description="for one dimension of numbers: so many in a column, as 25 fibres of a bundle")
    x_title: str = ""
    y_title: str = ""

    @model_validator(mode="after")
    def _check(self) -> PanelPatch:
        if bool(self.layout) + bool(self.bundle) + (self.x is not None) > 1:
            raise ValueError("give one of `x`, `layout` and `bundle`, not two")
        if len({len(row) for row in self.layout}) > 1:
            raise ValueError("the rows of `layout` differ in length")
        names = [c for row in self.layout for c in row]
        if len(set(names)) < len(names):
            raise ValueError("`layout` names a cell twice")
        return self


PanelSpec = Annotated[Panel2d | Panel3d | PanelPatch, Field(discriminator="kind")]


class FigureSpec(_Spec):
    """A figure: its name, when it is drawn, its panels. Its title may name what stands in `FIELDS` in braces."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="name, also of the file")
    title: str = Field("", description="title; may name {camera}, {night}, {expid}, {flavor}, {program}")
    caption: str = ""
    when: dict[str, Annotated[tuple[str, ...], BeforeValidator(_strings)]] = Field(
        {}, description="tags, as in {flavor: [science], camera: [r*]} (patterns of a shell); all must hold"
    )
    columns: int = Field(2, ge=1, le=6)
    panels: tuple[PanelSpec, ...] = Field(min_length=1, max_length=60)

    @model_validator(mode="after")
    def _check_title(self) -> FigureSpec:
        if unknown := [f for f in _FIELD.findall(self.title) if f not in FIELDS]:
            raise ValueError(f"the title names {{{unknown[0]}}}; in braces may stand: {', '.join(FIELDS)}")
        return self


class PlotsFile(_Spec):
    """The contents of a file of plots."""

    plots: str = Field(description="name")
    doc: str = ""
    figures: tuple[FigureSpec, ...] = Field(min_length=1)


def axes_of(panel: Panel2d | Panel3d | PanelPatch) -> list[tuple[DocumentPath, AxisSpec]]:
    """All axes of a panel, those of metrics first, each with its place in the panel."""
    if isinstance(panel, Panel2d):
        several = len(panel.y) > 1
        return [*((("y", i) if several else ("y",), y) for i, y in enumerate(panel.y)), (("x",), panel.x)]
    given = (("x", panel.x), ("y", panel.y)) if isinstance(panel, Panel3d) else (("x", panel.x),)
    return [(("z",), panel.z), *(((name,), axis) for name, axis in given if axis is not None)]


def load_plot_specs(
    documents: Iterable[Document], metrics: Mapping[str, MetricDef], tag_names: Collection[str] | None = None
) -> tuple[FigureSpec, ...]:
    """Figures from files; one that bears the name of an earlier one takes its place.

    Raises BadConfig, with file and line: a metric that no QA measures, dimensions that do not match, a name used twice in a file, a condition
    on what is no tag (where `tag_names` are given).
    """
    found: dict[str, FigureSpec] = {}
    for doc in documents:
        seen: set[str] = set()
        for i, figure in enumerate(validate(PlotsFile, doc).figures):
            if figure.name in seen:
                raise BadConfig(f"{doc.where(('figures', i, 'name'))}: the name {figure.name!r} is used twice; give one of them another")
            seen.add(figure.name)
            _check_tags(figure, doc, i, tag_names)
            for k, panel in enumerate(figure.panels):
                _check_panel(panel, doc, ("figures", i, "panels", k), metrics)
            found[figure.name] = figure
    return tuple(found.values())


def _check_tags(figure: FigureSpec, doc: Document, i: int, tag_names: Collection[str] | None) -> None:
    for tag in figure.when if tag_names is not None else ():
        if tag not in (tag_names or ()):
            where = doc.where(("figures", i, "when", tag))
            raise BadConfig(f"{where}: there is no tag {tag!r}{suggest(tag, sorted(tag_names or ()), noun='tags')}")


def _check_panel(panel: Panel2d | Panel3d | PanelPatch, doc: Document, path: DocumentPath, metrics: Mapping[str, MetricDef]) -> None:
    axes = axes_of(panel)
    first_place, first = axes[0]
    where = doc.where((*path, *first_place))
    dims = _dims(first, where, metrics)
    if dims is None:
        raise BadConfig(f"{where}: no QA measures {first.name!r}{suggest(first.name, sorted(metrics), noun='metrics')}")
    wanted = 2 if isinstance(panel, PanelPatch) and not (panel.layout or panel.bundle) else 1
    if len(dims) != wanted:
        have = ", ".join(dims) or "none"
        cure = "say which with `at`" if len(dims) > wanted else "a patch of one dimension needs `layout` or `bundle`" if dims else "it is one number"
        raise BadConfig(f"{where}: {first.name} is over {have}; {wanted} dimension{'s' * (wanted > 1)} must be left here: {cure}")
    for place, axis in axes[1:]:
        _check_axis(axis, doc.where((*path, *place)), dims, first, metrics, whole=not isinstance(panel, PanelPatch))
    if isinstance(panel, Panel2d) and len({metrics[y.name].unit for y in panel.y}) > 1:
        raise BadConfig(f"{where}: metrics of one axis must have one unit; these have {', '.join(metrics[y.name].unit or 'none' for y in panel.y)}")


def _check_axis(axis: AxisSpec, where: str, dims: Sequence[str], first: AxisSpec, metrics: Mapping[str, MetricDef], *, whole: bool) -> None:
    """An axis beside the first: one of its dimensions, or (in all but patches) a metric over the same."""
    if axis.name in dims:
        return
    own = _dims(axis, where, metrics) if whole else None
    if own is None:
        known = [*dims, *(sorted(metrics) if whole else [])]
        what = "neither a metric nor " if whole else "not "
        over = f" ({', '.join(dims)})" if whole and dims else ""
        hint = suggest(axis.name, known, noun="metrics" if whole else "names")
        raise BadConfig(f"{where}: {axis.name!r} is {what}a dimension of {first.name}{over}{hint}")
    if own != tuple(dims):
        raise BadConfig(f"{where}: {axis.name} is over {', '.join(own) or 'nothing'}, {first.name} over {', '.join(dims)}; they cannot be paired")


def _dims(axis: AxisSpec, where: str, metrics: Mapping[str, MetricDef]) -> tuple[str, ...] | None:
    """Dimensions that `at` leaves; None for what is no metric. Raises BadConfig for `at` on a dimension that is none of the metric."""
    definition = metrics.get(axis.name)
    if definition is None:
        return None
    for dim in axis.at:
        if dim not in definition.dims:
            raise BadConfig(f"{where}: {axis.name} has no dimension {dim!r}; it has: {', '.join(definition.dims) or 'none'}")
    return tuple(d for d in definition.dims if d not in axis.at)
