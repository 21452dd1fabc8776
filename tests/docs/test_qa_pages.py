"""Every QA of the project has a page that says what it declares, and an example plot beside it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from quicklook.cli.exampleplots import MAX_BYTES, _write_stars
from quicklook.io.starfile import read_stdstars
from quicklook.service.proofs.qapages import FOLDER, SAID, clauses, own_configs, own_qas, pictures, qa_pages, said, shipped
from quicklook.sim import FAULTS, plan_exposure, sim_instruments, write_calibrations
from quicklook.sim.targets import targets_of


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return qa_pages()


def test_each_has_a_page_with_all_that_it_declares(pages: dict[str, str]) -> None:
    every = own_qas()
    assert len(every) > 40
    assert set(pages) == {f"{FOLDER}/{name}.md" for name in [*every, "index"]}
    limits = shipped(own_configs()).limits
    for name, plugin in every.items():
        page = pages[f"{FOLDER}/{name}.md"]
        assert f"]({name}.md)" in pages[f"{FOLDER}/index.md"]
        for metric in plugin.metrics:
            assert f"| `{metric.name}` | {metric.unit or '-'} | {', '.join(metric.dims) or '-'} |" in page
            # a limit of each file stands on the page, or the metric is said to be judged by none
            assert (metric.name in limits) != (f"`{metric.name}`" in page.partition("Measured and not judged: ")[2].partition("\n")[0]), metric.name
        for parameter, _, _ in plugin.get_default_config():
            assert f"| `{parameter}` |" in page


@pytest.mark.parametrize("name", own_qas())
def test_each_states_what_it_measures_how_and_by_whose_formula(name: str, pages: dict[str, str]) -> None:
    plugin = own_qas()[name]
    told = said(plugin)
    assert tuple(told) == SAID, f"the docstring of {plugin.__name__} lacks a line that begins with 'Formula:' or 'Source:', or its text"
    assert len(told["Source"].split()) >= 3
    assert "=" in told["Formula"]
    lacking = [m.name for m in plugin.metrics if m.name not in told["Formula"]]
    assert not lacking, f"the formula in the docstring of {plugin.__name__} does not say what these are: {lacking}"
    sections = [line.removeprefix("## ") for line in pages[f"{FOLDER}/{name}.md"].splitlines() if line.startswith("## ")]
    assert tuple(sections[: len(SAID)]) == SAID


def test_a_formula_is_shown_by_its_parts() -> None:
    class Toy:
        """Counts. Twice.

        Formula: a = b; c = d (per e; not f), g.h apart. Error: none
        Source: own definition; no other.
        """

    told = said(Toy)  # type: ignore[arg-type]
    assert told == {"Meaning": "Counts. Twice.", "Formula": "a = b; c = d (per e; not f), g.h apart. Error: none", "Source": "own definition; no other."}
    assert list(clauses(told["Formula"])) == ["a = b", "c = d (per e; not f), g.h apart", "Error: none"]


def test_what_a_page_says_of_limits_chains_and_faults(pages: dict[str, str]) -> None:
    page = pages[f"{FOLDER}/read_noise.md"]
    assert "| `read_noise` | 1.1 to 4.1 electron | 0.6 to 4.6 electron | always |" in page
    assert "Used in chains `arc`, " in page
    assert "; builders `bias`" in page
    assert f"- {FAULTS['hot_noise_amp'].description} (`hot_noise_amp`)" in page
    assert "Get_RMS (NOISE_AMP)" in page


def test_tables_are_not_torn(pages: dict[str, str]) -> None:
    for name, page in pages.items():
        lines = page.splitlines()
        for before, line in itertools.pairwise(lines):
            if line.startswith("|") and before.startswith("|"):
                assert line.replace("\\|", "").count("|") == before.replace("\\|", "").count("|"), f"{name}: {line}"


def test_each_has_a_small_example_plot(repo_root: Path, pages: dict[str, str]) -> None:
    for name, picture in pictures(repo_root / "docs/reference").items():
        assert picture.is_file(), f"run `quicklook reference --plots`: {picture.name}"
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size <= MAX_BYTES, picture.name
        assert f"]({name}.png)" in pages[f"{FOLDER}/{name}.md"]


def test_the_stars_of_the_examples_are_those_of_the_exposures(tmp_path: Path) -> None:
    (camera,) = sim_instruments(("r0",), scale="tiny", seed=5)
    write_calibrations(tmp_path, (camera,))
    _write_stars(tmp_path, camera)
    stars = read_stdstars(tmp_path / "calib" / "stdstars.fits")
    targets = targets_of(camera, plan_exposure("science", 41).tileid)
    assert stars.fiber is not None
    assert stars.fiber.tolist() == targets.fiber[targets.kind == "STD"].tolist()
    # of its spectrum in the middle of the arm: the AB magnitude (f_nu = 10^(-0.4 (m + 48.6))), to a tenth
    wave = float(np.median(stars.wave))
    flux = 10 ** (-0.4 * (targets.mag[targets.kind == "STD"] + 48.6)) * 2.99792458e18 / wave**2 / 1e-17
    np.testing.assert_allclose(np.median(stars.flux, axis=1), flux, rtol=0.1)
