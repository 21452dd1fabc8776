"""Conditions on facts, as a person writes them: ``flavor = science and (exptime > 300 or program in (dark, "bright moon"))``. Pure.

The grammar, loosest first; words are taken in any case, nothing is ever evaluated as code::

    either     := both { "or" both }
    both       := one { "and" one }
    one        := "not" one | "(" either ")" | name comparison
    comparison := ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=") value | ["not"] "in" "(" value { "," value } ")"
    value      := a number | a word | text in single or double quotes

Two numbers are compared as numbers, all else as text (times are ISO text, so that their order is right). What is not known of an exposure
makes a comparison neither true nor false, and so its opposite: such an exposure is not chosen by it.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from quicklook.core.errors import BadConfig

Facts = Mapping[str, str]
Truth = bool | None
"""None: not known."""
T = TypeVar("T")

_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<op><=|>=|==|!=|[=<>(),])|(?P<quoted>"[^"]*"|'[^']*')|(?P<word>[^\s=<>!(),"']+)"""
)
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_WORDS = ("and", "or", "not", "in")
_DEEPEST = 50


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int

    def is_word(self, word: str) -> bool:
        return self.kind == "word" and self.text.lower() == word


def number_in(text: str) -> int | float | None:
    """The number of a text, whole ones without loss: a double has 16 digits, and exposures may have numbers of 18; None where it is none."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return None


def compare(op: str, fact: str, value: str) -> bool:
    """Two texts compared, as numbers where both are."""
    left, right = number_in(fact), number_in(value)
    if left is not None and right is not None:
        return _OPERATORS[op](left, right)
    return _OPERATORS[op](fact, value)


@dataclass(frozen=True, slots=True)
class _Comparison:
    name: str
    op: str
    values: tuple[str, ...]

    def truth(self, facts: Facts) -> Truth:
        fact = facts.get(self.name, "")
        if not fact:
            return None
        if self.op in ("in", "not in"):
            return any(compare("=", fact, v) for v in self.values) is (self.op == "in")
        return compare(self.op, fact, self.values[0])


@dataclass(frozen=True, slots=True)
class _Not:
    inner: _Node

    def truth(self, facts: Facts) -> Truth:
        inner = self.inner.truth(facts)
        return None if inner is None else not inner


@dataclass(frozen=True, slots=True)
class _Many:
    """All of them (`all_of`), or any."""

    of: tuple[_Node, ...]
    all_of: bool

    def truth(self, facts: Facts) -> Truth:
        each = [node.truth(facts) for node in self.of]
        decisive = not self.all_of
        return decisive if decisive in each else None if None in each else not decisive


_Node = _Comparison | _Not | _Many


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A condition that has been read. `names` are the facts that it asks for."""

    text: str
    node: _Node
    names: frozenset[str]

    def __call__(self, facts: Facts) -> bool:
        """Whether it holds for certain; an empty fact is not known."""
        return self.node.truth(facts) is True

    def fold(self, leaf: Callable[[str, str, tuple[str, ...]], T], invert: Callable[[T], T], join: Callable[[Sequence[T], bool], T]) -> T:
        """The condition with something else in place of truths: `leaf` makes it of a comparison (name, operator, values), `invert` is "not",
        `join` is "and" (True) or "or" (False) of many."""

        def of(node: _Node) -> T:
            if isinstance(node, _Comparison):
                return leaf(node.name, node.op, node.values)
            return invert(of(node.inner)) if isinstance(node, _Not) else join([of(n) for n in node.of], node.all_of)

        return of(self.node)

    def mapped(self, change: Callable[[str, str, tuple[str, ...]], tuple[str, tuple[str, ...]]]) -> Where:
        """The same condition with each comparison (name, operator, values) changed to another operator and other values."""

        def leaf(name: str, op: str, values: tuple[str, ...]) -> _Node:
            return _Comparison(name, *change(name, op, values))

        def join(of: Sequence[_Node], all_of: bool) -> _Node:
            return _Many(tuple(of), all_of)

        node: _Node = self.fold(leaf, _Not, join)
        return Where(text=self.text, node=node, names=self.names)

    @property
    def required(self) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        """Comparisons (name, operator, values) without which it does not hold, whatever else is so."""
        nodes = self.node.of if isinstance(self.node, _Many) and self.node.all_of else (self.node,)
        return tuple((n.name, n.op, n.values) for n in nodes if isinstance(n, _Comparison))


