"""`quicklook plot`: figures of stored results."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quicklook.cli.main import app
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.judge import Judge
from quicklook.core.limits import LimitSet
from quicklook.core.metrics import Measures, measured
from quicklook.core.results import PartResult, Provenance, QAResult
from quicklook.core.status import Status
from quicklook.io.atomic import write_json
from quicklook.service.site import declared_metrics


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output folder with one result."""
    metrics = Judge(LimitSet()).measures((declared_metrics()["read_noise"],), Measures((measured("read_noise", [2.0, 3.0], amp="AB"),)), {})
    qa = QAResult(name="read_noise", step="read", group="CCDs", status=None, seconds=0.0, metrics=metrics)
    provenance = Provenance(versions={}, chain="c", config_sha256="", limits_sha256="")
    about = {"night": 20220101, "expid": 7, "part": "r0", "tag": "live", "revision": 0, "tags": {"flavor": "science"}, "provenance": provenance}
    result = PartResult(**about, status=Status.NORMAL, reasons=[], measured=1, expected=1, steps=[], qas=[qa])
    folder = tmp_path / "live/exposures/20220101/00000007"
    folder.mkdir(parents=True)
    write_json(folder / "qa-r0-00000007.json", result.model_dump(mode="json"))
    return tmp_path


def plot(*words: str) -> tuple[str, BaseException | None]:
    done = CliRunner().invoke(app, ["plot", *words])
    return done.output, done.exception


def test_figures_that_apply_are_drawn_and_named(out: Path) -> None:
    said, error = plot("20220101/7", "r0", "--out", str(out))
    assert error is None
    (path,) = said.split()
    assert path.endswith("plots/figure-amplifiers-r0-00000007.png")
    assert Path(path).read_bytes().startswith(b"\x89PNG")


def test_a_file_and_a_figure_of_ones_own(out: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("plots: m\nfigures:\n  - {name: a, when: {flavor: arc}, panels: [{kind: 2d, x: amp, y: read_noise}]}\n")
    said, error = plot("20220101/7", "--out", str(out), "--config", str(config), "--figure", "a", "--to", str(tmp_path / "mine"))
    assert error is None
    assert said.split() == [str(tmp_path / "mine/figure-a-r0-00000007.png")]
    _, error = plot("20220101/7", "--out", str(out), "--config", str(config))
    assert isinstance(error, BadData)
    assert "no figure applies" in str(error)


def test_what_is_not_there_is_said(out: Path) -> None:
    assert isinstance(plot("20220101/8", "--out", str(out))[1], BadData)
    assert isinstance(plot("20220101/7", "b0", "--out", str(out))[1], BadData)
    assert isinstance(plot("tonight", "--out", str(out))[1], BadConfig)
    assert "did you mean 'amplifiers'" in str(plot("20220101/7", "--out", str(out), "--figure", "amplifier")[1])


def test_a_tag_without_results_names_those_that_have_some(out: Path) -> None:
    _, error = plot("20220101/7", "--out", str(out), "--tag", "other")
    assert isinstance(error, BadData)
    assert (str(error), error.what_next) == ("there are no results under tag 'other'", "The one tag that has results there is 'live': give --tag live.")
    shutil.copytree(out / "live", out / "run")
    _, error = plot("20220101/7", "--out", str(out), "--tag", "other")
    assert isinstance(error, BadData)
    assert error.what_next == "These tags have results there: live, run. Give one with --tag."


def test_a_wrong_file_of_figures_is_named_and_no_sink(out: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("plots: m\nfigures:\n  - {name: a, panels: [{kind: 2d, x: amp, y: read_noize}]}\n")
    _, error = plot("20220101/7", "--out", str(out), "--config", str(config))
    assert isinstance(error, BadConfig)
    assert str(error).startswith(f"{config}:3")
    assert "sink" not in str(error)
    _, error = plot("20220101/7", "--out", str(out), "--figure", "none")
    assert isinstance(error, BadConfig)
    assert str(error).startswith("--figure none: there is no such figure")


def test_a_folder_that_cannot_be_made_is_said_in_words(out: Path, tmp_path: Path) -> None:
    (tmp_path / "blk").touch()
    _, error = plot("20220101/7", "--out", str(out), "--to", str(tmp_path / "blk/x"))
    assert isinstance(error, BadConfig)
    assert "may not be written" in str(error)
