"""Configuration that cannot be used: exit status 2, file and line, what to do; never a traceback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from corpus import GOOD_TEXTS, HARMLESS, OVERRIDES, HostileText, hostile_config, hostile_yaml
from hostile_answers import Answer, answer

KINDS = sorted(GOOD_TEXTS)


def validate(kind: str, content: bytes, folder: Path) -> Answer:
    """What `quicklook validate` says of a file of that kind."""
    file = folder / f"{kind}.yaml"
    file.write_bytes(content)
    site = folder / "my-site.yaml"
    site.write_text("instrument: desi\nlimits: [default, ./limits.yaml]\n")
    arguments = {
        "chain": ["validate", "./chain.yaml", "--instrument", "desi"],
        "site": ["validate", "--site", "site.yaml"],
        "instrument": ["validate", "raw", "--instrument", "./instrument.yaml"],
        "limits": ["validate", "--site", "my-site.yaml"],
    }
    return answer(*arguments[kind], folder=folder)


def check(shown: Answer, kind: str, text: HostileText) -> None:
    assert shown.code == 2, shown.output
    assert "Traceback" not in shown.output
    assert "pydantic" not in shown.output
    assert re.search(r"\n  (E|Mend what was typed, or e)dit the configuration\.", shown.output)
    if text.line:
        assert f"{kind}.yaml:{text.line}:" in shown.output or f"{kind}.yaml:{text.line} (" in shown.output, shown.output


@pytest.mark.parametrize("kind", KINDS)
def test_the_good_text_is_good(kind: str, tmp_path: Path) -> None:
    shown = validate(kind, GOOD_TEXTS[kind], tmp_path)
    assert (shown.code, shown.output.splitlines()[-1]) == (0, "good"), shown.output


@pytest.mark.parametrize("text", hostile_yaml(), ids=lambda t: t.name)
@pytest.mark.parametrize("kind", KINDS)
def test_text_that_is_no_configuration(kind: str, text: HostileText, tmp_path: Path) -> None:
    import re

    shown = validate(kind, text.content, tmp_path)
    if (kind, text.name) == ("site", "unknown key"):
        assert shown.code == 2  # a site without an instrument is asked for that first
        return
    check(shown, kind, text)
    assert re.search(text.says, shown.output), shown.output
    assert f"{kind}.yaml" in shown.output
    assert not Path("/tmp/owned").exists()


@pytest.mark.parametrize(("kind", "text"), [pytest.param(k, t, id=f"{k}: {t.name}") for k in KINDS for t in hostile_config(k)])
def test_a_mistake_is_told_with_its_line(kind: str, text: HostileText, tmp_path: Path) -> None:
    import re

    shown = validate(kind, text.content, tmp_path)
    check(shown, kind, text)
    assert re.search(text.says, shown.output), shown.output


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda o: ascii(o)[:50])
def test_an_override_that_cannot_be_used(override: str) -> None:
    shown = answer("validate", "raw", "--instrument", "desi", "-c", override)
    assert "Traceback" not in shown.output
    if override in HARMLESS:
        assert shown.code == 0
        return
    assert shown.code == 2, shown.output
    assert shown.output.startswith(f"quicklook: configuration: -c {override.partition(chr(0))[0]}"), shown.output


@pytest.mark.parametrize("badamps", ["???", "b7D,", "r0Z", "r0A r0Z", '"', "{", "b7D: x", "x" * 2000])
def test_amplifiers_that_are_none(badamps: str) -> None:
    shown = answer("validate", "raw", "--instrument", "desi", "--badamps", badamps)
    assert shown.code in (0, 2), shown.output  # which amplifiers a camera has is known when one is read
    assert "Traceback" not in shown.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "raw"],
        ["run", "raw", "--instrument", "desi"],
        ["run", "rawr", "x.fits", "--instrument", "desi"],
        ["run", "raw", "x.fits"],
        ["run", "raw", "x.fits", "--instrument", "dessi"],
        ["run", "raw", "x.fits", "--site", "nowhere.yaml"],
        ["run", "raw", "--instrument", "desi", "--night", "20220101", "--expid", "5"],
        ["run", "raw", "--instrument", "desi", "--night", "20220101", "--expid", "5", "--raw", "nowhere"],
        ["run", "raw", "--instrument", "desi", "--night", "-1", "--expid", "9" * 30, "--raw", "."],
        ["run", "raw", "--instrument", "desi", "--night", "tonight"],
        ["run", "../../../etc/passwd", "x.fits", "--instrument", "desi"],
        ["run", "/etc/passwd.yaml", "x.fits", "--instrument", "desi"],
        ["run", ".", "x.fits", "--instrument", "desi"],
        ["run", "", "x.fits", "--instrument", "desi"],
        ["run", "raw", "x.fits", "--instrument", ""],
        ["run", "raw", "x.fits", "--instrument", "desi", "--tag", "../up"],
        ["run", "raw", "x.fits", "--instrument", "desi", "--write", "nonsense"],
        ["run", "raw", "x.fits", "--instrument", "desi", "--camera", ","],
        ["watch", "--instrument", "desi"],
        ["validate", "--instrument", "desi", "--calib", "nowhere"],
        ["list", "nonsense"],
        ["nonsense"],
        ["--nonsense"],
    ],
    ids=" ".join,
)
def test_a_command_line_that_cannot_be_run(arguments: list[str], tmp_path: Path) -> None:
    shown = answer(*arguments, folder=tmp_path)
    assert shown.code == 2, shown.output
    assert "Traceback" not in shown.output
    assert shown.output.strip()


@pytest.mark.parametrize("text", hostile_yaml(), ids=lambda t: t.name)
def test_an_index_of_calibrations_that_is_none(text: HostileText, tmp_path: Path) -> None:
    from corpus import GOOD_FILE

    (tmp_path / "calib").mkdir()
    (tmp_path / "calib" / "calib.yaml").write_bytes(text.content)
    shown = answer(
        "run", "raw", GOOD_FILE.write(tmp_path), "--instrument", "desi", "--calib", tmp_path / "calib", "--out", "out", "--no-plots", folder=tmp_path
    )
    assert shown.code in (2, 3), shown.output
    assert "Traceback" not in shown.output
    assert "calib.yaml" in shown.output
