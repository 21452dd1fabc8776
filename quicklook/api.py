"""The Python API: load a chain, run it in memory, get products and results.

    from quicklook.api import open_session
    from quicklook.ccd.image import Image

    session = open_session(instrument="desi", calib="calib")
    outcome = session.run("raw", "desi-00000103.fits.fz", camera="r0")
    print(outcome.result.status, outcome.result.reasons)
    pixels = outcome[Image].pixels

Nothing is written unless `Session.write` is called. The command line stands on this module.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quicklook.core.chain import Chain
from quicklook.core.deciding import check_goals
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.events import Draft, Event, PlotsReady, UnitDone, draft
from quicklook.core.keys import PartKey, Unit
from quicklook.core.reading import Reading
from quicklook.core.runner import Observer, Outcome
from quicklook.core.sink import SinkContext
from quicklook.core.unitparts import PartSummary
from quicklook.io.folders import exposure_folder
from quicklook.io.reader import Peek
from quicklook.io.revisions import next_revision
from quicklook.service.calibrating.building import Built
from quicklook.service.site import Site, load_site, site_path
from quicklook.service.workers.processing import Processed, Processor

if TYPE_CHECKING:
    from quicklook.core.document import Document
    from quicklook.core.housekeeping_watch import HkMonitor
    from quicklook.service.rerun.onlyqa import Remeasured
    from quicklook.service.rerun.remeasured import Whole
    from quicklook.service.verdicts.concluding import Conclusion

_DRAWN = (PlotsReady.kind, UnitDone.kind)
"""Events of which pictures are made."""


class Session:
    """A site opened for work in this process. Chains, limits and calibrations are loaded once."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._chains: dict[str, Chain] = {}
        self._processor = Processor(site.recipe(chains={}))

    def chain(self, name: str) -> Chain:
        """A chain by name or path, with all overrides applied. Raises BadConfig."""
        if name not in self._chains:
            self._chains[name] = self.site.chain(name)
        return self._chains[name]

    def peek(self, path: str | Path) -> Peek:
        """What a raw file holds: its unit, cameras and flavor. Raises BadData, NotReadyYet."""
        file = Path(path)
        if not file.is_file():
            raise BadConfig(f"there is no file {path}")
        try:
            str(file.absolute()).encode()
        except UnicodeEncodeError as error:
            raise BadData(f"the name {str(file)!a} is no UTF-8 and could stand in no result; rename the file") from error
        return self._processor.reader.peek(file)

    def read(self, path: str | Path, camera: str) -> Reading:
        """One camera of a file as it was read: raw image, exposure, tags. Raises BadData, NotReadyYet."""
        return self._processor.reader.read(Path(path), camera)

    def process(self, chain: str, path: str | Path, camera: str, observer: Observer | None = None, *, revision: int = 0) -> Processed:
        """Run a chain over one camera of a file. What fails is in the result; only a chain or a file that is not there raises."""
        key = PartKey(self.peek(path).unit, camera)
        return self._processor.process(Path(path), key, self.chain(chain), revision=revision, observer=observer)

    def run(self, chain: str, path: str | Path, camera: str | None = None, observer: Observer | None = None) -> Outcome:
        """As `process`, for the camera that is named or the only one in the file; returns products, result and plots."""
        cameras = self.peek(path).cameras
        if camera is None and len(cameras) != 1:
            raise BadConfig(f"{Path(path).name} holds {len(cameras)} cameras ({', '.join(cameras)}); name one of them")
        return self.process(chain, path, camera or cameras[0], observer).outcome

    def build(self, builder: str, files: Sequence[str | Path], camera: str | None = None) -> Built:
        """Build a calibration of one camera (the only one in the files, where none is named) from a group of raw files, in memory.

        `builder` is a name or a file; what comes out is in ``built.products`` by kind, what was left out in ``built.members``. Raises BadConfig.
        """
        from quicklook.service.calibrating.building import Building, cameras_of

        building = Building.of(self.site)
        exposures = building.gather(map(Path, files))
        cameras = cameras_of(exposures, [camera] if camera else [])
        if len(cameras) != 1:
            raise BadConfig(f"the files hold {len(cameras)} cameras ({', '.join(cameras)}); name one of them")
        return building.build(self.site.builder(builder), exposures, cameras[0])

    def write_built(self, built: Built, folder: str | Path | None = None, *, add: bool = True) -> list[Path]:
        """Write what was built into `folder` (default: the calibrations of the site) and enter it into its index; returns the calibration files."""
        from quicklook.service.calibrating.builtfiles import write_built

        target = folder or self.site.file.calib
        if not target:
            raise BadConfig("where shall the calibration go? name a folder, or `calib` of the session")
        return list(write_built(built, Path(target), add=add).calibrations.values())

    def write(self, done: Processed, chain: str) -> list[Draft]:
        """Write merged QA, plots as data and products of a part into the output folder; returns an event for each file.

        Files of an earlier revision are kept under its number (see `next_revision`); those of the same are replaced.
        """
        return list(self._processor.write(done, self.chain(chain)))

    def next_revision(self, unit: Unit) -> int:
        """The number for a further processing of an exposure under the tag of this session: 0 where it has no files yet."""
        return next_revision(exposure_folder(self.site.out, self.site.file.tag, unit))

    def conclude(
        self,
        peek: Peek,
        done: Sequence[Processed],
        started_ns: int,
        *,
        chain: str = "",
        goals: Mapping[str, float] | None = None,
        expected: Sequence[str] = (),
    ) -> Conclusion:
        """The verdict and the decision on an exposure over the cameras that were processed since `started_ns` (UTC ns).

        `chain` is the one that they went through (default: that of the flavor), `goals` what the exposure was to reach, by name, `expected` the
        cameras that it should have. Writes verdict, decision, plots and a latency
        receipt. Raises BadConfig for a goal that no rule knows.
        """
        from quicklook.service.running.hkplace import joined_now
        from quicklook.service.verdicts.concluding import conclude, save_unit_plots
        from quicklook.service.verdicts.receipts import receipt_of_run
        from quicklook.service.verdicts.verdicts import row_of_run

        results = [d.outcome.result for d in done]
        row, states = row_of_run(peek, results, expected)
        self.check_goals(goals or {})
        recipe = self._processor.recipe
        with suppress(BadConfig):  # of a flavor that has no chain nothing is measured
            recipe = replace(recipe, chains={row.tags.get("flavor", ""): self.chain(chain or self.site.chain_name(row.tags.get("flavor", "")))})
        housekeeping = joined_now(recipe.housekeeping, row.tags)
        concluded = conclude(recipe, row, states, [PartSummary.of(r) for r in results], goals=goals, housekeeping=housekeeping)
        ready = save_unit_plots(recipe, concluded)
        payloads = [*concluded.facts, receipt_of_run(done, started_ns, time.time_ns()), *ready]
        drafts = [draft(p, unit=row.unit, tag=row.tag, revision=row.revision) for p in payloads]
        self._to_files(drafts)
        self.draw([d for d in drafts if d.kind in _DRAWN])
        return concluded

    def check_goals(self, goals: Mapping[str, float]) -> None:
        """Refuse goals that the rules for decisions do not know. Raises BadConfig."""
        if (rules := self._processor.recipe.decisions) is not None:
            check_goals(rules, goals, "--goal")

    def _to_files(self, drafts: Sequence[Draft]) -> None:
        """What the daemon's sink for files writes, written here."""
        from quicklook.service.publishing.sinks import make_sink

        sink = make_sink("files", {})
        sink.open(SinkContext(out=str(self.site.out)))
        for number, said in enumerate(drafts, start=1):
            sink.accept(Event(**said.model_dump(), epoch="", seq=number, time=time.time_ns()))
        sink.close()

    def draw(self, written: Sequence[Draft]) -> Path:
        """Draw the plots among what `write` has written, and the contact sheet of a verdict; returns the folder of the exposure's files."""
        from quicklook.service.publishing.sinks import make_sink

        if any(fact.kind in _DRAWN for fact in written):
            sink = make_sink("render", self.site.file.sinks.get("render", {}))
            sink.open(SinkContext(out=str(self.site.out)))
            for number, fact in enumerate(written, start=1):
                if fact.kind in _DRAWN:
                    sink.accept(Event(**fact.model_dump(), epoch="", seq=number, time=0))
            sink.close()
        return next((self.site.out / str(w.payload["path"]) for w in written if "path" in w.payload), self.site.out).parent

    def measure_stored(
        self, names: Sequence[str], path: str | Path, camera: str, *, chain: str = "", observer: Observer | None = None
    ) -> Remeasured:
        """Run QAs of a chain (default: that of the flavor) alone, on the products stored of one camera of a raw file. Nothing is written.

        The result has them in place of what was stored, and the verdict made again; `conclude_stored` writes it. Names of QAs over all cameras
        are passed over here. Raises BadConfig (no such QA), BadData (no stored result; a product that is not stored, and how to have it stored).
        """
        from quicklook.core.judge import Judge
        from quicklook.core.runner import ChainRunner
        from quicklook.service.rerun.onlyqa import measure_stored, select
        from quicklook.service.rerun.remeasured import stored_results

        peek, processor = self.peek(path), self._processor
        loaded = self.chain(chain or self.site.chain_name(peek.flavor))
        uses, _ = select(loaded, names)
        results = stored_results(processor.recipe, peek.unit)
        if camera not in results:
            raise BadData(f"{peek.unit} has no stored result of camera {camera}; it has {', '.join(results)}", what_next="Run the chain.")
        runner = ChainRunner(chain=loaded, judge=Judge(processor.recipe.limits), calibrations=processor.calibrations, clock=time.perf_counter)
        folder = exposure_folder(self.site.out, self.site.file.tag, peek.unit)
        return measure_stored(runner, self.read(path, camera), results[camera], folder, uses, observer)

    def conclude_stored(self, unit: Unit, done: Sequence[Remeasured], names: Sequence[str] = (), *, chain: str = "", write: bool = True) -> Whole:
        """The verdict and the decision on an exposure with parts that were measured again, as a new revision; products stay where they are.

        Those QAs over all cameras that are in `names` are measured again too. With `write` it is all written: merged QA, plots, verdict, decision.
        """
        from quicklook.service.rerun.onlyqa import select
        from quicklook.service.rerun.remeasured import conclude_again, stored_results, write_part, write_whole

        recipe, revision = self._processor.recipe, self.next_revision(unit)
        results = stored_results(recipe, unit)
        loaded = self.chain(chain or self.site.chain_name(next(iter(results.values())).tags.get("flavor", "")))
        again = [q.name for q in select(loaded, names)[1]]
        for part in done:
            results[part.after.part] = write_part(recipe, part, revision) if write else part.after
        whole = conclude_again(recipe, unit, results, revision, loaded, again)
        if write:
            write_whole(recipe, whole)
        return whole

    def find(self, night: int, expid: int) -> list[Path]:
        """The raw files of an exposure in the raw folder of the site. Raises BadData if there is none."""
        unit = Unit(night, expid)
        found = list(self._processor.reader.locate(self.site.raw, expid, night))
        if not found:
            raise BadData(f"there is no exposure {unit} under {self.site.raw}", what_next="Check night and number, or the raw folder.")
        return found


