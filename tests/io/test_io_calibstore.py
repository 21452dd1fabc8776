"""The index on disk: what is added is there at once and whole, and what people have written stays."""

from __future__ import annotations

import fcntl
import multiprocessing
import threading
from pathlib import Path
from typing import Any

import pytest

from quicklook.core.errors import BadConfig, Transient
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibstore import FolderStore, locked
from quicklook.io.calibtext import EMPTY, item_lines, with_entry


def entry(**more: Any) -> CalibEntry:
    return CalibEntry(**{"kind": "bias", "path": "new.fits", "camera": "r0", **more})


WRITTEN = {
    "block": "# ours\ncalibrations:\n  # the first one\n  - kind: bias\n    path: old.fits   # kept\n\n  - kind: dark\n    path: dark.fits\n\n# the end\n",
    "flow items": "calibrations:\n- {kind: bias, path: old.fits, comment: 'a # in it'}\n- {kind: dark, path: dark.fits}\n",
    "a key after it": "calibrations:\n  - {kind: bias, path: old.fits}\n  - {kind: dark, path: dark.fits}\nstale_days: {bias: 30}  # as we think\n",
    "dash alone": "calibrations:\n  -\n    kind: bias\n    path: old.fits\n  - kind: dark\n    path: dark.fits\n",
    "one line": "# head\n# of it\ncalibrations: [{kind: bias, path: old.fits}, {kind: dark, path: dark.fits}]\nstale_days: {bias: 3}\n",
    "no line break at the end": "calibrations:\n- {kind: bias, path: old.fits}\n- {kind: dark, path: dark.fits}",
    "anchors": "calibrations:\n- &one {kind: bias, path: old.fits}\n- {<<: *one, kind: dark, path: dark.fits}\n",
    "windows": "calibrations:\r\n- {kind: bias, path: old.fits}\r\n- {kind: dark, path: dark.fits}\r\n",
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_was_written_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / "calib.yaml").write_bytes(WRITTEN[name].encode())
    store = FolderStore(tmp_path)
    before, stale = store.entries(), store.stale_days("bias")
    store.add(entry(night="2022-01-03", made_from=(14, 15), comment="yes: [a]"))
    assert store.entries() == (*before, entry(night=20220103, made_from=(14, 15), comment="yes: [a]"))
    assert store.stale_days("bias") == stale
    text = (tmp_path / "calib.yaml").read_text()
    for line in WRITTEN[name].splitlines():
        assert line in text or name == "one line", line
    if name == "one line":
        assert text.startswith("# head\n# of it\nstale_days: {bias: 3")


def test_one_of_the_same_kind_and_path_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "calib.yaml").write_text(WRITTEN["block"])
    store = FolderStore(tmp_path)
    store.add(entry(path="old.fits", sha256="a" * 64))
    store.add(entry(path="old.fits", sha256="b" * 64))
    assert [(e.path, e.sha256[:1]) for e in store.entries()] == [("dark.fits", ""), ("old.fits", "b")]
    store.add(entry(kind="dark", path="old.fits"))
    assert len(store.entries()) == 3
    assert "# ours" in (tmp_path / "calib.yaml").read_text()


@pytest.mark.parametrize("text", [EMPTY, "calibrations: []  # none yet\n", "stale_days: {bias: 3}\ncalibrations: [ ]\n"])
def test_the_first_one(tmp_path: Path, text: str) -> None:
    changed = with_entry(text, "calib.yaml", entry())
    (tmp_path / "calib.yaml").write_text(changed)
    assert FolderStore(tmp_path).entries() == (entry(),)
    assert all(word in changed for word in text.replace("[ ]", "").replace("[]", "").split())


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="cannot be read: No such file"):
        FolderStore(tmp_path / "a" / "b")
    store = FolderStore(tmp_path / "a" / "b", create=True)
    assert store.entries() == ()
    store.add(entry())
    assert FolderStore(tmp_path / "a" / "b").entries() == (entry(),)
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == [".calib.yaml.lock", "calib.yaml"]


ODD = {
    "kind": "bias", "path": "a folder/bias: #1 'r0' \"x\".fits", "camera": ("r*", "no", "012", "-"), "instrument": "null", "serial": ("0x10", "1e3"),
    "when": {"detector": ("SN-1",), "on": ("yes", "12:30")}, "valid_from": 20220101, "valid_to": "2022-02-28", "night": 20220101, "quality": "provisional",
    "made_from": (1, "01", "14-18"), "default": True, "stale_days": 2.5, "sha256": "0" * 64,
    "shapes": {"raw_shape": "116,90", "image_shape": "110,60"}, "size_unchecked": True, "comment": "Ünïcode, {braces} & *stars*\ttab",
}  # fmt: skip


def test_every_field_of_any_text_goes_round(tmp_path: Path) -> None:
    odd = CalibEntry(**ODD)
    store = FolderStore(tmp_path, create=True)
    store.add(odd)
    store.add(entry())
    assert store.entries() == (odd, entry())
    assert len(item_lines(odd, "  ")) == len(CalibEntry.model_fields)


def test_an_index_that_is_broken_is_not_touched(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, create=True)
    for text in ("calibrations: 7\n", "calibrations:\n- {kind: bias}\n", "{", "\x00", "calibrations:\n- {kind: bias, path: a, odd: 1}\n"):
        (tmp_path / "calib.yaml").write_text(text)
        with pytest.raises(BadConfig, match=r"calib\.yaml"):
            store.add(entry())
        assert (tmp_path / "calib.yaml").read_text() == text


def test_another_writer_is_waited_for(tmp_path: Path) -> None:
    tmp_path.joinpath("calib.yaml").write_text(EMPTY)
    with (tmp_path / ".calib.yaml.lock").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Transient, match="is locked by another writer"), locked(tmp_path, wait_s=0.1):
            pytest.fail("it does not hold the lock")
        threading.Timer(0.2, lambda: fcntl.flock(other, fcntl.LOCK_UN)).start()
        FolderStore(tmp_path).add(entry())
    assert FolderStore(tmp_path).entries() == (entry(),)


def _many(folder: str, who: int) -> None:
    store = FolderStore(folder)
    for i in range(10):
        store.add(entry(path=f"{who}-{i}.fits"))


def test_four_writers_lose_nothing(tmp_path: Path) -> None:
    FolderStore(tmp_path, create=True).add(entry(path="first.fits"))
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_many, args=(str(tmp_path), n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [w.exitcode for w in writers] == [0] * 4
    names = [e.path for e in FolderStore(tmp_path).entries()]
    assert len(names) == len(set(names)) == 41


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadConfig, match="cannot be read: Not a directory"):
        FolderStore(tmp_path / "file", create=True)
    (tmp_path / ".calib.yaml.lock").mkdir()
    with pytest.raises(BadConfig, match=r"lock may not be written: .*; give access"):
        FolderStore(tmp_path, create=True).add(entry())
