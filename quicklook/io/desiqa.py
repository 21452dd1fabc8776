"""The merged QA in the structure of DESI's quick-look: TASKS with METRICS and PARAMS under DESI's names.

`DESI_KEYS` is the one place that says which of our metrics stands for which of DESI's; the export and the page on names both read it.
Source of the names: merged quick-look QA of DESI (desispec.quicklook), top level NIGHT, EXPID, CAMERA, FLAVOR, GENERAL_INFO, TASKS.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from quicklook.core.results import MetricResult, PartResult, QAResult
from quicklook.core.status import Status, worst

Shape = Literal["list", "one", "medians"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiKey:
    """One key of DESI's merged QA: the class that makes it there, its task, and what stands for it here.

    `metrics` of `qa` give the value: as a list over their axis (``list``), as one number, the median where there are several (``one``), or as
    the median of each of them (``medians``). `judged` are the metrics whose status and limits count (default: `metrics`); the sum of those in
    `reference` is what is expected. `places` are those of a list, in order, whatever was measured. `note` says what differs.
    """

    key: str
    desi_class: str
    task: str
    qa: str
    metrics: tuple[str, ...]
    shape: Shape = "one"
    judged: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    note: str = ""

    @property
    def judging(self) -> tuple[str, ...]:
        """Metrics whose status counts."""
        return self.judged or self.metrics


DESI_KEYS: tuple[DesiKey, ...] = (
    DesiKey(
        key="CHECKHDUS", desi_class="Check_HDUs", task="CHECK_CCDs", qa="check_file", metrics=("hdu_missing",),
        judged=("hdu_missing", "missing_keywords", "header_problems"), note="number of absent extensions; judged with the keywords",
    ),
    DesiKey(key="BIAS_AMP", desi_class="Bias_From_Overscan", task="CHECK_CCDs", qa="bias_level", metrics=("bias_level",), shape="list", note="adu"),
    DesiKey(
        key="NOISE_AMP", desi_class="Get_RMS", task="CHECK_CCDs", qa="read_noise", metrics=("read_noise",), shape="list",
        note="electron; a standard deviation about the level of each row and column, where DESI's is about one level",
    ),
    DesiKey(
        key="LITFRAC_AMP", desi_class="Count_Pixels", task="CHECK_CCDs", qa="lit_fraction", metrics=("lit_fraction",), shape="list",
        note="part of the good pixels above 5 sigma of the read noise",
    ),
    DesiKey(
        key="XWSIGMA", desi_class="Calc_XWSigma", task="CHECK_FIBERS", qa="trace_widths", metrics=("width_x", "width_y"), shape="medians",
        note="pixel, medians over the amplifiers; judged amplifier by amplifier",
    ),
    DesiKey(
        key="XYSHIFTS", desi_class="Trace_Shifts", task="CHECK_FIBERS", qa="trace_shifts", metrics=("trace_shift",), shape="list",
        places=("x", "y"), note="pixel, across and along the dispersion",
    ),
    DesiKey(
        key="NGOODFIB", desi_class="CountSpectralBins", task="CHECK_FIBERS", qa="good_fibers", metrics=("good_fibers",), judged=("lost_fibers",),
        reference=("good_fibers", "lost_fibers", "known_bad_fibers"), note="judged by the number that is lost and not known to be bad",
    ),
    DesiKey(
        key="SKYCONT", desi_class="Sky_Continuum", task="CHECK_SPECTRA", qa="sky_continuum", metrics=("sky_continuum",),
        note="electron/(s Angstrom), median over the windows; DESI's is not divided by the exposure time",
    ),
    DesiKey(
        key="PEAKCOUNT", desi_class="Sky_Peaks", task="CHECK_SPECTRA", qa="sky_peaks", metrics=("sky_peak",), shape="list",
        judged=("sky_peak", "sky_peak_scatter"), note="electron/s of each line; DESI's is a count over all lines",
    ),
    DesiKey(
        key="RESIDUAL", desi_class="Sky_Residual", task="CHECK_SPECTRA", qa="sky_residual", metrics=("sky_residual",),
        note="relative to the sky, between the lines",
    ),
    DesiKey(
        key="FIDSNR_TGT", desi_class="Calculate_SNR", task="CHECK_SPECTRA", qa="snr", metrics=("fiducial_snr",), shape="list",
        note="S/N at the fiducial magnitude, of each class of targets",
    ),
    DesiKey(key="SKYRBAND", desi_class="Sky_Rband", task="CHECK_SPECTRA", qa="sky_brightness", metrics=("sky_brightness",), note="mag/arcsec2"),
    DesiKey(
        key="DELTAMAG_TGT", desi_class="Integrate_Spec", task="CHECK_SPECTRA", qa="integrated_magnitudes", metrics=("flux_delta_mag",), shape="list",
        note="magnitude of the spectra less that of the catalogue, median of each class",
    ),
    DesiKey(
        key="CHECKARC", desi_class="Check_Resolution", task="CHECK_ARC", qa="arc_resolution", metrics=("resolution",),
        judged=("resolution", "fiber_resolution_ratio", "blurred_fibers"), note="resolving power, where DESI has the coefficients of the widths",
    ),
    DesiKey(
        key="CHECKFLAT", desi_class="Check_FiberFlat", task="CHECK_FIBERFLAT", qa="fiberflat_quality", metrics=("fiberflat_scatter",),
        judged=("fiberflat_scatter", "fiberflat_usable", "fiberflat_error", "fiberflat_lowest"),
        note="scatter of the throughputs; `flat_level` compares with the reference flat, as DESI's class does",
    ),
)  # fmt: skip


def to_desi(result: PartResult) -> dict[str, Any]:
    """The merged QA of a camera in DESI's structure, ready for strict JSON.

    A value that was not measured is null, its KEY_STATUS is UNKNOWN. What does not apply, what no limit judges, and what the chain does not measure
    has no KEY_STATUS or is left out, and stands in GENERAL_INFO (NOT_APPLICABLE, NOT_JUDGED, NOT_MEASURED). An element of a list that does not
    apply is null too, and is named in NOT_APPLICABLE as KEY[1].
    """
    tasks: dict[str, dict[str, dict[str, Any]]] = {}
    aside: dict[str, Any] = {"NOT_APPLICABLE": {}, "NOT_JUDGED": [], "NOT_MEASURED": []}
    for one in DESI_KEYS:
        qa = next((q for q in result.qas if q.name == one.qa), None)
        if qa is None:
            aside["NOT_MEASURED"].append(one.key)
            continue
        if why := _not_applicable(one, qa):
            aside["NOT_APPLICABLE"][one.key] = why
            continue
        task = tasks.setdefault(one.task, {"METRICS": {}, "PARAMS": {}})
        status = _status(one, qa)
        task["METRICS"][one.key] = _value(one, qa)
        aside["NOT_APPLICABLE"] |= _missing_places(one, qa)
        if status is None:
            aside["NOT_JUDGED"].append(one.key)
        else:
            task["METRICS"][f"{one.key}_STATUS"] = str(status)
        task["PARAMS"] |= dict(_params(one, qa))
    return {
        "NIGHT": f"{result.night:08d}",
        "EXPID": f"{result.expid:08d}",
        "CAMERA": result.part,
        "FLAVOR": result.tags.get("flavor", ""),
        "GENERAL_INFO": _general(result) | aside,
        "TASKS": tasks,
    }


def desi_name(result: PartResult) -> str:
    """Name of the file, as DESI's are."""
    return f"ql-mergedQA-{result.part}-{result.expid:08d}.json"


