"""The work on a test of a session: its sub-tasks one after the other, in a process of its own, so that what it does to itself harms nobody else."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from quicklook.core.errors import QuicklookError, describe
from quicklook.core.keys import PartKey, Unit
from quicklook.core.results import Failure
from quicklook.core.series import AnalysisFile, judge_series
from quicklook.core.session import SubTask
from quicklook.service.calibrating.building import Building, Exposures
from quicklook.service.calibrating.builtfiles import left_out_words, save_plots_of, write_built
from quicklook.service.sessions.coadding import stored_groups
from quicklook.service.sessions.testcheck import check, plain, status_of
from quicklook.service.sessions.testoutcome import free_memory_mb, outcome
from quicklook.service.sessions.testplots import Row, exptime_of, plot_metrics, save_test_plots
from quicklook.service.sessions.testruns import State, SubTaskDone, Taken, TestedRecord, ToDraw, read_record, write_record
from quicklook.service.sessions.testwork import Digest, Testing, Work, judged
from quicklook.service.workers.processing import Processor

log = logging.getLogger("quicklook.session")

UNWRITTEN = 75
"""Exit status of the process of a test whose results could not be written (EX_TEMPFAIL of sysexits.h): it is to be done again."""


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
    state: State = "failed" if failure else "done"
    return SubTaskDone(name=sub, state=state, seconds=seconds, failure=failure, **test.work.of, data=data)


def _reused(work: Work, sub: SubTask) -> SubTaskDone:
    """Its latest state of the same exposures under the same tag: what was found of others says nothing of these."""
    for folder in work.earlier:
        known = read_record(folder / f"{sub}.json", SubTaskDone)
        if known is not None and known.state in ("done", "reused") and {"tag": known.tag, "exposures": known.exposures} == work.of:
            return known.model_copy(update={"state": "reused", "seconds": 0.0, "source": known.source or str(folder)})
    return SubTaskDone(name=sub, state="skipped", **work.of)


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
    done: dict[str, list[str]] = {}
    for one in test.taken:
        chain = work.chains.get(one.tags.get("flavor", "")) or work.chains.get("_default")
        for camera, path in one.files.items() if chain is not None else ():
            assert chain is not None
            key = PartKey(Unit.parse(one.unit), camera)
            for _ in processor.write(processor.process(Path(path), key, chain), chain):
                pass
            done.setdefault(one.unit, []).append(camera)
    results = test.results(tag)
    return {
        "tag": tag,
        "results": {u: len(cameras) for u, cameras in done.items()},
        "statuses": {u: str(status_of(results.get(u, ()), cameras)) for u, cameras in done.items()},
        "metrics": [plain(f) for rows in results.values() for r in rows for f in r.found],
    }


def _basic(test: Testing) -> dict[str, Any]:
    """Build what the analyses build, of every camera. What cannot be built is UNKNOWN, with its reason."""
    out: dict[str, dict[str, Any]] = {}
    to_draw: list[Any] = []
    recipe = test.work.recipe
    for name, analysis in test.work.analyses.items():
        builder = recipe.builders.get(name)
        if builder is None:
            continue
        processor = Processor(recipe)
        building = Building(processor.reader, recipe.limits, processor.calibrations, threads=1)
        folder = test.work.folder / "basic" / analysis.analysis
        shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was interrupted
        for key, camera, exposures in _groups(test, analysis, building):
            built = building.build(builder, exposures, camera)
            result = built.group.outcome.result
            written = write_built(built, folder, add=(), plots=False)
            ready = save_plots_of(built, folder / "plots", recipe.out) if built.group.outcome.plots else None
            to_draw += [ToDraw.of(camera, ready).model_dump(mode="json")] if ready else []
            out.setdefault(name, {})[key] = {
                "status": str(built.status),
                "reasons": list(result.reasons),
                "result": str(written.result.relative_to(recipe.out)),
                "files": {k: str(p.relative_to(recipe.out)) for k, p in written.calibrations.items()},
                "plots": ready.path if ready else "",
                "left_out": left_out_words(built.members),
                "metrics": [plain(f) for f in judged(result)],
            }
    return {"analyses": out, "to_draw": to_draw}


def _groups(test: Testing, analysis: AnalysisFile, building: Building) -> Iterator[tuple[str, str, Exposures]]:
    """What is worked on together: a name, the camera, its exposures. Raw frames of a camera, or its stored spectra of one fibre map."""
    taken, work = _of_analysis(test.taken, analysis), test.work
    if not analysis.coadd:
        exposures = building.gather(Path(p) for t in taken for p in t.files.values())
        yield from ((camera, camera, exposures) for camera in exposures.by_camera)
        return
    tag, count = test.data(SubTask.PREP)["tag"], Counter[str]()
    for camera, members in stored_groups(work.recipe.out, tag, work.recipe.instrument.name, taken, test.results(tag)):
        count[camera] += 1
        key = camera if count[camera] == 1 else f"{camera}, fibre map {count[camera]}"
        yield key, camera, Exposures(by_camera={camera: members}, unreadable=())


def _of_analysis(taken: Sequence[Taken], analysis: AnalysisFile) -> list[Taken]:
    return [t for t in taken if not analysis.flavor or t.tags.get("flavor", "") in analysis.flavor]


def _meta(test: Testing) -> dict[str, Any]:
    """The series of the analyses, of every camera, and their plots."""
    work = test.work
    wanted = {s.metric for a in work.analyses.values() for s in a.series} | plot_metrics(work.analyses)
    by_unit = test.results(test.data(SubTask.PREP)["tag"], wanted)
    rows = {name: _rows(_of_analysis(test.taken, analysis), by_unit) for name, analysis in work.analyses.items()}
    out: dict[str, dict[str, list[Any]]] = {}
    for name, analysis in work.analyses.items():
        for camera, found in rows[name].items():
            made = out.setdefault(name, {}).setdefault(camera, [])
            for series in analysis.series:
                values = [(r.hours, m) for r in found if (m := r.digest.metrics.get(series.metric))]
                tags = found[0].digest.tags
                made.append(judge_series(series, work.metrics[series.metric], values, tags, analysis.analysis).model_dump(mode="json"))
    return {"series": out, "to_draw": [t.model_dump(mode="json") for t in save_test_plots(work, rows, out)]}


def _rows(taken: Sequence[Taken], by_unit: Mapping[str, Sequence[Digest]]) -> dict[str, list[Row]]:
    """By camera the results of its exposures with their time in hours since the first; without times they are counted."""
    starts = {t.unit: datetime.fromisoformat(t.tags["start"]) for t in taken if t.tags.get("start")}
    first = min(starts.values(), default=None)
    known = first is not None and len(starts) == len(taken)
    out: dict[str, list[Row]] = {}
    for n, one in enumerate(sorted(taken, key=lambda t: t.unit)):
        hours = (starts[one.unit] - first).total_seconds() / 3600 if known and first is not None else float(n)
        for result in by_unit.get(one.unit, ()):
            out.setdefault(result.part, []).append(Row(hours, exptime_of(one.tags), result))
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
    try:
        run_test(work)
    except (QuicklookError, OSError) as error:  # the sub-tasks raise nothing: it is the disk
        log.error("test %s: %s", work.name, describe(error))
        raise SystemExit(UNWRITTEN) from error


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
