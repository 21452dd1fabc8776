"""What tests of reports share: where results lie, and how they are changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quicklook.core.keys import Unit
from quicklook.service.reporting.housekeeping import span_of

HK = """\
defaults: {fill: [999999]}
sources: {log: {plugin: text, params: {path: "*.txt"}}}
channels:
  - {name: TEMP, unit: degC, plausible: [-200, 100]}
limits:
  - {name: warm, channels: TEMP, unit: degC, performance: [-10, 10], reason: it is so, action: Look at the pump.}
"""
UNIT = Unit(20220101, 102)


@dataclass(frozen=True)
class Results:
    """An output folder with results under the tag `live`, and the raw file of the exposure that is not in order."""

    out: Path
    raw: Path

    @property
    def folder(self) -> Path:
        return self.out / "live/exposures/20220101/00000102"

    def change(self, name: str, edit: Callable[[dict[str, Any]], None]) -> None:
        """Edit a JSON file of the exposure."""
        data = json.loads((self.folder / name).read_text())
        edit(data)
        (self.folder / name).write_text(json.dumps(data))

    def span(self) -> tuple[float, float]:
        found = span_of(json.loads((self.folder / "verdict.json").read_text())["tags"])
        assert found is not None
        return found
