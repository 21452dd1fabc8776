"""Which chain an exposure gets where the site names none."""

from __future__ import annotations

import dataclasses

import pytest

from quicklook.core.errors import BadConfig
from quicklook.io.configfiles import find_config, list_configs
from quicklook.service.site import load_site


def test_a_detector_without_traces_stays_at_the_raw_level() -> None:
    site = load_site(None, options={"instrument": "virus"})
    assert {flavor: site.chain_name(flavor) for flavor in ("science", "flat", "arc", "dark", "zero", "odd")} == {
        "science": "raw", "flat": "raw", "arc": "raw", "dark": "raw", "zero": "zero", "odd": "raw",
    }  # fmt: skip
    assert {chain.name for chain in site.chains().values()} == {"raw", "zero"}


def test_a_test_bench_has_light_without_spectra() -> None:
    site = load_site(None, options={"instrument": "vis_bench"})
    assert {flavor: site.chain_name(flavor) for flavor in ("flat", "dark", "zero", "odd")} == {
        "flat": "bench-flat", "dark": "dark", "zero": "zero", "odd": "raw",
    }  # fmt: skip


def test_a_long_slit_has_chains_of_its_own() -> None:
    site = load_site(None, options={"instrument": "kast_blue"})
    assert {flavor: site.chain_name(flavor) for flavor in ("science", "flat", "arc", "dark", "zero", "odd")} == {
        "science": "slit-science", "flat": "slit-flat", "arc": "slit-arc", "dark": "dark", "zero": "zero", "odd": "raw",
    }  # fmt: skip
    assert {"slit-science", "slit-flat", "slit-arc"} <= {chain.name for chain in site.chains().values()}
    assert (site.builder("fluxcal").name, site.builder("fiberflat").name, site.builder("bias").name) == ("slit-fluxcal", "slit-fiberflat", "bias")


def test_the_chains_of_an_instrument_are_those_that_it_names() -> None:
    site = load_site(None, options={"instrument": "kast_blue"})
    named = dataclasses.replace(site, instrument=site.instrument.model_copy(update={"chains": {"science": "zero", "_default": "zero"}}))
    assert [named.chain_name(f) for f in ("science", "flat")] == ["zero", "zero"]
    of_site = load_site(None, options={"instrument": "kast_blue", "chains": {"_default": "raw"}})
    assert of_site.chain_name("zero") == "raw"


@pytest.mark.parametrize("name", list_configs("chains"))
def test_every_chain_judges_the_calibrations_it_used(name: str) -> None:
    """A stale, provisional or lacking one is a warning in any chain."""
    steps = find_config("chains", name).get(("steps",))
    qas = [qa["qa"] if isinstance(qa, dict) else qa for step in steps for qa in step.get("qas", [])]
    assert qas.count("calibrations") == (1 if len(steps) > 1 else 0)  # one that only reads takes none


def test_desi_has_a_chain_for_every_flavor() -> None:
    site = load_site(None, options={"instrument": "desi"})
    for flavor in ("science", "flat", "arc", "dark", "zero"):
        assert site.chain_name(flavor) in list_configs("chains")
    with pytest.raises(BadConfig, match="names no chain for flavor 'flat'"):
        load_site(None, options={"instrument": "desi", "chains": {"science": "raw"}}).chain_name("flat")
