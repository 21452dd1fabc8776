"""Memory that is free goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

from quicklook.core.memory import give_back

HOLD = """
from pathlib import Path
from quicklook.core.memory import give_back

def resident():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(status["VmRSS"].split()[0]) // 1024

blocks = [bytearray(100_000) for _ in range(600)]  # below the threshold of the allocator: from its heap
last = bytearray(100_000)  # holds the top of the heap
del blocks
before = resident()
assert give_back()
print(before - resident())
"""


def test_give_back_says_whether_it_could() -> None:
    assert isinstance(give_back(), bool)
    assert give_back() == give_back()


@pytest.mark.skipif(not give_back(), reason="the C library of this system cannot give memory back")
def test_free_memory_below_a_block_in_use_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", HOLD], check=True, capture_output=True, text=True, timeout=300)
    assert int(done.stdout) > 40  # MiB, of the 57 that are free
