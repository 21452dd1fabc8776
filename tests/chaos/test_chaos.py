"""Exposures arrive while the daemon and its workers are killed: one verdict each, nothing half written, no gap in the numbers."""

from __future__ import annotations

import time

import numpy as np
import pytest
from chaos_check import complaints
from chaos_run import Chaos
from chaos_site import NIGHT, ChaosSite
from endurance_page import write_section
from soak_run import slope

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


def test_the_slope_of_memory_is_found_with_its_error():
    x = np.arange(200.0)
    noise = np.random.default_rng(3).normal(0, 1, 200)
    rising = slope(x, 50 + 0.03 * x + noise)
    assert abs(rising[0] - 0.03) < 4 * rising[1]
    assert rising[1] == pytest.approx(1 / np.sqrt(((x - x.mean()) ** 2).sum()), rel=0.2)  # scatter 1 over the spread of x; 20 %: 200 samples
    assert np.isnan(slope(x[:3], x[:3])).all()


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
    assert "have gaps" in said
    assert "a.json cannot be read" in said
    assert "b.fits cannot be read" in said
    assert "product a.json is not what was announced" in said
    assert "qa-r0-00001001.json is missing" in said
