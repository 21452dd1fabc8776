"""Plugins by entry point."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from quicklook.core import registry
from quicklook.core.errors import BadConfig
from quicklook.core.registry import PluginRef, _refs, find

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


@pytest.fixture(autouse=True)
def toy_registry() -> None:
    """Here the real registry is tested, not the one of the toys."""


def point(name: str, value: str, distribution: str) -> EntryPoint:
    class Dist:
        name = distribution
        version = "1.0"

    made = EntryPoint(name, value, "quicklook.qas")
    vars(made).update(dist=Dist)
    return made


def ref(target: str) -> PluginRef:
    return PluginRef(kind="qa", name="odd", target=target, distribution="odd-package", version="0.1")


def test_an_unknown_name_tells_the_nearest() -> None:
    with pytest.raises(BadConfig, match="no qa is called 'read_nois'; did you mean 'read_noise'"):
        find("qa", "read_nois")


def test_an_unknown_name_that_is_near_to_none_tells_all() -> None:
    with pytest.raises(BadConfig, match="no qa is called 'zzzzzz'; known: .*dead_amp"):
        find("qa", "zzzzzz")


def test_a_kind_without_plugins_says_so() -> None:
    with pytest.raises(BadConfig, match="known: none"):
        find("command", "modbus")


def test_two_packages_that_claim_a_name_are_told_apart() -> None:
    with pytest.raises(BadConfig, match="two packages register the qa 'noise': ours and theirs; remove one"):
        _refs("qa", [point("noise", "a:B", "ours"), point("noise", "c:D", "theirs")])


def test_the_same_plugin_found_twice_is_one() -> None:
    """A checkout on the path and its installed metadata are seen as two distributions."""
    assert list(_refs("qa", [point("noise", "a:B", "ours"), point("noise", "a:B", "ours")])) == ["noise"]


def test_plugins_know_where_they_come_from() -> None:
    got = find("qa", "dead_amp")
    assert (got.distribution, got.target) == ("spectroquicklook", "qa.dead_amp:DeadAmp")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nothing_of_that_name", "No module named"),
        ("x = 1", "has no attribute 'Odd'|cannot be imported"),
        ("class Odd(:", "invalid syntax"),
        ("raise RuntimeError('licence expired')", "licence expired"),
        ("from quicklook.core.plugin import PipelineAlg\nclass Odd(PipelineAlg):\n    name = 'odd'", "no docstring"),
    ],
    ids=["missing module", "missing class", "syntax", "raises", "breaks the contract"],
)
def test_a_plugin_that_cannot_be_imported_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    (tmp_path / "odd_plugin_module.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "odd_plugin_module", raising=False)
    with pytest.raises(BadConfig, match=f"(?s)qa 'odd' .odd_plugin_module:Odd, of odd-package. cannot be imported.*({message})"):
        ref("odd_plugin_module:Odd").load()
    sys.modules.pop("odd_plugin_module", None)


def test_what_is_installed_is_what_the_project_declares() -> None:
    """After a change of the entry points the project has to be installed again; a stale one hides plugins."""
    import tomllib

    declared = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"]
    for kind, group in registry.GROUPS.items():
        ours = {r.name: r.target for r in registry.registered(kind).values() if r.distribution == "spectroquicklook"}
        assert ours == declared.get(group, {}), f"{group}: run `pip install -e .` again"
