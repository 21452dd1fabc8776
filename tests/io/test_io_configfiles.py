"""Configuration files by name or path."""

from __future__ import annotations

from pathlib import Path

import pytest

from quicklook.core.errors import BadConfig
from quicklook.io.configfiles import config_folders, find_config, list_configs, read_config


def test_ours_are_found(repo_root: Path) -> None:
    assert repo_root / "configs" in [f.resolve() for f in config_folders()]
    assert find_config("instruments", "desi").data["name"] == "desi"
    assert {"desi", "kast_blue", "virus", "vis_bench"} <= set(list_configs("instruments"))


def test_a_site_comes_first(tmp_path: Path) -> None:
    (tmp_path / "instruments").mkdir()
    (tmp_path / "instruments" / "desi.yaml").write_text("name: other\n")
    (tmp_path / "plain.yml").write_text("name: plain\n")
    assert find_config("instruments", "desi", [tmp_path]).data["name"] == "other"
    assert find_config("instruments", "plain", [tmp_path]).data["name"] == "plain"
    assert find_config("instruments", tmp_path / "plain.yml").data["name"] == "plain"
    assert "plain" in list_configs("instruments", [tmp_path])


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"no configuration instruments/dezi.yaml; did you mean 'desi'\? \(looked in .*configs/instruments"):
        find_config("instruments", "dezi", [tmp_path])
    with pytest.raises(BadConfig, match=r"none.yaml cannot be read: No such file"):
        find_config("chains", str(tmp_path / "none.yaml"))


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"name: a\nother: caf\xe9\n")
    with pytest.raises(BadConfig, match=r"x.yaml:2: is not written in UTF-8 \(byte 0xe9\)"):
        read_config(path)
    path.write_bytes(b"#" * (5 << 20))
    with pytest.raises(BadConfig, match="larger than 4 MiB"):
        read_config(path)
    path.write_bytes(b"\xef\xbb\xbfname: with a mark\n")
    assert read_config(path).data == {"name": "with a mark"}
    with pytest.raises(BadConfig, match="cannot be read"):
        read_config(tmp_path)
