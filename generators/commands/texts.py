"""What `--help` and `list` say of algorithms: all from their configuration classes (torch-free)."""

from generators.specs.algorithms import AlgorithmSpec
from generators.specs.options import FieldSpec, describe


def options_text(spec: AlgorithmSpec) -> str:
    """Return the algorithm's options, one per line, with defaults and limits."""
    return "\n".join([f"  {spec.name}", *map(_field_text, describe(spec.config))])


def presets_text(spec: AlgorithmSpec) -> str:
    """Return the algorithm's presets, one per line: budget and what differs from the defaults."""
    lines = []
    for name, preset in spec.presets.items():
        values = [f"{key}={value}" for key, value in preset.config.items()]
        text = ", ".join([f"{preset.images:,} images", *values])
        lines.append(f"    --preset {name:<19} {text}")
    return "\n".join(lines) or "    no presets"


def samplers_text(spec: AlgorithmSpec) -> str:
    """Return the algorithm's samplers with their options, one per line."""
    lines = []
    for name, sampler in spec.samplers.items():
        default = " (default)" if name == spec.default_sampler else ""
        lines += [f"  {spec.name} --sampler {name}{default}"]
        lines += map(_field_text, describe(sampler))
    return "\n".join(lines)


def _field_text(field: FieldSpec) -> str:
    limits = f"; one of {', '.join(field.choices)}" if field.choices else ""
    if field.minimum is not None and field.maximum is not None:
        limits = f"; {field.minimum:g}..{field.maximum:g}"
    default = "empty" if field.default == "" else field.default
    return f"    {field.name:<28} {field.help} (default: {default}{limits})"
