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
from pathlib import Path
from typing import Any

from quicklook.core.chain import Chain
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.events import Draft, Event, PlotsReady, UnitDone, draft
from quicklook.core.keys import PartKey, Unit
from quicklook.core.reading import Reading
from quicklook.core.results import UnitVerdict
from quicklook.core.runner import Observer, Outcome
from quicklook.core.sink import SinkContext
from quicklook.io.folders import exposure_folder
from quicklook.io.reader import Peek
from quicklook.io.revisions import next_revision
from quicklook.service.building import Built
from quicklook.service.processing import Processed, Processor
from quicklook.service.site import Site, load_site, site_path


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
        from quicklook.service.building import Building, cameras_of

        building = Building.of(self.site)
        exposures = building.gather(map(Path, files))
        cameras = cameras_of(exposures, [camera] if camera else [])
        if len(cameras) != 1:
            raise BadConfig(f"the files hold {len(cameras)} cameras ({', '.join(cameras)}); name one of them")
        return building.build(self.site.builder(builder), exposures, cameras[0])

    def write_built(self, built: Built, folder: str | Path | None = None, *, add: bool = True) -> list[Path]:
        """Write what was built into `folder` (default: the calibrations of the site) and enter it into its index; returns the calibration files."""
        from quicklook.service.builtfiles import write_built

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

    def conclude(self, peek: Peek, done: Sequence[Processed], started_ns: int) -> UnitVerdict:
        """The verdict of an exposure over the cameras that were processed since `started_ns` (UTC ns); writes it, and a latency receipt."""
        from quicklook.service.receipts import receipt_of_run
        from quicklook.service.sinks import make_sink
        from quicklook.service.verdicts import verdict_of_run

        verdict = verdict_of_run(peek, [d.outcome.result for d in done])
        sink = make_sink("files", {})
        sink.open(SinkContext(out=str(self.site.out)))
        payloads = (UnitDone(**verdict.model_dump()), receipt_of_run(done, started_ns, time.time_ns()))
        for number, payload in enumerate(payloads, start=1):
            said = draft(payload, unit=peek.unit, tag=verdict.tag, revision=verdict.revision)
            sink.accept(Event(**said.model_dump(), epoch="", seq=number, time=time.time_ns()))
        sink.close()
        return verdict

    def draw(self, written: Sequence[Draft]) -> Path:
        """Draw the plots among what `write` has written; returns the folder of the exposure's files."""
        from quicklook.service.sinks import make_sink

        folder = self.site.out
        for number, fact in enumerate(written, start=1):
            folder = self.site.out / str(fact.payload["path"])
            if fact.kind == PlotsReady.kind:
                sink = make_sink("render", {})
                sink.open(SinkContext(out=str(self.site.out)))
                sink.accept(Event(**fact.model_dump(), epoch="", seq=number, time=0))
                sink.close()
        return next((self.site.out / str(w.payload["path"]) for w in written), folder).parent

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


