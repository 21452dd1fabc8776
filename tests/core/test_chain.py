"""Chains are checked as a whole when they are loaded; what is wrong is told with file, path and line."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import core_toys
import pytest
import yaml

from quicklook.core.chain import Chain, load_chain
from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.yamlsource import parse_yaml

Load = Callable[..., Chain]

GOOD = """\
chain: toy
doc: for tests
lookup: [arm, flavor]
products: [total]
steps:
  - name: read
    qas: [level_qa]
  - name: scale
    params:
      factor: {b: 3.0, r: {zero: 4.0, _default: 5.0}, _default: 2.0}
    qas:
      - step_qa
      - {qa: level_qa, name: again, params: {values: [1.0]}}
  - name: add
    alg: sum
    qas: [total_qa]
"""


def test_a_good_chain(load: Load) -> None:
    chain = load(GOOD)
    assert [(s.name, s.algorithm) for s in chain.steps] == [("read", "read"), ("scale", "scale"), ("add", "sum")]
    assert [q.name for q in chain.qas] == ["level_qa", "step_qa", "again", "total_qa"]
    assert (chain.name, chain.doc, chain.source, chain.products) == ("toy", "for tests", "toy.yaml", ("total",))
    assert chain.distributions == ("toys",)


def test_conditional_parameters_follow_the_lookup(load: Load) -> None:
    params = load(GOOD).steps[1].params
    assert params.resolve({"arm": "b", "flavor": "zero"}).factor == 3.0
    assert params.resolve({"arm": "r", "flavor": "zero"}).factor == 4.0
    assert params.resolve({"arm": "r", "flavor": "arc"}).factor == 5.0
    assert params.resolve({"arm": "z"}).factor == 2.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  - name: scale", "  - name: scaale", r"toy.yaml:8 \(steps\[1\]\.name\): no algorithm is called 'scaale'; did you mean 'scale'"),
        ("alg: sum", "alg: summ", r"toy.yaml:15 \(steps\[2\]\.alg\): .*did you mean 'sum'"),
        ("      - step_qa", "      - step_qq", r"toy.yaml:12 \(steps\[1\]\.qas\[0\]\): no qa is called 'step_qq'; did you mean 'step_qa'"),
        ("{qa: level_qa, name", "{qa: level_q, name", r"toy.yaml:13 \(steps\[1\]\.qas\[1\].*did you mean 'level_qa'"),
        ("factor: {b", "facter: {b", r"toy.yaml:10 \(steps\[1\]\.params\.facter\): unknown key 'facter'; did you mean 'factor'"),
        ("r: {zero: 4.0", "r: {zero: -4.0", r"toy.yaml:10 \(steps\[1\]\.params\.factor\.r\.zero\): must be greater than 0.0?; given -4"),
        ("b: 3.0", "b: many", r"toy.yaml:10 \(steps\[1\]\.params\.factor\.b\): must be a number; given .?many"),
        ("params: {values: [1.0]}", "params: {value: [1.0]}", r"toy.yaml:13 \(steps\[1\]\.qas\[1\]\.params\.value\).*did you mean 'values'"),
        ("params: {values: [1.0]}", "parms: {values: [1.0]}", r"toy.yaml:13 .*unknown key 'parms'; did you mean 'params'"),
        ("products:", "product:", r"toy.yaml:4 \(product\): unknown key 'product'; did you mean 'products'"),
        ("  - name: read", "  - name: red", r"toy.yaml:6 \(steps\[0\]\): the first step reads; call it `read`, it is 'red'"),
        ("name: again", "name: scale", r"toy.yaml:13 \(steps\[1\]\.qas\[1\]\): the name 'scale' is used twice"),
        ("name: again, ", "", r"toy.yaml:13 \(steps\[1\]\.qas\[1\]\): the name 'level_qa' is used twice; give one of them another `name`"),
        ("name: add", "name: scale", r"toy.yaml:14 \(steps\[2\]\): the name 'scale' is used twice"),
        ("lookup: [arm, flavor]", "lookup: [arm, flavour]", r"toy.yaml:3 \(lookup\[1\]\): unknown tag 'flavour'; did you mean 'flavor'"),
        ("chain: toy\n", "", r"toy.yaml:1 \(chain\): is required and is not there"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_path(load: Load, old: str, new: str, message: str) -> None:
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    with pytest.raises(BadConfig, match=message):
        load(text)


def test_all_problems_of_a_file_are_told_at_once(load: Load) -> None:
    with pytest.raises(BadConfig, match=r"(?s)(toy.yaml:4.*'product'.*toy.yaml:15.*'algo')|(toy.yaml:15.*'algo'.*toy.yaml:4.*'product')"):
        load(GOOD.replace("products:", "product:").replace("alg:", "algo:"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "chain: a\nsteps:\n  - name: read\n    qas: [total_qa]\n",
            r"toy.yaml:4 \(steps\[0\]\.qas\[0\]\): total_qa needs Total \(total\), .*; there are: Level$",
        ),
        (
            "chain: a\nsteps:\n  - name: read\n    qas: [step_qa]\n",
            r"toy.yaml:4 .*step_qa needs Level \(before\), and nothing gives one before this step",
        ),
        ("chain: a\nsteps:\n  - name: read\n  - name: average\n", r"toy.yaml:4 \(steps\[1\]\): average works on a group of exposures"),
        ("chain: a\nsteps: []\n", r"toy.yaml:2 \(steps\): must not be empty"),
    ],
)
def test_a_contract_that_cannot_be_met_is_refused(load: Load, text: str, message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        load(text)


def test_a_qa_may_use_what_its_own_step_makes_but_not_what_comes_later(load: Load) -> None:
    load("chain: a\nsteps: [{name: read}, {name: sum, qas: [total_qa]}]\n")
    with pytest.raises(BadConfig, match="total_qa needs Total"):
        load("chain: a\nsteps: [{name: read}, {name: scale, qas: [total_qa]}, {name: sum}]\n")


def test_a_calibration_is_left_to_the_index(load: Load) -> None:
    assert load("chain: a\nsteps: [{name: read}, {name: needs_offset}]\n").steps[1].algorithm == "needs_offset"


def test_a_subtype_fulfils_the_contract(load: Load) -> None:
    text = "chain: a\nsteps: [{name: read}, {name: scale}]\n"
    assert load_chain(parse_yaml(text, "x"), provides=(core_toys.FineLevel,)).steps[1].name == "scale"
    with pytest.raises(BadConfig, match="scale needs Level"):
        load_chain(parse_yaml(text, "x"), provides=())


def test_a_plugin_of_another_kind_is_refused(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = {"algorithm": {"scale": core_toys.ref("algorithm", core_toys.LevelQa, "scale")}, "qa": {}}
    monkeypatch.setattr("quicklook.core.registry.registered", lambda kind: odd[kind])
    with pytest.raises(BadConfig, match=r"toy.yaml:3 .*core_toys:LevelQa is registered as algorithm 'scale' and is no PipelineAlg"):
        load("chain: a\nsteps: [{name: read},\n  {name: scale}]\n")


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "chain: a\nsteps: [{name: read}]\n",
        "chain: a\nsteps: [{name: start, alg: read, qas: [{qa: level_qa, name: other}]}]\n",
        "chain: a\nsteps: [{name: read}, {name: scale, params: {factor: {b: 3, _default: 2}, wait: 2 min}}]\n",
    ],
    ids=["good", "read alone", "renamed", "units"],
)
def test_an_expanded_chain_loads_again_and_is_the_same(load: Load, text: str) -> None:
    first = load(text)
    second = load(yaml.safe_dump(first.expand(), sort_keys=False))
    assert second.expand() == first.expand()
    assert second.sha256 == first.sha256
    assert load(yaml.safe_dump(second.expand())).sha256 == first.sha256


def test_the_expanded_chain_shows_every_default(load: Load) -> None:
    steps = load(GOOD).expand()["steps"]
    assert steps[2] == {
        "name": "add",
        "alg": "sum",
        "params": {"factor": 2.0, "wait": 1.0, "fail": ""},
        "qas": [{"qa": "total_qa", "name": "total_qa", "params": {}}],
    }
    assert steps[1]["params"]["factor"] == {"b": 3.0, "r": {"zero": 4.0, "_default": 5.0}, "_default": 2.0}


def test_an_expanded_chain_names_plugins_as_they_are_registered(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point may give a class another name than its own; the name of the class could not be loaded again."""
    aliases = {"algorithm": {}, "qa": {"nickname": core_toys.ref("qa", core_toys.LevelQa, "nickname")}}
    monkeypatch.setattr("quicklook.core.registry.registered", lambda kind: aliases[kind])
    first = load("chain: a\nsteps: [{name: read, qas: [nickname]}]\n")
    assert load(yaml.safe_dump(first.expand())).sha256 == first.sha256


