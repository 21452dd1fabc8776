"""Which calibration is chosen, and what is said where none can be."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import calibs_made
import pytest
from astropy.io import fits

from quicklook.ccd.calibs import Bias, Dark, KnownFibers
from quicklook.core.calibration import NoCalibrations
from quicklook.core.errors import BadData, MissingCalibration
from quicklook.core.keys import PartKey, Unit
from quicklook.io.calib import CalibFolder, IndexedCalibrations, open_calibrations
from quicklook.io.calibadd import add_calibration
from quicklook.io.calibcensus import take_census
from quicklook.io.calibchoice import age_days, builder_of, renewal
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibwrite import write_calibration
from quicklook.io.headercards import provenance_cards

TAGS = {"instrument": "bench", "start": "2022-01-11T12:00:00+00:00"}


def part(night: int = 20220111, camera: str = "r0") -> PartKey:
    return PartKey(Unit(night, 1), camera)


class Table:
    """An index as a database would keep it: the interface and nothing else."""

    def __init__(self, folder: Path, *entries: Mapping[str, Any], stale: Mapping[str, float] | None = None) -> None:
        self.folder, self.rows, self.stale = folder, [CalibEntry(**e) for e in entries], stale or {}

    @property
    def name(self) -> str:
        return "the table"

    def entries(self) -> tuple[CalibEntry, ...]:
        return tuple(self.rows)

    def stale_days(self, kind: str) -> float | None:
        return self.stale.get(kind)

    def locate(self, entry: CalibEntry) -> Path:
        return self.folder / entry.path

    def add(self, entry: CalibEntry) -> None:
        self.rows.append(entry)


@pytest.fixture
def biases(tmp_path: Path) -> Path:
    for name in ("one", "two", "three", "four"):
        write_calibration(calibs_made.bias(), tmp_path / f"{name}.fits", sync=False)
    return tmp_path


def bias(path: str, **more: Any) -> dict[str, Any]:
    return {"kind": "bias", "path": f"{path}.fits", **more}


def chosen(folder: Path, *entries: Mapping[str, Any], night: int = 20220111, tags: Mapping[str, str] | None = None) -> tuple[str, str, list[str]] | None:
    found = IndexedCalibrations(Table(folder, *entries)).find(Bias, part(night), {**TAGS, **(tags or {})})
    return (Path(found[1].source).stem, found[1].chosen_as, [Path(p).stem for p in found[1].alternatives]) if found else None


def test_nightly_before_valid_before_default(biases: Path) -> None:
    """That of the night goes first, also where another one begins later; the default comes last."""
    rows = (bias("one", default=True), bias("two", valid_from=20220110, night=20220110), bias("three", valid_from=20220101, night=20220111))
    assert chosen(biases, *rows) == ("three", "night", ["two", "one"])
    assert chosen(biases, *rows, night=20220112) == ("two", "valid", ["three", "one"])
    assert chosen(biases, *rows, night=20211231) == ("one", "default", [])


def test_nothing_outside_of_its_validity_also_no_default(biases: Path) -> None:
    rows = (bias("one", default=True, valid_from=20220101, valid_to=20220131), bias("two", valid_to=20220105, night=20220111))
    assert chosen(biases, *rows) == ("one", "default", [])
    assert chosen(biases, *rows, night=20220104) == ("two", "valid", ["one"])
    assert chosen(biases, *rows, night=20220201) is None
    assert chosen(biases, bias("one", valid_from=20220101), night=0) is None


def test_hardware_moves(biases: Path) -> None:
    """What belongs to a serial number goes where that is."""
    rows = (bias("one", serial="CCD-1"), bias("two", serial=["CCD-2", "CCD-3"]))
    assert chosen(biases, *rows, tags={"serial": "ccd-3"}) == ("two", "valid", [])
    assert chosen(biases, *rows, tags={"serial": "CCD-1"}) == ("one", "valid", [])
    assert chosen(biases, *rows) is None


def test_an_index_of_any_kind_does(biases: Path) -> None:
    table = Table(biases, bias("one", night=20220101), stale={"bias": 9.5})
    found = IndexedCalibrations(table).find(Bias, part(), TAGS)
    assert found is not None
    used = found[1]
    assert (used.night, used.age_days, used.stale_days, used.stale, used.quality) == ("20220101", 10.0, 9.5, True, "good")
    assert used.renewal.startswith("`quicklook calib build bias --night 20220111 --camera r0 --expid A-B`")
    table.add(CalibEntry(**bias("two", night=20220102, valid_from=20220102)))
    newer = IndexedCalibrations(table).find(Bias, part(), TAGS)
    assert newer is not None
    assert (Path(newer[1].source).stem, newer[1].stale) == ("two", False)


def test_a_provisional_one_says_what_makes_a_better_one(biases: Path) -> None:
    found = IndexedCalibrations(Table(biases, bias("one", quality="provisional"))).find(Bias, part(), TAGS)
    assert found is not None
    assert (found[1].quality, found[1].stale_days) == ("provisional", None)
    assert "quicklook calib build bias" in found[1].renewal


def test_an_entry_says_when_it_is_stale(biases: Path) -> None:
    table = Table(biases, bias("one", valid_from=20220101, stale_days=60), stale={"bias": 1.0})
    found = IndexedCalibrations(table).find(Bias, part(), TAGS)
    assert found is not None
    assert (found[1].stale_days, found[1].stale) == (60.0, False)


def test_age() -> None:
    assert age_days(20220111, 20220111) == 0.0
    assert age_days(20220101, 20220111) == 10.0
    assert age_days(20211231, 20220101) == 1.0
    assert age_days(20220112, 20220111) == -1.0
    assert age_days(None, 20220111) is None
    assert age_days(20220101, 0) is None
    assert age_days(20220101, 20221301) is None


def test_one_of_the_same_night_is_not_stale_wherever_the_site_lies(biases: Path) -> None:
    """At Lick the exposures of an evening lie more than a day after 00 UTC of its date."""
    table = Table(biases, bias("one", night=20220111), stale={"bias": 1.0})
    found = IndexedCalibrations(table).find(Bias, part(), {**TAGS, "start": "2022-01-12T05:30:00+00:00"})
    assert found is not None
    assert (found[1].age_days, found[1].stale) == (0.0, False)


@pytest.mark.parametrize(
    ("row", "words", "expected"),
    [
        (bias("one", valid_to=20220101), r"1 of r0 in the table, none usable on night 20220111 \(one.fits is valid  ?to 20220101\)", True),
        (bias("one", quality="bad"), r"none usable on night 20220111 \(one.fits is marked as bad\)", True),
        (bias("one", camera="b*"), "the table has none for r0; one.fits is for camera b[*], not r0", False),
        (bias("one", serial="X"), "one.fits is for serial X, not one that is not stated", False),
        ({"kind": "dark", "path": "x"}, "the table has none for r0$", False),
    ],
)
def test_why_there_is_none(biases: Path, row: Mapping[str, Any], words: str, expected: bool) -> None:
    source = IndexedCalibrations(Table(biases, row))
    assert source.find(Bias, part(), TAGS) is None
    absence = source.absence(Bias, part(), TAGS)
    import re

    assert re.search(words, absence.why), absence.why
    assert absence.expected == expected
    assert absence.what_next == "`quicklook calib build bias --night 20220111 --camera r0 --expid A-B` makes one"


def test_what_makes_one() -> None:
    assert builder_of("bias") == "bias"
    assert renewal("skylines", part()) == "`quicklook calib add FILE --kind skylines --camera r0` adds one"
    assert "--calib FOLDER" in NoCalibrations().absence(Bias, part(), {}).what_next


def test_a_file_that_was_changed_is_found_at_use(biases: Path) -> None:
    """The checksum of the entry is that of another file."""
    (biases / "calib.yaml").write_text(f"calibrations:\n- {{kind: bias, path: one.fits, sha256: {'a' * 64}}}\n")
    with pytest.raises(MissingCalibration, match=r"one\.fits cannot be used: it is not the file that was added .*; restore it, or add it again"):
        CalibFolder(biases).find(Bias, part(), TAGS)


def test_more_than_half_without_a_value_is_found_at_use(tmp_path: Path) -> None:
    pixels = calibs_made.dark().pixels.copy()
    pixels[: len(pixels) // 2 + 1] = float("nan")
    fits.writeto(tmp_path / "x.fits", pixels)
    (tmp_path / "calib.yaml").write_text("calibrations:\n- {kind: dark, path: x.fits}\n")
    with pytest.raises(MissingCalibration, match=r"50.9 % of its pixels are no numbers"):
        CalibFolder(tmp_path).find(Dark, part(), TAGS)


TREE = "sm4-r: {V1: {BIAS: spec/sm4/tree.fits, DATE-OBS-BEGIN: '20220105', BROKENFIBERS: '3', DETECTOR: SN-1}}\n"


def test_an_index_beside_a_tree(biases: Path) -> None:
    """What was made here goes before the tree; the default of the index comes after it."""
    (biases / "spec" / "sm4").mkdir(parents=True)
    (biases / "spec" / "sm4" / "sm4-r.yaml").write_text(TREE)
    os.link(biases / "four.fits", biases / "spec" / "sm4" / "tree.fits")
    (biases / "calib.yaml").write_text("calibrations:\n- {kind: bias, path: one.fits, night: 20220111, valid_to: 20220111}\n- {kind: bias, path: two.fits, default: true}\n")
    source, tags = open_calibrations(biases), {**TAGS, "specid": "4", "arm": "r", "detector": "SN-1"}
    names = []
    for night in (20220111, 20220112, 20220104):
        found = source.find(Bias, part(night), tags)
        assert found is not None
        names.append((Path(found[1].source).stem, len(found[1].alternatives)))
    assert names == [("one", 2), ("tree", 1), ("one", 1)]
    fibres = source.find(KnownFibers, part(), tags)
    assert fibres is not None
    assert fibres[0] == KnownFibers(broken=(3,))
    assert source.find(KnownFibers, part(), {**tags, "detector": "SN-2"}) is None
    assert "is for detector SN-1, not SN-2" in source.absence(KnownFibers, part(), {**tags, "detector": "SN-2"}).why


def test_cards_of_the_products(biases: Path, tmp_path: Path) -> None:
    rows = [bias("one", night=20220111, valid_from=20220111, valid_to=20220112, quality="provisional"), bias("two"), bias("three", default=True)]
    found = IndexedCalibrations(Table(biases, *rows)).find(Bias, part(), TAGS)
    assert found is not None
    cards = provenance_cards((found[1],))
    write_calibration(calibs_made.dark(), tmp_path / "x" / "product.fits", cards)
    with fits.open(tmp_path / "x" / "product.fits") as f:
        f.verify("exception")
        head = f[0].header
        assert head["CALSRC00"] == str(biases / "one.fits")
        wanted = {"CALKND00": "bias", "CALAGE00": 0.0, "CALQLT00": "provisional", "CALFRM00": "20220111", "CALEND00": "20220112", "CALHOW00": "night"}
        assert {k: head[k] for k in wanted} == wanted
        assert head["CALALT00"] == "two.fits, three.fits"


def test_an_index_of_any_kind_is_added_to_and_checked(biases: Path) -> None:
    table = Table(biases)
    added = add_calibration(table, CalibEntry(**bias("one", camera="r0")), {"image_shape": "110,60", "raw_shape": "116,90"})
    assert table.entries() == (added,)
    (biases / "two.fits").write_bytes(b"junk")
    with pytest.raises(BadData, match=r"two\.fits is not added"):
        add_calibration(table, CalibEntry(**bias("two", camera="r0")))
    assert table.entries() == (added,)
    census = take_census(IndexedCalibrations(table), biases)
    assert (census.good, [p.name for p in census.unlisted]) == (True, ["four.fits", "three.fits", "two.fits"])
