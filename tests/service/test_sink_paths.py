"""Paths among the parameters of sinks are relative to the site file, as all others in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from quicklook.service.publishing.sinks import make_sink
from quicklook.service.site import load_site

FIGURES = "plots: mine\nfigures:\n  - {name: noise, panels: [{kind: 2d, x: amp, y: read_noise}]}\n"


@pytest.fixture
def site_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site in a folder that is not the working folder."""
    home, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (home / "mine.yaml").write_text(FIGURES)
    path = home / "site.yaml"
    path.write_text("instrument: desi\nsinks:\n  render: {figures: [default, mine.yaml], folder: pictures}\n  zmq: {keys: secret}\n  files: {}\n")
    return path


def test_they_are_found_wherever_the_command_is_run(site_file: Path) -> None:
    sinks = load_site(site_file).file.sinks
    assert sinks["render"] == {"figures": ["default", str(site_file.parent / "mine.yaml")], "folder": str(site_file.parent / "pictures")}
    assert sinks["zmq"] == {"keys": str(site_file.parent / "secret")}
    assert sinks["files"] == {}
    make_sink("render", sinks["render"])


def test_absolute_ones_stay_and_none_stays_none(site_file: Path, tmp_path: Path) -> None:
    site_file.write_text(f"instrument: desi\nsinks:\n  render: {{figures: [{tmp_path}/a.yaml]}}\n  zmq: {{keys: ''}}\n")
    sinks = load_site(site_file).file.sinks
    assert sinks == {"render": {"figures": [f"{tmp_path}/a.yaml"]}, "zmq": {"keys": ""}}
