"""What `--help` and `list` say of algorithms: all from their configuration classes (torch-free)."""

from evaluation.imagesets.sources import LAYOUTS
from generators.specs.algorithms import AlgorithmSpec
from generators.specs.options import FieldSpec, describe
from generators.specs.pipelines.options import PipelineConfig, PipelineSampler

EXAMPLES = """examples:
  python -m generators list
  python -m generators train vae.conv --data digits --preset tiny --out runs/vae
  python -m generators sample runs/vae --num 1000 --out vae.npz --grid vae.png
  python -m generators measure runs/vae --data digits

exit status: 0 done, 2 an error, 3 a training diverged, 130 stopped by Ctrl-C, 143 by SIGTERM"""
DATA = (
    "digits (packaged: 8x8, 1,297 to train on and 500 to test), scenes32 or scenes64 (packaged, with "
    "captions: 20,000 to train on and 4,000 to test), or the path of a folder, zip or "
    f"tar archive of images ({LAYOUTS}), of parquet tables, of an .npz or .npy array, or of a "
    "folder with train.npz and test.npz"
)
LABELS_HELP = (
    "of each class its share of the images: training (as in the training images), uniform, or K,K,… "
    "(a whole number for each class); none: training, or all classes in turn where an old "
    "checkpoint does not say"
)
PROMPT_HELP = "what all images are to show, for models of captions; in words that they learned"
PROMPTS_HELP = (
    "what images are to show, for models of captions: a .txt file with a prompt in each line, or a "
    ".json file with a list of them; image i is asked prompt i, then the first again"
)


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


def pipelines_text() -> str:
    """Return the options of --set for pipelines, one per line."""
    options = [*describe(PipelineSampler), *describe(PipelineConfig)]
    return "\n".join(["  a pipeline", *map(_field_text, options)])


def _field_text(field: FieldSpec) -> str:
    limits = f"; one of {', '.join(field.choices)}" if field.choices else ""
    if field.minimum is not None and field.maximum is not None:
        limits = f"; {field.minimum:g}..{field.maximum:g}"
    default = "empty" if field.default == "" else field.default
    return f"    {field.name:<28} {field.help} (default: {default}{limits})"
