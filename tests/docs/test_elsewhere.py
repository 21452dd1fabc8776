"""The page for those who come from elsewhere: its commands are commands, its Python runs."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path

import pytest
from typer.main import get_command

from quicklook.cli.main import app
from quicklook.jobs import JobState, JobStore

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/coming-from-elsewhere.md"
LINES = re.findall(r"^    (quicklook .*)$", PAGE.read_text(encoding="utf-8"), flags=re.M)
OPTION = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*")


def parse(words: list[str]) -> str:
    """Parse a command line as the program does, and run nothing. Raises what the parser raises. Returns the name of the command."""
    command = get_command(app)
    context = command.make_context("quicklook", words, resilient_parsing=False)
    while hasattr(command, "resolve_command"):
        left = [*context._protected_args, *context.args]
        name, command, left = command.resolve_command(context, left)
        context = command.make_context(name, list(left), parent=context)
    return str(context.info_name)


def options_of(*names: str) -> set[str]:
    command = get_command(app)
    for name in names:
        command = command.commands[name]
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("line", LINES)
def test_each_command_of_the_page_is_understood(line: str) -> None:
    assert parse(shlex.split(line)[1:]) in ("watch", "validate", "aim", "run", "plot")


def test_a_command_that_is_none_is_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(["aim", "--no-such-option"])
    assert len(LINES) >= 9


def test_options_in_the_tables_are_there() -> None:
    """Options of the right-hand columns belong to one of the commands that the page is about."""
    known = set[str]().union(*(options_of(name) for name in ("watch", "aim", "run", "validate", "plot", "jobs")))
    rows = re.findall(r"^\| .* \| (.*) \|$", PAGE.read_text(encoding="utf-8"), flags=re.M)
    used = {option for row in rows for code in re.findall(r"`([^`]*)`", row) for option in OPTION.findall(code)}
    assert len(used) > 15
    assert used <= known, used - known


def test_the_script_of_the_page_does_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"(?:^    .*\n|^\n)+", PAGE.read_text(encoding="utf-8"), flags=re.M)
    script = textwrap.dedent(next(b for b in blocks if "from quicklook.jobs import" in b))
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "page", "exec"), {})
    exec(compile(script, "page", "exec"), {})  # the job is there, and done
    with JobStore("jobs.db") as store:
        (job,) = store.get("reduce")
    assert (job.state, job.visits, job.tags) == (JobState.DONE, 1, {"night": "20220101", "camera": "r0"})
