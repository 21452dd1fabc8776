"""Make docs/reference/truth.md: every number of the validation kit for our chain, beside the public pipeline's.

    python docs/make_truth.py                                        # all cases at full scale, some minutes each
    python docs/make_truth.py --cases small --page truth-small.md    # one case, in seconds
    python docs/make_truth.py --simulations DIR                      # simulations that are there are taken from DIR/<case>

The kit is expected in ../shared/validation beside the project. For each case it simulates an arc (100), a flat (101) and a science exposure (102),
runs `quicklook run` on each, once with the calibrations of the simulation and once with traces and fibre flat that the chain itself made
(self-calibrated), and scores what was written.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KIT = ROOT.parent / "shared" / "validation"
REAL_TRACES = ROOT.parent / "shared" / "data" / "desi_psf"
NIGHT, ARC, FLAT, SCIENCE = 20220101, 100, 101, 102
log = logging.getLogger("truth")
QUICKLOOK = (sys.executable, "-m", "quicklook")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One simulation: its camera, the arguments of the kit's simulator, the column of the kit's table of public scores; `traces`: ours instead."""

    camera: str
    arguments: tuple[str, ...] = ()
    column: str = ""
    traces: str = ""


CASES: dict[str, Case] = {
    "r0": Case(camera="r0", column="r0"),
    "b0": Case(camera="b0", arguments=("--camera", "b0"), column="b0"),
    "z0": Case(camera="z0", arguments=("--camera", "z0"), column="z0"),
    "r0-uves": Case(camera="r0", arguments=("--sky", "uves"), column="r0 --sky uves"),
    "b0-uves": Case(camera="b0", arguments=("--camera", "b0", "--sky", "uves")),
    "z0-uves": Case(camera="z0", arguments=("--camera", "z0", "--sky", "uves")),
    "r0-wings": Case(camera="r0", arguments=("--wings", "0.02"), column="r0 --wings 0.02"),
    "small": Case(camera="r0", arguments=("--scale", "small"), column="r0 --scale small"),
    "r0-real": Case(camera="r0", traces="psf-r0-00051060.fits"),
    "b0-real": Case(camera="b0", traces="psf-b0.fits"),
    "z0-real": Case(camera="z0", traces="psf-z0.fits"),
}


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a number must reach: `one` within `tolerance` of 1 (a chi2: or three sigma of its sample), at most or at least `bound`."""

    kind: str
    bound: float

    def text(self) -> str:
        """In a cell of the table."""
        return {"one": f"1 ± {self.bound:g}", "ratio": f"1 ± {self.bound:g}", "most": f"≤ {self.bound:g}", "least": f"≥ {self.bound:g}"}[self.kind]

    def met(self, value: float, n: int | None) -> bool:
        """Whether a value reaches it."""
        if self.kind == "most":
            return abs(value) <= self.bound
        if self.kind == "least":
            return value >= self.bound
        tolerance = max(self.bound, 3.0 * (2.0 / n) ** 0.5) if self.kind == "one" and n else self.bound
        return abs(value - 1.0) <= tolerance

    def distance(self, value: float) -> float:
        """Less is better."""
        return -value if self.kind == "least" else abs(value) if self.kind == "most" else abs(value - 1.0)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number of score.py: product and flavor, its path in the scores, its row and place in the kit's table, what it must reach."""

    name: str
    product: str
    flavor: str
    path: str
    row: str = ""
    place: int = 0
    goal: Goal | None = None
    digits: int = 4


def one(tolerance: float) -> Goal:
    """A chi2 over its degrees of freedom."""
    return Goal(kind="one", bound=tolerance)


def ratio(tolerance: float) -> Goal:
    """A ratio to the truth."""
    return Goal(kind="ratio", bound=tolerance)


def most(bound: float) -> Goal:
    """Not more than."""
    return Goal(kind="most", bound=bound)


def least(bound: float) -> Goal:
    """Not less than."""
    return Goal(kind="least", bound=bound)


def _sky(part: str, place: int, tolerance: float) -> Measure:
    row = "sky fibres chi2_dof all / on / off lines"
    name, path = f"sky fibres, chi2/dof, {part.replace('_', ' ')}", f"sky_fibres_{part}.chi2_dof"
    return Measure(name=name, product="cframe", flavor="science", path=path, row=row, place=place, goal=one(tolerance))


def _kind(name: str, place: int, tolerance: float) -> Measure:
    row, path = "flux chi2_dof ELG / LRG / QSO / STD", f"flux_{name}.chi2_dof"
    return Measure(name=f"flux {name}, chi2/dof", product="cframe", flavor="science", path=path, row=row, place=place, goal=one(tolerance))


