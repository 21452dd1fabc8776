"""The one place where numba is set up: compiler flags, cache folder, threading layer, number of threads.

Importing this module imports numba, so only kernel modules import it, and kernel modules are imported inside the method that
runs them. Environment: `QUICKLOOK_CACHE_DIR` names the folder of the compiled kernels (default: the user's cache folder);
`NUMBA_CACHE_DIR` and `NUMBA_THREADING_LAYER_PRIORITY`, where given, win over what is chosen here.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import pickle
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

_DISTRIBUTION = "spectroquicklook"
_FASTMATH = {"contract", "reassoc", "nsz", "arcp"}
"""Never nnan or ninf: they allow the compiler to drop the checks by which a NaN is found."""

_LARGEST = sys.float_info.max
_IMPORT = re.compile(r"^(?:from|import)\s+([\w.]+)", re.MULTILINE)

_state: dict[str, Any] = {"threads": 1, "pool": None, "compiled": 0}

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def _project_version() -> str:
    try:
        return importlib.metadata.version(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "source"


def _writable(folder: Path) -> bool:
    """Whether the folder, made if need be, can be written and is this user's own: compiled code is loaded from it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return folder.stat().st_uid == os.getuid()
    except OSError:
        return False


def cache_folder() -> Path:
    """Folder of the compiled kernels of this version of the project and of numba; made if need be.

    One that cannot be written (read-only home, full disk) is replaced by one under the temporary folder, new for this process
    and those that it starts.
    """
    stamp = f"numba-{_project_version()}-{importlib.metadata.version('numba')}"
    base = os.environ.get("QUICKLOOK_CACHE_DIR")
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = (Path(base) if base else Path(user) / "quicklook") / stamp
    return folder if _writable(folder) else Path(tempfile.mkdtemp(prefix="quicklook-numba-"))


# Both must stand in the environment before numba is imported, and spawned workers inherit them. OpenMP first: the workqueue
# layer of numba aborts when two threads call parallel kernels at once. (OpenMP kills forked children: workers are spawned.)
if "NUMBA_CACHE_DIR" not in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = str(cache_folder())
os.environ.setdefault("NUMBA_THREADING_LAYER_PRIORITY", "omp tbb workqueue")

import numba  # noqa: E402
from numba.core import caching  # noqa: E402
from numba.core.dispatcher import Dispatcher  # noqa: E402

# who has imported numba before this module has had it read an environment without them
_config: Any = numba.config
_config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]
_config.THREADING_LAYER_PRIORITY = os.environ["NUMBA_THREADING_LAYER_PRIORITY"].split()

_CacheFile: Any = caching.IndexDataCacheFile


class _CheckedCacheFile(_CacheFile):  # type: ignore[misc]
    """Cache of one kernel that takes a damaged file for an absent one, so that the kernel is compiled again.

    numba alone would raise on a damaged index, and run damaged machine code.
    """

    def _load_index(self) -> Any:
        try:
            return super()._load_index()
        except Exception:  # a damaged pickle raises nearly anything
            return {}

    def _save_data(self, name: str, data: Any) -> None:
        packed = self._dump(data)
        with self._open_for_write(self._data_path(name)) as f:
            f.write(hashlib.sha256(packed).digest() + packed)

    def _load_data(self, name: str) -> Any:
        content = Path(self._data_path(name)).read_bytes()
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            raise OSError(f"{name} is damaged")  # numba takes an OSError here for an absent file
        return pickle.loads(content[32:])

    def save(self, key: Any, data: Any) -> None:
        _state["compiled"] += 1
        try:
            super().save(key, data)
        except OSError:  # a full disk costs the next process a compilation, not this one its frame
            return


@functools.cache
def _imported(module: str) -> frozenset[str]:
    """The files of its own package that a module imports, whatever they in turn import included; the core has no kernels and is left out."""
    package, seen, waiting = module.partition(".")[0], set[str](), [module]
    while waiting:
        file = getattr(sys.modules.get(waiting.pop()), "__file__", None)
        if file and file not in seen:
            seen.add(file)
            names = _IMPORT.findall(Path(file).read_text(encoding="utf-8"))
            waiting += [n for n in names if n.partition(".")[0] == package and not n.startswith("quicklook.core")]
    return frozenset(seen)