def open_session(
    site: str | Path | None = None,
    *,
    instrument: str | None = None,
    calib: str | Path | None = None,
    out: str | Path | None = None,
    raw: str | Path | None = None,
    tag: str | None = None,
    overrides: Sequence[str] = (),
    **options: Any,
) -> Session:
    """Open a site file (or QUICKLOOK_SITE), or a site made of options alone; `overrides` are as ``-c`` (``"preproc.overscan=row"``).

    Raises BadConfig, with file and line where there is one.
    """
    given: Mapping[str, Any] = {
        "instrument": instrument,
        "calib": None if calib is None else str(calib),
        "out": None if out is None else str(out),
        "raw": None if raw is None else str(raw),
        "tag": tag,
        **options,
    }
    return Session(load_site(site_path(Path(site) if site else None), options=given, overrides=overrides))


def housekeeping() -> HkMonitor:
    """What watches housekeeping: check a configuration, replay or read a log, read a store, watch. Raises BadConfig where it is not installed."""
    from quicklook.core.housekeeping_watch import hk_monitor

    return hk_monitor()


def hk_config(name: str | Path) -> Document:
    """A configuration of housekeeping by its name in configs/hk/, or its path. Raises BadConfig."""
    from quicklook.io.configfiles import find_config

    return find_config("hk", name)
