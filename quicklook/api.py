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

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quicklook.core.chain import Chain
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.events import Draft, Event, PlotsReady
from quicklook.core.keys import PartKey, Unit
from quicklook.core.reading import Reading
from quicklook.core.runner import Observer, Outcome
from quicklook.core.sink import SinkContext
from quicklook.io.reader import Peek
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

    def process(self, chain: str, path: str | Path, camera: str, observer: Observer | None = None) -> Processed:
        """Run a chain over one camera of a file. What fails is in the result; only a chain or a file that is not there raises."""
        return self._processor.process(Path(path), PartKey(self.peek(path).unit, camera), self.chain(chain), observer=observer)

    def run(self, chain: str, path: str | Path, camera: str | None = None, observer: Observer | None = None) -> Outcome:
        """As `process`, for the camera that is named or the only one in the file; returns products, result and plots."""
        cameras = self.peek(path).cameras
        if camera is None and len(cameras) != 1:
            raise BadConfig(f"{Path(path).name} holds {len(cameras)} cameras ({', '.join(cameras)}); name one of them")
        return self.process(chain, path, camera or cameras[0], observer).outcome

    def write(self, done: Processed, chain: str) -> list[Draft]:
        """Write merged QA, plots as data and products of a part into the output folder; returns an event for each file."""
        return list(self._processor.write(done, self.chain(chain)))

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
            raise BadData(f"there is no exposure {unit} under {self.site.raw}")
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


