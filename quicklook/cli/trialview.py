"""How values that are out look in a terminal and as JSON, each judged by limits learned from the other exposures."""

from __future__ import annotations

import json
from collections import Counter

import typer

from quicklook.core.judge import number, range_words
from quicklook.core.learn import LearnSettings, refused_words
from quicklook.core.outliers import Finding, Trial
from quicklook.io.atomic import jsonable


def print_trial(trial: Trial, about: str, settings: LearnSettings) -> None:
    """Counts first, then each group of values with something out, worst first."""
    out = [o for f in trial.findings for o in f.outliers]
    counts = Counter(o.status.value for o in out)
    told = ", ".join(f"{n} {status}" for status, n in sorted(counts.items())) or ("none is out" if trial.judged else "nothing could be judged")
    typer.echo(f"{about}: {trial.judged} values of {trial.groups} groups in {trial.exposures} exposures, each judged by the others: {told}")
    each = Counter(str(o.sample.key.unit) for o in out)
    if each:
        typer.echo("by exposure: " + ", ".join(f"{unit}: {n}" for unit, n in each.most_common()))
    for text in refused_words(trial.refused, settings):
        typer.echo(f"not judged: {text}")
    for finding in trial.findings:
        typer.echo("")
        for line in finding_lines(finding):
            typer.echo(line)


def finding_lines(finding: Finding) -> list[str]:
    """A finding in lines: what, which exposures with value, range and by how much, the values of all, why."""
    unit = f" {finding.unit}" if finding.unit else ""
    lines = [f"{finding.status.value if finding.outliers else 'unstable'}  {finding.label}"]
    for one in finding.outliers:
        change = f", {100 * one.change:+.1f} %" if one.change == one.change else ""
        reach = f"normal {range_words(*one.limit.normal)}, warning {range_words(*one.limit.warning)}{unit}"
        lines.append(f"    {one.status.value} in {one.sample.key.unit}: {number(one.sample.value)}{unit} ({one.sigmas:+.1f} sigma{change}; {reach})")
    if len(finding.values) <= 12:
        lines.append("    all: " + "  ".join(number(v) for _, v in finding.values))
    return lines + [f"    - {why}" for why in finding.why]


def print_json(trial: Trial) -> None:
    """All of it as strict JSON."""
    findings = [
        {
            "metric": f.metric,
            "unit": f.unit,
            "when": dict(f.when),
            "status": f.status.value,
            "outliers": [
                {
                    "exposure": str(o.sample.key.unit),
                    "camera": o.sample.key.part,
                    "value": o.sample.value,
                    "status": o.status.value,
                    "sigmas": o.sigmas,
                    "normal": o.limit.normal,
                    "warning": o.limit.warning,
                    "rests_on": o.limit.exposures,
                }
                for o in f.outliers
            ],
            "values": {str(unit): value for unit, value in f.values},
            "why": list(f.why),
        }
        for f in trial.findings
    ]
    refused = [{"metric": r.metric, "when": dict(r.when), "why": r.why} for r in trial.refused]
    data = {"judged": trial.judged, "groups": trial.groups, "exposures": trial.exposures, "findings": findings, "refused": refused}
    typer.echo(json.dumps(jsonable(data), allow_nan=False, ensure_ascii=False, indent=1))
