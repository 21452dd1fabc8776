"""Values from the command line: `-c step.param=value` lies over what the files say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from quicklook.core.document import Document, Path, Place, format_path, has_step, replaced
from quicklook.core.errors import BadConfig
from quicklook.core.yamlsource import parse_value

_FORM = 'write -c step.param=value, for example -c preproc.width=7.0 or -c "preproc.width={b: 7, _default: 6}"'
_NAME = re.compile(r"[^\s.\[\]={}:,]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One option `-c target.path=value`. `target` is the name of a step, `path` the parameter in it.

    In `path` the index of a list is text too (`regions[1].low` is ("regions", "1", "low")).
    """

    target: str
    path: tuple[str, ...]
    value: Any
    text: str

    @property
    def source(self) -> str:
        """How messages name it: `-c preproc.width=x`."""
        return f"-c {self.text}"

    def document(self) -> Document:
        """A document that holds this value alone, at target and path; its `where` is the option itself."""
        data = self.value
        for name in reversed((self.target, *self.path)):
            data = {name: data}
        return Document(data=data, source=self.source, places={(): Place(source=self.source, line=None)})


def parse_override(text: str) -> Override:
    """The override of an option's text; the value is a scalar, a list [..] or a mapping {..} of YAML.

    Raises BadConfig, which shows the right form.
    """
    name, equals, written = text.partition("=")
    names = re.sub(r"\[(\d+)\]", r".\1", name.strip()).split(".")
    if not equals or not written.strip():
        raise BadConfig(f"-c {text}: there is no value (null is written null); {_FORM}")
    if len(names) < 2 or not all(_NAME.fullmatch(part) for part in names):
        raise BadConfig(f"-c {text}: '{name}' does not name a step and a parameter of it; {_FORM}")
    return Override(target=names[0], path=tuple(names[1:]), value=_value(text, written.strip()), text=text)


def _value(text: str, written: str) -> Any:
    try:
        value = parse_value(written, f"-c {text}")
    except BadConfig as error:
        raise BadConfig(f"{error}; quote text that has : or # in it; {_FORM}") from None
    block = isinstance(value, dict | list) and written[0] not in "{["
    if block or (value is None and written.startswith("#")):
        raise BadConfig(f"-c {text}: the value is to be one value, [a, b] or {{a: b}}; quote text that has : or # in it; {_FORM}")
    return value


def apply(data: Any, override: Override) -> Any:
    """A copy of `data` (what the target holds: dicts, lists, None) with the value in its place.

    Mappings that are missing are made. Raises BadConfig where the path leads into a single value or past a list's end.
    """
    try:
        return replaced(data, _steps(data, override.path), override.value)
    except KeyError as error:
        raise _no_way(override, error) from None


def apply_to(doc: Document, at: Path, override: Override) -> Document:
    """A copy of `doc` with the value in its place below `at` (where the target's parameters are, as ("steps", 1, "params")).

    `where` of that place is then the option itself. Raises BadConfig as `apply` does.
    """
    path = (*at, *_steps(doc.get(at), override.path))
    try:
        return doc.with_value(path, override.value, override.source)
    except KeyError as error:
        raise _no_way(override, error) from None


def _steps(data: Any, path: tuple[str, ...]) -> Path:
    """The path with whole numbers where `data` has a list."""
    steps: list[str | int] = []
    node = data
    for name in path:
        step: str | int = int(name) if isinstance(node, list) and name.isdecimal() else name
        steps.append(step)
        node = node[step] if has_step(node, step) else None
    return tuple(steps)


def _no_way(override: Override, error: KeyError) -> BadConfig:
    place = format_path(error.args[0])
    return BadConfig(f"{override.source}: cannot set '{place}': a single value, or the end of a list, is in the way; {_FORM}")
