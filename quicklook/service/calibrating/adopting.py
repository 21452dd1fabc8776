"""Calibrations made while the daemon waits for exposures: which are taken over into the index, and written as entries of their night."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from quicklook.core.errors import BadConfig
from quicklook.core.keys import PartKey
from quicklook.core.product import Calibration
from quicklook.core.provenance import DISTRIBUTION, version_of
from quicklook.core.runner import Outcome
from quicklook.core.status import Status
from quicklook.io.atomic import atomic
from quicklook.io.calibadd import add_calibration
from quicklook.io.calibentry import CalibEntry, Names
from quicklook.io.calibstore import INDEX, locked
from quicklook.io.calibtext import EMPTY
from quicklook.io.calibwrite import calibration_name, can_write_calibration, write_calibration
from quicklook.service.calibrating.builtfiles import reserved
from quicklook.service.calibrating.origin import Origin


class AdoptSettings(BaseModel):
    """Which calibrations that the daemon has made are used from then on: those of exposures, and those that it has built from groups."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kinds: Names = Field((), description="kinds that are entered into the index of `calib` where their verdict is NORMAL; none: nothing is")
    flavors: dict[str, Names] = Field(
        {"psf": ("arc",), "fiberflat": ("flat",)}, description="by kind, flavors whose chains make it; others make products of that kind too"
    )
    again: bool = Field(True, description="exposures of the night that were UNKNOWN for want of a calibration are processed again when it is there")
    valid_days: int | None = Field(None, ge=1, description="an adopted product of a chain is valid for so many nights; null: without end")


class BuildSettings(BaseModel):
    """When the daemon builds a calibration from a group of exposures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(ge=1, description="so many exposures of a night, in order, of one camera make a group")
    flavor: str = Field("", description="flavor of these exposures; default: the first of the builder")


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """A calibration that was entered into the index."""

    entry: CalibEntry
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """Takes over what chains have made into the index of a folder."""

    settings: AdoptSettings
    folder: Path

    def prepare(self) -> None:
        """Make the folder and an empty index where there is none, so that workers find it. Raises BadConfig, Transient."""
        for kind in self.settings.kinds:
            if not can_write_calibration(kind):
                raise BadConfig(f"adopt: calibrations of kind {kind!r} have no form on disk")
        with locked(self.folder):
            path = self.folder / INDEX
            if not path.exists():
                with atomic(path) as f:
                    f.write(EMPTY.encode())

    @property
    def kept(self) -> frozenset[str]:
        """Kinds of products of chains that may be taken over."""
        return frozenset(k for k in self.settings.kinds if k in self.settings.flavors)

    def wanted(self, outcome: Outcome) -> list[Calibration]:
        """The products of a chain that are taken over: those of a part that is NORMAL, of the kinds that its flavor makes."""
        result = outcome.result
        if result.status is not Status.NORMAL:
            return []
        flavor = result.tags.get("flavor", "")
        made = [outcome.kept.get(k) for k in self.settings.kinds if flavor in self.settings.flavors.get(k, ())]
        return [p for p in made if isinstance(p, Calibration)]

    def add(self, product: Calibration, key: PartKey, outcome: Outcome) -> Adopted:
        """Write a product and enter it into the index. Raises BadData where the index refuses it; then its file stays, for a look at it."""
        unit, result = key.unit, outcome.result
        origin = Origin(
            instrument=result.tags.get("instrument", ""),
            camera=key.part,
            night=unit.night,
            made_from=[(unit.night, unit.expid)],
            by=("CHAIN", result.provenance.chain),
            result=result,
            valid_days=self.settings.valid_days,
            remarks=[f"adopted by the daemon ({DISTRIBUTION} {version_of(DISTRIBUTION)})"],
        )
        with reserved(self.folder / calibration_name(product.kind, key.part, unit.night, unit.expid)) as path:
            write_calibration(product, path, origin.cards())
        return Adopted(entry=add_calibration(self.folder, origin.entry(product.kind, path), result.tags), path=path)
