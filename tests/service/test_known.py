"""What the watcher remembers of files, held against a dictionary of all their names."""

from __future__ import annotations

import random

import pytest

from quicklook.service.arrival.known import Known

NS = 10**9


@pytest.mark.parametrize("seed", range(4))
def test_it_knows_what_a_dictionary_of_names_knows(seed: int) -> None:
    dice, known, names = random.Random(seed), Known(), dict[str, list[int]]()
    paths = [f"/raw/2022010{n % 7}/{n:08d}/desi-{n:08d}.fits.fz" for n in range(1500)]
    for scan in range(1, 9):
        for path in dice.sample(paths, 300):
            size, mtime_ns = dice.randrange(5), dice.randrange(-5, 5) * NS + 7
            known.note(path, size, mtime_ns, scan=scan)
            names[path] = [size, mtime_ns, scan]
        met, whole = dice.sample(paths, 700), bool(scan % 3)
        wanted = [max(0, names[p][1] // NS) if p in names else -1 for p in met]
        assert known.meet(met, scan if whole else None) == wanted
        for path in met if whole else ():
            if path in names:
                names[path][2] = scan
        gone = [p for p, what in names.items() if what[2] < scan - 1]
        assert known.forget(scan - 1) == len(gone)
        for path in gone:
            del names[path]
        assert len(known) == len(names)
        for path in paths:
            size, mtime_ns, _ = names.get(path, [0, 0, 0])
            assert (path in known, known.same(path, size, mtime_ns)) == (path in names, path in names)
            assert not known.same(path, size + 1, mtime_ns)


def test_names_that_are_no_text_and_times_beyond_all_bounds_are_known_too() -> None:
    known = Known()
    for n, mtime_ns in enumerate((-(2**62), 2**62, 0)):
        known.note(f"/raw/\udcff{n}", n, mtime_ns, scan=0)
        assert known.same(f"/raw/\udcff{n}", n, mtime_ns)
    assert known.meet(["/raw/\udcff0", "/raw/\udcff1", "/raw/other"]) == [0, 2**32 - 1, -1]


def test_thousands_take_kilobytes() -> None:
    """24 bytes each, and some names that are not sorted in yet; a dictionary of names takes 400."""
    known = Known()
    for n in range(20_000):
        known.note(f"/raw/20220101/{n:08d}/desi-{n:08d}.fits.fz", 5, n * NS, scan=0)
    held = sum(a.nbytes for a in (known._names, known._like, known._scans, known._changed_s))
    assert (len(known), held, len(known._new) < 128) == (20_000, 24 * (20_000 - len(known._new)), True)