def parse_where(text: str, known: Collection[str]) -> Where:
    """Read a condition; `known` are the names of facts that there are. Raises BadConfig, with the position of what is wrong."""
    parser = _Parser(text, known)
    node = parser.either()
    parser.end()
    return Where(text=text, node=node, names=frozenset(parser.names))


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str, known: Collection[str]) -> None:
        self._text, self._known = text, known
        self._tokens = list(self._scan())
        self._next = self._depth = 0
        self.names: set[str] = set()

    def _scan(self) -> list[_Token]:
        out, at = [], 0
        while at < len(self._text):
            found = _TOKEN.match(self._text, at)
            if found is None:
                raise self._wrong(at, "a quote that is not closed" if self._text[at] in "\"'" else f"{self._text[at]!r} cannot be read here")
            if found.lastgroup != "space":
                out.append(_Token(str(found.lastgroup), found[0], at))
            at = found.end()
        return [*out, _Token("end", "", len(self._text))]

    def _wrong(self, at: int, what: str) -> BadConfig:
        where = f"--where, character {at + 1}: {what}\n  {self._text}\n  {' ' * at}^"
        return BadConfig(where, what_next="Mend the condition, as in: flavor = science and exptime > 300")

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._token
        self._next += token.kind != "end"
        return token

    def _expect(self, op: str) -> None:
        token = self._take()
        if token.kind != "op" or token.text != op:
            raise self._wrong(token.at, f"{op!r} is expected here{self._found(token)}")

    @staticmethod
    def _found(token: _Token) -> str:
        return "; the text ends" if token.kind == "end" else f", not {token.text!r}"

    def end(self) -> None:
        """Refuse what is left over."""
        token = self._token
        if token.kind != "end":
            raise self._wrong(token.at, f"'and' or 'or' is expected here, not {token.text!r}")

    def either(self) -> _Node:
        """Alternatives."""
        return self._many("or", self._both, all_of=False)

    def _both(self) -> _Node:
        return self._many("and", self._one, all_of=True)

    def _many(self, word: str, read: Callable[[], _Node], *, all_of: bool) -> _Node:
        nodes = [read()]
        while self._token.is_word(word):
            self._take()
            nodes.append(read())
        return nodes[0] if len(nodes) == 1 else _Many(tuple(nodes), all_of)

    def _one(self) -> _Node:
        token = self._take()
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong(token.at, f"more than {_DEEPEST} brackets and 'not' within each other")
        if token.is_word("not"):
            node: _Node = _Not(self._one())
        elif (token.kind, token.text) == ("op", "("):
            node = self.either()
            self._expect(")")
        else:
            node = self._comparison(token)
        self._depth -= 1
        return node

    def _comparison(self, token: _Token) -> _Node:
        if token.kind != "word" or token.text.lower() in _WORDS:
            raise self._wrong(token.at, f"the name of a fact is expected here{self._found(token)}")
        if token.text not in self._known:
            near = difflib.get_close_matches(token.text, sorted(self._known), n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(self._known))}"
            raise self._wrong(token.at, f"there is no fact {token.text!r}; {hint}")
        self.names.add(token.text)
        op = self._take()
        if op.is_word("in") or (op.is_word("not") and self._token.is_word("in")):
            if op.is_word("not"):
                self._take()
            return _Comparison(token.text, "in" if op.is_word("in") else "not in", self._values())
        if op.kind != "op" or op.text not in _OPERATORS:
            raise self._wrong(op.at, f"a comparison (= != < <= > >= in) is expected here{self._found(op)}")
        return _Comparison(token.text, op.text, (self._value(),))

    def _values(self) -> tuple[str, ...]:
        self._expect("(")
        values = [self._value()]
        while (self._token.kind, self._token.text) == ("op", ","):
            self._take()
            values.append(self._value())
        self._expect(")")
        return tuple(values)

    def _value(self) -> str:
        token = self._take()
        if token.kind == "quoted":
            return token.text[1:-1]
        if token.kind != "word" or token.text.lower() in _WORDS:
            raise self._wrong(token.at, f"a value is expected here{self._found(token)}")
        return token.text
