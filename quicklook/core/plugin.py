"""Contracts of plugins: a pipeline algorithm (PA) makes products, a monitoring algorithm (QA) measures them.

The signature of `run` or `measure` is the contract: the runner reads it (see `quicklook.core.contract`), so a plugin takes
what it needs by type and can reach nothing else. Plugins change none of their inputs, are deterministic, and can be pickled.
"""

from __future__ import annotations

import inspect
import logging
import typing
from typing import Any, ClassVar, Generic, TypeVar

from quicklook.core.errors import BadConfig
from quicklook.core.metrics import MetricDef
from quicklook.core.params import Params, get_default_config

P = TypeVar("P", bound=Params)


class NoParams(Params):
    """For a plugin that has nothing to set."""


class Plugin(Generic[P]):
    """Base of all plugins: a name, typed parameters, a logger. A subclass names its parameters: ``PipelineAlg[MyParams]``."""

    name: ClassVar[str] = ""
    params_type: ClassVar[type[Params]] = NoParams

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            for arg in typing.get_args(base):
                if isinstance(arg, type) and issubclass(arg, Params):
                    cls.params_type = arg

    def __init__(self, params: P | None = None) -> None:
        """With the parameters given, or the defaults. Raises BadConfig if they are of another plugin."""
        if params is not None and not isinstance(params, self.params_type):
            raise BadConfig(f"{self.name}: parameters are {type(params).__name__}, it takes {self.params_type.__name__}")
        self.params: P = typing.cast(P, self.params_type() if params is None else params)

    @property
    def log(self) -> logging.Logger:
        """The logger of this plugin."""
        return logging.getLogger(f"quicklook.plugin.{self.name}")

    @classmethod
    def get_default_config(cls) -> list[tuple[str, Any, str]]:
        """(name, default, description) of every parameter."""
        return get_default_config(cls.params_type)


def _check_method(cls: type, method: str) -> None:
    """Refuse a plugin class whose `method` is missing or not annotated. Raises TypeError."""
    function = getattr(cls, method, None)
    if function is None:
        raise TypeError(f"{cls.__qualname__} defines no `{method}`: its signature is its contract")
    signature = inspect.signature(function)
    bare = [p.name for p in list(signature.parameters.values())[1:] if p.annotation is inspect.Parameter.empty]
    if bare or signature.return_annotation is inspect.Signature.empty:
        raise TypeError(f"{cls.__qualname__}.{method}: annotate {', '.join([*bare, 'the return value'])}")


def _check_name(cls: type[Plugin[Any]]) -> None:
    if not cls.__dict__.get("name"):
        raise TypeError(f"{cls.__qualname__} has no `name`")
    if not (cls.__doc__ or "").strip():
        raise TypeError(f"{cls.__qualname__} has no docstring: say in a sentence what it does")


class PipelineAlg(Plugin[P]):
    """A pipeline algorithm. A subclass defines ``run(self, <inputs by type>) -> <product, or tuple of products>``.

    An argument ``x: T | None`` may be absent. An argument ``xs: Sequence[T]`` makes it a group algorithm: it runs over the
    exposures of a group and its items are loaded one after another. Where it does not apply (no sky fibres) it raises NotApplicable: it
    and what rests on its products are left out, and the verdict says so.
    """

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        _check_name(cls)
        _check_method(cls, "run")


class MonitoringAlg(Plugin[P]):
    """A monitoring algorithm. A subclass declares `metrics` and defines ``measure(self, <inputs by type>) -> Measures``.

    It measures and lays out plots as data; it never judges and never draws. Where it does not apply it raises NotApplicable.
    """

    metrics: ClassVar[tuple[MetricDef, ...]] = ()
    group: ClassVar[str] = "CCDs"
    """Heading under which people find it: CCDs, Fibres or Spectra."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        _check_name(cls)
        _check_method(cls, "measure")
        if not cls.metrics:
            raise TypeError(f"{cls.__qualname__} declares no metrics")
        names = [m.name for m in cls.metrics]
        if len(set(names)) != len(names):
            raise TypeError(f"{cls.__qualname__} declares a metric twice: {names}")