def _cosmic(flavor: str, row: str, electrons: int, place: int, goal: Goal | None) -> Measure:
    name = f"cosmic rays above {electrons} e found, {flavor}"
    return Measure(name=name, product="preproc", flavor=flavor, path=f"cosmics.completeness_gt{electrons}e", row=row, place=place, goal=goal)


_FOUND = "cosmics completeness > 20 / 100 / 500 e"
MEASURES: tuple[Measure, ...] = (
    Measure(name="extraction, chi2/dof", product="frame", flavor="science", path="extraction.chi2_dof",
            row="extraction median_abs_pull / chi2_dof", place=1, goal=one(0.02)),
    Measure(name="extraction, sum ratio", product="frame", flavor="science", path="extraction.ratio_sum",
            row="extraction ratio_sum", goal=ratio(0.001), digits=5),
    Measure(name="flux of all live fibres, chi2/dof", product="cframe", flavor="science", path="flux_ALL.chi2_dof",
            row="flux_ALL median_abs_pull / chi2_dof", place=1, goal=one(0.02)),
    _kind("ELG", 0, 0.02), _kind("LRG", 1, 0.02), _kind("QSO", 2, 0.02), _kind("STD", 3, 0.03),
    Measure(name="standards, flux over truth, median", product="cframe", flavor="science", path="STD_ratio.median",
            row="STD ratio median (mad)", goal=ratio(0.001), digits=5),
    _sky("all", 0, 0.02), _sky("on_lines", 1, 0.05), _sky("off_lines", 2, 0.02),
    Measure(name="sky model, relative rms on lines", product="sky", flavor="science", path="sky_model.line_rel_rms",
            row="sky model rel. rms, lines / continuum"),
    Measure(name="sky model, relative rms off lines", product="sky", flavor="science", path="sky_model.cont_rel_rms",
            row="sky model rel. rms, lines / continuum", place=1),
    Measure(name="wavelength error, rms, Angstrom", product="frame", flavor="science", path="wavelength.rms_A",
            row="wavelength median / rms, A", place=1, goal=most(0.006)),
    Measure(name="wavelength error, rms, km/s", product="frame", flavor="science", path="wavelength.rms_kms",
            row="wavelength rms, px / km/s", place=1),
    Measure(name="traces, dx rms, pixel", product="psf", flavor="science", path="trace.dx_rms_px",
            row="trace dx / dy rms, px", goal=most(0.010)),
    Measure(name="traces, dy rms, pixel", product="psf", flavor="science", path="trace.dy_rms_px",
            row="trace dx / dy rms, px", place=1, goal=most(0.010)),
    Measure(name="arc, dy rms, pixel", product="psf", flavor="arc", path="trace.dy_rms_px", row="arc psf: dy rms, px; sigma_y error, px"),
    Measure(name="arc, error of the line width, pixel", product="psf", flavor="arc", path="lsf.median_abs_diff_px",
            row="arc psf: dy rms, px; sigma_y error, px", place=1),
    Measure(name="fibre flat, rms", product="fiberflat", flavor="flat", path="fiberflat.rms", row="fiberflat rms / mad", goal=most(0.0030)),
    Measure(name="pixels masked in live fibres", product="cframe", flavor="science", path="flux_ALL.masked_frac",
            row="masked_frac of flux_ALL", goal=most(0.010)),
    _cosmic("science", _FOUND, 20, 0, least(0.997)), _cosmic("science", _FOUND, 100, 1, least(0.999)),
    _cosmic("flat", "same, flat exposure", 20, 0, least(0.90)), _cosmic("flat", "same, flat exposure", 100, 1, least(0.95)),
    Measure(name="false cosmic pixels, science", product="preproc", flavor="science", path="cosmics.n_false",
            row="cosmics n_masked / n_false", place=1, goal=most(3000), digits=0),
    *(Measure(name=f"read noise over truth, amplifier {amp}", product="preproc", flavor="science", path=f"readnoise_ratio.{amp}",
              row="read noise ratio A B C D", place=i, goal=ratio(0.01)) for i, amp in enumerate("ABCD")),
    Measure(name="preprocessed image, chi2/dof below 5 sigma", product="preproc", flavor="science", path="image.chi2_dof_clip5",
            row="preproc image chi2_dof_clip5", goal=one(0.02)),
)  # fmt: skip
SELF_CALIBRATED = ("extraction.chi2_dof", "flux_ALL.chi2_dof", "STD_ratio.median", "wavelength.rms_A", "sky_fibres_all.chi2_dof")
SELF_GOALS = {"wavelength.rms_A": most(0.010)}


