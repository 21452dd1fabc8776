"""`quicklook drill`, with real servers: a bad frame is told by every channel, and its end; a channel that is dead is told as such."""

from __future__ import annotations

from pathlib import Path

import pytest
from servers import HookServer, MailServer
from typer.testing import CliRunner

from quicklook.cli.main import app
from quicklook.core.errors import BadConfig
from quicklook.service.proofs.drill import drill


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_drill_goes_up_to_the_message(tmp_path: Path) -> None:
    with MailServer() as mail, HookServer() as hook:
        channels = {
            "mail": {"url": mail.url},
            "hook": {"url": hook.url, "form": "webhook"},
            "dead": {"url": "http://127.0.0.1:9/x", "form": "webhook"},
        }
        done = drill({"channels": channels, "routes": {"ALARM": ["mail", "hook", "dead"]}}, tmp_path)
    assert done.status == "ALARM"
    assert "dead_amp" in done.alarm
    assert 0 < done.stages["seen"] < done.stages["verdict"] < done.stages["unit_verdict"]
    by_name = {s.channel: s for s in done.sent}
    for name in ("mail", "hook"):
        assert done.stages["alarm"] < (by_name[name].alarm_s or 0)
        assert by_name[name].end_s is not None
    assert by_name["dead"].alarm_s is None
    assert "refused" in by_name["dead"].error
    assert not done.passed
    assert all(str(m["Subject"]).startswith("DRILL [") for m in mail.got)
    assert all(b["commonAnnotations"]["subject"].startswith("DRILL [") for b in hook.got)


def test_a_site_without_alarms_has_no_drill(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("instrument: desi\nraw: raw\nout: out\n")
    with pytest.raises(BadConfig, match="no sink `alarms`"):
        CliRunner().invoke(app, ["drill", "--site", str(site)], catch_exceptions=False)
    site.write_text("instrument: desi\nraw: raw\nout: out\nsinks: {alarms: {}}\n")
    with pytest.raises(BadConfig, match="no channels of alarms"):
        CliRunner().invoke(app, ["drill", "--site", str(site)], catch_exceptions=False)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(BadConfig, match="is not empty"):
        CliRunner().invoke(app, ["drill", "--site", str(site), "--folder", str(tmp_path / "full")], catch_exceptions=False)
