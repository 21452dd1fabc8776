"""check_book: what has come of a book, counted by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from qa.check_book import CheckBook, CheckBookParams
from quicklook.ccd.book import ANCIL_FILE, STREAM_FILE, Book, pattern_complaint

NAME = "obs_1660900000_satp1_0000011"
INDEX: dict[str, Any] = {
    "book_id": NAME, "type": "obs", "subtype": "cmb", "telescope": "satp1", "tube_slot": "st1", "start_time": 1660900000.1, "stop_time": 1660903600.2,
    "n_samples": 300, "stream_ids": ["ufm_mv9", "ufm_mv6"], "detsets": ["mv9", "mv6"], "sample_ranges": [[0, 100], [100, 200], [200, 300]],
    "tags": ["jupiter"], "wafer_slots": ["ws0", "ws1"],
}  # fmt: skip
FILES = [f"{stream}_{i:03d}.g3" for stream in ("D_ufm_mv9", "D_ufm_mv6", "A_ancil") for i in range(3)] + ["M_index.yaml", "M_book.yaml"]


def book(*, without: tuple[str, ...] = (), more: tuple[str, ...] = (), empty: tuple[str, ...] = (), name: str = NAME, **index: Any) -> Book:
    files = {n: 0 if n in empty else 1000 for n in [*FILES, *more] if n not in without}
    return Book(name=name, index={k: v for k, v in {**INDEX, **index}.items() if v != "absent"}, files=files)


def found(this: Book, **params: Any) -> dict[str, Any]:
    measures = CheckBook(CheckBookParams(**params)).measure(this)
    return {m.name.removeprefix("book_"): m for m in measures.metrics}


def values(this: Book, **params: Any) -> list[Any]:
    got = found(this, **params)
    excess = got["file_excess"]
    return [*(float(got[n].values) for n in ("index_problems", "missing_files", "stray_files")), dict(zip(excess.coords["stream"], excess.values, strict=True))]


EQUAL = {"ufm_mv9": 0.0, "ufm_mv6": 0.0, "ancil": 0.0}


def test_a_whole_book():
    assert values(book()) == [0, 0, 0, EQUAL]


def test_absent_and_empty_files_are_missing_from_their_streams():
    got = values(book(without=("D_ufm_mv9_001.g3", "M_book.yaml"), empty=("A_ancil_002.g3",)))
    assert got == [0, 3, 0, EQUAL | {"ufm_mv9": -1.0, "ancil": -1.0}]
    remark = found(book(without=("D_ufm_mv9_001.g3",)))["missing_files"].remarks
    assert list(remark.values()) == ["D_ufm_mv9_001.g3"]


def test_files_beyond_the_index_are_stray_and_counted():
    got = values(book(more=("D_ufm_mv6_003.g3", "notes.txt", "plots/")))
    assert got == [0, 0, 3, EQUAL | {"ufm_mv6": 1.0}]


def test_work_arounds_let_known_deviations_pass():
    more = ("Z_bookbinder_log.txt", "frame_splits.txt")
    assert values(book(more=more), extra_extra_files=["Z_*"])[2] == 1
    assert values(book(more=more), tolerate_stray_files=True)[2] == 0
    assert values(book(more=more), tolerate_stray_files=True, banned_files=["frame_splits.txt"])[2] == 1
    assert values(book(more=more), extra_extra_files=["*.txt"], banned_files=["frame_splits.txt"])[2] == 1
    assert values(book(without=("M_book.yaml",)), tolerate_missing_extra_files=True)[1] == 0
    ancil = tuple(f"A_ancil_{i:03d}.g3" for i in range(3))
    assert values(book(without=ancil), tolerate_missing_ancil=True)[1:] == [0, 0, {"ufm_mv9": 0.0, "ufm_mv6": 0.0}]
    assert values(book(without=ancil[:1]), tolerate_missing_ancil=True)[1] == 1  # all of them, or none
    assert values(book(tube_slot="absent"), required_keys=["stream_ids"])[0] == 0


@pytest.mark.parametrize(
    ("index", "problems", "words"),
    [
        ({"subtype": "absent", "tags": "absent"}, 2, "subtype is absent"),
        ({"book_id": "obs_1660900000_satp1_0000001"}, 1, "book_id is"),
        ({"type": "oper"}, 1, "type is 'oper', by the folder it is obs"),
        ({"telescope": "lat"}, 1, "telescope is 'lat'"),
        ({"detsets": ["mv9"]}, 1, "not of one length"),
        ({"stream_ids": ["ufm_mv9"], "detsets": ["mv9"]}, 1, "1 stream_ids, by the folder there are 2"),
        ({"stream_ids": ["ufm_mv9", "../../etc/passwd"]}, 1, "no list of different names"),
        ({"stream_ids": 7, "detsets": "absent"}, 2, "no list of different names"),
        ({"sample_ranges": [[0, 100], [200, 100], [200, 300]]}, 1, "1 of 3 sample_ranges"),
        ({"sample_ranges": "all"}, 1, "no list of ranges"),
        ({"start_time": 5.0, "stop_time": 4.0}, 1, "stops (4.0) before it starts (5.0)"),
        ({"start_time": "soon"}, 1, "start_time is no number"),
    ],
)
def test_what_an_index_cannot_say(index, problems, words):
    metric = found(book(**index))["index_problems"]
    assert float(metric.values) == problems
    assert words in "".join(metric.remarks.values())


def test_a_folder_of_another_name_is_a_problem():
    assert "is no name of a book" in "".join(found(book(name="book"))["index_problems"].remarks.values())


def test_without_ranges_nobody_knows_how_many_files_there_should_be():
    excess = found(book(sample_ranges="absent"))["file_excess"]
    assert all(math.isnan(v) for v in excess.values)


@pytest.mark.parametrize("ranges", [10**6, 10**5])
def test_an_index_that_names_a_million_files_is_held_within_bounds(ranges):
    this = book(sample_ranges=[[0, 1]] * ranges)
    assert sum(map(len, this.named().values())) <= 20_000
    assert "more than any book has" in "".join(found(this)["index_problems"].remarks.values())


def test_patterns_of_file_names():
    assert not pattern_complaint(STREAM_FILE, "stream_id", "index")
    assert not pattern_complaint(ANCIL_FILE, "index")
    for wrong in ("D_{stream_id}.g3", "D_{index}_{index}", "{stream_id}/{index:03d}", "{stream_id:>5}{index}", "{stream_id}_{index:x}", "{stream_id}{index:03d}", "{{{stream_id}{index}"):
        assert pattern_complaint(wrong, "stream_id", "index")
    own = Book(name=NAME, index=INDEX, files=dict.fromkeys(["D_obs_ufm_mv9_00.g3"], 5), stream_file="D_obs_{stream_id}_{index:02d}.g3")
    assert own.found()["ufm_mv9"] == ("D_obs_ufm_mv9_00.g3",)
