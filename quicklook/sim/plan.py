"""What to observe: one exposure, and a night of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from quicklook.core.errors import BadConfig
from quicklook.sim.faults import FAULTS, Fault
from quicklook.sim.geometry import parse_camera
from quicklook.sim.streams import Purpose, stream

Flavor = Literal["zero", "dark", "arc", "flat", "science"]
FLAVORS: tuple[str, ...] = get_args(Flavor)
PROGRAMS = {"zero": "CALIB ZERO", "dark": "CALIB DARK", "arc": "CALIB ARC", "flat": "CALIB FLAT", "science": "dark"}
EXPTIMES = {"zero": 0.0, "dark": 300.0, "arc": 5.0, "flat": 120.0, "science": 900.0}
LIT_FLAVORS = ("arc", "flat", "science")
DEFAULT_FAULT = Fault(name="dead_amp")
"""The fault of the one faulty exposure of a planned night."""
_POSSIBLE = {
    "airmass": (1.0, 40.0, ""), "seeing": (0.05, 20.0, " arcsec"), "sky_factor": (0.0, 1e6, ""), "transparency": (0.0, 10.0, ""),
    "noise_factor": (0.0, 1e4, ""),
}  # fmt: skip
"""What conditions can be: the horizon is at airmass 40."""
_DIMMEST = 10.0
_OVERHEAD_S = 60.0
_AFTERNOON, _EVENING = timedelta(hours=22, minutes=30), timedelta(days=1, hours=2)
"""UTC of the first calibration and of the first science exposure, from midnight UTC of the date of the night."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedExposure:
    """One exposure to simulate.

    `night`: YYYYMMDD, the date of its evening; `exptime` s; `start`: opening of the shutter, UTC; `seeing` arcsec;
    `sky_factor`: brightness of the sky relative to a dark one; `transparency`: part of the light of stars that the atmosphere lets through relative
    to a clear night, which dims targets and not the sky; `noise_factor`: on the read noise of all amplifiers, the header keeps the nominal one;
    `flexure`: mean shift of the traces along x and y, pixel, in place of one that is drawn; `field_pattern`: magnitudes by which targets are fainter
    at the edge of the field than at its centre: on the side of +x (brighter on the other), all around, and along x (brighter
    along y). Raises BadConfig.
    """

    expid: int
    night: int
    flavor: Flavor
    program: str
    exptime: float
    start: datetime
    airmass: float = 1.15
    seeing: float = 1.25
    sky_factor: float = 1.0
    transparency: float = 1.0
    noise_factor: float = 1.0
    flexure: tuple[float, float] | None = None
    field_pattern: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tileid: int = 1000
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        if self.flavor not in FLAVORS:
            raise BadConfig(f"exposure {self.expid}: flavor {self.flavor!r} is not one of {', '.join(FLAVORS)}")
        if not 0 <= self.expid <= 99_999_999:
            raise BadConfig(f"exposure {self.expid}: the number must have at most eight digits and no sign")
        if not 0.0 <= self.exptime < 1e5:
            raise BadConfig(f"exposure {self.expid}: exposure time {self.exptime} s is not possible")
        if self.flavor == "science" and self.exptime == 0.0:
            raise BadConfig(f"exposure {self.expid}: a science exposure of 0 s has no flux; give an exposure time")
        for name, (low, high, unit) in _POSSIBLE.items():
            if not low <= (value := float(getattr(self, name))) <= high:
                raise BadConfig(f"exposure {self.expid}: {name} {value:g} is not between {low:g} and {high:g}{unit}")
        if not all(abs(mag) <= _DIMMEST for mag in self.field_pattern):
            raise BadConfig(f"exposure {self.expid}: field_pattern {self.field_pattern} is beyond {_DIMMEST:g} mag")
        if self.start.tzinfo is None:
            raise BadConfig(f"exposure {self.expid}: its start {self.start} has no time zone; give UTC")
        night_start(self.night)
        for fault in self.faults:
            if FAULTS[fault.name].needs_light and self.flavor not in LIT_FLAVORS:
                raise BadConfig(f"exposure {self.expid}: a {self.flavor} cannot have the fault {fault.name}, no fibre is lit")
            if FAULTS[fault.name].needs_sky and self.flavor != "science":
                raise BadConfig(f"exposure {self.expid}: a {self.flavor} cannot have the fault {fault.name}, no fibre sees the sky")

    @property
    def obstype(self) -> str:
        """The flavor in capitals."""
        return self.flavor.upper()