def test_the_checksum_covers_every_parameter(load: Load) -> None:
    sums = {
        load(text).sha256
        for text in (
            GOOD,
            GOOD.replace("zero: 4.0", "zero: 4.5"),
            GOOD.replace("[1.0]", "[1.5]"),
            GOOD.replace("[arm, flavor]", "[flavor, arm]"),
            GOOD.replace("alg: sum", "alg: sum\n    params: {fail: x}"),
            GOOD.replace("qas: [total_qa]", "qas: []"),
        )
    }
    assert len(sums) == 6


def test_a_chain_can_be_pickled(load: Load) -> None:
    chain = load(GOOD)
    again = pickle.loads(pickle.dumps(chain))
    assert again.sha256 == chain.sha256
    assert again.steps[1].params.resolve({"arm": "b"}).factor == 3.0


def test_overrides_of_steps_and_of_qas(load: Load) -> None:
    chain = load(GOOD, "scale.factor=7", "add.wait=2 min", "again.values=[9.0]", "level_qa.values=[5.0]")
    assert chain.steps[1].params.resolve({"arm": "b"}).factor == 7.0
    assert chain.steps[2].params.resolve({}).wait == 120.0
    assert [q.params.resolve({}).values for q in chain.qas if q.plugin is core_toys.LevelQa] == [(5.0,), (9.0,)]


