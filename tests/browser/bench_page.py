"""How fast the live page is, and what it costs, measured with a real browser. By hand: python tests/browser/bench_page.py [--write].

With --write the numbers go into docs/reference/live-page.md. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve()
# the root first: below tests are folders named as our packages
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parent), str(HERE.parents[1]), str(HERE.parents[1] / "monitor" / "web")]

from chromium import ARGUMENTS, CHROMIUM  # noqa: E402
from web_host import BENCH, NIGHT, Writer, web_site  # noqa: E402
from web_night import free_port, until  # noqa: E402

from quicklook.core.events import PartVerdict  # noqa: E402
from quicklook.core.keys import Unit  # noqa: E402
from quicklook.core.status import Status  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
CAMERAS = tuple(f"{arm}{n}" for n in range(10) for arm in "brz")
PAGES, EVENTS_S, SECONDS = 20, 10.0, 30.0
ROOT = HERE.parents[2]


def cpu_s(pid: int) -> float:
    """Seconds of a processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def children(pid: int) -> dict[int, str]:
    """Processes that a process has started, with their command lines."""
    out = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                out[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return out


@contextmanager
def daemon(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon on a bench, whose work is done in itself: it has nothing to do but to live, and to serve its page."""
    site = {
        "instrument": "./bench.yaml", "cameras": list(CAMERAS), "raw": "raw", "out": "out", "web": {"port": port}, "work": {"executor": "inline"},
        "sinks": {"files": {}},
    }  # fmt: skip
    (folder / "site.yaml").write_text(yaml.safe_dump(site))
    command = [sys.executable, "-m", "quicklook", "watch", "--site", str(folder / "site.yaml")]
    with (folder / "daemon.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "QUICKLOOK_WEB": "on"})
    try:
        until(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/state", timeout=2).status == 200, 120, "the page of the daemon")
        yield process
    finally:
        process.terminate()
        process.wait(20)


def verdict_to_pixels(browser: Any, url: str, writer: Writer, first: int, count: int = 15) -> list[float]:
    """Seconds from the time of the verdict's event until the page shows it, painted."""
    page = browser.new_page()
    page.goto(url)
    page.wait_for_selector("html[data-link=live]")
    page.wait_for_timeout(1500)
    seconds = []
    for n in range(count):
        expid = first + n
        waiting = """(expid) => new Promise((done) => {
            const look = () => { const a = document.querySelector('#latest a'), s = document.querySelector('#latest .title .st');
              if (a && a.textContent === expid && s && s.textContent.includes('NORMAL')) requestAnimationFrame(() => setTimeout(() => done(Date.now()), 0));
              else requestAnimationFrame(look); };
            look(); })"""
        handle = page.evaluate_handle(f"(expid) => {{ window.painted = ({waiting})(expid); }}", str(expid))
        handle.dispose()
        writer.expose(expid)
        verdict = writer.journal.events(writer.journal.last_seq() - 20, limit=50, kinds=["unit_verdict"])[-1]
        painted = page.evaluate("window.painted")
        seconds.append(painted / 1e3 - verdict.time / 1e9)
        page.wait_for_timeout(400)
    page.close()
    return seconds


def cost(browser: Any, url: str, writer: Writer, process: subprocess.Popen[bytes], pages: int) -> dict[str, float]:
    """Part of a core that daemon and page process take while events come and so many pages are open."""
    web = next(pid for pid, line in children(process.pid).items() if "multiprocessing" in line and "resource_tracker" not in line)
    opened = []
    for n in range(pages):
        page = browser.new_page()
        page.goto(url + ("/", "/night", "/system", "/alarms")[n % 4])
        opened.append(page)
    if opened:
        opened[-1].wait_for_selector("html[data-link=live]")
    time.sleep(5.0)
    before, began, sent = (cpu_s(process.pid), cpu_s(web)), time.monotonic(), 0
    unit = Unit(NIGHT, 101)
    while (now := time.monotonic() - began) < SECONDS:
        said = PartVerdict(status=Status.NORMAL, reasons=["NORMAL"], measured=31, expected=31, seconds=0.5, times={"read": 1})
        writer.say(said, unit, "b0", revision=0)
        sent += 1
        time.sleep(max(0.0, sent / EVENTS_S - now))
    took = time.monotonic() - began
    used = {"daemon": (cpu_s(process.pid) - before[0]) / took, "page": (cpu_s(web) - before[1]) / took, "events_s": sent / took}
    for page in opened:
        page.close()
    return used


def night_opens(browser: Any, url: str, rows: int, count: int = 5) -> list[float]:
    """Seconds from the beginning of the navigation until all rows of the table of the night are painted."""
    seconds = []
    for _ in range(count):
        page = browser.new_page()
        page.goto(f"{url}/night", wait_until="commit")
        took = page.evaluate(
            """(rows) => new Promise((done) => { const look = () => document.querySelectorAll('#rows tr').length >= rows
                 ? requestAnimationFrame(() => setTimeout(() => done(performance.now()), 0)) : requestAnimationFrame(look); look(); })""",
            rows,
        )
        seconds.append(took / 1e3)
        page.close()
    return seconds


def said(name: str, seconds: list[float]) -> str:
    """A line of the table."""
    return f"| {name} | {statistics.median(seconds):.2f} s | {max(seconds):.2f} s | {len(seconds)} |"


def measure(tell: Callable[[str], None]) -> str:
    """All of it, as the page of the reference."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder, port = Path(name), free_port()
        (folder / "out").mkdir()
        (folder / "bench.yaml").write_text(BENCH)
        site = web_site(folder, CAMERAS, work={"executor": "inline"})
        writer = Writer(site)
        began = time.monotonic()
        for n in range(300):
            writer.expose(101 + n, Status.ALARM if n % 37 == 0 else Status.NORMAL)
        tell(f"a night of 300 exposures with 30 cameras written in {time.monotonic() - began:.0f} s")
        url = f"http://127.0.0.1:{port}"
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        with daemon(folder, port) as process:
            opens = night_opens(browser, url, 300)
            tell(f"night opens: {opens}")
            pixels = verdict_to_pixels(browser, url, writer, 500)
            tell(f"verdict to pixels: {pixels}")
            alone = cost(browser, url, writer, process, 0)
            tell(f"no page: {alone}")
            many = cost(browser, url, writer, process, PAGES)
            tell(f"{PAGES} pages: {many}")
        browser.close()
    load = os.getloadavg()[0]
    return f"""# The live page, measured

Made by `python tests/browser/bench_page.py --write`, {datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} cores ({platform.machine()}), with Debian's chromium on the
same cores; the load of the machine was {load:.1f} at the end. The journal has a night of 300 exposures with 30 cameras each.

| what | median | longest | times |
|---|---|---|---|
{said("from the time of a verdict in the journal until it is painted on page Now", pixels)}
{said("page Night with all 300 rows painted, from the beginning of the navigation", opens)}

Part of one core, while {many["events_s"]:.0f} events a second come:

| open pages | daemon | process of the page |
|---|---|---|
| 0 | {100 * alone["daemon"]:.1f} % | {100 * alone["page"]:.1f} % |
| {PAGES} (Now, Night, System and Alarms in turn) | {100 * many["daemon"]:.1f} % | {100 * many["page"]:.1f} % |

Pages are read from the journal by a process of their own: what they cost the daemon is the difference of the first column.
"""


def main() -> None:
    """Measure, print, and write where that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/reference/live-page.md")
    given = parser.parse_args()
    text = measure(lambda line: print(line, file=sys.stderr, flush=True))
    print(text)
    if given.write:
        (ROOT / "docs" / "reference" / "live-page.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
