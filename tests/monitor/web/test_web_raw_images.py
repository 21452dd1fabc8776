"""The image of a camera out of the raw file of its exposure, as most sites have it: they store no preprocessed images."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from web_host import Writer, serving, web_site

from quicklook.core.keys import Unit
from quicklook.service.site import load_site
from quicklook.sim import plan_night, sim_instruments, write_exposure

CAMERAS = ("r0", "z0")
NIGHT = 20220101


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the raw file of exposure 100."""
    folder = tmp_path_factory.mktemp("taken")
    planned = plan_night(NIGHT, 1, cameras=CAMERAS, seed=7)[0]
    write_exposure(folder, planned, sim_instruments(CAMERAS, scale="small", seed=7))
    return folder / "raw"


def _writer(folder: Path, raw: Path) -> Writer:
    (folder / "out").mkdir()
    return Writer(web_site(folder, CAMERAS, instrument="desi", raw=str(raw)))


def _expose(writer: Writer, path: Path) -> Unit:
    """As a daemon that has found the file there."""
    from quicklook.service.journal.journal import JOBS, UNITS

    unit = writer.expose(100)
    with writer.journal.transaction() as connection:
        connection.execute(UNITS.update().values(path=str(path)))
        connection.execute(JOBS.update().values(path=str(path)))
    return unit


def test_a_camera_is_shown_out_of_the_raw_file_of_its_exposure(tmp_path: Path, taken: Path) -> None:
    (path,) = taken.rglob("desi-*.fits*")
    writer = _writer(tmp_path, taken)
    _expose(writer, path)
    with serving(writer.site) as served:
        for camera in CAMERAS:
            said = served.get(f"/exposures/{NIGHT}/100/images/{camera}")
            assert said.status == 200, said.json
            assert (said.json["source"], said.json["sources"], said.json["unit"]) == ("raw", ["raw"], "adu")
            assert [a["name"] for a in said.json["amplifiers"]] == list("ABCD")
        tile = served.get(f"/exposures/{NIGHT}/100/images/r0/tiles/0/0/0")
        assert tile.body[:4] == b"\x89PNG"
        assert served.get(f"/exposures/{NIGHT}/100/images/b5").status == 404


def test_a_raw_file_that_was_moved_is_found_in_the_raw_folder(tmp_path: Path, taken: Path) -> None:
    moved = tmp_path / "archive"
    shutil.copytree(taken, moved)
    writer = _writer(tmp_path, moved)
    _expose(writer, tmp_path / "disk-of-the-night" / "desi-00000100.fits.fz")
    with serving(writer.site) as served:
        assert served.get(f"/exposures/{NIGHT}/100/images/r0").json["source"] == "raw"
        shutil.rmtree(moved)
        moved.mkdir()
        said = served.get(f"/exposures/{NIGHT}/100/images/r0")
        assert said.status == 404
        assert "no preproc or raw image" in said.json["message"]


def test_cameras_that_nobody_has_announced_are_grouped_as_they_come(tmp_path: Path, taken: Path) -> None:
    (tmp_path / "out").mkdir()
    writer = Writer(web_site(tmp_path, CAMERAS, instrument="desi", raw=str(taken)))
    _expose(writer, taken / "x")
    plain = load_site(None, options={"instrument": "desi", "raw": str(taken), "out": str(tmp_path / "out")})
    with serving(plain) as served:
        said = served.get("/about").json
        assert said["cameras"] == []
        assert said["groups"] == {c: {"arm": c[0], "spectrograph": c[1]} for c in CAMERAS}
