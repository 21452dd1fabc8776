"""Results of a further processing take the plain names; what was there keeps its number."""

from __future__ import annotations

from pathlib import Path

from quicklook.io.revisions import next_revision, of_revision, revision_in, set_aside


def qa(folder: Path, camera: str, revision: int) -> Path:
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    path = folder / f"qa-{camera}-00000007.json"
    path.write_text(f'{{\n "night": 20220101,\n "revision": {revision}\n}}')
    (folder / "plots" / f"rows-{camera}-00000007.png").write_bytes(b"%d" % revision)
    (folder / f"preproc-{camera}-00000007.fits").write_bytes(b"%d" % revision)
    return path


def test_numbers_go_on(tmp_path):
    assert next_revision(tmp_path / "absent") == 0
    path = qa(tmp_path, "r0", 0)
    assert (revision_in(path), next_revision(tmp_path)) == (0, 1)
    (tmp_path / "verdict.rev4.json").write_text("{}")
    assert next_revision(tmp_path) == 5
    (tmp_path / "qa-b0-00000007.json").write_text("not ours")
    assert next_revision(tmp_path) == 5


def test_an_earlier_result_keeps_its_number_and_no_other_camera_is_touched(tmp_path):
    other = qa(tmp_path, "b0", 0)
    path = qa(tmp_path, "r0", 0)
    assert set_aside(path, 0), "the same again is replaced"
    assert path.exists()
    assert set_aside(path, 1)
    kept = {p.name for p in tmp_path.rglob("*r0*")}
    assert kept == {"qa-r0-00000007.rev0.json", "rows-r0-00000007.rev0.png", "preproc-r0-00000007.rev0.fits"}
    assert other.exists()
    qa(tmp_path, "r0", 1)
    assert set_aside(path, 2)
    assert of_revision(path, 0).exists()
    assert of_revision(path, 1).exists()


def test_what_comes_late_does_not_take_the_place_of_the_latest(tmp_path):
    path = qa(tmp_path, "r0", 3)
    assert not set_aside(path, 2)
    assert revision_in(path) == 3
