"""JSON schemas of what an entry may configure, made from the configuration classes."""

from collections.abc import Iterable
from typing import Any

from experiments.submission.guided import GUIDANCE
from experiments.submission.specification import MAX_SAMPLERS
from generators.specs import registry
from generators.specs.algorithms import AlgorithmSpec
from generators.specs.options import FieldSpec, Value, describe
from generators.specs.pipelines.options import PipelineConfig, PipelineSampler

JSON_TYPES = {"int": "integer", "float": "number", "bool": "boolean", "str": "string"}
Schema = dict[str, Any]


def config_schema() -> Schema:
    """Return the schema of an entry's `config`: one possibility for each algorithm, and a pipeline's."""
    found = [_config_of(spec) for spec in registry.ALGORITHMS.values()]
    return {"anyOf": [*found, _object("pipeline", describe(PipelineConfig))]}


def samplers_schema() -> Schema:
    """Return the schema of an entry's `samplers`: each is one that some algorithm has."""
    found = {
        sampler: _many_scales(_object(name, describe(sampler), first={"name": {"enum": [name]}}))
        for spec in registry.ALGORITHMS.values()
        for name, sampler in spec.samplers.items()
    }
    pipeline = _many_scales(_object(PipelineSampler.name, describe(PipelineSampler)))
    possible = [*found.values(), pipeline]
    return {"type": "array", "maxItems": MAX_SAMPLERS, "items": {"anyOf": possible}}


def _many_scales(schema: Schema) -> Schema:
    """Return the schema of a sampler that may be asked for at several guidance scales at once."""
    fields = schema["properties"]
    if (one := fields.get(GUIDANCE)) is None:
        return schema
    several = {
        "type": "array",
        "items": one,
        "minItems": 1,
        "maxItems": MAX_SAMPLERS,
        "description": "stands for one sampler at each of these scales",
    }
    return {**schema, "properties": {**fields, GUIDANCE: {"oneOf": [one, several]}}}


def _config_of(spec: AlgorithmSpec) -> Schema:
    schema = _object(spec.name, describe(spec.config))
    presets = "; ".join(f"{name}: {_words(preset.config)}" for name, preset in spec.presets.items())
    return schema | {"description": f"{spec.label}. {spec.source}. Presets: {presets or 'none'}."}


def _words(values: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "the defaults"


def _object(title: str, fields: Iterable[FieldSpec], *, first: Schema | None = None) -> Schema:
    properties = {**(first or {}), **{spec.name: _field(spec) for spec in fields}}
    return {
        "title": title,
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _field(spec: FieldSpec) -> Schema:
    """Return the schema of one field, with its default, its limits and what it means."""
    schema: Schema = {
        "type": JSON_TYPES[spec.type],
        "default": spec.default,
        "description": spec.help,
    }
    limits: dict[str, Value | None] = {"minimum": spec.minimum, "maximum": spec.maximum}
    schema |= {name: limit for name, limit in limits.items() if limit is not None}
    return schema | ({"enum": list(spec.choices)} if spec.choices else {})
