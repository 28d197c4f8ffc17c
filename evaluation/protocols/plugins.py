"""Metrics and extractors of other packages: found by their entry points, checked, or left out."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields, replace
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec
from math import isfinite
from types import MappingProxyType, UnionType
from typing import Any, Literal, Protocol, TypeVar, get_args, get_origin, get_type_hints

from evaluation.imagesets.plugins import LeftOut, load_plugins
from evaluation.protocols.extractor_specs import ExtractorSpec
from evaluation.protocols.metric_specs import BOARD, MetricSpec

RESERVED = ("level", "images_per_second", "nfe", "parameters", "device_seconds")  # keys of boards
FEATURE_NEEDS = ("logits", "classes", "held-out")  # what a metric of features can be given


class PluginError(ValueError):
    """What another package brings is not what it should be; the message says what was expected."""


class _Spec(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def implementation(self) -> str: ...


S = TypeVar("S", MetricSpec, ExtractorSpec)


def with_installed(
    built_in: Iterable[S], group: str, check: Callable[[S, Iterable[S]], None]
) -> tuple[Mapping[str, S], list[LeftOut]]:
    """Return specs by name, those that are built in first, and what was left out.

    That are those of other packages that are faulty, or have a name that is taken.
    """
    found = {spec.name: spec for spec in built_in}
    kind = type(next(iter(found.values())))
    plugins, left_out = load_plugins(group)
    for plugin in plugins:
        try:
            spec = _of_kind(plugin.value, kind)
            check_fields(spec)
            check(spec, found.values())
        except PluginError as error:
            left_out.append(plugin.left_out(error))
        else:
            found[spec.name] = _signed(spec, asdict(plugin.package))
    return MappingProxyType(found), left_out


def _of_kind(value: object, kind: type[S]) -> S:
    if not isinstance(value, kind):
        raise PluginError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _signed(spec: S, package: Mapping[str, str]) -> S:
    """Return the spec with its package, which is so part of what decides a value."""
    if isinstance(spec, MetricSpec):
        board = {field: getattr(spec, field) for field in BOARD}
        parameters = {**spec.parameters, "package": package, "board": board}
        return replace(spec, package=package, parameters=parameters)  # type: ignore[call-arg]  # S is a MetricSpec
    return replace(spec, package=package)


# --- Checks -----------------------------------------------------------------------------------


def expect(field: str, holds: bool, expected: str, value: object) -> None:
    """Raise PluginError with what was expected unless it holds."""
    if not holds:
        raise PluginError(f"{field}: expected {expected}, got {value!r}")


def check_fields(spec: MetricSpec | ExtractorSpec) -> None:
    """Raise PluginError unless every field is of its type and what is loaded later exists."""
    hints = get_type_hints(type(spec))
    for field in fields(spec):
        value = getattr(spec, field.name)
        hint = getattr(hints[field.name], "__name__", hints[field.name])
        expect(field.name, _is_of(value, hints[field.name]), str(hint), value)
    expect("package", not spec.package, "none: it is known from the installation", spec.package)
    module, _, name = spec.implementation.partition(":")
    is_path = all(map(str.isidentifier, [*module.split("."), name]))
    expect("implementation", is_path, "module:name", spec.implementation)
    expect("implementation", _exists(module), "a module that is installed", spec.implementation)


def _exists(module: str) -> bool:
    """Return whether a module is installed; the packages it lies in may be heavy: none is imported."""
    name, *rest = module.split(".")
    try:
        found = find_spec(name)
    except ValueError:  # it is loaded already, and came from nowhere
        return False
    for part in rest:
        name = f"{name}.{part}"
        places = found and found.submodule_search_locations
        found = PathFinder.find_spec(name, places or [])
    return found is not None


def check_metric(spec: MetricSpec, others: Iterable[MetricSpec]) -> None:
    """Raise PluginError unless a metric of another package can stand beside the others."""
    _check_texts(spec, r"[a-z][a-z0-9_]{0,49}", ("label", "prefix", "help"))
    expect("name", spec.name not in RESERVED, "a name no column of boards has", spec.name)
    for other in others:
        _expect_free("name", spec.name, other.name)
        _expect_free("label", spec.label, other.label)
        _expect_free("prefix and suffix", _written(spec), _written(other))
    for field in ("label", "prefix", "suffix"):
        text = getattr(spec, field)
        expect(field, "FID" not in text, "no FID, which is Inception's Fréchet distance", text)
    expect("by_default", not spec.by_default, "False: presets are the same everywhere", True)
    expect("needs", {*spec.needs} <= {*FEATURE_NEEDS}, f"some of {FEATURE_NEEDS}", spec.needs)
    expect("parameters", not {"package", "board"} & {*spec.parameters}, "other names", "these")
    method = spec.uncertainty.get("method")
    expect("uncertainty", isinstance(method, str) and method != "", "a method in words", method)


def check_extractor(spec: ExtractorSpec, others: Iterable[ExtractorSpec]) -> None:
    """Raise PluginError unless an extractor of another package can stand beside the others."""
    texts = ("label", "layer", "channels_rule", "resize", "help")
    _check_texts(spec, r"[a-z0-9][a-z0-9._-]{0,99}", texts)
    for other in others:
        _expect_free("name", spec.name, other.name)
        _expect_free("name", spec.name, other.short_name)
    expect("short_name", spec.short_name == spec.name, f"the name, {spec.name!r}", spec.short_name)
    expect("dim", spec.dim is None or spec.dim > 0, "at least 1, or None", spec.dim)
    expect("known_weights", not spec.known_weights, "none: they are FID's", spec.known_weights)


def _check_texts(spec: _Spec, name: str, texts: Iterable[str]) -> None:
    expect("name", re.fullmatch(name, spec.name) is not None, f"a name like {name}", spec.name)
    for field in texts:
        value = getattr(spec, field)
        expect(field, value.strip() != "", "text", value)


def _expect_free(field: str, text: str, other: str) -> None:
    expect(field, text.casefold() != other.casefold(), "one that is not taken", text)


def _written(spec: MetricSpec) -> str:
    return f"{spec.prefix} {spec.suffix}".strip()


def _is_of(value: object, hint: Any) -> bool:
    """Return whether a value is of an annotation: of the kinds that specs have."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin is UnionType:
        return any(_is_of(value, each) for each in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_is_of(each, arguments[0]) for each in value)
    if origin is not None:
        return isinstance(value, Mapping) and _is_plain(dict(value))
    if hint is float:
        return type(value) in (int, float) and isfinite(value)  # type: ignore[arg-type]  # a number
    return type(value) is hint