# ---------------------------------------------------------------- running


def call(command: Sequence[str | Path], statuses: Iterable[int] = (0,)) -> str:
    """Run a command with one thread; returns what it said. RuntimeError where its exit status is none of those expected."""
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
    done = subprocess.run([str(c) for c in command], check=False, capture_output=True, text=True, env={**os.environ, **threads})
    if done.returncode not in statuses:
        raise RuntimeError(f"{' '.join(str(c) for c in command)} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def simulate(case: Case, folder: Path, seed: int | None) -> None:
    """Make the simulation of a case, unless it is there."""
    if (folder / "truth" / f"truth-{case.camera}-{SCIENCE:08d}.fits").exists():
        return
    seeded = () if seed is None else ("--seed", str(seed))
    if not case.traces:
        call([sys.executable, KIT / "simulate.py", "--out", folder, "--expids", f"{ARC},{FLAT},{SCIENCE}", *case.arguments, *seeded])
        return
    traces = str(REAL_TRACES / case.traces)
    for flavor, expid in (("arc", ARC), ("flat", FLAT), ("science", SCIENCE)):
        options = ("--camera", case.camera, "--scale", "full", "--traces", traces, "--expid", str(expid), *case.arguments, *seeded)
        call([*QUICKLOOK, "simulate", folder, "--flavor", flavor, *options])


def run(simulation: Path, expid: int, calib: Path, out: Path, tag: str) -> None:
    """Run the chain of an exposure's flavor from the command line. Any verdict is taken; scores judge."""
    raw = simulation / "raw" / str(NIGHT) / f"{expid:08d}" / f"desi-{expid:08d}.fits.fz"
    options = ("--instrument", "desi", "--calib", calib, "--out", out, "--tag", tag, "--write", "preproc", "--no-plots", "--quiet")
    said = call([*QUICKLOOK, "run", raw, *options], (0, 1, 3)).strip().splitlines()
    log.info("  %s %d: %s", tag, expid, said[0] if said else "")


def self_calibration(case: Case, simulation: Path, out: Path, folder: Path) -> Path:
    """An index of the detector's calibrations, and of the traces and the fibre flat that the chain made of arc and flat, as far as they are there."""
    products = out / "self" / "exposures" / str(NIGHT)
    images = next((simulation / "calib").glob("spec/sm*"))
    files = {kind: images / f"{kind}-{case.camera}.fits" for kind in ("bias", "dark", "pixflat", "mask")}
    files["fluxcal"] = images / f"fluxcalib-{case.camera}.fits"
    files["psf"] = products / f"{ARC:08d}" / f"psf-{case.camera}-{ARC:08d}.fits"
    files["fiberflat"] = products / f"{FLAT:08d}" / f"fiberflat-{case.camera}-{FLAT:08d}.fits"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"- {{kind: {kind}, path: {path.absolute()}}}" for kind, path in files.items() if path.exists()]
    (folder / "calib.yaml").write_text("calibrations:\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return folder


def score(products: Path, simulation: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """What score.py says, by product and flavor."""
    report = products / "score.json"
    call([sys.executable, KIT / "score.py", products / "exposures", "--truth", simulation / "truth", "--json", report])
    return {(p["kind"], p["flavor"]): p["scores"] for p in json.loads(report.read_text(encoding="utf-8"))["products"]}


def process(name: str, work: Path, simulations: Path, seed: int | None) -> dict[str, dict[tuple[str, str], dict[str, Any]]]:
    """Simulate, run and score a case: scores with given calibrations, and self-calibrated."""
    case, out, simulation = CASES[name], work / f"out-{name}", simulations / name
    log.info("%s: simulate", name)
    simulate(case, simulation, seed)
    for expid in (ARC, FLAT, SCIENCE):
        run(simulation, expid, simulation / "calib", out, "given")
    run(simulation, ARC, simulation / "calib", out, "self")
    for expid in (FLAT, SCIENCE):
        run(simulation, expid, self_calibration(case, simulation, out, work / f"calib-{name}"), out, "self")
    return {tag: score(out / tag, simulation) for tag in ("given", "self")}


# ---------------------------------------------------------------- the page


def public_scores() -> dict[str, dict[str, list[float]]]:
    """The table of the kit's README: by column and row, the numbers of a cell."""
    text = (KIT / "README.md").read_text(encoding="utf-8")
    lines = [line for line in text[text.index("## Reference to beat") :].splitlines() if line.startswith("|")]
    columns = _cells(lines[0])[1:]
    out: dict[str, dict[str, list[float]]] = {column: {} for column in columns}
    for line in lines[2:]:
        row, *cells = _cells(line)
        if len(cells) != len(columns):
            break
        for column, cell in zip(columns, cells, strict=True):
            out[column][row] = [float(n) for n in re.findall(r"[+-]?\d+\.?\d*", cell)]
    return out


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def value_of(scores: Mapping[tuple[str, str], Mapping[str, Any]], measure: Measure) -> tuple[float | None, int | None]:
    """A number and the size of its sample, where they are there."""
    group: Any = scores.get((measure.product, measure.flavor), {})
    *path, last = measure.path.split(".")
    for key in path:
        group = group.get(key, {})
    value = group.get(last)
    return (float(value), group.get("n")) if value is not None else (None, None)


def row_of(measure: Measure, scores: Mapping[tuple[str, str], Mapping[str, Any]], public: Mapping[str, list[float]], goal: Goal | None) -> str:
    """A line of the table of a case."""
    value, n = value_of(scores, measure)
    theirs = public.get(measure.row, [])
    peer = theirs[measure.place] if len(theirs) > measure.place else None
    shown = [f"{v:.{measure.digits}f}" if v is not None else "-" for v in (value, peer)]
    reached = "-" if value is None or goal is None else "yes" if goal.met(value, n) else "**no**"
    compare = goal or (one(0.0) if "chi2" in measure.path else most(0.0))
    better = "-"
    if value is not None and peer is not None:  # the public number is rounded: ours is taken as it is shown
        better = "yes" if compare.distance(round(value, measure.digits)) <= compare.distance(round(peer, measure.digits)) else "**no**"
    return f"| {measure.name} | {shown[0]} | {shown[1]} | {goal.text() if goal else '-'} | {reached} | {better} |"


HEAD = "| number | ours | public | must reach | reached | at least as good as the public one |\n|---|---|---|---|---|---|"


def page(results: Mapping[str, dict[str, dict[tuple[str, str], dict[str, Any]]]], seed: int | None) -> str:
    """The whole page."""
    public = public_scores()
    parts = [
        "# Truth",
        "Made by `make truth` (docs/make_truth.py); not edited by hand. Every number is that of `../shared/validation/score.py` on what"
        " `quicklook run` wrote, beside the public pipeline's from the kit's README. A chi2 counts by its distance from 1; its tolerance is"
        " the one given or three sigma of its sample." + ("" if seed is None else f" Seed of the simulations: {seed}."),
    ]
    for name, scores in results.items():
        case = CASES[name]
        what = f"our simulator, traces of the real instrument ({case.traces})" if case.traces else f"simulate.py {' '.join(case.arguments)}".strip()
        theirs = public.get(case.column, {})
        rows = [row_of(m, scores["given"], theirs, m.goal) for m in MEASURES]
        own = [row_of(m, scores["self"], {}, SELF_GOALS.get(m.path, m.goal)) for m in MEASURES if m.path in SELF_CALIBRATED]
        parts += [f"## {name}", f"Camera {case.camera}; {what}.", "\n".join([HEAD, *rows])]
        parts += ["Self-calibrated, with traces and fibre flat from its own arc and flat:", "\n".join([HEAD, *own])]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help=f"cases, separated by commas: {', '.join(CASES)}")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "truth", help="folder for everything that is made")
    parser.add_argument("--simulations", type=Path, default=None, help="folder of simulations by case; default: in the work folder")
    parser.add_argument("--seed", type=int, default=None, help="another seed for the simulations")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "reference" / "truth.md")
    given = parser.parse_args(arguments)
    if not KIT.is_dir():
        log.error("the validation kit (../shared/validation) is not here")
        return 2
    unknown = [name for name in given.cases.split(",") if name not in CASES]
    if unknown:
        log.error("there are no cases %s; there are %s", ", ".join(unknown), ", ".join(CASES))
        return 2
    results: dict[str, dict[str, dict[tuple[str, str], dict[str, Any]]]] = {}
    for name in given.cases.split(","):
        results[name] = process(name, given.work, given.simulations or given.work, given.seed)
        given.page.write_text(page(results, given.seed), encoding="utf-8")  # after each case: one that fails does not cost the others
    log.info("%s is written", given.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
