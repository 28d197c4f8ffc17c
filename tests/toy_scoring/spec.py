"""A toy metric of each kind and an extractor, as another package adds them (torch-free)."""

from evaluation.protocols.extractor_specs import ExtractorSpec
from evaluation.protocols.metric_specs import MetricSpec

GAP = MetricSpec(
    name="toy_gap",
    label="Toy gap",
    prefix="TG",
    higher_is_better=False,
    corner="quality",
    minimum=0.0,
    maximum=None,
    parameters={"power": 2, "seed": 3},
    uncertainty={"method": "none"},
    headline=True,
    help="Squared distance of the mean features.",
    implementation=f"{__package__}.measure:gap",
)
OUTSIDE = MetricSpec(
    name="toy_outside",
    label="Toy outside",
    prefix="TO",
    higher_is_better=True,
    corner="memorisation",
    minimum=0.0,
    maximum=None,
    parameters={},
    uncertainty={"method": "none"},
    needs=("held-out",),
    headline=True,
    counts=True,
    help="How many generated images are brighter than all held-out ones.",
    implementation=f"{__package__}.measure:outside",
)
BRIGHTNESS = ExtractorSpec(
    name="toy-brightness",
    short_name="toy-brightness",
    label="Brightness and contrast",
    layer="mean and standard deviation",
    dim=2,
    channels_rule="as stored",
    resize="none",
    help="Mean and standard deviation of an image's pixels.",
    has_weights=False,
    implementation=f"{__package__}.measure:Brightness",
)
