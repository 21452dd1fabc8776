from __future__ import annotations

import math
import pickle
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, model_validator

from quicklook.core import yamlsource
from quicklook.core.document import Document, Place, format_path
from quicklook.core.errors import BadConfig
from quicklook.core.yamlsource import merge, parse_value, parse_yaml, validate

CHAIN = """\
# a chain
name: zero
lookup: [arm, program]
steps:
  - use: preproc
    params:
      width: 7.0
  - use: "boxcar"
    params: {low: 1, high: 2}
"""


@pytest.fixture(params=["CSafeLoader", "SafeLoader"], autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything holds with the parser in C and with the one in Python."""
    monkeypatch.setattr(yamlsource, "_LOADER", getattr(yaml, request.param))


def refused(text: str) -> str:
    with pytest.raises(BadConfig) as caught:
        parse_yaml(text, "chain.yaml")
    return str(caught.value)


def test_every_node_knows_its_line() -> None:
    doc = parse_yaml(CHAIN, "chains/zero.yaml")
    assert doc.data["steps"][1] == {"use": "boxcar", "params": {"low": 1, "high": 2}}
    assert doc.line(("name",)) == 2
    assert doc.line(("lookup", 1)) == 3
    assert doc.line(("steps", 0, "params", "width")) == 7
    assert doc.line(("steps", 1)) == 8
    assert doc.where(("steps", 1, "params", "high")) == "chains/zero.yaml:9 (steps[1].params.high)"
    assert doc.where() == "chains/zero.yaml:2"


def test_a_place_that_is_not_there_is_shown_at_its_nearest_ancestor() -> None:
    doc = parse_yaml(CHAIN, "z.yaml")
    assert doc.where(("steps", 0, "params", "height")) == "z.yaml:6 (steps[0].params.height)"
    assert doc.get(("steps", 5, "use"), "none") == "none"
    assert doc.get(("name", "x")) is None


def test_document_can_be_pickled() -> None:
    doc = parse_yaml(CHAIN, "z.yaml")
    assert pickle.loads(pickle.dumps(doc)) == doc


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("00055556", 55556),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2026-01-02", "2026-01-02"),
        ("on", "on"),
        ("no", "no"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ('"7"', "7"),
        ("! 7", "7"),
        ("!!str 7", "7"),
        ("!!float 7", 7.0),
        ("100 arcsec", "100 arcsec"),
        ("[12, deg]", [12, "deg"]),
        ("{b: 7, _default: 6}", {"b": 7, "_default": 6}),
        ("e-", "e-"),
        (".", "."),
        ("\ufeffa", "a"),
    ],
)
def test_values_follow_the_core_schema(text: str, value: Any) -> None:
    got = parse_value(text, "x")
    assert got == value
    assert type(got) is type(value)


def test_nan_is_nan() -> None:
    assert math.isnan(parse_value(".nan", "x"))


def test_keys_are_text_as_written() -> None:
    assert parse_yaml("0: a\non: b\n007: c\nnull: d", "x").data == {"0": "a", "on": "b", "007": "c", "null": "d"}


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\nb: 2\na: 3", "chain.yaml:3", "'a' is written twice (first in line 1)"),
        ("a: 1\nb:\n\t- 2", "chain.yaml:3", "spaces, not with tabs"),
        ("a: [1, 2\nb: 3", "chain.yaml:2", "not valid YAML"),
        ("a: b: c", "chain.yaml:1", "in quotes"),
        ("- 1\n- 2", "chain.yaml:1", "a list; it must be a mapping"),
        ("# c\n\nword", "chain.yaml:3", "single value 'word'"),
        ("", "chain.yaml:1", "is empty"),
        ("# nothing\n", "chain.yaml:1", "is empty"),
        ("a: 1\n---\nb: 2", "chain.yaml:2", "second document"),
        ("a: 1\nb: !!python/object:os.system x", "chain.yaml:2", "python/object"),
        ("a: !mine [1]", "chain.yaml:1", "!mine is not allowed"),
        ("a: !!binary aGk=", "chain.yaml:1", "is not allowed"),
        ("a: !!int x", "chain.yaml:1", "not of the type"),
        ("!!int a: 1", "chain.yaml:1", "not allowed on a key"),
        ("[a, b]: 1", "chain.yaml:1", "key must be a plain word"),
        ("a: *nobody", "chain.yaml:1", "*nobody"),
        ("a: &a [*a]", "chain.yaml:1", "*a"),
        ("a: 1\n<<: 3", "chain.yaml:2", "<< merges mappings"),
        ("b: &b {x: 1}\n<<: *b\n<<: *b", "chain.yaml:3", "second merge key"),
        ("a: 1e999", "chain.yaml:1", "too large"),
        ("a: " + "9" * 5000, "chain.yaml:1", "5000 digits"),
        ("a: 1\nb: \x00", "chain.yaml:2", "remove it"),
        ("a: \ud800", "chain.yaml:1", "remove it"),
        ("a: " + "[" * 200, "chain.yaml:1", "nested deeper"),
        ("a: " + "{a: " * 200, "chain.yaml:1", "nested deeper"),
    ],
)
def test_what_cannot_be_used_is_refused_with_file_and_line(text: str, place: str, words: str) -> None:
    message = refused(text)
    assert message.startswith(place + ":")
    assert words in message


def test_odd_numbers_in_escapes_and_directives_are_bad_configuration() -> None:
    assert "not valid YAML" in refused('a: "\\UFFFFFFFF"')
    assert "not valid YAML" in refused(f"%YAML 1.{'9' * 5000}\n---\na: 1")


def test_alias_bomb_and_size_are_bounded() -> None:
    bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    assert "once aliases are written out" in refused(bomb)
    assert "too many for a configuration" in refused("a: 1\n" * 1_000_000)


def test_anchors_and_merge_keys() -> None:
    text = "base: &b {x: 1, y: 2}\nmore: &m {y: 5, z: 6}\na:\n  <<: *b\n  y: 3\nb: {<<: [*b, *m]}\nc: *b\n'<<': 1\n"
    doc = parse_yaml(text, "m.yaml")
    assert doc.data["a"] == {"x": 1, "y": 3}
    assert doc.data["b"] == {"x": 1, "y": 2, "z": 6}
    assert doc.data["c"] == {"x": 1, "y": 2}
    assert doc.data["<<"] == 1
    assert doc.line(("a", "x")) == 1
    assert doc.line(("a", "y")) == 5
    assert doc.line(("b", "z")) == 2
    assert doc.line(("c",)) == 7


YAML_TEXT = st.text(alphabet=st.sampled_from(list("ab01:-[]{}&*!<>|?%#'\"\\ \n\t,._~@`ex\u0085\ufeff\x07")), max_size=60)


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(st.text(max_size=60), YAML_TEXT), loader_name=st.sampled_from(["CSafeLoader", "SafeLoader"]))
def test_any_text_gives_a_document_or_bad_config(text: str, loader_name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yamlsource, "_LOADER", getattr(yaml, loader_name))
        try:
            doc = parse_yaml(text, "h.yaml")
        except BadConfig as error:
            assert str(error).startswith("h.yaml:")  # noqa: PT017 (both outcomes are right)
        else:
            assert isinstance(doc.data, dict)
            assert all(place.line is not None and place.line >= 1 for place in doc.places.values())


PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9999, 9999), st.floats(allow_nan=False), st.text("ab 0:#'", max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(data=st.dictionaries(st.text("abc", min_size=1), PLAIN, max_size=4))
def test_what_json_writes_is_read_back(data: dict[str, Any]) -> None:
    import json

    text = json.dumps(data).replace("Infinity", ".inf")
    assert parse_yaml(text, "x").data == data


# merging


def test_merge_keeps_the_place_of_each_value() -> None:
    base = parse_yaml("out: /a\nexec:\n  kind: local\n  cores: 4\nlist: [1, 2]\nkeep: {a: {b: 1}}\n", "site.yaml")
    over = parse_yaml("# mine\nexec:\n  cores: 8\nlist: [3]\nkeep: {a: 5}\nnew: 1\n", "local.yaml")
    doc = merge(base, over)
    assert doc.data == {
        "out": "/a",
        "exec": {"kind": "local", "cores": 8},
        "list": [3],
        "keep": {"a": 5},
        "new": 1,
    }
    assert doc.where(("exec", "kind")) == "site.yaml:3 (exec.kind)"
    assert doc.where(("exec", "cores")) == "local.yaml:3 (exec.cores)"
    assert doc.where(("list", 1)) == "local.yaml:4 (list[1])"
    assert doc.where(("keep", "a", "b")) == "local.yaml:5 (keep.a.b)"
    assert doc.where(("new",)) == "local.yaml:6 (new)"
    assert base.data["exec"] == {"kind": "local", "cores": 4}
    assert "site.yaml" in doc.source
    assert "local.yaml" in doc.source


def test_merge_with_data_that_has_no_lines() -> None:
    doc = merge(parse_yaml("a: 1\nb: 2", "s.yaml"), Document.from_data({"a": 3}, "options of this command"))
    assert doc.where(("a",)) == "options of this command"
    assert doc.where(("b",)) == "s.yaml:2 (b)"


MAPPINGS = st.dictionaries(st.sampled_from("abc"), PLAIN, max_size=3)


@settings(max_examples=100, deadline=None)
@given(base=MAPPINGS, over=MAPPINGS)
def test_merge_over_wins_and_is_idempotent(base: dict[str, Any], over: dict[str, Any]) -> None:
    first, second = Document.from_data(base, "1"), Document.from_data(over, "2")
    once = merge(first, second)
    assert merge(once, second).data == once.data
    assert merge(Document.from_data({}, "0"), second).data == over
    for key in base.keys() - over.keys():
        assert once.data[key] == base[key]


def test_with_value_copies() -> None:
    doc = parse_yaml(CHAIN, "z.yaml")
    new = doc.with_value(("steps", 0, "params", "width"), 9, "-c preproc.width=9")
    assert new.get(("steps", 0, "params", "width")) == 9
    assert new.where(("steps", 0, "params", "width")) == "-c preproc.width=9"
    assert doc.get(("steps", 0, "params", "width")) == 7.0
    with pytest.raises(KeyError):
        doc.with_value(("name", "x"), 1, "-c")


def test_format_path() -> None:
    assert format_path(("steps", 1, "params", 0, 2, "x")) == "steps[1].params[0][2].x"
    assert Place(source="a", line=1).line == 1


# validation


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Box(Frozen):
    kind: Literal["box"] = "box"
    width: float = Field(7.0, gt=0)
    rows: tuple[int, int] = (0, 1)


class Disc(Frozen):
    kind: Literal["disc"]
    radius: int = Field(3, le=10)


class Step(Frozen):
    use: str
    shape: Annotated[Box | Disc, Field(discriminator="kind")] | None = None
    limit: int | str = 3
    names: list[str] = []
    low: float = 0
    high: float = 1

    @model_validator(mode="after")
    def _order(self) -> Step:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


class Chain(Frozen):
    name: str
    mode: Literal["wait", "aim"] = "aim"
    steps: list[Step] = []
    named: dict[str, Step] = {}
    by_arm: dict[Literal["b", "r"], int] = {}


def problems(text: str, model: type[BaseModel] = Chain) -> list[str]:
    with pytest.raises(BadConfig) as caught:
        validate(model, parse_yaml(text, "c.yaml"))
    assert "pydantic" not in str(caught.value)
    return str(caught.value).splitlines()


def test_validate_gives_the_model() -> None:
    doc = parse_yaml("name: a\nsteps:\n  - {use: x, low: 0.5}", "c.yaml")
    assert validate(Chain, doc) == Chain(name="a", steps=[Step(use="x", low=0.5)])
    assert validate(Step, doc, ("steps", 0)).low == 0.5
    assert validate(Step, doc, ("steps", 0), {"use": "y"}).use == "y"


def test_all_problems_are_told_at_once_each_with_its_line() -> None:
    text = "nam: x\nmode: waits\nsteps:\n  - use: 3\n    lo: 1\n  - low: 2\n    use: a\n"
    assert problems(text) == [
        "c.yaml:1 (name): is required and is not there",
        "c.yaml:2 (mode): must be 'wait' or 'aim'; given \"waits\"; did you mean 'wait'?",
        "c.yaml:4 (steps[0].use): must be text; given 3; put it in quotes",
        "c.yaml:5 (steps[0].lo): unknown key 'lo'; did you mean 'low'? valid keys: use, shape, limit, names, low, high",
        "c.yaml:6 (steps[1]): low must be below high",
        "c.yaml:1 (nam): unknown key 'nam'; did you mean 'name'? valid keys: name, mode, steps, named, by_arm",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("steps: {a: 1}", '(steps): must be a list, such as [a, b]; given {"a": 1}'),
        ("steps: [7]", "(steps[0]): must be a mapping of keys to values; given 7"),
        ("steps: null", "(steps): must be a list, such as [a, b]; given null"),
        ("named: {a: {use: x, hig: 2}}", "(named.a.hig): unknown key 'hig'; did you mean 'high'?"),
        ("steps: [{use: a, shape: {kind: box, widht: 1}}]", "unknown key 'widht'; did you mean 'width'? valid keys: kind, width, rows"),
        ("steps: [{use: a, shape: {kind: disc, radius: 11}}]", "(steps[0].shape.radius): must be 10 or less; given 11"),
        ("steps: [{use: a, shape: {kind: box, width: -1}}]", "must be greater than 0.0; given -1"),
        ("steps: [{use: a, shape: {kind: box, width: wide}}]", 'must be a number; given "wide"'),
        ("steps: [{use: a, shape: {kind: box, rows: [1, x]}}]", '(steps[0].shape.rows[1]): must be a whole number; given "x"'),
        ("steps: [{use: a, shape: {kind: bix}}]", "(steps[0].shape): 'kind' must be one of 'box', 'disc'"),
        ("steps: [{use: a, shape: {width: 1}}]", "(steps[0].shape): 'kind' is required"),
        ("steps: [{use: a, limit: 1.5}]", "must be a whole number or must be text; given 1.5"),
        ("steps: [{use: a, names: [" + "x" * 90 + ", 1]}]", "(steps[0].names[1]): must be text; given 1"),
        ("by_arm: {b: 1, q: 2}", "(by_arm.q): the key must be 'b' or 'r'"),
    ],
)
def test_messages_are_words(line: str, message: str) -> None:
    found = problems(f"name: x\n{line}")
    assert len(found) == 1
    assert found[0].startswith("c.yaml:2 ")
    assert message in found[0]


def test_long_values_are_shortened() -> None:
    (found,) = problems("name: x\nsteps: " + "y" * 500)
    assert len(found) < 120
    assert "yyy..." in found


def test_problems_of_a_merged_document_name_both_files() -> None:
    doc = merge(parse_yaml("name: 1", "a.yaml"), parse_yaml("mode: x", "b.yaml"))
    with pytest.raises(BadConfig) as caught:
        validate(Chain, doc)
    first, second = str(caught.value).splitlines()
    assert first.startswith("a.yaml:1 (name)")
    assert second.startswith("b.yaml:1 (mode)")


@settings(max_examples=100, deadline=None)
@given(data=st.dictionaries(st.sampled_from(["name", "mode", "steps", "named", "by_arm", "x"]), PLAIN))
def test_any_data_is_validated_or_refused(data: dict[str, Any]) -> None:
    try:
        result = validate(Chain, Document.from_data(data, "d"))
    except BadConfig as error:
        assert all(line.startswith("d ") or line.startswith("d:") for line in str(error).splitlines())  # noqa: PT017
    else:
        assert isinstance(result, Chain)


@pytest.mark.parametrize("text", ["a: 1\nwhen: {exptime: >300}\n", "a: 1\nexptime: >300\n", "a: 1\nexptime: [>300, 900]\n"])
def test_a_comparison_without_quotes_is_told_to_be_quoted(text: str) -> None:
    with pytest.raises(BadConfig, match=r'f.yaml:2: not valid YAML: .*; put text that begins with > in quotes: ">300"$'):
        parse_yaml(text, "f.yaml")
