"""A scorecard as a page in markdown, and as plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from quicklook.core.scorecard import FOUND_FRACTION, CryWolf, Detection, Trial, anyone, cry_wolf, detections
from quicklook.core.status import Status
from quicklook.sim import FAULTS
from quicklook.sim.healthy import SPREAD
from quicklook.sim.wholefaults import CAMERAS, WHOLE_FAULTS

SHOULD_FIND: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "dead_amp": ("dead_amp",),
        "saturated_amp": ("dead_amp", "saturation"),
        "hot_noise_amp": ("read_noise",),
        "bias_step": ("bias_level", "amp_borders", "bias_structure"),
        "light_leak": ("stray_light",),
        "saturated": ("saturation",),
        "cosmics_storm": ("cosmic_rays",),
        "trace_shift": ("trace_shifts",),
        "wavelength_shift": ("trace_shifts", "sky_wavelengths", "flat_wavelengths", "arc_lines"),
        "lost_sky": ("sky_fibers", "sky_residual"),
        "low_throughput": ("throughput", "flux_calibration"),
        "dead_fibers": ("good_fibers",),
        "low_fibers": ("good_fibers", "fiber_throughput"),
        "swapped_fibers": ("swapped_targets",),
        "nan_calib": ("calibrations", "unusable_pixels", "preproc"),
        "missing_fibermap": ("check_file",),
        "wrong_night": ("check_file",),
        "truncated_file": ("read", "check_file"),
        "missing_keywords": ("check_file", "read"),
    }
)
"""The QAs (or the step) whose business each fault of the simulator is."""
WHOLE_SHOULD_FIND: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "camera_absent": ("missing_cameras",),
        "dim_arm": ("arm_agreement",),
        "dim_spectrograph": ("spectrograph_agreement",),
        "half_field": ("focal_plane_patterns",),
        "radial": ("focal_plane_patterns",),
        "quadrupole": ("focal_plane_patterns",),
    }
)
"""The QAs over cameras whose business each fault of a whole exposure is."""
_EXPOSURES = "# Scorecard of exposures"
"""How the part of the page on exposures begins, up to which the part on cameras goes."""
_FAULT_COLUMNS = ("fault", "strengths", "found by the QA that should", "from", "found in, by strength", "not NORMAL, from", "also found by, from")
_SHOWN = 5
_ALARMS, _WARNINGS = 0.01, 0.05
"""Parts of the healthy frames that may draw an ALARM, and a WARNING."""


def cries_wolf(trials: Sequence[Trial]) -> bool:
    """Whether more healthy frames of a flavor were called bad, or not measured, than may be."""
    return any(_too_many([t for t in trials if t.flavor == flavor]) for flavor in {t.flavor for t in trials})


def _too_many(mine: Sequence[Trial]) -> bool:
    alarms, warnings, unknown = (cry_wolf(mine, s) for s in (Status.ALARM, Status.WARNING, Status.UNKNOWN))
    return alarms.drawn > _ALARMS * alarms.frames or warnings.drawn + unknown.drawn > _WARNINGS * warnings.frames


def page(trials: Sequence[Trial], title: str, command: str) -> str:
    """The whole page."""
    flavors = list(dict.fromkeys(t.flavor for t in trials))
    parts = [_head(f"# {title}", command, "frame"), _healthy_head("frames"), _healthy_table(trials, flavors)]
    for flavor in flavors:
        mine = [t for t in trials if t.flavor == flavor]
        faults = [f for f in FAULTS if any(t.fault == f for t in mine)]
        if faults:
            parts.append(f"\n## Faults in {flavor} exposures\n\n" + _table(_fault_rows(mine, faults, SHOULD_FIND, _strength_doc)))
    return "\n".join(parts) + "\n"


def exposures_page(trials: Sequence[Trial], scale: str, command: str) -> str:
    """The part of the page on the QAs over cameras."""
    head = _head(f"{_EXPOSURES}: {', '.join(CAMERAS)}, {scale} scale", command, "exposure")
    head += '\nOf the QAs that compare the cameras of an exposure; what the QAs of its cameras say counts in the column "not NORMAL" alone.\n'
    parts = [head, _healthy_head("exposures"), _healthy_table(trials, ["science"])]
    faults = [f for f in WHOLE_FAULTS if any(t.fault == f for t in trials)]
    if faults:
        told = "; ".join(f"{f}: {WHOLE_FAULTS[f].description}" for f in faults)
        rows = _fault_rows(trials, faults, WHOLE_SHOULD_FIND, lambda fault: WHOLE_FAULTS[fault].strength_doc)
        parts.append(f"\n## Faults of whole exposures\n\nFaults: {told}.\n\n" + _table(rows))
    return "\n".join(parts) + "\n"


def joined(before: str, part: str) -> str:
    """The page with one of its parts, on cameras or on exposures, made anew; the other one stays as it was before."""
    at = before.find(_EXPOSURES)
    cameras, exposures = (before, "") if at < 0 else (before[:at], before[at:])
    if part.startswith(_EXPOSURES):
        return f"{cameras.rstrip()}\n\n{part}" if cameras.strip() else part
    return f"{part.rstrip()}\n\n{exposures}" if exposures else part


def _head(title: str, command: str, what: str) -> str:
    text = f"{title}\n\nMade by `{command}`. A fault counts as found from the strength on at which {FOUND_FRACTION:.0%} of its {what}s are"
    text += f" noticed, under healthy conditions that differ from {what} to {what}. A QA finds by WARNING or ALARM; what is absent"
    return text + " (a file, a keyword) also by UNKNOWN.\n"


def _healthy_head(what: str) -> str:
    spread = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in SPREAD.items())
    return f"\n## Healthy {what}\n\nConditions drawn evenly: {spread}. The upper limits hold with 95 % confidence.\n"


def _table(rows: Iterable[Sequence[str]]) -> str:
    head, *body = rows
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in body])


def _drawn(card: CryWolf) -> str:
    return f"{card.drawn} (below {card.upper:.2%})"


def _healthy_table(trials: Sequence[Trial], flavors: Sequence[str]) -> str:
    rows: list[tuple[str, ...]] = [("flavor", "frames", "ALARM", "WARNING", "UNKNOWN", "which QAs")]
    for flavor in flavors:
        mine = [t for t in trials if t.flavor == flavor and not t.fault]
        if not mine:
            continue
        count = {s: cry_wolf(mine, s) for s in (Status.ALARM, Status.WARNING, Status.UNKNOWN)}
        rows.append((flavor, str(len(mine)), *(_drawn(c) for c in count.values()), _noisy(mine)))
    return _table(rows) if len(rows) > 1 else "None were made."


def _noisy(mine: Sequence[Trial]) -> str:
    """The QAs that called healthy frames anything but good, and how many."""
    counts: dict[str, int] = {}
    for trial in mine:
        for name, status in trial.statuses.items():
            counts[name] = counts.get(name, 0) + (status is not Status.NORMAL)
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items(), key=lambda c: -c[1]) if n) or "none"


def _fault_rows(
    mine: Sequence[Trial], faults: Sequence[str], should: Mapping[str, tuple[str, ...]], doc: Callable[[str], str]
) -> list[tuple[str, ...]]:
    """A row for each fault; `should` says which QAs should find it, `doc` what its strengths are."""
    rows: list[tuple[str, ...]] = [_FAULT_COLUMNS]
    for fault in faults:
        found = detections(mine, fault)
        best = max((d for d in found if d.qa in should.get(fault, ())), key=lambda d: sum(d.found), default=None)
        whole = anyone(mine, fault)
        others = [f"{d.qa} {d.threshold}".strip() for d in found if best is not None and d.qa != best.qa and d.threshold is not None]
        rows.append(
            (
                fault,
                _strengths(doc(fault), whole),
                best.qa if best else "none",
                _from(best),
                " ".join(f"{k}/{n}" for k, n in zip(best.found, best.frames, strict=True)) if best else "",
                _from(whole),
                ", ".join(others[:_SHOWN]) + (f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""),
            )
        )
    return rows


def _strength_doc(fault: str) -> str:
    return "number of fibres" if fault == "dead_fibers" else FAULTS[fault].strength_doc


def _strengths(what: str, whole: Detection) -> str:
    return ", ".join(label for label in whole.labels if label) + (f" ({what})" if what else "")


def _from(found: Detection | None) -> str:
    if found is None or found.threshold is None:
        return "not found"
    return found.threshold or "found"


def as_data(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Every trial as plain data for JSON."""
    return [
        {
            "flavor": t.flavor,
            "seed": t.seed,
            "expid": t.expid,
            "fault": t.fault,
            "strength": t.label,
            "status": str(t.status),
            "qas": {k: str(v) for k, v in t.statuses.items()},
            "reasons": list(t.reasons),
        }
        for t in trials
    ]
