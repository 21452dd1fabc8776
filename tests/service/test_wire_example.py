"""The example of the wire protocol page, in plain pyzmq: everything from the first event on, though it begins late and loses some."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

from wire_tools import in_thread, publisher, wait_for

from quicklook.core.wire import replay_endpoint


def example(repo_root: Path) -> str:
    page = (repo_root / "docs/reference/wire-protocol.md").read_text(encoding="utf-8")
    code = next(textwrap.dedent(b) for b in re.findall(r"(?:^    .*\n|^\n)+", page, flags=re.M) if '"ask": "events"' in b and "import" in b)
    assert "quicklook" not in code
    return code.strip() + "\n"


def test_the_example_misses_nothing(repo_root, tmp_path):
    script = tmp_path / "listen.py"
    script.write_text(example(repo_root), encoding="utf-8")
    with publisher(tmp_path) as out:
        out.started(1500)
        command = [sys.executable, str(script), out.endpoint, replay_endpoint(out.endpoint)]
        listener = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            said: list[str] = []
            in_thread(lambda: said.extend(iter(listener.stdout.readline, "")))
            assert wait_for(lambda: len(said) >= 1500, 60)
            out.stop()
            lost = out.started(10)
            out.journal.advance("zmq", lost[-1])  # published to nobody
            out.start()
            assert wait_for(lambda: out.beats() and len(said) >= 1512, 60)
        finally:
            listener.kill()
            listener.wait()
            listener.stdout.close()
        numbers = [int(line.split()[0]) for line in said]
        assert numbers == list(range(1, len(numbers) + 1))
        assert said[0] == "1 started\n"