def _source_stamps(function: Callable[..., Any]) -> tuple[tuple[str, int, int], ...]:
    """Name, time and size of the other files that the code of `function` depends on: numba itself watches the file of `function` alone.

    Those of kernels that it can call, and of modules that its own imports, for their constants are compiled in.
    """
    own = function.__code__.co_filename
    files = {d.py_func.__code__.co_filename for d in function.__globals__.values() if isinstance(d, Dispatcher)} | _imported(function.__module__)
    return tuple((f, os.stat(f).st_mtime_ns, os.stat(f).st_size) for f in sorted(files - {own}))


def _guard_cache(dispatcher: Any) -> None:
    cache = getattr(dispatcher, "_cache", None)
    file = getattr(cache, "_cache_file", None)
    if isinstance(file, _CacheFile):
        file.__class__ = _CheckedCacheFile
        file._source_stamp = (file._source_stamp, _source_stamps(dispatcher.py_func))


def jit(function: F | None = None, *, parallel: bool = False, **options: Any) -> Any:
    """`numba.njit` with the presets of the project, as ``@jit`` or ``@jit(parallel=True)``.

    Cached on disk, releases the GIL, and allows the compiler to reorder and contract floating-point operations, but honours NaN
    and infinity. `options` go to `numba.njit`. A parallel kernel (prange) uses `get_threads()` threads, and is called from Python
    alone, not from another kernel.

    Do not use `math.isfinite` and `np.isfinite` in kernels: numba makes them of x - x, which is reordered to 0 where x is itself a
    difference. Use `finite` (below), or a comparison, as in ``abs(x) <= limit``, which NaN fails.
    """

    def decorate(f: F) -> Any:
        settings: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": _FASTMATH, "parallel": parallel, **options}
        dispatcher = numba.njit(**settings)(f)
        _guard_cache(dispatcher)
        if not parallel:
            return dispatcher

        @functools.wraps(f)
        def call(*args: Any) -> Any:
            numba.set_num_threads(get_threads())  # numba keeps this by thread, so it is set where the call is made
            return dispatcher(*args)

        return call

    return decorate if function is None else decorate(function)


@jit
def finite(x: Any) -> Any:
    """Whether a number is neither NaN nor infinite. For kernels; safe under the reordering that `jit` allows."""
    return abs(x) <= _LARGEST


_lock = threading.Lock()


def compiled_here() -> int:
    """How many kernels this process has compiled, in place of loading them from the cache."""
    return int(_state["compiled"])


def set_threads(n: int) -> int:
    """Use `n` threads a process (at least 1, at most the cores it may use) for kernels; returns the number taken."""
    limit: int = getattr(numba.config, "NUMBA_NUM_THREADS", 1)
    n = max(1, min(n, limit))
    with _lock:
        if n != _state["threads"]:
            pool, _state["pool"] = _state["pool"], None
            if pool is not None:
                pool.shutdown(wait=True)
            _state["threads"] = n
    return n


def get_threads() -> int:
    """Number of threads that kernels of this process use; 1 unless `set_threads` was called."""
    return int(_state["threads"])


def run_tasks(task: Callable[[T], object], items: Iterable[T]) -> None:
    """Call `task(item)` for every item, on `get_threads()` threads; the first exception is raised.

    For kernels that release the GIL. It needs no parallel compilation and no threading layer. The items must not depend on the
    number of threads, so that results do not either.
    """
    if get_threads() == 1:
        for item in items:
            task(item)
        return
    with _lock:
        if _state["pool"] is None:
            _state["pool"] = ThreadPoolExecutor(_state["threads"], thread_name_prefix="kernel")
        pool: ThreadPoolExecutor = _state["pool"]
    for _ in pool.map(task, items):
        pass
