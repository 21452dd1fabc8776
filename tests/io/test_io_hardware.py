"""Serial numbers by position and date: they become tags, and what contradicts itself is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from io_frames import desi_cards, write_desi

from quicklook.ccd.exposure import Arrival
from quicklook.core.errors import BadConfig
from quicklook.io.calibentry import CalibEntry, belonging
from quicklook.io.hardware import hardware_tags
from quicklook.io.instrument import Instrument, load_instrument, make_instrument
from quicklook.io.reader import open_reader

ROWS: list[dict[str, Any]] = [
    {"camera": "r0", "serial": "CCD-1", "to": "2021-12-31"},
    {"camera": "r0", "serial": "CCD-2", "from": "2022-01-01"},
    {"camera": "b*", "serial": "CCD-3", "tags": {"vendor": "x"}},
    {"camera": ["r0", "z0"], "tags": {"bench": "west"}},
]


def instrument(*rows: dict[str, Any], **more: Any) -> Instrument:
    data = load_instrument("desi").model_dump(exclude_unset=True)
    return make_instrument({**data, "hardware": list(rows), **more})


@pytest.mark.parametrize(
    ("camera", "night", "tags"),
    [
        ("r0", 20211231, {"serial": "CCD-1", "bench": "west"}),
        ("R0", 20220101, {"serial": "CCD-2", "bench": "west"}),
        ("b7", 20220101, {"serial": "CCD-3", "vendor": "x"}),
        ("z1", 20220101, {}),
    ],
)
def test_what_is_mounted_where(camera: str, night: int, tags: dict[str, str]) -> None:
    assert hardware_tags(instrument(*ROWS), camera, night) == tags


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*ROWS, {"camera": "r?", "serial": "CCD-9", "from": "2023-01-01"}], r"r0 has serial CCD-2 and CCD-9, from 20230101"),
        ([{"camera": "r0", "serial": "A"}, {"camera": "r*", "serial": "B"}], r"r0 has serial A and B, any night"),
        ([{"camera": "r0"}], "says neither serial nor tags"),
        ([{"camera": "r0", "serial": "A", "from": "soon"}], "is no night"),
        ([{"serial": "A"}], "camera"),
    ],
)
def test_what_cannot_be(rows: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(BadConfig, match=words):
        instrument(*rows)


def test_a_frame_has_the_tags_of_its_hardware(tmp_path: Path) -> None:
    read = open_reader(instrument(*ROWS)).read(write_desi(tmp_path), "r0")
    assert {k: read.tags[k] for k in ("serial", "bench", "camera", "specid")} == {"serial": "CCD-2", "bench": "west", "camera": "r0", "specid": "4"}
    assert "headers" not in next(p for p in read.products if isinstance(p, Arrival)).problems


def test_the_header_wins_and_the_contradiction_is_told(tmp_path: Path) -> None:
    odd = instrument({"camera": "r0", "tags": {"specid": "9", "detector": "SN-1"}})
    read = open_reader(odd).read(write_desi(tmp_path, {"r0": desi_cards()}), "r0")
    assert read.tags["specid"] == "4"
    told = next(p for p in read.products if isinstance(p, Arrival)).problems["headers"]
    assert told == ("the header says specid 4, the hardware of the instrument file says 9 on this night",)


def test_what_is_made_here_belongs_to_the_hardware_it_was_made_with(tmp_path: Path) -> None:
    path = write_desi(tmp_path)
    desi = open_reader(load_instrument("desi")).read(path, "r0").tags
    assert belonging("r0", desi) == {"camera": ("r0",), "when": {"specid": ("4",), "detector": ("SN-1",)}}
    assert belonging("r0", open_reader(instrument(*ROWS, bound_to=["serial", "specid", "colour"])).read(path, "r0").tags) == {
        "camera": ("*",),
        "serial": ("CCD-2",),
        "when": {"specid": ("4",)},
    }
    assert belonging("r0", {"camera": "r0"}) == {"camera": ("r0",)}
    entry = CalibEntry(kind="bias", path="x", **belonging("r0", desi))
    assert not entry.misfit(desi)
    assert entry.misfit({**desi, "specid": "5"}) == "is for specid 4, not 5"
