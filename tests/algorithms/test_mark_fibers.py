"""Fibres that the calibrations know to be bad are marked in the fibre map."""

from __future__ import annotations

import numpy as np

from algorithms.mark_fibers import MarkFibers, MarkFibersParams
from quicklook.ccd.calibs import KnownFibers
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.fiberstatus import FiberStatus
from quicklook.ccd.spectra import TraceSet

BROKENFIBER, BADFIBER = FiberStatus.BROKENFIBER, FiberStatus.BADFIBER
FIBER = np.arange(1500, 1505, dtype=np.int32)
TRACES = TraceSet(x=np.ones((5, 2)), y=np.ones((5, 2)), wavemin=1.0, wavemax=2.0, npix_x=9, npix_y=9, fiber=FIBER)
KNOWN = KnownFibers(broken=(1501, 7), low=(1504,))


def mark(fibermap: FiberMap | None, known: KnownFibers | None) -> FiberMap:
    return MarkFibers(MarkFibersParams()).run(fibermap, TRACES, known)


def test_known_fibres_are_added_to_what_the_map_says() -> None:
    columns = {"FIBERSTATUS": np.array([8, 0, 0, 0, 0]), "X": np.arange(5)}
    given = FiberMap(fiber=FIBER, objtype=("TGT", "SKY", "TGT", "TGT", "BAD"), columns=columns, source="file")
    made = mark(given, KNOWN)
    assert made.columns["FIBERSTATUS"].tolist() == [8, BROKENFIBER, 0, 0, BADFIBER]
    assert (made.objtype, made.source, made.columns["X"].tolist()) == (given.objtype, "file", [0, 1, 2, 3, 4])
    assert given.columns["FIBERSTATUS"].tolist() == [8, 0, 0, 0, 0]
    assert mark(given, None).columns["FIBERSTATUS"].tolist() == [8, 0, 0, 0, 0]


def test_without_a_fibre_map_one_is_made() -> None:
    made = mark(None, KNOWN)
    assert made.fiber.tolist() == FIBER.tolist()
    assert made.columns["FIBERSTATUS"].tolist() == [0, BROKENFIBER, 0, 0, BADFIBER]
    assert set(made.objtype) == {"TGT"}
    assert "no fibre map" in made.source


def status_of(column: np.ndarray) -> np.ndarray:
    given = FiberMap(fiber=FIBER, objtype=("TGT",) * 5, columns={"FIBERSTATUS": column}, source="file")
    return mark(given, None).columns["FIBERSTATUS"]


def test_a_status_that_is_no_number_says_nothing_good() -> None:
    made = status_of(np.array([0.0, np.nan, np.inf, 4.0, 1e300]))
    assert made.tolist() == [0, BADFIBER, BADFIBER, BROKENFIBER, BADFIBER]
    assert status_of(np.array(["0", "x", "4", "", "8"])).tolist() == [0, BADFIBER, BROKENFIBER, BADFIBER, 8]


def test_a_status_of_64_bits_is_kept() -> None:
    long = 1 << 40
    assert status_of(np.array([0, 0, long, 4, 0], np.int64)).tolist() == [0, 0, long, 4, 0]
    assert status_of(np.array([0, 0, 2, 4, 0], np.int64)).dtype == np.int32
