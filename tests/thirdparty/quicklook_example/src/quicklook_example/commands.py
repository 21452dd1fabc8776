"""A command of one's own."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("hello")(hello)


def hello(name: str = "observer") -> None:
    """Say hello."""
    typer.echo(f"hello {name}")
