"""The trials of the QAs over cameras: whole exposures are simulated, processed camera by camera and concluded as any other."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quicklook.core.errors import BadConfig, QuicklookError
from quicklook.core.keys import PartKey
from quicklook.core.scorecard import Trial
from quicklook.core.status import Status
from quicklook.core.unitparts import PartSummary
from quicklook.service.site import load_site
from quicklook.service.verdicts.concluding import Conclusion, conclude
from quicklook.service.verdicts.verdicts import row_of_run
from quicklook.service.workers.processing import Processor
from quicklook.sim import PlannedExposure, Scale, SimInstrument, WriteOptions, sim_instruments, write_calibrations, write_exposure
from quicklook.sim.healthy import healthy_exposure
from quicklook.sim.wholefaults import CAMERAS, WHOLE_FAULTS, with_whole_fault

_PER_BATCH = 5
_FIRST = 7000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureBatch:
    """Exposures of one simulated instrument: `frames` healthy ones, or every strength of a fault once."""

    scale: Scale
    seed: int
    fault: str = ""
    frames: int = 0
    cameras: tuple[str, ...] = CAMERAS


def plan_exposure_batches(scale: Scale, *, faults: Sequence[str], healthy: int, seeds: int, first_seed: int) -> list[ExposureBatch]:
    """What is to be done: `healthy` exposures, and each fault at every strength for so many seeds. Raises BadConfig for an unknown fault."""
    if unknown := [f for f in faults if f not in WHOLE_FAULTS]:
        raise BadConfig(f"fault {unknown[0]!r} of exposures is not known: use some of {', '.join(WHOLE_FAULTS)}")
    counts = [min(_PER_BATCH, healthy - i) for i in range(0, healthy, _PER_BATCH)]
    out = [ExposureBatch(scale=scale, seed=first_seed + i, frames=n) for i, n in enumerate(counts)]
    return out + [ExposureBatch(scale=scale, seed=first_seed + i, fault=f) for f in faults for i in range(seeds)]


def run_exposure_batch(batch: ExposureBatch) -> list[Trial]:
    """Simulate, process and conclude the exposures of one batch, in a folder that is removed afterwards."""
    instruments = sim_instruments(batch.cameras, scale=batch.scale, seed=batch.seed)
    with tempfile.TemporaryDirectory(prefix="quicklook-scorecard-") as name:
        folder = Path(name)
        write_calibrations(folder, instruments)
        concluded = _Concluder(folder, batch.cameras)
        if not batch.fault:
            return [_trial(batch, concluded(healthy_exposure(batch.seed, _FIRST + i), instruments)) for i in range(batch.frames)]
        out = list[Trial]()
        for rung, strength in enumerate(WHOLE_FAULTS[batch.fault].strengths):
            if isinstance(strength, str) and strength not in batch.cameras:
                continue
            healthy = healthy_exposure(batch.seed, _FIRST + 100 * (rung + 1))
            planned, present = with_whole_fault(healthy, batch.fault, strength, batch.cameras)
            done = concluded(planned, [i for i in instruments if i.camera in present])
            out.append(_trial(batch, done, rung))
        return out


@dataclass(frozen=True, slots=True)
class _Done:
    """An exposure that was concluded, or why it could not be."""

    expid: int
    conclusion: Conclusion | None
    why: str = ""


def _trial(batch: ExposureBatch, done: _Done, rung: int = 0) -> Trial:
    """With the statuses of the QAs over cameras alone; the status is that of the whole exposure."""
    label = WHOLE_FAULTS[batch.fault].labels[rung] if batch.fault else ""
    verdict = done.conclusion.verdict if done.conclusion is not None else None
    return Trial(
        flavor="science",
        seed=batch.seed,
        expid=done.expid,
        fault=batch.fault,
        label=label,
        rung=rung,
        status=verdict.status if verdict is not None else Status.UNKNOWN,
        statuses={q.name: q.status for q in verdict.qas if q.status is not None} if verdict is not None else {"read": Status.UNKNOWN},
        reasons=tuple(verdict.reasons) if verdict is not None else (done.why,),
    )


class _Concluder:
    """Writes one exposure after another, has its cameras processed and concludes it."""

    def __init__(self, folder: Path, cameras: Sequence[str]) -> None:
        self._folder, self._cameras = folder, tuple(cameras)
        options: dict[str, Any] = {"instrument": "desi", "calib": str(folder / "calib"), "out": str(folder / "out"), "plots": False}
        site = load_site(None, options=options | {"cameras": list(cameras)})
        self._chain = site.chain(site.chain_name("science"))
        self._recipe = site.recipe(chains={"science": self._chain})
        self._processor = Processor(self._recipe)

    def __call__(self, planned: PlannedExposure, instruments: Sequence[SimInstrument]) -> _Done:
        path = write_exposure(self._folder, planned, instruments, WriteOptions(truth=False))
        try:
            return _Done(planned.expid, self._concluded(path))
        except QuicklookError as error:
            return _Done(planned.expid, None, str(error))
        finally:
            path.unlink()

    def _concluded(self, path: Path) -> Conclusion:
        peek = self._processor.reader.peek(path)
        results = [self._processor.process(path, PartKey(peek.unit, camera), self._chain).outcome.result for camera in peek.cameras]
        row, states = row_of_run(peek, results, self._cameras)
        return conclude(self._recipe, row, states, [PartSummary.of(r) for r in results])
