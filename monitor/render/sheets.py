"""When the contact sheet of an exposure is due: with its verdict, and once more when the pictures of its last camera have come."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from quicklook.core.events import Event, UnitDone
from quicklook.core.keys import Unit
from quicklook.core.plots import Plot
from quicklook.core.status import Status
from quicklook.io.folders import exposure_folder

PREVIEW = "image_preview"
"""The plot whose picture is shown."""
_KEPT = 8
"""Exposures whose last pictures may still come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A contact sheet that was drawn, and where it belongs."""

    data: bytes
    path: Path


class SheetKeeper:
    """Knows of the last exposures which cameras have no picture yet. Verdicts come before pictures, which may be late or never come."""

    def __init__(self, out: Path, dpi: float) -> None:
        self._out, self._dpi = out, dpi
        self._waiting: OrderedDict[tuple[str, str], tuple[UnitDone, set[str]]] = OrderedDict()

    def due(self, event: Event) -> UnitDone | None:
        """The verdict whose sheet the event makes due: it is one, or tells of the last pictures of an exposure that has its verdict; None otherwise.

        An exposure of one camera has none.
        """
        key = (event.unit or "", event.tag)
        folder = exposure_folder(self._out, event.tag, Unit.parse(event.unit or ""))
        if event.kind == UnitDone.kind:
            verdict = UnitDone.model_validate(event.payload)
            # a camera without a status has failed, as a rule before it had a picture
            late = {p for p, status in verdict.parts.items() if status is not Status.UNKNOWN and not _file(folder, p, verdict).is_file()}
        elif key in self._waiting:
            verdict, late = self._waiting[key]
            if event.part not in late:
                return None
            late = late - {event.part or ""}
        else:
            return None
        self._remember(key, verdict, late)
        drawn = event.kind == UnitDone.kind or not late
        return verdict if drawn and len(verdict.parts) + len(verdict.missing) > 1 else None

    def _remember(self, key: tuple[str, str], verdict: UnitDone, late: set[str]) -> None:
        self._waiting.pop(key, None)
        if late:
            self._waiting[key] = (verdict, late)
        while len(self._waiting) > _KEPT:
            self._waiting.popitem(last=False)

    def sheet(self, verdict: UnitDone, tag: str, footer: str) -> Sheet | None:
        """The sheet of a verdict, drawn; None where no camera has a picture."""
        from monitor.render.contact import render_contact_sheet

        folder = exposure_folder(self._out, tag, Unit(verdict.night, verdict.expid))
        names = sorted({*verdict.parts, *verdict.missing})
        plots = [(name, _preview(_file(folder, name, verdict))) for name in names]
        if not any(plot for _, plot in plots):  # plots are not made here
            return None
        statuses = {name: verdict.parts.get(name, Status.UNKNOWN) for name in names}
        flavor = verdict.tags.get("flavor", "")
        title = " ".join(t for t in (f"{verdict.night:08d}/{verdict.expid:08d}", flavor, f"{verdict.status.value}: all cameras") if t)
        data = render_contact_sheet(plots, statuses=statuses, title=title, footer=footer, dpi=self._dpi)
        return Sheet(data=data, path=folder / "plots" / f"contact-{verdict.expid:08d}.png")


def _file(folder: Path, part: str, verdict: UnitDone) -> Path:
    return folder / "plots" / f"plots-{part}-{verdict.expid:08d}.npz"


def _preview(path: Path) -> Plot | None:
    """The preview of a camera; None where there is none, or it cannot be read."""
    from quicklook.core.errors import QuicklookError
    from quicklook.io.plotfiles import load_plots

    try:
        return next((p for p in load_plots(path) if p.name == PREVIEW), None)
    except QuicklookError:
        return None
