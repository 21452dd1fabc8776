"""Exposures arrive while the daemon and its workers are killed: one verdict each, nothing half written, no gap in the numbers."""

from __future__ import annotations

import time

import numpy as np
import pytest
from chaos_check import complaints
from chaos_run import Chaos
from chaos_site import NIGHT, ChaosSite
from endurance_page import write_section
from journal_run import measure
from journal_run import report as times_of
from soak_run import Soak, report, slope, verdict_on

from quicklook.core.events import PartVerdict, ProductWritten, draft
from quicklook.core.keys import Unit
from quicklook.core.status import Status
from quicklook.service.journal.journal import Journal, journal_path


@pytest.mark.timeout(600)
def test_chaos_small(tmp_path):
    out = Chaos(tmp_path, exposures=6, kills=2, seed=7, pause_s=0.1, limit_s=500, workers=1).run()
    assert not out.complaints
    assert sum(out.statuses.values()) == 6
    assert sum(out.kills.values()) >= 1


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_chaos(tmp_path):
    out = Chaos(tmp_path, exposures=60, kills=20, seed=1, limit_s=1200).run()
    assert not out.complaints
    assert sum(out.statuses.values()) == 60


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_the_slope_of_memory_is_found_with_its_error(memory):
    """Of 60 soaks whose noise has a memory of so much from sample to sample: the pulls have a scatter near 1, as they would not by single samples."""
    x, pulls = np.arange(600.0), []
    for seed in range(60):
        white = np.random.default_rng(seed).normal(0, 1, 600)
        noise = white.copy()
        for i in range(1, 600):
            noise[i] += memory * noise[i - 1]
        found, error = slope(x, 50 + 0.003 * x + noise)
        pulls.append((found - 0.003) / error)
    # of twelve parts ten degrees of freedom are left: Student's t has a scatter of 1.12; 60 of them tell it to 10 %, of which three are allowed, and neighbouring parts add some
    assert 0.75 < np.std(pulls) < 1.6
    assert np.isnan(slope(x[:3], x[:3])).all()


@pytest.mark.parametrize(
    ("per_1000", "error", "words"),
    [(0.1, 0.2, "is flat"), (0.3, 0.1, "grows so little"), (2.9, 0.1, "is not flat"), (0.6, 0.5, "is not flat"), (np.nan, np.nan, "not measured")],
)
def test_what_is_called_flat(per_1000, error, words):
    assert words in verdict_on(per_1000, error)


def test_a_soak_of_a_daemon_that_grows_is_told_from_one_that_does_not():
    done = list(range(1, 601))
    rising, flat = ([70 + slope_mb * n / 1000 + 0.05 * (n % 7) for n in done] for slope_mb in (3.0, 0.0))
    common = {"done": done, "seconds": [2.0 * n for n in done], "workers": flat, "handles": [44.0] * 600, "threads": [10.0] * 600, "log_mb": [4.1] * 600}
    told = [report(Soak(daemon=daemon, files=5400, **common), 600, "x") for daemon in (rising, flat)]
    assert "| daemon | 70.8 | 71.9 | +3.00" in told[0]
    assert "The daemon is not flat" in told[0]
    assert "The daemon is flat" in told[1]
    assert "file handles 44 to 44, threads 10 to 10. The write-ahead log of the journal had 4.1 MB at most; 9.0 files" in told[1]


def test_the_times_of_a_journal_are_measured(tmp_path):
    found, events, size = measure(tmp_path, exposures=20, times=1)
    assert events == (20 - 17) * (30 * 12 + 3)  # 500 jobs wait: the cameras of the last 17 exposures
    assert size > 0.3  # a thousand events of some hundred bytes, and their indices
    assert all(0 < clock < 5000 and 0 < processor < 5000 for clock, processor in found.values())
    assert "| heartbeat, every 5 s | " in times_of(20, "x", (found, events, size))


def test_a_section_of_the_page_is_written_anew(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# P\n<!-- a: begin -->\nold\n<!-- a: end -->\nrest\n")
    write_section(page, "a", "new")
    assert page.read_text() == "# P\n<!-- a: begin -->\nnew\n<!-- a: end -->\nrest\n"
    with pytest.raises(ValueError, match="no section b"):
        write_section(page, "b", "new")


def test_the_checks_find_what_is_wrong(tmp_path):
    """A chaos test whose checks see nothing would be no test."""
    site = ChaosSite(tmp_path, cameras=("r0",))
    out = tmp_path / "out"
    journal = Journal(journal_path(out), time.time_ns)
    unit, verdict = Unit(NIGHT, 1001), PartVerdict(status=Status.NORMAL, reasons=[], measured=1, expected=1, seconds=0.1)
    events = [draft(verdict, unit=unit, part="r0"), draft(verdict, unit=unit, part="r0"), draft(verdict, unit=unit, part="r0", revision=1)]
    product = ProductWritten(name="qa", path="a.json", sha256="0" * 64, size=2)
    journal.append([*events, draft(product, unit=unit, part="r0")])
    with journal.transaction() as connection:
        connection.exec_driver_sql("delete from events where seq = 2")
        connection.exec_driver_sql("update events set revision = 0 where seq = 3")
    journal.close()
    (out / "a.json").write_text("{")
    (out / "b.fits").write_bytes(b"SIMPLE  =")
    said = "\n".join(complaints(site, [1001]))
    assert "verdict of (1001, 'r0', 0) was given 2 times" in said
    assert "unit_verdict of (1001, '', 0) is missing" in said
    assert "seen of (1001, '', 0) is missing" in said
    assert "have gaps" in said
    assert "a.json cannot be read" in said
    assert "b.fits cannot be read" in said
    assert "product a.json is not what was announced" in said
    assert "qa-r0-00001001.json is missing" in said
