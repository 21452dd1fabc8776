"""Amplifiers that are known to be bad: how they are written, what is refused, what the reader does with them."""

from __future__ import annotations

from typing import Any

import pytest

from quicklook.ccd.geometry import Amplifier, Section
from quicklook.core.errors import BadConfig
from quicklook.io.badamps import complaints, marked, split_words
from quicklook.io.instrument import Instrument, load_instrument, make_instrument


def amps(names: str) -> tuple[Amplifier, ...]:
    return tuple(Amplifier(name=n, data=Section(0, 9, 9 * i, 9 * i + 9), ccd=Section(0, 9, 9 * i, 9 * i + 9), gain=1.0) for i, n in enumerate(names))


def desi(*bad: str) -> Instrument:
    return load_instrument("desi").model_copy(update={"bad_amplifiers": bad})


def bad_of(instrument: Instrument, camera: str, names: str = "ABCD") -> str:
    return "".join(a.name for a in marked(instrument, camera, amps(names)) if a.bad)


@pytest.mark.parametrize(("text", "words"), [("b7D,z8A", ("b7D", "z8A")), (" b7D  z8A, ", ("b7D", "z8A")), ("", ()), (["x"], ["x"])])
def test_words(text: Any, words: Any) -> None:
    assert split_words(text) == words


@pytest.mark.parametrize(("bad", "camera", "names"), [
    (("b7D",), "b7", "D"), (("B7D", "b7:A"), "b7", "AD"), (("b7D",), "b8", ""), (("b7D",), "r7", ""), ((), "b7", ""),
])  # fmt: skip
def test_the_reader_marks_them(bad: tuple[str, ...], camera: str, names: str) -> None:
    assert bad_of(desi(*bad), camera) == names


@pytest.mark.parametrize(("word", "said"), [
    ("b0Q", "b0Q: camera b0 of desi has amplifiers A, B, C, D; write it as in b0A"),
    ("b9Q", "camera b9 of desi has amplifiers A, B, C, D"),
    ("b0", "camera b0 of desi has amplifiers"),
    ("b0a", "camera b0 of desi has amplifiers"),
    ("zz", "zz begins with no camera of desi (there are [brz][0-9]); amplifiers are A, B, C, D"),
    ("b0:", "camera b0 of desi has amplifiers"),
    ("x" * 2000, "x" * 40 + "... begins with no camera of desi"),
])  # fmt: skip
def test_what_the_instrument_has_not_is_refused_with_what_there_is(word: str, said: str) -> None:
    (sentence,) = complaints(desi(), [word])
    assert said in sentence
    assert len(sentence) < 200


def test_expected_cameras_are_named() -> None:
    mine = load_instrument("kast_blue")
    cameras = mine.cameras.model_copy(update={"expected": ("CCD1", "CCD12"), "tags": ""})
    mine = mine.model_copy(update={"cameras": cameras, "layout": mine.layout.model_copy(update={"camera": ""})})
    assert complaints(mine, ["CCD1L", "CCD12:R"]) == []
    assert complaints(mine, ["CCD2L"]) == ["CCD2L begins with no camera of kast_blue (there are CCD1, CCD12); amplifiers are L, R"]


def test_cameras_without_pattern_are_judged_when_they_are_read() -> None:
    """r1 and amplifier 2, or camera r12 and none: nothing but the frame can tell."""
    names = {n: {"data": f"[{9 * i + 1}:{9 * i + 9},:]", "gain": 1} for i, n in enumerate("12")}
    bench = make_instrument({"name": "bench", "files": {"patterns": ["f_{expid:4d}_{camera}.fits"]}, "layouts": [{"amplifiers": names}]})
    bench = bench.model_copy(update={"bad_amplifiers": ("r12", "x1:1")})
    assert bad_of(bench, "r1", "12") == "2"
    assert bad_of(bench, "r12", "12") == ""
    assert bad_of(bench, "x1", "12") == "1"
    with pytest.raises(BadConfig, match="bad amplifier x1:1: camera x1 has amplifiers A, B"):
        marked(bench, "x1", amps("AB"))


def test_a_camera_of_one_amplifier_can_be_named_alone() -> None:
    virus = load_instrument("virus").model_copy(update={"bad_amplifiers": ("053LU",)})
    one = Amplifier(name="LU", data=Section(0, 9, 0, 9), ccd=Section(0, 9, 0, 9), gain=1.0)
    assert marked(virus, "053LU", (one,))[0].bad
    assert not marked(virus, "054LU", (one,))[0].bad


def test_an_instrument_file_with_a_wrong_one_is_refused() -> None:
    description = {"name": "bench", "cameras": {"expected": ["x1"]}, "files": {"patterns": ["f_{expid:4d}.fits"]}, "bad_amplifiers": ["x2A"],
                   "layouts": [{"amplifiers": {"A": {"gain": 1}}}]}  # fmt: skip
    with pytest.raises(BadConfig, match=r"x2A begins with no camera of bench \(there are x1\)"):
        make_instrument(description)