def night_start(night: int) -> datetime:
    """Midnight UTC of the date YYYYMMDD. Raises BadConfig."""
    try:
        return datetime.strptime(str(night), "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        raise BadConfig(f"night {night} is no date: write YYYYMMDD, such as 20220101") from None


def plan_exposure(
    flavor: Flavor,
    expid: int,
    *,
    night: int = 20220101,
    exptime: float | None = None,
    program: str | None = None,
    start: datetime | None = None,
    airmass: float = 1.15,
    seeing: float = 1.25,
    faults: Sequence[Fault] = (),
) -> PlannedExposure:
    """One exposure with the usual program and exposure time of its flavor, taken in the first hours of the night."""
    if flavor not in FLAVORS:
        raise BadConfig(f"flavor {flavor!r} is not one of {', '.join(FLAVORS)}")
    return PlannedExposure(
        expid=expid,
        night=night,
        flavor=flavor,
        program=PROGRAMS[flavor] if program is None else program,
        exptime=EXPTIMES[flavor] if exptime is None else exptime,
        start=night_start(night) + _EVENING + timedelta(minutes=expid % 120) if start is None else start,
        airmass=airmass,
        seeing=seeing,
        faults=tuple(faults),
    )


def plan_night(
    night: int,
    n: int = 20,
    *,
    cameras: Sequence[str] = ("r0",),
    seed: int = 0,
    first_expid: int = 100,
    faulty: Fault | Sequence[Fault] | None = DEFAULT_FAULT,
) -> list[PlannedExposure]:
    """Plan n exposures as in a real evening: zeros, darks, arcs, flats in the afternoon, then science.

    Exactly one exposure, a science one where there is any, has the faults of `faulty` (None: no exposure has). A fault
    that names no camera gets one of `cameras`, chosen by the seed, and only that one is hit. Raises BadConfig.
    """
    if n < 1:
        raise BadConfig(f"a night of {n} exposures cannot be planned: ask for one at least")
    for camera in cameras:
        parse_camera(camera)
    rng = stream(seed, Purpose.PLAN, night)
    plan: list[PlannedExposure] = []
    time = night_start(night) + _AFTERNOON
    for index, flavor in enumerate(_flavors(n)):
        if flavor == "science":
            time = max(time, night_start(night) + _EVENING)
        bright = flavor == "science" and _is_twilight(index, n)
        airmass, seeing, sky = (round(float(v), 3) for v in rng.uniform((1.0, 0.9, 0.9), (1.5, 1.5, 1.3)))
        exposure = plan_exposure(flavor, first_expid + index, night=night, start=time, program="bright" if bright else None)
        sky *= 3.0 if bright else 1.0
        plan.append(replace(exposure, airmass=airmass, seeing=seeing, sky_factor=sky, tileid=1000 + index))
        time += timedelta(seconds=exposure.exptime + _OVERHEAD_S)
    if faulty is None:
        return plan
    faults = (faulty,) if isinstance(faulty, Fault) else tuple(faulty)
    science = [i for i, e in enumerate(plan) if e.flavor == "science"] or [len(plan) - 1]
    victim = int(rng.choice(science))
    camera = str(rng.choice(list(cameras)))
    plan[victim] = replace(plan[victim], faults=tuple(_of_camera(fault, camera) for fault in faults))
    return plan


def _of_camera(fault: Fault, camera: str) -> Fault:
    """The fault in one camera, where it can be of a camera: a truncated file or a wrong night hits all."""
    own = fault.kind.level == "pixels" or fault.name == "missing_camera"
    return replace(fault, camera=camera) if own and fault.camera is None else fault


def _is_twilight(index: int, n: int) -> bool:
    """The last two of a long night are taken in twilight."""
    return n >= 10 and index >= n - 2


def _flavors(n: int) -> list[Flavor]:
    """Flavors in the order of an evening; of 20: 5 zeros, 1 dark, 3 arcs, 3 flats, 8 science."""
    share: dict[Flavor, float] = {"zero": 0.25, "dark": 0.05, "arc": 0.15, "flat": 0.15}
    counts: dict[Flavor, int] = {flavor: max(round(n * part), int(n >= 5)) for flavor, part in share.items()}
    counts["science"] = n - sum(counts.values())
    return [flavor for flavor, count in counts.items() for _ in range(count)]
