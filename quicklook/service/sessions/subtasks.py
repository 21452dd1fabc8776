"""The work on a test of a session: its sub-tasks one after the other, in a process of its own, so that what it does to itself harms nobody else."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from quicklook.core.errors import QuicklookError
from quicklook.core.keys import PartKey, Unit
from quicklook.core.results import Failure
from quicklook.core.series import AnalysisFile, judge_series, series_plot
from quicklook.core.session import SubTask
from quicklook.io.plotfiles import save_plots
from quicklook.service.calibrating.building import Building
from quicklook.service.calibrating.builtfiles import left_out_words, save_plots_of, write_built
from quicklook.service.sessions.testcheck import check, plain
from quicklook.service.sessions.testoutcome import free_memory_mb, outcome
from quicklook.service.sessions.testruns import SubTaskDone, Taken, TestedRecord, read_record, write_record
from quicklook.service.sessions.testwork import Digest, Testing, Work, judged
from quicklook.service.workers.processing import Processor

log = logging.getLogger("quicklook.session")


def run_test(work: Work) -> TestedRecord:
    """Work on a test, and write its outcome. Raises nothing for what data or plugins do; Transient or BadConfig where it cannot write."""
    work.folder.mkdir(parents=True, exist_ok=True)
    test, memory_mb = Testing(work), float("inf")
    for sub in SubTask:
        test.states[sub] = _one(test, sub) if sub in work.todo else _reused(work, sub)
        write_record(work.folder / f"{sub}.json", test.states[sub])
        memory_mb = min(memory_mb, free_memory_mb())
    record = outcome(work, test.states, memory_mb)
    write_record(work.folder / "test.json", record)
    return record


def _one(test: Testing, sub: SubTask) -> SubTaskDone:
    begun, failure, data = time.perf_counter(), None, dict[str, Any]()
    try:
        data = _WORKS[sub](test)
    except QuicklookError as error:
        failure = Failure.of(error)
    except Exception as error:  # a plugin, or its data: the other sub-tasks go on
        log.exception("%s: sub-task %s failed", test.work.name, sub)
        failure = Failure.of(error)
    seconds = time.perf_counter() - begun
    return SubTaskDone(name=sub, state="failed" if failure else "done", seconds=seconds, failure=failure, data=data)


def _reused(work: Work, sub: SubTask) -> SubTaskDone:
    for folder in work.earlier:
        known = read_record(folder / f"{sub}.json", SubTaskDone)
        if known is not None and known.state in ("done", "reused"):
            return known.model_copy(update={"state": "reused", "seconds": 0.0, "source": known.source or str(folder)})
    return SubTaskDone(name=sub, state="skipped")


def _init(test: Testing) -> dict[str, Any]:
    """The exposures with their files; a file that is gone is told."""
    gone = [path for t in test.work.taken for path in t.files.values() if not Path(path).is_file()]
    return {"exposures": [t.model_dump(mode="json") for t in test.work.taken], "gone": gone}


def _prep(test: Testing) -> dict[str, Any]:
    """Take the exposures through the chains of the test, under a tag of its own; where it names none, the results of the daemon are there."""
    work = test.work
    if not work.chains:
        return {"tag": work.recipe.tag, "results": {u: len(r) for u, r in test.results(work.recipe.tag).items()}}
    tag = f"test-{work.run}-{work.name}"
    processor = Processor(replace(work.recipe, tag=tag, adoption=None))
    done: dict[str, int] = {}
    for one in test.taken:
        chain = work.chains.get(one.tags.get("flavor", "")) or work.chains.get("_default")
        for camera, path in one.files.items() if chain is not None else ():
            assert chain is not None
            key = PartKey(Unit.parse(one.unit), camera)
            for _ in processor.write(processor.process(Path(path), key, chain), chain):
                pass
            done[one.unit] = done.get(one.unit, 0) + 1
    return {"tag": tag, "results": done}


def _basic(test: Testing) -> dict[str, Any]:
    """Build what the analyses build, of every camera. What cannot be built is UNKNOWN, with its reason."""
    out: dict[str, dict[str, Any]] = {}
    recipe = test.work.recipe
    for name, analysis in test.work.analyses.items():
        builder = recipe.builders.get(name)
        if builder is None:
            continue
        processor = Processor(recipe)
        building = Building(processor.reader, recipe.limits, processor.calibrations, threads=1)
        folder = test.work.folder / "basic" / analysis.analysis
        shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was interrupted
        exposures = building.gather(Path(p) for t in _of_analysis(test.taken, analysis) for p in t.files.values())
        for camera in exposures.by_camera:
            built = building.build(builder, exposures, camera)
            result = built.group.outcome.result
            written = write_built(built, folder, add=(), plots=False)
            plots = save_plots_of(built, folder / "plots", recipe.out).path if built.group.outcome.plots else ""
            out.setdefault(name, {})[camera] = {
                "status": str(built.status),
                "reasons": list(result.reasons),
                "result": str(written.result.relative_to(recipe.out)),
                "files": {k: str(p.relative_to(recipe.out)) for k, p in written.calibrations.items()},
                "plots": plots,
                "left_out": left_out_words(built.members),
                "metrics": [plain(f) for f in judged(result)],
            }
    return {"analyses": out}


def _of_analysis(taken: Sequence[Taken], analysis: AnalysisFile) -> list[Taken]:
    return [t for t in taken if not analysis.flavor or t.tags.get("flavor", "") in analysis.flavor]


def _meta(test: Testing) -> dict[str, Any]:
    """The series of the analyses, of every camera."""
    work = test.work
    wanted = {s.metric for a in work.analyses.values() for s in a.series}
    by_unit, plots = test.results(test.data(SubTask.PREP)["tag"], wanted), []
    out: dict[str, dict[str, list[Any]]] = {}
    for name, analysis in work.analyses.items():
        rows = _rows(_of_analysis(test.taken, analysis), by_unit)
        for camera, found in rows.items():
            made = out.setdefault(name, {}).setdefault(camera, [])
            for series in analysis.series:
                values = [(hours, m) for hours, r in found if (m := r.metrics.get(series.metric))]
                made.append(judge_series(series, work.metrics[series.metric], values, found[0][1].tags, analysis.analysis).model_dump(mode="json"))
                title = f"{work.name}: {series.metric} of {camera}"
                plot = series_plot(series, work.metrics[series.metric], values, title)
                plots += [replace(plot, name=f"{series.name}-{camera}")] if plot is not None else []
    if plots:
        save_plots(work.folder / "plots" / f"plots-{work.name}.npz", plots)
    return {"series": out}


def _rows(taken: Sequence[Taken], by_unit: Mapping[str, Sequence[Digest]]) -> dict[str, list[tuple[float, Digest]]]:
    """By camera the results of its exposures with their time in hours since the first; without times they are counted."""
    starts = {t.unit: datetime.fromisoformat(t.tags["start"]) for t in taken if t.tags.get("start")}
    first = min(starts.values(), default=None)
    known = first is not None and len(starts) == len(taken)
    out: dict[str, list[tuple[float, Digest]]] = {}
    for n, one in enumerate(sorted(taken, key=lambda t: t.unit)):
        hours = (starts[one.unit] - first).total_seconds() / 3600 if known and first is not None else float(n)
        for result in by_unit.get(one.unit, ()):
            out.setdefault(result.part, []).append((hours, result))
    return out


_WORKS: dict[SubTask, Callable[[Testing], dict[str, Any]]] = {
    SubTask.INIT: _init, SubTask.CHECK: check, SubTask.PREP: _prep, SubTask.BASIC: _basic, SubTask.META: _meta,
}  # fmt: skip


def process_main(work: Work, log_file: str) -> None:
    """Body of the process that works on a test. It ends with the daemon, whose next start does the test anew."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(5)  # exposures go first
    logging.basicConfig(filename=log_file, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    run_test(work)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