def _general(result: PartResult) -> dict[str, Any]:
    """What is known of the exposure and of how this was made."""
    info: dict[str, Any] = {
        "STATUS": str(result.status),
        "REASONS": list(result.reasons),
        "QAS_MEASURED": result.measured,
        "QAS_EXPECTED": result.expected,
        "TAG": result.tag,
        "REVISION": result.revision,
        "CHAIN": result.provenance.chain,
        "VERSIONS": dict(result.provenance.versions),
        "CALIBRATIONS": {c.kind: Path(c.source).name for c in result.provenance.calibrations},
    }
    return info | {name.upper(): value for name, value in result.tags.items() if name not in ("flavor", "night", "expid", "camera")}


def _metrics(names: Sequence[str], qa: QAResult) -> list[MetricResult]:
    by_name = {m.name: m for m in qa.metrics}
    return [by_name[n] for n in names if n in by_name]


def _not_applicable(one: DesiKey, qa: QAResult) -> str:
    """Why the key does not apply, as a whole; "" where it does."""
    if qa.not_applicable is not None:
        return qa.not_applicable
    found = _metrics(one.metrics, qa)
    whys = [m.not_applicable for m in found if m.not_applicable]
    return whys[0] if whys and len(whys) == len(found) else ""


def _status(one: DesiKey, qa: QAResult) -> Status | None:
    if qa.failure is not None:
        return Status.UNKNOWN
    return worst(m.status for m in _metrics(one.judging, qa))


