"""Lines of the log of a run, for reports and bundles: also of what was moved away when it became long."""

from __future__ import annotations

from pathlib import Path

from quicklook.service.reporting.place import ReportPlace, RunUsed

NS = 10**9


def test_lines_that_were_moved_away_are_found(tmp_path: Path) -> None:
    said = {"log.txt.2": "2022-01-01 20:00:00.000Z WARNING q: of 101", "log.txt.1": "2022-01-01 21:00:00.000Z INFO q: of 102", "log.txt": ""}
    for name, line in said.items():
        (tmp_path / name).write_text(f"{line}\n  and more of {name}\n")
    place, run = ReportPlace(tmp_path), RunUsed(path=tmp_path, site=tmp_path / "site.yaml", settings={}, text="")
    assert place.log_lines(run, ["of 101"]) == ([said["log.txt.2"], "  and more of log.txt.2"], 0)
    assert place.log_lines(run, ["of 103"]) == ([], 0)
    night = (1_641_067_200 * NS, 1_641_074_400 * NS)  # 20:00 to 22:00
    lines, _ = place.log_lines(run, [" WARNING ", " INFO "], night)
    assert [line for line in lines if "Z" in line] == [said["log.txt.2"], said["log.txt.1"]], "in their order"
