"""Header keywords of the frames themselves, as channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from monitor.hk.names import matched
from monitor.hk.sources.clock import Clock
from monitor.hk.sources.files import Files, Seen
from monitor.hk.sources.rows import Cells, FaultCount
from quicklook.core.errors import BadConfig, NotReadyYet, Transient, describe
from quicklook.core.housekeeping import Batch, HkSource, SourceContext, Taken
from quicklook.core.params import Params
from quicklook.io.fitsfile import inspect

_FILES = 20
"""Files of one look."""


class HeaderParams(Params):
    """Parameters of `headers`."""

    path: str = Field("", description="Frames, as a pattern: * any text, ** any depth of folders")
    keywords: tuple[str, ...] = Field((), description="Keywords that are channels, as patterns: DETTEMP, *TEMP*; numbers and words, never comments")
    time: str = Field("DATE-OBS", description="Keyword with the time of the frame, in the header or in the primary one")
    time_format: str = Field("auto", description="auto, iso, unix, mjd, jd, or a strptime format")
    zone: str = Field("UTC", description="Time zone of times that say none")
    channel: str = Field("{hdu}{key}", description="Name of the channel; {hdu} is the name of the extension and a point, nothing in a primary header")
    scan_s: float = Field(5.0, gt=0, description="How often the pattern is looked for again [s]")


class HeaderSource(HkSource[HeaderParams]):
    """Reads keywords of every header of a frame when it is complete; a frame that is not is looked at again. Times are those of the frames."""

    name = "headers"
    file_param = "path"

    def open(self, context: SourceContext) -> None:
        """Raises BadConfig: no path, no keywords, a wrong zone."""
        if not self.params.path or not self.params.keywords:
            raise BadConfig(f"source {context.source}: name its files in `path`, as raw/**/*.fits*, and `keywords`, as [DETTEMP, '*TEMP*']")
        try:
            self.params.channel.format(hdu="", key="")
        except (KeyError, IndexError, ValueError) as error:
            raise BadConfig(f"source {context.source}: `channel` {self.params.channel!r} may have {{hdu}} and {{key}}: {error}") from error
        self._clock = Clock(self.params.time_format, self.params.zone)
        self._context, self._positions = context, dict(context.positions)
        self._files, self._cells = Files(self.params.path, self.params.scan_s), Cells(context)

    def poll(self, now: float) -> Taken:
        """The headers of frames that came or changed since. Raises Transient where the folder is not there."""
        faults, batches, positions, any_file = FaultCount(self._context.source, now), list[Batch](), dict[str, str](), False
        for seen in self._files.look():
            any_file, path = True, str(seen.path)
            if self._positions.get(path) == seen.stamp:
                continue
            if len(positions) >= _FILES:
                return Taken(batches=tuple(batches), faults=faults.faults, positions=positions, more=True)
            try:
                batches += self._frame(seen, faults)
            except NotReadyYet:
                continue
            except Exception as error:  # a file of somebody else
                faults.add(path, path, f"its headers cannot be read: {describe(error)}", kind=type(error).__name__)
            self._positions[path] = positions[path] = seen.stamp
        if not any_file and not self._files.folder.is_dir():
            raise Transient(f"the folder {self._files.folder} is not there, so there is nothing to read")
        return Taken(batches=tuple(sorted(batches, key=lambda b: float(b.times[0]))), faults=faults.faults, positions=positions)

    def _frame(self, seen: Seen, faults: FaultCount) -> list[Batch]:
        hdus = inspect(seen.path).hdus
        primary: Mapping[str, Any] = hdus[0].header if hdus else {}
        found: dict[float, dict[str, object]] = {}
        for hdu in hdus:
            keys = [k for k in hdu.header if any(matched(p, k) is not None for p in self.params.keywords)]
            if not keys:
                continue
            time = self._clock.read(str(hdu.header.get(self.params.time, primary.get(self.params.time, ""))))
            if time is None:
                faults.add(str(seen.path), str(seen.path), f"the header has no time in {self.params.time}; left out")
                continue
            prefix = f"{hdu.name}." if hdu.name and hdu is not hdus[0] else ""
            found.setdefault(time, {}).update({self.params.channel.format(hdu=prefix, key=k): hdu.header[k] for k in keys})
        return [self._batch(time, cells, str(seen.path), faults) for time, cells in sorted(found.items())]

    def _batch(self, time: float, cells: Mapping[str, object], place: str, faults: FaultCount) -> Batch:
        def wrong(name: str, cell: object, _row: int) -> None:
            faults.add(place, place, f"{name} holds numbers, and here {str(cell)[:40]!r}; taken as no value")

        return self._cells.batch(np.array([time]), list(cells), [list(cells.values())], wrong)

    def close(self) -> None:
        """Nothing is held open."""
