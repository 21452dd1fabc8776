"""`quicklook show`: into a real DS9 under a real X server, where they are installed; and what it says where they are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ds9viewer import ask_ds9, needs_ds9, own_ds9
from typer.testing import CliRunner

from quicklook.cli.main import app
from quicklook.core.errors import BadConfig, BadData, Transient
from quicklook.sim import WriteOptions, plan_exposure, sim_instruments, write_calibrations, write_exposure


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show")
    cameras = sim_instruments(("b0", "r0"), scale="tiny", seed=3)
    write_calibrations(folder, cameras)
    for expid in (102, 104):
        write_exposure(folder, plan_exposure("science", expid), cameras, WriteOptions(truth=False))
    path = folder / "site.yaml"
    path.write_text("instrument: desi\nraw: raw\ncalib: calib\nout: out\n")
    return path


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A DS9 of our own."""
    with own_ds9(tmp_path_factory.mktemp("xpa")) as name:
        yield name


@needs_ds9
def test_a_range_of_frames_is_shown(site: Path, viewer: str) -> None:
    shown = CliRunner().invoke(app, ["show", "20220101/102", "104", "--camera", "r0", "--ds9", viewer, "--site", str(site)], catch_exceptions=False)
    assert shown.exit_code == 0
    lines = shown.output.split("\n")
    assert [line.partition(":")[0] for line in lines if line] == ["r0-00000102", "r0-00000104"]
    nx, ny = lines[0].partition(": ")[2].split(" x ")
    assert ask_ds9(viewer, "fits", "size") == f"{nx} {ny}"
    assert ask_ds9(viewer, "fits", "header", "keyword", "OBJECT") == "r0-00000104"
    assert ask_ds9(viewer, "frame", "all").split()[-2:] == [str(int(ask_ds9(viewer, "frame")) - 1), ask_ds9(viewer, "frame")]
    assert float(ask_ds9(viewer, "data", "image", "20", "20", "1", "1", "yes").split()[-1]) > 500, "the bias of the raw frame"


@needs_ds9
def test_no_such_viewer_and_no_such_frame(site: Path, viewer: str) -> None:
    run = CliRunner()
    with pytest.raises(Transient, match="no DS9 called 'nobody' answers"):
        run.invoke(app, ["show", "102", "--ds9", "nobody", "--site", str(site)], catch_exceptions=False)
    with pytest.raises(BadData, match="no raw frame of 777"):
        run.invoke(app, ["show", "777", "--ds9", viewer, "--site", str(site)], catch_exceptions=False)
    with pytest.raises(BadData, match="no frame of 102 is stored"):
        run.invoke(app, ["show", "102", "--product", "frame", "--ds9", viewer, "--site", str(site)], catch_exceptions=False)
    for words in (["x"], ["104", "102"], ["20220101/102", "20220102/104"]):
        with pytest.raises(BadConfig):
            run.invoke(app, ["show", *words, "--ds9", viewer, "--site", str(site)], catch_exceptions=False)


def test_without_xpaset_it_says_what_to_install(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BadConfig, match="no command xpaset") as error:
        CliRunner().invoke(app, ["show", "102", "--site", str(site)], catch_exceptions=False)
    assert "apt-get install xpa-tools" in error.value.what_next
    with pytest.raises(BadConfig, match="there is no image 'flat'"):
        CliRunner().invoke(app, ["show", "102", "--product", "flat", "--site", str(site)], catch_exceptions=False)
