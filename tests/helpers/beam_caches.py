"""Cache what Apache Beam recomputes for every transform of a pipeline: a third of the time of a small run.

Reading a pipeline's options builds an argument parser every time, and every stage is asked several times for the
signatures of all its methods.
"""

from __future__ import annotations

import functools
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

BUSY = ("transforms.core", "transforms.ptransform", "transforms.util", "typehints.decorators")
"""Beam's modules that look up signatures."""


def keep_once_imported() -> None:
    """Install the caches, if Beam has been imported."""
    if "apache_beam.pipeline" in sys.modules and not _kept():
        _keep_views()
        for name in BUSY:
            module = sys.modules[f"apache_beam.{name}"]
            module.get_signature = _keep_methods(module.get_signature)


def _kept() -> bool:
    from apache_beam.options.pipeline_options import PipelineOptions

    return hasattr(PipelineOptions.view_as, "__wrapped__")


def _keep_views() -> None:
    from apache_beam.options.pipeline_options import PipelineOptions

    make, views = PipelineOptions.view_as, weakref.WeakKeyDictionary()

    @functools.wraps(make)
    def view_as(options: Any, kind: type) -> Any:
        kept = views.setdefault(options, {})
        if kind not in kept or kept[kind]._all_options is not options._all_options:
            kept[kind] = make(options, kind)
        return kept[kind]

    PipelineOptions.view_as = view_as


def _keep_methods(find: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Cache signatures of methods by their function; plain functions come and go."""
    kept: dict[Any, Any] = {}

    @functools.wraps(find)
    def get_signature(function: Any) -> Any:
        if not isinstance(function, types.MethodType):
            return find(function)
        if function.__func__ not in kept:
            kept[function.__func__] = find(function)
        return kept[function.__func__]

    return get_signature
