"""What a feature extractor is and reads: those that are built in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

INCEPTION = "inception-v3-compat"
CLASSIFIER = "dataset-classifier"
STACKED = "stacked-classifier"
DINOV2 = "dinov2-vit-l-14"
RANDOM_CONVOLUTION = "random-convolution"
PIXELS = "pixels-pca64"
FIDELITY_PREFIX = "torch-fidelity/"

# The TensorFlow Inception graph of 2015-12-05, ported to PyTorch. pytorch-fid publishes the file as
# pt_inception-2015-12-05-6726825d.pth and torch-fidelity, byte for byte the same, as
# weights-inception-2015-12-05-6726825d.pth.
INCEPTION_2015_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


@dataclass(frozen=True)
class ExtractorSpec:
    """One feature extractor: the layer that is read, its width, and weights known by digest.

    ``known_weights`` maps the sha256 of a weights file to the name it is published under. ``dim``
    is None where it depends on the weights. ``predicts`` says what its logits are of.

    ``trained_on`` says which labelled images its weights are trained on: the dataset's, or the grey
    ones whose stacks the dataset holds; "" = weights that are published. ``made_of`` says what of
    the reference it is made from: the shape of its images, or all their pixels.

    An extractor of another package has an ``implementation``, "module:factory", which takes an
    `evaluation.features.base.ExtractorRequest` and returns an `Extractor`. Its ``package``, name
    and version, is filled in when it is found.
    """

    name: str
    short_name: str
    label: str
    layer: str
    dim: int | None  # features per image
    channels_rule: str
    resize: str
    help: str
    predicts: Literal["", "ImageNet classes", "dataset classes"] = ""
    logits_layer: str = ""
    known_weights: Mapping[str, str] = field(default_factory=dict)
    has_weights: bool = True  # a file or folder of them; False = made by a recipe or a reference
    trained_on: Literal["", "dataset", "channels"] = ""
    made_of: Literal["", "shape", "pixels"] = ""
    is_compiled: bool = False  # on request
    implementation: str = ""  # "" = built in
    package: Mapping[str, str] = field(default_factory=dict)


BUILT_IN = (
    ExtractorSpec(
        name=INCEPTION,
        short_name=INCEPTION,
        label="Inception v3 (2015-12-05)",
        layer="2048",
        dim=2048,
        predicts="ImageNet classes",
        logits_layer="logits_unbiased",
        channels_rule="grey replicated to RGB",
        resize="299x299 inside the network: bilinear as in TensorFlow 1, no antialiasing",
        is_compiled=True,
        help="InceptionV3 ported from TensorFlow, third pooling layer, as in torch-fidelity.",
        known_weights=MappingProxyType(
            {INCEPTION_2015_SHA256: "pt_inception-2015-12-05-6726825d.pth"}
        ),
    ),
    ExtractorSpec(
        name=CLASSIFIER,
        short_name="classifier",
        label="Dataset classifier",
        layer="penultimate",
        dim=64,
        predicts="dataset classes",
        logits_layer="logits",
        channels_rule="as stored",
        resize="none",
        trained_on="dataset",
        help="A small network trained to classify the dataset's own train split.",
    ),
    ExtractorSpec(
        name=STACKED,
        short_name="stacked-classifier",
        label="Dataset classifier on each channel",
        layer="penultimate",
        dim=192,
        predicts="dataset classes",
        logits_layer="joint log-probabilities of the three channels",
        channels_rule="each channel is a grey image",
        resize="none",
        trained_on="channels",
        help="For stacked datasets: K classes in each of three channels are K³ modes.",
    ),
    ExtractorSpec(
        name=DINOV2,
        short_name=DINOV2,
        label="DINOv2 ViT-L/14",
        layer="class token after the last norm",
        dim=1024,
        channels_rule="grey replicated to RGB",
        resize="224x224: bilinear as in TensorFlow 1, no antialiasing",
        help="Self-supervised vision transformer; preprocessed as in torch-fidelity.",
    ),
    ExtractorSpec(
        name=RANDOM_CONVOLUTION,
        short_name="random-convolution",
        label="Random convolutions",
        layer="global pooling",
        dim=192,
        channels_rule="as stored",
        resize="none",
        has_weights=False,
        made_of="shape",
        help="Untrained networks made from seeds; values are averaged over three keys.",
    ),
    ExtractorSpec(
        name=PIXELS,
        short_name="pixels",
        label="Pixels, principal components",
        layer="principal components of the reference",
        dim=None,
        channels_rule="as stored",
        resize="none",
        has_weights=False,
        made_of="pixels",
        help="The linear baseline: pixels on the reference's first 64 components.",
    ),
)
