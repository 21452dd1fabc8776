"""Parameters whose values depend on tags (arm, program, telescope), as chains of an observatory write them.

    lookup: [arm, program, telescope]
    params:
      width:
        b: 7.0
        r: {dark: 6.0, _default: 7.0}
        _default: 6.5

A mapping in place of a value is a choice. At each level the tags are tried in the order of `lookup`; the first whose
value is a key of the mapping is taken, else `_default`. A mapping with the key `_stop_here` is itself the value, without
that key. Where the type of a parameter admits a mapping, a mapping without `_default` is the value, and what stands in
it may be a choice again. Every branch is validated when the file is loaded, not in the night when it is first taken.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from quicklook.core.document import Document, Path
from quicklook.core.errors import BadConfig
from quicklook.core.params import Params
from quicklook.core.typewalk import Types, admits_mapping, child, models
from quicklook.core.validation import raise_problems, shorten, suggest, try_validate

P = TypeVar("P", bound=Params)

DEFAULT = "_default"
STOP_HERE = "_stop_here"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaf:
    """A value as written. `stopped`: a mapping that carried `_stop_here`, which is taken off."""

    path: Path
    value: Any
    stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    path: Path
    options: Mapping[str, _Node]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """A mapping that is a value, whose members may be choices."""

    path: Path
    items: Mapping[str, _Node]


_Node = _Leaf | _Choice | _Group
_Pick = Callable[[_Choice], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionalParams(Generic[P]):
    """Validated parameters of one step, some of which may depend on tags. Made by `parse`. Can be pickled."""

    params_type: type[P]
    doc: Document
    lookup: tuple[str, ...]
    root: _Group
    fixed: P | None  # the parameters, where none depends on a tag

    @classmethod
    def parse(
        cls, params_type: type[P], doc: Document, path: Path, lookup: Sequence[str], known_tags: Collection[str] | None = None
    ) -> ConditionalParams[P]:
        """The parameters written at `path` of `doc` (nothing there: all defaults).

        `lookup` holds names of tags in the order they are tried; each must be in `known_tags` where that is given.
        Raises BadConfig with all problems of all branches, each with its file, line and path.
        """
        raise_problems(_lookup_problems(doc, lookup, known_tags))
        given = doc.get(path)
        if given is not None and not isinstance(given, dict):
            raise BadConfig(f"{doc.where(path)}: parameters must be a mapping of names to values; given {shorten(given)}")
        reader = _Reader(doc, tuple(lookup))
        root = reader.group(given or {}, (params_type,), path)
        raise_problems(reader.problems)
        trails = list(_trails(root)) or [{}]
        problems: list[str] = []
        last: P | None = None
        for trail in trails:
            last, found = _try_branch(params_type, doc, root, trail)
            problems += found
        raise_problems(problems)
        return cls(params_type=params_type, doc=doc, lookup=tuple(lookup), root=root, fixed=None if trails[0] else last)

    @property
    def is_conditional(self) -> bool:
        """Whether any parameter depends on a tag."""
        return self.fixed is None

    def resolve(self, tags: Mapping[str, Any]) -> P:
        """The parameters for these tags; values of tags are compared as text, a tag that is None is not tried.

        Raises BadConfig where no branch fits and there is no `_default`, or where values of branches exclude each other.
        """
        if self.fixed is not None:
            return self.fixed
        world = {name: str(tags[name]) for name in self.lookup if tags.get(name) is not None}
        places: dict[Path, Path] = {}
        data = _flatten(self.root, lambda choice: self._pick(choice, world), places, ())
        result, problems = try_validate(self.params_type, data, _locator(self.doc, places))
        chosen = ", ".join(f"{name}={value}" for name, value in world.items())
        raise_problems(f"{problem} (with {chosen})" for problem in problems)
        return cast(P, result)

    def expand(self) -> dict[str, Any]:
        """The parameters as they may be written in a chain file, every default written out, choices kept."""
        return cast(dict[str, Any], _expanded(self.root, (self.params_type,)))

    def _pick(self, choice: _Choice, world: Mapping[str, str]) -> str:
        for name in self.lookup:
            value = world.get(name, DEFAULT)
            if value in choice.options:
                return value
        if DEFAULT in choice.options:
            return DEFAULT
        tried = ", ".join(f"{name}={world.get(name, 'not known')}" for name in self.lookup)
        keys = ", ".join(choice.options)
        raise BadConfig(f"{self.doc.where(choice.path)}: no value for {tried}; keys here: {keys}; add one for it, or {DEFAULT}")


def _lookup_problems(doc: Document, lookup: Sequence[str], known_tags: Collection[str] | None) -> Iterator[str]:
    for index, name in enumerate(lookup):
        if known_tags is not None and name not in known_tags:
            hint = suggest(str(name), sorted(known_tags), noun="tags")
            yield f"{doc.where(('lookup', index))}: unknown tag '{name}'{hint}"


class _Reader:
    """Reads values into nodes, and collects what is wrong with the choices themselves."""

    def __init__(self, doc: Document, lookup: tuple[str, ...]) -> None:
        self.doc = doc
        self.lookup = lookup
        self.problems: list[str] = []

    def node(self, value: Any, types: Types, path: Path) -> _Node:
        if not isinstance(value, dict) or not types:  # no types: an unknown key, which validation will name
            return _Leaf(path=path, value=value)
        if STOP_HERE in value:
            rest = {key: item for key, item in value.items() if key != STOP_HERE}
            return _Leaf(path=path, value=rest, stopped=True)
        if DEFAULT in value or not admits_mapping(types):
            return self.choice(value, types, path)
        return self.group(value, types, path)

    def group(self, value: dict[str, Any], types: Types, path: Path) -> _Group:
        items = {key: self.node(item, child(types, key), (*path, key)) for key, item in value.items()}
        return _Group(path=path, items=items)

    def choice(self, value: dict[str, Any], types: Types, path: Path) -> _Node:
        name = path[-1]
        if not value:
            self.problem(path, f"'{name}' is an empty mapping; write a value")
        elif not self.lookup and set(value) != {DEFAULT}:
            self.problem(path, f"'{name}' takes no mapping, and for a choice by tags the chain has no `lookup: [arm, ...]`")
        for key in map(str, value):
            if key.startswith("_") and key != DEFAULT:
                self.problem((*path, key), f"unknown key '{key}'{suggest(key, [DEFAULT, STOP_HERE], noun='keys with _')}")
        return _Choice(path=path, options={str(key): self.node(item, types, (*path, key)) for key, item in value.items()})

    def problem(self, path: Path, message: str) -> None:
        self.problems.append(f"{self.doc.where(path)}: {message}")


def _flatten(node: _Node, pick: _Pick, places: dict[Path, Path], at: Path) -> Any:
    """The value with every choice made; `places` gets, for each path in it, the path where it was written."""
    while isinstance(node, _Choice):
        node = node.options[pick(node)]
    places[at] = node.path
    if isinstance(node, _Leaf):
        return node.value
    return {key: _flatten(item, pick, places, (*at, key)) for key, item in node.items.items()}


def _locator(doc: Document, places: Mapping[Path, Path]) -> Callable[[Path], str]:
    def where(path: Path) -> str:
        for length in range(len(path), 0, -1):
            if path[:length] in places:
                return doc.where((*places[path[:length]], *path[length:]))
        return doc.where((*places[()], *path))

    return where


def _trails(node: _Node) -> Iterator[dict[Path, str]]:
    """For each leaf that hangs on a choice, the keys that lead to it, by the path of the choice; {} for any other leaf."""
    if isinstance(node, _Choice):
        for key, item in node.options.items():
            for trail in _trails(item):
                yield {node.path: key, **trail}
    elif isinstance(node, _Group):
        below = [trail for item in node.items.values() for trail in _trails(item)]
        yield from [trail for trail in below if trail] or [{}]
    else:
        yield {}


def _try_branch(params_type: type[P], doc: Document, root: _Group, trail: dict[Path, str]) -> tuple[P | None, list[str]]:
    """Validate with the leaf that `trail` leads to, all other choices made to go with it."""
    places: dict[Path, Path] = {}
    pick = _Companions(trail)
    data = _flatten(root, pick, places, ())
    companions = ", ".join(sorted(set(pick.taken)))
    result, problems = try_validate(params_type, data, _locator(doc, places))
    whole = f"{doc.where(root.path)}: "  # a problem between parameters: say which of their values were compared
    return result, [f"{one} (with {companions})" if companions and one.startswith(whole) else one for one in problems]


class _Companions:
    """Makes the other choices so that they could hold together with the one under test.

    Validators that compare fields would otherwise see `low` for arm r beside `high` for arm b, and refuse a good file.
    A key that was taken is taken again; a key that was passed over in one choice is not taken in another.
    """

    def __init__(self, trail: dict[Path, str]) -> None:
        self.trail = trail
        self.taken = [key for key in trail.values() if key != DEFAULT]
        self.passed: set[str] = set()

    def __call__(self, choice: _Choice) -> str:
        key = self.trail.get(choice.path) or self.companion(choice)
        if key != DEFAULT and key not in self.taken:
            self.taken.append(key)
        self.passed |= set(choice.options) - {key}
        return key

    def companion(self, choice: _Choice) -> str:
        same = [key for key in self.taken if key in choice.options]
        free = [key for key in choice.options if key not in self.passed]
        return same[0] if same else DEFAULT if DEFAULT in choice.options else (free or list(choice.options))[0]


def _expanded(node: _Node, types: Types) -> Any:
    if isinstance(node, _Choice):
        return {key: _expanded(item, types) for key, item in node.options.items()}
    if isinstance(node, _Leaf):
        return {**node.value, STOP_HERE: True} if node.stopped else node.value
    given = {key: _expanded(item, child(types, key)) for key, item in node.items.items()}
    own = [model for model in models(types) if issubclass(model, Params)]
    if len(own) != 1:
        return given
    defaults = own[0]().model_dump(mode="json")
    return {name: given[name] if name in given else _written(value, child(types, name)) for name, value in defaults.items()}


def _written(value: Any, types: Types) -> Any:
    """A default so that it is read back as a value and not as a choice."""
    if isinstance(value, dict) and (DEFAULT in value or not admits_mapping(types)):
        return {**value, STOP_HERE: True}
    return value