def _plain(values: Sequence[float | None]) -> list[float | None]:
    return [None if v is None or not math.isfinite(v) else v for v in values]


def _median(metric: MetricResult) -> float | None:
    known = [v for v in _plain(metric.values) if v is not None]
    return float(np.median(known)) if known else None


def _value(one: DesiKey, qa: QAResult) -> Any:
    found = _metrics(one.metrics, qa)
    if not found:
        return [] if one.shape != "one" else None
    if one.shape == "list":
        values = _plain(found[0].values)
        return [dict(zip(_places(found[0]), values, strict=False)).get(place) for place in one.places] if one.places else values
    return [_median(m) for m in found] if one.shape == "medians" else _median(found[0])


def _places(metric: MetricResult) -> list[str]:
    """Along the axis of a metric that has one; none of others."""
    return [str(c) for c in next(iter(metric.coords.values()))] if len(metric.coords) == 1 else []


def _missing_places(one: DesiKey, qa: QAResult) -> dict[str, str]:
    """Why single elements of a list do not apply, by KEY[number]; nothing where the QA has failed."""
    found = _metrics(one.metrics, qa)
    if one.shape == "medians":
        return {f"{one.key}[{i}]": f"{m.name}: {m.not_applicable}" for i, m in enumerate(found) if m.not_applicable}
    there = _places(found[0]) if found else list(one.places)
    return {f"{one.key}[{i}]": f"{one.metrics[0]}: {p} is not measured in such exposures" for i, p in enumerate(one.places) if p not in there}


def _params(one: DesiKey, qa: QAResult) -> Iterator[tuple[str, Any]]:
    """Ranges of the limit that decided, open ends null; the metric that they are of; the axis of a list; what is expected."""
    judged = [m for m in _metrics(one.judging, qa) if m.deciding is not None]
    # of several metrics the one that makes the status
    deciding = max(judged, key=lambda m: m.status.severity if m.status is not None else -1, default=None)
    if deciding is not None and deciding.deciding is not None:
        yield f"{one.key}_NORMAL_RANGE", list(deciding.deciding.normal)
        yield f"{one.key}_WARN_RANGE", list(deciding.deciding.warning)
        yield f"{one.key}_METRIC", deciding.name
    if one.shape == "list" and (found := _metrics(one.metrics, qa)) and len(found[0].coords) == 1:
        yield f"{one.key}_OF", list(one.places) or _places(found[0])
    parts = [_median(m) for m in _metrics(one.reference, qa)]
    if one.reference and len(parts) == len(one.reference) and None not in parts:
        yield f"{one.key}_REF", sum(p for p in parts if p is not None)


def names_page() -> str:
    """The page that maps the classes of DESI's quick-look to ours (markdown)."""
    lines = [
        "# Names of DESI's quick-look",
        "",
        "Generated by `quicklook reference` from the table that `quicklook export qa` uses; a test fails when it is not up to date.",
        "",
        "Each QA of DESI's quick-look, the key of the merged QA that it judges, and what measures the same here. `quicklook export qa NIGHT/EXPID`",
        "writes our merged QA under DESI's names and in its structure. A status UNKNOWN stays UNKNOWN; what does not apply is left out and named in",
        "GENERAL_INFO; an element of a list that does not apply is null, and named there as KEY[1]. KEY_NORMAL_RANGE and KEY_WARN_RANGE hold the",
        "values of our limits themselves, null for an open end, of the metric KEY_METRIC.",
        "",
        "| DESI class | key | task | QA | metric | judged by | what differs |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in DESI_KEYS:
        metrics, judged = (", ".join(f"`{m}`" for m in names) for names in (one.metrics, one.judging))
        task, qa = f"{one.task}", f"[{one.qa}](qas/{one.qa}.md)"
        lines.append(f"| {one.desi_class} | {one.key} | {task} | {qa} | {metrics} | {judged} | {one.note} |")
    return "\n".join(lines) + "\n"