def test_the_last_override_wins_and_may_be_conditional(load: Load) -> None:
    params = load(GOOD, "scale.factor=7", "scale.factor={b: 8, _default: 9}").steps[1].params
    assert [params.resolve({"arm": a}).factor for a in "br"] == [8.0, 9.0]


def test_an_override_may_change_one_branch(load: Load) -> None:
    params = load(GOOD, "scale.factor.r.zero=1.5").steps[1].params
    assert [params.resolve({"arm": "r", "flavor": f}).factor for f in ("zero", "arc")] == [1.5, 5.0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("scle.factor=7", "-c scle.factor=7: toy.yaml has no step or QA called 'scle'; did you mean 'scale'"),
        ("zzz.factor=7", "there are: read, level_qa, scale, step_qa, again, add, total_qa"),
        ("scale.facter=7", "-c scale.facter=7: unknown key 'facter'; did you mean 'factor'"),
        ("scale.factor=many", "-c scale.factor=many: must be a number; given .?many"),
        ("scale.factor=-1", "-c scale.factor=-1: must be greater than 0"),
        ("scale.wait=3 pixel", "-c scale.wait=3 pixel: "),
        ("read.factor=7", "-c read.factor=7: unknown key 'factor'"),
    ],
)
def test_a_wrong_override_is_named(load: Load, override: str, message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        load(GOOD, override)


@pytest.mark.parametrize(
    "text", ["chain: a\nsteps: 3\n", "chain: a\nsteps: [3, {name: [1]}]\n", "chain: a\nsteps: [{qas: 3}, {qas: [3, [4]]}]\n", "chain: a\n"]
)
def test_an_override_of_a_broken_chain_is_no_crash(load: Load, text: str) -> None:
    with pytest.raises(BadConfig):
        load(text, "scale.factor=7")


@pytest.mark.parametrize("nothing", ["params:", "params: {}", "qas:", "qas: []", "doc:"])
def test_a_key_with_nothing_after_it(load: Load, nothing: str) -> None:
    """Loaded as if it were not there, or refused at its line; never anything else."""
    text = f"chain: a\nsteps:\n  - name: read\n    {nothing}\n"
    try:
        load(text)
    except BadConfig as error:
        assert "toy.yaml:4" in str(error)  # noqa: PT017


def test_a_document_made_in_python_is_a_chain_too() -> None:
    data: dict[str, Any] = {"chain": "a", "steps": [{"name": "read"}, {"name": "scall"}]}
    with pytest.raises(BadConfig, match=r"python \(steps\[1\]\.name\): no algorithm is called 'scall'"):
        load_chain(Document.from_data(data, "python"), provides=(core_toys.Level,))
