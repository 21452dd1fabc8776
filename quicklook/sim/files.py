"""Simulated exposures and nights as files in DESI's layout.

Below the output folder: raw/<night>/<expid:08d>/desi-<expid:08d>.fits.fz with fibermap-<expid:08d>.fits beside it, truth/...
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from quicklook.core.errors import BadConfig
from quicklook.sim.exposure import SimulatedCamera, simulate_exposure
from quicklook.sim.faults import Fault, find_fault
from quicklook.sim.fitsfiles import RawType, compressed_hdu, empty_hdu, publish, table_hdu, write_hdus
from quicklook.sim.headers import TILE_DEC, TILE_RA, Card, Cards, file_name, primary_cards
from quicklook.sim.instrument import SimInstrument
from quicklook.sim.plan import PlannedExposure
from quicklook.sim.targets import fibermap_table, targets_of
from quicklook.sim.truthfiles import write_truth


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How an exposure is written.

    `fibermap`: in a file beside the raw file, or as an extension inside, or not at all; `truth`: write the truth too;
    `slow_seconds`: write the final name of the raw file in pieces over that time (for tests of arrival); `raw_type`:
    type of the raw pixels.
    """

    fibermap: Literal["beside", "inside", "none"] = "beside"
    truth: bool = True
    slow_seconds: float = 0.0
    raw_type: RawType = "int32"


DEFAULT_OPTIONS = WriteOptions()


def raw_path(out: Path, planned: PlannedExposure) -> Path:
    """Where the raw file of an exposure is written. A wrong night in its header does not change the folder."""
    return out / "raw" / str(planned.night) / f"{planned.expid:08d}" / file_name(planned.expid)


def write_exposure(out: Path, planned: PlannedExposure, instruments: Sequence[SimInstrument], options: WriteOptions = DEFAULT_OPTIONS) -> Path:
    """Simulate an exposure with these cameras and write it: fibre map and truth first, the raw file last.

    One camera at a time is held in memory. Returns the path of the raw file. Raises BadConfig: no cameras, or cameras of
    different seeds or scales; no camera is left after missing_camera; the folder holds the truth of another simulation.
    """
    _check_same(instruments)
    present = _present(planned, instruments)
    path = raw_path(out, planned)
    fibermap = _fibermap(planned, instruments)
    wanted = find_fault(planned.faults, "missing_fibermap") is None
    if wanted and options.fibermap == "beside":
        beside = path.with_name(f"fibermap-{planned.expid:08d}.fits")
        publish(beside, lambda hidden: write_hdus(hidden, [empty_hdu(()), fibermap]))

    def hdus() -> Iterator[Callable[[Any], None]]:
        yield empty_hdu(primary_cards(tuple(present), planned))
        for instrument in present:
            camera = simulate_exposure(instrument, planned)
            if options.truth:
                write_truth(out / "truth", camera)
            yield _raw_hdu(camera, options.raw_type)
        if wanted and options.fibermap == "inside":
            yield fibermap

    cut = find_fault(planned.faults, "truncated_file")
    keep = 1.0 if cut is None else cut.value
    publish(path, lambda hidden: write_hdus(hidden, hdus()), keep_fraction=keep, slow_seconds=options.slow_seconds)
    return path


def _check_same(instruments: Sequence[SimInstrument]) -> None:
    if not instruments:
        raise BadConfig("an exposure needs one camera at least")
    if len({(i.seed, i.scale) for i in instruments}) > 1 or len({i.camera for i in instruments}) < len(instruments):
        raise BadConfig("the cameras of an exposure must be different, of the same seed and scale")


def _present(planned: PlannedExposure, instruments: Sequence[SimInstrument]) -> list[SimInstrument]:
    """The cameras that are in the file; missing_camera without a camera takes the last."""
    missing = find_fault(planned.faults, "missing_camera")
    if missing is None:
        return list(instruments)
    gone = missing.camera or instruments[-1].camera
    present = [instrument for instrument in instruments if instrument.camera != gone]
    if not present:
        raise BadConfig(f"exposure {planned.expid}: no camera is left without {gone}; give another beside it")
    return present


def _raw_hdu(camera: SimulatedCamera, raw_type: RawType) -> Callable[[Any], None]:
    return compressed_hdu(camera.instrument.camera.upper(), camera.raw.astype(raw_type, copy=False), camera.cards)


def _fibermap(planned: PlannedExposure, instruments: Sequence[SimInstrument]) -> Callable[[Any], None]:
    """The fibres of all spectrographs that have a camera here, also where its frame is missing."""
    spectrographs = {instrument.spectrograph: instrument for instrument in instruments}
    tables = [fibermap_table(i, targets_of(i, planned.tileid), planned.exptime) for _, i in sorted(spectrographs.items())]
    cards: Cards = (
        Card("EXPID", planned.expid),
        Card("NIGHT", planned.night),
        Card("FLAVOR", planned.flavor),
        Card("PROGRAM", planned.program),
        Card("TILEID", planned.tileid),
        Card("TILERA", TILE_RA),
        Card("TILEDEC", TILE_DEC),
    )
    return table_hdu("FIBERMAP", np.concatenate(tables), cards)


def simulate_night(
    out: Path,
    plan: Sequence[PlannedExposure],
    instruments: Sequence[SimInstrument],
    *,
    on_exposure: Callable[[PlannedExposure, Path], None] | None = None,
    pause_s: float = 0.0,
    options: WriteOptions = DEFAULT_OPTIONS,
) -> list[Path]:
    """Write the exposures of a plan one after another, `pause_s` seconds apart; returns the raw files.

    `on_exposure` is called with each exposure and its raw file as soon as that is there.
    """
    paths = []
    for index, planned in enumerate(plan):
        if index and pause_s > 0.0:
            time.sleep(pause_s)
        paths.append(write_exposure(out, planned, instruments, options))
        if on_exposure is not None:
            on_exposure(planned, paths[-1])
    return paths


def fault_summary(planned: PlannedExposure) -> str:
    """The faults of an exposure in words: 'dead_amp in r0: an amplifier reads one constant value, its overscan too'."""

    def words(fault: Fault) -> str:
        return f"{fault.name} in {fault.camera or 'all cameras'}: {fault.kind.description}"

    return "; ".join(words(fault) for fault in planned.faults)
