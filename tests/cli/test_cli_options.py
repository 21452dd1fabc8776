"""Options that several commands have: cameras are named in the same way everywhere, and none is lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from quicklook.cli.main import app
from quicklook.cli.options import one_of, words_of
from quicklook.core.errors import BadConfig

RUNNER = CliRunner(env={"COLUMNS": "300"})


@pytest.mark.parametrize("given", [["--camera", "r0", "--camera", "z1"], ["--camera", "r0,z1"], ["--camera", "r0, z1,", "--camera", "r0"]])
def test_cameras_may_be_repeated_or_listed(tmp_path: Path, given: list[str]) -> None:
    done = RUNNER.invoke(app, ["simulate", str(tmp_path), "--flavor", "zero", "--scale", "tiny", "--no-calibrations", *given])
    assert done.exit_code == 0, done.output
    file = next((tmp_path / "raw").rglob("desi-*.fits*"))
    listed = RUNNER.invoke(app, ["run", "raw", str(file), "--instrument", "desi", "--out", str(tmp_path / "out"), "--quiet", *given])
    assert {m for m in re.findall(r"\b[brz]\d\b", listed.output)} == {"r0", "z1"}, listed.output


def options_of(command: object, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], object]]:
    subcommands = getattr(command, "commands", {})
    own = [(words, p) for p in getattr(command, "params", []) if "--camera" in getattr(p, "opts", [])]
    return own + [found for name, sub in subcommands.items() for found in options_of(sub, (*words, name))]


def test_no_command_takes_the_last_of_several_cameras_in_silence() -> None:
    found = options_of(typer.main.get_command(app))
    assert {words for words, _ in found} >= {("simulate",), ("run",), ("show",), ("jobs",), ("calib", "build"), ("bench",), ("aim",)}
    assert [words for words, option in found if not option.multiple] == []  # type: ignore[attr-defined]


def test_where_one_is_meant_several_are_refused() -> None:
    assert (one_of(None, "--camera", "r0"), one_of(["b1"], "--camera"), words_of([" a ,b", "a"])) == ("r0", "b1", ["a", "b"])
    with pytest.raises(BadConfig, match="--camera r0,b0: one, please"):
        one_of(["r0", "b0"], "--camera")
    done = RUNNER.invoke(app, ["limits", "show", "--camera", "r0", "--camera", "b0"])
    assert isinstance(done.exception, BadConfig)
