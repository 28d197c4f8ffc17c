"""What the form offers as entries: every algorithm, and pipelines that were trained elsewhere."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from generators.specs import registry
from generators.specs.algorithms import AlgorithmSpec, Family, Preset
from generators.specs.options import SamplerConfig, to_dict
from generators.specs.pipelines.options import PipelineConfig, PipelineSampler

NAME = "pipeline"


@dataclass(frozen=True)
class PipelineOffer:
    """What the form has to know of pipelines, as an algorithm's spec says it of that."""

    name: str = NAME
    label: str = "Pipeline"
    config: type[PipelineConfig] = PipelineConfig
    samplers: Mapping[str, type[SamplerConfig]] = field(
        default_factory=lambda: {"own": PipelineSampler}
    )
    default_sampler: str = "the pipeline's own scheduler and numbers"
    source: str = "A pipeline of diffusers, sampled here and trained elsewhere"
    presets: Mapping[str, Preset] = field(default_factory=dict)


Offer = AlgorithmSpec | PipelineOffer
PIPELINE = PipelineOffer()
ELSEWHERE = Family("elsewhere", "Elsewhere", "trained elsewhere, sampled here", "#0d5c63")


def is_offered(name: str | None) -> bool:
    """Return whether an entry may be of this algorithm, or a pipeline."""
    return name == NAME or name in registry.ALGORITHMS


def find(name: str) -> Offer:
    """Return what is offered under a name."""
    return PIPELINE if name == NAME else registry.get_spec(name)


def values(name: str, preset: str) -> dict[str, int | float | bool | str]:
    """Return every field of a configuration with its default, or a preset's value."""
    if name == NAME:
        return to_dict(PipelineConfig())
    return to_dict(registry.parse_config(name, {}, preset=preset or None))


def by_family() -> Iterator[tuple[Family, list[Offer]]]:
    """Yield what is offered of each family, in the order they are listed; pipelines come last."""
    specs = registry.ALGORITHMS.values()
    for family in registry.FAMILIES.values():
        found: list[Offer] = [spec for spec in specs if spec.family_name == family.name]
        if found:
            yield family, found
    yield ELSEWHERE, [PIPELINE]
