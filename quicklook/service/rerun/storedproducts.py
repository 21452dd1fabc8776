"""Products of a part as they were stored, by the step that has made them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.image import Image, RawImage
from quicklook.ccd.scorenames import STAGE_WORDS
from quicklook.ccd.spectra import FiberFlat, Frame, SkyModel, TraceSet
from quicklook.core.chain import Step
from quicklook.core.contract import contract_of
from quicklook.core.errors import BadData, QuicklookError
from quicklook.core.keys import PartKey
from quicklook.core.product import Product
from quicklook.io.flatfile import read_fiberflat
from quicklook.io.hdus import Hdus
from quicklook.io.imagefile import read_preproc
from quicklook.io.products import STEP_CARD, can_write, product_name
from quicklook.io.recordfile import RECORDS, read_record
from quicklook.io.spectrafile import read_frame, read_sky
from quicklook.io.tracefile import read_traces

_READERS: Mapping[type[Product], Callable[[Path], Product]] = {
    TraceSet: read_traces, Frame: read_frame, SkyModel: read_sky, FiberFlat: read_fiberflat,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A product as a step of the chain has made it; `who` needs it."""

    step: str
    type: type[Product]
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredProducts:
    """The products of one part in the folder of its exposure; `steps` are those of the chain that has made them."""

    folder: Path
    key: PartKey
    steps: tuple[Step, ...]

    def find(self, wanted: Wanted) -> Path | None:
        """The file that holds a product; None where there is none. Raises BadData for one that cannot be opened."""
        if wanted.type is FiberMap:
            return self._of_fibers(wanted.step)
        return next((p for p in self._candidates(wanted.type) if self._step_of(p, wanted.type) == wanted.step), None)

    def missing(self, wanted: Wanted) -> str:
        """Why a product cannot be had, and how it can, in a sentence."""
        kind = wanted.type.kind
        labels = [label for label in labels_of(wanted.type) if can_write(label)]
        need = f"{wanted.who} needs the {kind} that step {wanted.step} has made"
        if not labels:
            return f"{need}; it has no form on disk, so that this QA can be run with the chain alone"
        later = [s for s in self._makers(wanted.type) if s != wanted.step]
        others = {self._step_of(p, wanted.type) for p in self._candidates(wanted.type)}
        if len(labels) == 1 and others & set(later):
            return f"{need}, and stored is the one of step {', '.join(sorted(others))}, which has taken its place; run the chain"
        absent = [label for label in labels if not (self.folder / self._name(label)).is_file()] or labels
        how = f"`products: [{', '.join(absent)}]` of the chain or the site, or --write {','.join(absent)}"
        return f"{need}, which is not stored; have it stored: {how}"

    def load(self, wanted: Wanted, raw: RawImage | None) -> Product:
        """The product. Raises BadData where it is not there or broken."""
        path = self.find(wanted)
        if path is None:
            raise BadData(self.missing(wanted))
        if wanted.type in RECORDS.values():
            return read_record(path, wanted.type)[0]
        if wanted.type is FiberMap:
            return read_frame(path).fibermap
        if wanted.type is Image:
            if raw is None:
                raise BadData(f"{path.name} cannot be understood without its raw frame")
            return read_preproc(path, raw)
        return _READERS[wanted.type](path)

    def _of_fibers(self, step: str) -> Path | None:
        """A frame that was made by a later step, and before the next fibre map: it holds the fibre map of that time."""
        names = [s.name for s in self.steps]
        later = self.steps[names.index(step) + 1 :]
        for made in later:
            outputs = contract_of(made.plugin).outputs if made.plugin is not None else ()
            if FiberMap in outputs:
                return None
            if Frame in outputs and (path := self.find(Wanted(step=made.name, type=Frame, who=""))) is not None:
                return path
        return None

    def _name(self, label: str) -> str:
        return product_name(label, self.key.part, self.key.unit.expid)

    def _candidates(self, kind: type[Product]) -> list[Path]:
        paths = [self.folder / self._name(label) for label in labels_of(kind) if can_write(label)]
        return [p for p in paths if p.is_file()] if kind in (*_READERS, *RECORDS.values(), Image) else []

    def _makers(self, kind: type[Product]) -> list[str]:
        return [s.name for s in self.steps if s.plugin is not None and kind in contract_of(s.plugin).outputs]

    def _step_of(self, path: Path, kind: type[Product]) -> str:
        """The step that has made what is in a file. One that does not say is of the only step that can have."""
        try:
            said: Any = read_record(path, kind)[1] if kind in RECORDS.values() else Hdus(path).card(STEP_CARD, 0)
        except QuicklookError as error:
            raise BadData(f"{path.name} is stored and cannot be used: {error}", what_next="Run the exposure again.") from error
        makers = self._makers(kind)
        return str(said) if said else makers[0] if len(makers) == 1 else ""


def labels_of(kind: type[Product]) -> tuple[str, ...]:
    """Labels that products of a type may have: its kind, or those of the stages of a frame."""
    return tuple(STAGE_WORDS) if kind is Frame else (kind.kind,)
