"""What the description of an instrument and its raw frames tell of a camera: the size of its images, and of its spectra roughly."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from quicklook.ccd.image import Header
from quicklook.ccd.pixeltraces import Spectrograph
from quicklook.core.errors import BadData, QuicklookError
from quicklook.io.amplifiers import Tile, build_amplifiers, orientation_of
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibsize import shapes_of
from quicklook.io.headerfacts import Headers, Problems
from quicklook.io.instrument import AmplifierLayout, Instrument
from quicklook.io.reader import camera_tags, open_reader
from quicklook.io.spectrograph import spectrograph_of

MOST_FRAMES = 40
"""So many raw files, the newest first, are looked at for one of the camera."""


class InstrumentFacts:
    """`quicklook.io.calibsize.CameraFacts` of an instrument: the sections that it declares, else a raw frame in the folder `raw`."""

    def __init__(self, instrument: Instrument, raw: Path | None = None) -> None:
        self._instrument, self._raw = instrument, raw

    def sizes(self, entry: CalibEntry) -> Sequence[Mapping[str, str]]:
        """See `CameraFacts.sizes`."""
        declared = declared_sizes(self._instrument)
        return declared or list(islice(self._of_frames(entry), 1))

    def spectra(self, entry: CalibEntry) -> Spectrograph | None:
        """See `CameraFacts.spectra`: of the first camera that the entry is for."""
        camera = entry.camera[0].replace("*", "0").replace("?", "0")  # any spectrograph of an arm will do
        found = spectrograph_of(self._instrument, camera, camera_tags(self._instrument, camera))
        return found if found.centre is not None or found.dispersion is not None else None

    def _of_frames(self, entry: CalibEntry) -> Iterator[Mapping[str, str]]:
        """Sizes of raw frames that would meet the entry, the newest first. What cannot be read tells nothing."""
        reader, of_camera = open_reader(self._instrument), entry.model_copy(update={"serial": (), "when": {}})
        files = [p for p in _files(self._raw) if reader.accepts(p)] if self._raw is not None else []
        for path in sorted(files, key=_written, reverse=True)[:MOST_FRAMES]:
            try:
                peek = reader.peek(path)
                for camera in peek.cameras:
                    if entry.valid(peek.unit.night) and not of_camera.misfit({**peek.tags, "camera": camera}):
                        tags = reader.read(path, camera).tags
                        if not entry.misfit(tags):
                            yield shapes_of(tags)
            except QuicklookError:
                continue


def _files(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        yield from (Path(where, name) for name in names)


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # gone since it was listed
        return 0


def declared_sizes(instrument: Instrument) -> list[dict[str, str]]:
    """Sizes of the images of all layouts of an instrument that says them in full; none where some are known from headers alone."""
    sizes = [_declared(instrument, layout) for layout in instrument.layouts]
    return [s for s in sizes if s is not None] if all(sizes) else []


def _declared(instrument: Instrument, layout: AmplifierLayout) -> dict[str, str] | None:
    """Tags raw_shape and image_shape; None where the sections are not all given as numbers, or open ends hang on a size that is not stated."""
    size = [layout.when.get(key) for key in ("NAXIS2", "NAXIS1")]
    ny, nx = (n if isinstance(n, int) and not isinstance(n, bool) else 0 for n in size)
    specs = layout.specs().values()
    lookups = [text for s in specs for one in (s.data, s.ccd) for text in one]
    literal = all(isinstance(t, str) and re.match(r"\s*\[", t) for t in lookups) and all(s.data for s in specs)
    is_open = any(re.search(r"[\[,]\s*:|:\s*[,\]]", str(t)) for t in lookups)
    if not literal or (is_open and not (ny and nx)) or any(s.hdu is not None for s in specs):
        return None
    tile = Tile(headers=Headers(Header({})), shape=(ny, nx))
    try:
        amplifiers = build_amplifiers("any", layout, dict.fromkeys(layout.amplifiers, tile), Problems())
    except BadData:  # gains, too, may be known from headers alone
        return None
    image = max(a.ccd.y1 for a in amplifiers), max(a.ccd.x1 for a in amplifiers)
    turned = image[::-1] if orientation_of(instrument, layout).transpose else image
    return {"image_shape": f"{turned[0]},{turned[1]}"} | ({"raw_shape": f"{ny},{nx}"} if ny and nx else {})
