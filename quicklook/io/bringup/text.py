"""The description of an instrument as a YAML file, with remarks, and `# unsure` where something is not certain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml


def flow(value: Any) -> str:
    """A value on one line, as YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True).strip()
    return text.removesuffix("...").strip()


def block(key: str, value: Mapping[str, Any], remarks: Mapping[str, str] | None = None, indent: str = "") -> list[str]:
    """Lines of a mapping: its values on one line each, remarks by key."""
    told = remarks or {}
    lines = [f"{indent}{key}:"]
    for name, one in value.items():
        remark = f"   # {told[name]}" if told.get(name) else ""
        if isinstance(one, Mapping) and one.get("rules"):
            lines += [f"{indent}  {name}:{remark}", *_rules(one, indent + "    ")]
        elif isinstance(one, Mapping) and len(flow(one)) > 100:
            lines += [f"{indent}  {name}:{remark}", *(f"{indent}    {k}: {flow(v)}" for k, v in one.items())]
        else:
            lines.append(f"{indent}  {name}: {flow(one)}{remark}")
    return lines


def _rules(spec: Mapping[str, Any], indent: str) -> list[str]:
    lines = [f"{indent}rules:"]
    lines += [f"{indent}  - {flow(rule)}" for rule in spec["rules"]]
    return lines + [f"{indent}{k}: {flow(v)}" for k, v in spec.items() if k != "rules"]


def layout_lines(layout: Mapping[str, Any], remark: str) -> list[str]:
    """Lines of the part `layouts` with one layout."""
    lines = ["layouts:" + (f"   # {remark}" if remark else "")]
    start = "  - "
    for key in ("when", "each"):
        if layout.get(key):
            lines.append(f"{start}{key}: {flow(layout[key])}")
            start = "    "
    lines.append(f"{start}amplifiers:")
    lines += [f"      {flow(name)}: {flow(spec)}" for name, spec in layout["amplifiers"].items()]
    return lines


def unsure_lines(sentences: Sequence[str]) -> list[str]:
    """Remarks at the head of the file."""
    return [f"# unsure: {' '.join(s.split())}" for s in sentences]
