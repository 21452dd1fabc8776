"""The set-up of numba: NaN is honoured, the cache heals itself, its folder can be chosen, tasks run on threads."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from quicklook.core.compiled import finite, get_threads, jit, run_tasks, set_threads

MODULE = """
    from quicklook.core.compiled import jit

    @jit
    def double(x):
        return {expression}
"""


@jit
def count_finite_differences(x, y):  # type: ignore[no-untyped-def]
    n = 0
    for i in range(x.size):
        if finite(x[i] - y[i]):
            n += 1
    return n


@jit
def count_not_nan(x):  # type: ignore[no-untyped-def]
    n = 0
    for i in range(x.size):
        n += 1 if x[i] <= np.float32(1e30) else 0
    return n


@jit(parallel=False)
def total(x):  # type: ignore[no-untyped-def]
    out = 0.0
    for i in range(x.size):
        out += x[i]
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinity_are_seen(dtype: type) -> None:
    x = np.array([1, np.nan, np.inf, -np.inf, 2], dtype)
    assert count_finite_differences(x, np.ones(5, dtype)) == 2
    assert count_not_nan(x) == 3
    assert np.isnan(total(x))


def run_module(folder: Path, **environment: str) -> tuple[str, str]:
    """Calls `double(21)` of the module in a new process: (what it prints, the cache folder and how often the cache was hit)."""
    code = "import os, m; print(m.double(21)); print(os.environ['NUMBA_CACHE_DIR'], sum(m.double.stats.cache_hits.values()))"
    env = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    env.update({"PYTHONPATH": os.pathsep.join([str(folder), *sys.path]), "QUICKLOOK_CACHE_DIR": str(folder / "cache"), **environment})
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    value, cache = done.stdout.splitlines()
    return value, cache


def write_module(folder: Path, expression: str = "2 * x") -> None:
    (folder / "m.py").write_text(textwrap.dedent(MODULE).format(expression=expression))


def test_kernels_are_cached_and_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    write_module(tmp_path)
    value, cache = run_module(tmp_path)
    assert value == "42"
    assert cache.startswith(str(tmp_path / "cache" / "numba-"))
    assert cache.endswith(" 0")
    assert run_module(tmp_path)[1].endswith(" 1")
    for pattern in ("*.nbc", "*.nbi"):
        (file,) = (f for f in tmp_path.glob(f"cache/**/{pattern}") if "double" in f.name)
        good = file.read_bytes()
        for damaged in (good[: len(good) // 2], good[:-200] + bytes(200)):
            file.write_bytes(damaged)
            value, cache = run_module(tmp_path)
            assert value == "42"
            assert cache.endswith(" 0")
            assert run_module(tmp_path)[1].endswith(" 1")


def test_a_change_in_a_kernel_that_is_called_is_noticed(tmp_path: Path) -> None:
    write_module(tmp_path)
    (tmp_path / "m.py").rename(tmp_path / "inner.py")
    (tmp_path / "m.py").write_text(
        "from inner import double as twice\nfrom quicklook.core.compiled import jit\n@jit\ndef double(x):\n    return twice(x)\n"
    )
    assert run_module(tmp_path)[0] == "42"
    (tmp_path / "inner.py").write_text(textwrap.dedent(MODULE).format(expression="x + 100"))
    assert run_module(tmp_path)[0] == "121"


def test_a_change_of_a_constant_two_files_away_is_noticed(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "constants.py").write_text("FACTOR = 2\n")
    kernel = "from quicklook.core.compiled import jit\nfrom package.{source} import {name}\n@jit\ndef {made}(x):\n    return {body}\n"
    (package / "inner.py").write_text(kernel.format(source="constants", name="FACTOR", made="once", body="FACTOR * x"))
    (package / "outer.py").write_text(kernel.format(source="inner", name="once", made="double", body="once(x)"))
    (tmp_path / "m.py").write_text("from package.outer import double\n")
    assert run_module(tmp_path)[0] == "42"
    assert run_module(tmp_path)[1].endswith(" 1")
    (package / "constants.py").write_text("FACTOR = 100\n")
    assert run_module(tmp_path)[0] == "2100"


def test_the_cache_is_in_its_folder_though_somebody_has_imported_numba_before(tmp_path: Path) -> None:
    write_module(tmp_path)
    module = (tmp_path / "m.py").read_text()
    (tmp_path / "m.py").write_text(f"import numba\n{module}")
    assert run_module(tmp_path)[0] == "42"
    assert not list((tmp_path / "__pycache__").glob("*.nb?"))
    assert any("double" in path.name for path in tmp_path.glob("cache/**/*.nbi"))


def test_numba_cache_dir_wins_and_an_unwritable_folder_does_no_harm(tmp_path: Path) -> None:
    write_module(tmp_path)
    assert run_module(tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "own"))[1].startswith(str(tmp_path / "own"))
    (tmp_path / "file").write_text("no folder")
    value, cache = run_module(tmp_path, QUICKLOOK_CACHE_DIR=str(tmp_path / "file"), TMPDIR=str(tmp_path))
    assert value == "42"
    assert cache.startswith(str(tmp_path / "quicklook-numba-"))


def test_tasks_run_on_the_threads_asked_for_and_raise() -> None:
    assert get_threads() == 1
    assert set_threads(0) == 1
    assert set_threads(10**6) <= (os.cpu_count() or 1)
    try:
        done: list[int] = []
        run_tasks(done.append, range(100))
        assert sorted(done) == list(range(100))
        with pytest.raises(ZeroDivisionError):
            run_tasks(lambda x: 1 // x, [1, 0, 2])
    finally:
        set_threads(1)