def _is_plain(value: dict[Any, Any]) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return all(isinstance(name, str) for name in value)


def is_signed(parameters: Mapping[str, Any]) -> bool:
    """Return whether a metric's parameters say which package brings it, and what boards must know.

    Those of a built-in metric say neither.
    """
    package, board = parameters.get("package", {}), parameters.get("board", {})
    hints = get_type_hints(MetricSpec)
    is_known = isinstance(board, Mapping) and {*board} in ({*()}, {*BOARD})
    return (
        is_known
        and all(_is_of(value, hints[name]) for name, value in board.items())
        and is_package(package)
        and bool(package) == bool(board)
    )


def is_package(value: object) -> bool:
    """Return whether a value is name and version of a package, or {}: built in."""
    return value == {} or (
        isinstance(value, Mapping)
        and {*value} == {"name", "version"}
        and all(isinstance(text, str) for text in value.values())
    )


def missing_package(wanted: Mapping[str, str], installed: Mapping[str, str]) -> str:
    """Return in words which package is missing, or is of another version; "" if none."""
    if wanted == installed:
        return ""
    if not wanted:
        return f"is built in, and of {installed['name']} {installed['version']} here"
    needed = f"needs the package {wanted['name']} {wanted['version']}"
    if wanted["name"] == installed.get("name"):
        return f"{needed}; {installed['version']} is installed"
    return f"{needed}, which is not installed"


def implementation(spec: MetricSpec | ExtractorSpec) -> Callable[..., Any]:
    """Return what `module:name` of a spec names, imported now.

    Raises:
        PluginError: if it cannot be imported, or cannot be called.
    """
    module, _, name = spec.implementation.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise PluginError(f"{spec.name}: {spec.implementation} cannot be had: {error}") from error
    if not callable(found):
        raise PluginError(f"{spec.name}: expected {spec.implementation} to be callable, it is not")
    return found  # type: ignore[no-any-return]  # callable is all that is known
