"""QAs over the cameras of an exposure, on metrics made here: healthy ones, and with one thing wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from qa.arm_agreement import ArmAgreement
from qa.fiber_places import FiberPlaces
from qa.focal_plane_patterns import FocalPlanePatterns
from qa.missing_cameras import MissingCameras
from qa.spectrograph_agreement import SpectrographAgreement
from quicklook.ccd.exposure import FiberMap
from quicklook.core.errors import NotApplicable
from quicklook.core.judge import Judge
from quicklook.core.keys import Unit
from quicklook.core.metrics import Measures
from quicklook.core.plots import FocalPlane
from quicklook.core.results import MetricResult, QAResult
from quicklook.core.status import Status
from quicklook.core.unitparts import PartSummary, UnitParts
from quicklook.service.site import load_site

N = 40
UNIT = Unit(20220101, 7)
Extra = Callable[[str, np.ndarray, np.ndarray], np.ndarray]


def metric(name: str, unit: str, values: Any, **coords: Any) -> MetricResult:
    flat = [None if not math.isfinite(v) else float(v) for v in np.ravel(values)]
    return MetricResult(name=name, unit=unit, coords={k: list(v) for k, v in coords.items()}, values=flat, status=None, statuses=[None] * len(flat))


def camera(arm: str, number: int, rng: np.random.Generator, extra: Extra | None = None, sky: float = 1.0, scatter: float = 0.03) -> PartSummary:
    """A camera of 40 targets in a sector of 36 degrees out to 400 mm; `extra` in mag is added by camera name and place."""
    radius, angle = 400 * np.sqrt(rng.uniform(size=N)), np.deg2rad(36 * (number + rng.uniform(size=N)))
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    name = f"{arm}{number}"
    delta = rng.normal(0.1, scatter, N) + (extra(name, x, y) if extra else 0.0)
    fiber = list(range(500 * number, 500 * number + N))
    metrics = [
        metric("fiber_x", "mm", x, fiber=fiber), metric("fiber_y", "mm", y, fiber=fiber), metric("delta_mag", "mag", delta, fiber=fiber),
        metric("sky_light", "", sky),
    ]  # fmt: skip
    qa = QAResult(name="made", step="read", group="Fibres", status=Status.NORMAL, seconds=0.0, metrics=metrics)
    return PartSummary(part=name, status=Status.NORMAL, tags={"arm": arm, "spectrograph": str(number)}, qas=(qa,))


def exposure(numbers: tuple[int, ...] = tuple(range(10)), arms: str = "brz", extra: Extra | None = None, seed: int = 1, **more: Any) -> UnitParts:
    rng = np.random.default_rng(seed)
    # the places of the fibres are those of the spectrograph, whatever the arm
    cameras = [camera(arm, n, np.random.default_rng([seed, n, k]), extra, **more) for k, arm in enumerate(arms) for n in numbers]
    order = rng.permutation(len(cameras))
    return UnitParts(unit=UNIT, tags={"flavor": "science"}, parts=tuple(cameras[i] for i in order))


def value(measures: Measures, name: str, *at: str) -> float:
    found = measures[name]
    places = [tuple(str(c) for c in at) for at in np.array(np.meshgrid(*found.coords.values(), indexing="ij")).reshape(len(found.coords), -1).T]
    return float(found.values.ravel()[places.index(at)])


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(load_site(None, options={"instrument": "desi"}).limits())


def statuses(judge: Judge, qa: Any, parts: UnitParts) -> Mapping[str, tuple[Status | None, str]]:
    results = judge.measures(qa.metrics, qa.measure(parts), parts.tags)
    return {r.name: (r.status, r.reason) for r in results}


# ---- cameras that are absent


def test_absent_cameras_are_one_finding_that_names_them_all(judge: Judge) -> None:
    some = exposure((0, 1), "br")
    expected = tuple(f"{a}{n}" for a in "brz" for n in range(3))
    parts = UnitParts(unit=UNIT, tags=some.tags, parts=some.parts, expected=expected)
    status, reason = statuses(judge, MissingCameras(), parts)["missing_cameras"]
    assert status is Status.ALARM
    assert reason.startswith("missing_cameras is 5, above 0")
    assert "b2, r2, z0, z1, z2 of 9" in reason
    table = MissingCameras().measure(parts).plots[0].panels[0].layers[0]
    assert table.rows == (("0", "NORMAL", "NORMAL", "MISSING"), ("1", "NORMAL", "NORMAL", "MISSING"), ("2", "MISSING", "MISSING", "MISSING"))  # type: ignore[union-attr]


def test_a_whole_exposure_lacks_nothing_and_without_names_it_does_not_apply(judge: Judge) -> None:
    some = exposure((0,), "br")
    whole = UnitParts(unit=UNIT, tags=some.tags, parts=some.parts, expected=("b0", "r0"))
    assert statuses(judge, MissingCameras(), whole)["missing_cameras"][0] is Status.NORMAL
    with pytest.raises(NotApplicable, match="no camera is expected by name"):
        MissingCameras().measure(some)


def test_where_no_file_came_at_all_every_camera_is_missing(judge: Judge) -> None:
    nothing = UnitParts(unit=UNIT, tags={}, parts=(), expected=("left", "right"))
    status, reason = statuses(judge, MissingCameras(), nothing)["missing_cameras"]
    assert status is Status.ALARM
    assert "left, right of 2" in reason


# ---- spectrograph against spectrograph


def test_one_dim_spectrograph_is_found_with_how_much(judge: Judge) -> None:
    parts = exposure(extra=lambda name, x, y: np.full(x.size, 0.31 if name.endswith("4") else 0.0))
    measures = SpectrographAgreement().measure(parts)
    for arm in "brz":
        assert value(measures, "spectrograph_offset", "delta_mag", f"{arm}4") == pytest.approx(0.31, abs=0.02)  # error of a median of 40: 0.006
        assert value(measures, "spectrograph_offset", "delta_mag", f"{arm}5") == pytest.approx(0.0, abs=0.02)
    status, reason = statuses(judge, SpectrographAgreement(), parts)["spectrograph_offset"]
    assert status is Status.ALARM
    assert "measure delta_mag, camera" in reason
    assert "3 of 60 are not NORMAL" in reason


def test_of_three_the_one_that_is_off_is_named_alone(judge: Judge) -> None:
    parts = exposure((0, 4, 7), extra=lambda name, x, y: np.full(x.size, 0.25 if name.endswith("4") else 0.0))
    reason = statuses(judge, SpectrographAgreement(), parts)["spectrograph_offset"][1]
    assert "3 of 18 are not NORMAL" in reason


def test_clouds_over_all_are_no_finding(judge: Judge) -> None:
    parts = exposure(extra=lambda name, x, y: np.full(x.size, 0.7))
    assert statuses(judge, SpectrographAgreement(), parts)["spectrograph_offset"][0] is Status.NORMAL
    assert {s for s, _ in statuses(judge, FocalPlanePatterns(), parts).values()} == {Status.NORMAL, None}


def test_two_spectrographs_cannot_be_told_apart() -> None:
    with pytest.raises(NotApplicable, match="no arm has 3 spectrographs"):
        SpectrographAgreement().measure(exposure((0, 1)))


def test_a_camera_that_is_known_badly_is_left_out_of_the_comparison() -> None:
    parts = exposure((0, 1, 2, 3), "r")
    rough = camera("r", 3, np.random.default_rng(3), scatter=0.6)
    parts = UnitParts(unit=UNIT, tags=parts.tags, parts=(*(p for p in parts.parts if p.part != "r3"), rough))
    found = SpectrographAgreement().measure(parts)["spectrograph_offset"]
    assert ("delta_mag", "r3") in found.left_out
    assert ("sky_light", "r3") not in found.left_out


def test_light_over_light_is_compared_in_magnitudes() -> None:
    cameras = [camera("r", n, np.random.default_rng(n), sky=0.5 if n == 2 else 1.0) for n in range(4)]
    measures = SpectrographAgreement().measure(UnitParts(unit=UNIT, parts=tuple(cameras)))
    assert value(measures, "spectrograph_offset", "sky_light", "r2") == pytest.approx(2.5 * math.log10(2))


# ---- the same fibre in the arms


def test_an_arm_that_is_dim_alone_is_found(judge: Judge) -> None:
    parts = exposure((0, 5), extra=lambda name, x, y: np.full(x.size, 0.5 if name == "z5" else 0.0))
    measures = ArmAgreement().measure(parts)
    assert value(measures, "arm_offset", "z5") == pytest.approx(0.5, abs=0.03)
    assert value(measures, "arm_offset", "b5") == pytest.approx(-0.25, abs=0.03)
    status, reason = statuses(judge, ArmAgreement(), parts)["arm_offset"]
    assert status is Status.ALARM
    assert "arm_offset of camera z5" in reason


def test_fibres_that_are_unlike_themselves_in_one_arm_are_named(judge: Judge) -> None:
    def four_lost(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.where(np.isin(np.arange(N), (3, 7, 9, 30)) & (name == "r1"), 1.5, 0.0)

    status, reason = statuses(judge, ArmAgreement(), exposure((0, 1), extra=four_lost))["arm_fibers_apart"]
    assert status is Status.WARNING
    for fibre in (503, 507, 509, 530):
        assert f"fibre {fibre} in r1 +1.0 mag" in reason or f"fibre {fibre} in r1 +" in reason
    assert "arm_fibers_apart of spectrograph 1 is 4" in reason


def test_a_fibre_that_is_dim_in_all_arms_is_not_its_detectors(judge: Judge) -> None:
    parts = exposure((0, 1), extra=lambda name, x, y: np.where(np.arange(N) == 3, 2.0, 0.0))
    assert ArmAgreement().measure(parts)["arm_fibers_apart"].values.tolist() == [0, 0]


def test_one_arm_alone_is_no_comparison() -> None:
    with pytest.raises(NotApplicable, match="no spectrograph has two arms"):
        ArmAgreement().measure(exposure(arms="r"))


# ---- patterns


@pytest.mark.parametrize(
    ("name", "size", "pattern"),
    [
        ("focal_radial", 0.4, lambda x, y: (x**2 + y**2)),
        ("focal_half_field", 0.4, lambda x, y: 0.6 * x + 0.8 * y),
        ("focal_quadrupole", 0.4, lambda x, y: 2 * x * y),
        ("focal_quadrupole", 0.4, lambda x, y: x**2 - y**2),
    ],
)
def test_a_pattern_is_found_with_its_size_and_no_other(judge: Judge, name: str, size: float, pattern: Callable[..., np.ndarray]) -> None:
    parts = exposure(extra=lambda _, x, y: size * pattern(x / 400, y / 400))
    measures = FocalPlanePatterns().measure(parts)
    for arm in "brz":
        # the largest radius of 400 fibres is within 1 % of 400 mm, and the error of an amplitude 0.005 mag
        assert value(measures, name, arm) == pytest.approx(size, abs=0.03)
    found = statuses(judge, FocalPlanePatterns(), parts)
    assert {n: s for n, (s, _) in found.items() if s is not None and s is not Status.NORMAL} == {name: Status.ALARM}


def test_single_targets_that_are_off_make_no_pattern(judge: Judge) -> None:
    def some_lost(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.where((x > 100) & (np.arange(N) % 4 == 0), 3.0, 0.0)

    assert statuses(judge, FocalPlanePatterns(), exposure(extra=some_lost))["focal_half_field"][0] is Status.NORMAL


@pytest.mark.parametrize(("numbers", "says"), [((0,), "lie so, or scatter so|40 fibres"), ((0, 1), "known to .* mag only")])
def test_fibres_that_cannot_tell_a_pattern_say_so(numbers: tuple[int, ...], says: str) -> None:
    with pytest.raises(NotApplicable, match=says):
        FocalPlanePatterns().measure(exposure(numbers, scatter=0.3))
    with pytest.raises(NotApplicable, match="0 fibres whose place and light are known"):
        bare = PartSummary(part="r0", status=Status.NORMAL, tags={"arm": "r"})
        FocalPlanePatterns().measure(UnitParts(unit=UNIT, parts=(bare,)))


def test_healthy_exposures_are_quiet(judge: Judge) -> None:
    for seed in range(20):
        parts = exposure(tuple(range(0, 10, 2)), seed=seed, scatter=0.1)
        for qa in (SpectrographAgreement(), ArmAgreement(), FocalPlanePatterns()):
            assert {s for s, _ in statuses(judge, qa, parts).values()} <= {Status.NORMAL, None}, seed


# ---- places of fibres


def fibermap(**columns: Any) -> FiberMap:
    return FiberMap(fiber=np.arange(5, 8, dtype=np.int32), objtype=("TGT",) * 3, columns=columns, source="made")


def test_places_are_kept_by_fibre() -> None:
    x, y = np.array([1.234, np.nan, -3.0], np.float32), np.array([0.0, 1.0, 2.0])
    places = FiberPlaces().measure(fibermap(FIBERASSIGN_X=x, FIBERASSIGN_Y=y))
    assert places["fiber_x"].coords == {"fiber": (5, 7)}
    assert places["fiber_x"].values.tolist() == [1.23, -3.0]
    assert places["fiber_y"].values.tolist() == [0.0, 2.0]
    (shown,) = places.plots[0].panels[0].layers
    assert isinstance(shown, FocalPlane)
    assert (shown.x.tolist(), shown.y.tolist(), shown.c.tolist()) == ([1.23, -3.0], [0.0, 2.0], [5, 7])
    assert FiberPlaces().measure(fibermap(FIBER_X=y, FIBER_Y=y))["fiber_x"].values.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("columns", [{}, {"FIBERASSIGN_X": np.zeros(3)}, {"FIBERASSIGN_X": np.full(3, np.nan), "FIBERASSIGN_Y": np.zeros(3)}])
def test_a_fibre_map_without_places_does_not_apply(columns: dict[str, Any]) -> None:
    with pytest.raises(NotApplicable, match="fibre map"):
        FiberPlaces().measure(fibermap(**columns))
    with pytest.raises(NotApplicable, match="there is no fibre map"):
        FiberPlaces().measure(None)
