"""Puts the example package into a folder as `pip install --target` would, in milliseconds and without a network."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "quicklook_example"


def project() -> dict[str, object]:
    """The table [project] of its pyproject.toml."""
    return dict(tomllib.loads((SOURCE / "pyproject.toml").read_text(encoding="utf-8"))["project"])


def lay_out(target: Path) -> Path:
    """Copy the package into `target` and write the metadata by which its entry points are found."""
    about = project()
    shutil.copytree(SOURCE / "src", target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    name, version = str(about["name"]), str(about["version"])
    info = target / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    lines = []
    for group, points in about["entry-points"].items():  # type: ignore[attr-defined]
        lines += [f"[{group}]", *(f"{k} = {v}" for k, v in points.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return target
