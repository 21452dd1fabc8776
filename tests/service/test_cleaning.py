"""What `clean` takes for ours, and what it never takes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from quicklook.core.errors import BadConfig
from quicklook.service.rerun.cleaning import INTERMEDIATE, removable, remove

NIGHT = 20220101


def exposure(out: Path, tag: str = "live", expid: int = 7, *, says: int | None = None, said_tag: str = "") -> Path:
    """The folder of an exposure with a verdict of ours (which may say another number, or tag) and products."""
    folder = out / tag / "exposures" / str(NIGHT) / f"{expid:08d}"
    folder.mkdir(parents=True)
    head = {"schema_version": 1, "night": NIGHT, "expid": expid if says is None else says, "tag": said_tag or tag}
    (folder / "verdict.json").write_text(json.dumps(head, indent=1))
    for name in ("preproc-r0", "preproc-r0-b", "frame-r0", "cframe-r0", "sky-r0", "bias-r0"):
        (folder / f"{name}-{expid:08d}.fits").write_bytes(b"x" * 10)
    (folder / f"preproc-r0-{expid:08d}.rev3.fits").write_bytes(b"x" * 10)
    return folder


def names(out: Path, *kinds: str, **more: object) -> list[str]:
    return [f"{r.tag}/{r.path.name}" for r in removable(out, kinds, **more)]  # type: ignore[arg-type]


def test_files_of_these_kinds_by_their_names_alone(tmp_path: Path) -> None:
    folder = exposure(tmp_path)
    for other in ("preproc-r0-00000008.fits", "preproc-00000007.fits", "my-preproc-r0-00000007.fits", "preproc-r0-00000007.fits.gz"):
        (folder / other).write_bytes(b"x")
    (folder / "preproc-z0-00000007.fits").mkdir()
    (folder / "preproc-b0-00000007.fits").symlink_to(folder / "verdict.json")
    mine = ["preproc-r0-00000007.fits", "preproc-r0-00000007.rev3.fits", "preproc-r0-b-00000007.fits"]
    assert names(tmp_path, "preproc") == [f"live/{n}" for n in mine]
    assert names(tmp_path, "frame", "sky", "sky") == ["live/frame-r0-00000007.fits", "live/sky-r0-00000007.fits"]
    assert not {"cframe", "bias", "fluxcal"} & set(INTERMEDIATE)


def test_folders_without_a_result_of_ours_are_left_alone(tmp_path: Path) -> None:
    exposure(tmp_path, expid=7, says=8)
    exposure(tmp_path, "other", said_tag="live")
    bare = exposure(tmp_path, "bare")
    (bare / "verdict.json").unlink()
    with pytest.raises(BadConfig, match="no output folder of quicklook"):
        removable(tmp_path, ["preproc"])
    exposure(tmp_path, "mine")
    (tmp_path / "linked").symlink_to(tmp_path / "mine")
    assert {n.split("/")[0] for n in names(tmp_path, "preproc")} == {"mine"}


def test_tags_and_ages_select(tmp_path: Path) -> None:
    exposure(tmp_path, "one")
    folder = exposure(tmp_path, "two")
    old = time.time() - 10 * 86400
    os.utime(folder / "preproc-r0-00000007.fits", (old, old))
    assert len(names(tmp_path, "preproc")) == 6
    assert {n.split("/")[0] for n in names(tmp_path, "preproc", tags=["one"])} == {"one"}
    assert names(tmp_path, "preproc", older_than_days=9) == ["two/preproc-r0-00000007.fits"]
    assert names(tmp_path, "preproc", older_than_days=11) == []


def test_what_is_gone_already_costs_nothing(tmp_path: Path) -> None:
    exposure(tmp_path)
    found = removable(tmp_path, ["preproc"])
    found[0].path.unlink()
    assert remove(found) == (20, [])
    assert removable(tmp_path, ["preproc"]) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may remove anything")
def test_what_may_not_be_removed_is_told(tmp_path: Path) -> None:
    folder = exposure(tmp_path)
    found = removable(tmp_path, ["preproc"])
    folder.chmod(0o500)
    try:
        assert len(remove(found)[1]) == 3
    finally:
        folder.chmod(0o700)
