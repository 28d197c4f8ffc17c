"""Which pipelines of diffusers are drawn from, and which classes their components may have.

What is not named here is refused, whatever a folder says (torch-free).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Asked = Literal["text", "classes", "nothing"]
TEXT: Asked = "text"

# Schedulers that ask the network at a noise level, whichever they were trained with.
ODE = (  # the same image from the same noise: no new noise on the way
    "DDIMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "PNDMScheduler",
)
SCALED = (  # the same, on inputs that the pipeline has to scale
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
)
NOISY = (  # new noise at each step
    "DDPMScheduler",
    "EulerAncestralDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "LCMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
)
DISCRETE = tuple(sorted(ODE + SCALED + NOISY))
FLOW = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
EDM = ("EDMDPMSolverMultistepScheduler", "EDMEulerScheduler")  # of preconditioned networks
SCHEDULERS = (*DISCRETE, *FLOW, *EDM, "CMStochasticIterativeScheduler")

UNTOLD = (  # what they return of a step is its sample alone, not what they take for the clean image
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)

TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast", "T5Tokenizer", "T5TokenizerFast")
TEXT_ENCODERS = ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel")
AUTOENCODERS = ("AsymmetricAutoencoderKL", "AutoencoderKL", "AutoencoderTiny")
TRANSFORMERS = (
    "DiTTransformer2DModel",
    "FluxTransformer2DModel",
    "PixArtTransformer2DModel",
    "SD3Transformer2DModel",
    "Transformer2DModel",
)
IMAGE_READERS = ("CLIPFeatureExtractor", "CLIPImageProcessor", "CLIPImageProcessorFast")

# Of each component the classes that it may have, by the module that has them.
COMPONENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "unet": ("diffusers", ("UNet2DConditionModel", "UNet2DModel")),
    "transformer": ("diffusers", TRANSFORMERS),
    "vae": ("diffusers", AUTOENCODERS),
    "vqvae": ("diffusers", ("AutoencoderKL", "VQModel")),
    "scheduler": ("diffusers", SCHEDULERS),
    "tokenizer": ("transformers", TOKENIZERS),
    "tokenizer_2": ("transformers", TOKENIZERS),
    "tokenizer_3": ("transformers", TOKENIZERS),
    "text_encoder": ("transformers", TEXT_ENCODERS),
    "text_encoder_2": ("transformers", TEXT_ENCODERS),
    "text_encoder_3": ("transformers", TEXT_ENCODERS),
    "feature_extractor": ("transformers", IMAGE_READERS),
    "image_encoder": ("transformers", ("CLIPVisionModelWithProjection",)),
    "safety_checker": ("stable_diffusion", ("StableDiffusionSafetyChecker",)),
}
WITHOUT_WEIGHTS = {"scheduler", "tokenizer", "tokenizer_2", "tokenizer_3", "feature_extractor"}


@dataclass(frozen=True)
class PipelineSpec:
    """What has to be known of a pipeline class before it is imported."""

    label: str
    asked: Asked  # what an image is asked for by
    denoiser: str  # the component whose evaluations count
    components: tuple[str, ...]  # without which it does not draw
    schedulers: tuple[str, ...]  # that may take its own one's place
    steps: int  # where nobody says
    guidance: float = 0  # where nobody says; 0 = it knows none
    negative: bool = False  # takes a negative prompt
    sized: bool = False  # takes a width and a height
    tokens: int = 0  # that its longest text encoder reads
    halves: bool = True  # draws in float16 and bfloat16 too
    call: Mapping[str, object] = field(default_factory=dict)  # what it is told besides
    walk: str = ""  # our sampler, where no scheduler of diffusers walks


def _of_words(
    label: str, steps: int, guidance: float, *, transformer: bool = False, encoders: int = 1
) -> PipelineSpec:
    denoiser = "transformer" if transformer else "unet"
    numbers = ["", "_2", "_3"][:encoders]
    texts = [f"{kind}{number}" for number in numbers for kind in ("tokenizer", "text_encoder")]
    return PipelineSpec(
        label,
        TEXT,
        denoiser,
        ("vae", *texts, denoiser, "scheduler"),
        DISCRETE,
        steps,
        guidance,
        negative=True,
        sized=True,
        tokens=77,
    )


_PLAIN_CAPTIONS = {"clean_caption": False, "use_resolution_binning": False}  # as they were asked
_PIXART = replace(
    _of_words("PixArt-α", 20, 4.5, transformer=True), call=_PLAIN_CAPTIONS, tokens=120
)
_FLUX = _of_words("Flux", 28, 3.5, transformer=True, encoders=2)
_SD3 = _of_words("Stable Diffusion 3", 28, 7.0, transformer=True, encoders=3)

PIPELINES: dict[str, PipelineSpec] = {
    "StableDiffusionPipeline": _of_words("Stable Diffusion", 50, 7.5),
    "StableDiffusionXLPipeline": _of_words("Stable Diffusion XL", 50, 5.0, encoders=2),
    "StableDiffusion3Pipeline": replace(
        _SD3,
        schedulers=FLOW,
        tokens=256,
        components=tuple(c for c in _SD3.components if "3" not in c),
    ),
    "LatentConsistencyModelPipeline": replace(
        _of_words("Latent consistency", 4, 8.5), negative=False, schedulers=("LCMScheduler",)
    ),
    "PixArtAlphaPipeline": _PIXART,
    "PixArtSigmaPipeline": replace(_PIXART, label="PixArt-Σ", tokens=300),
    "FluxPipeline": replace(_FLUX, schedulers=FLOW[:1], negative=False, tokens=512),
    "DiTPipeline": PipelineSpec(
        "DiT", "classes", "transformer", ("transformer", "vae", "scheduler"), ODE, 50, 4.0
    ),
    "DDPMPipeline": PipelineSpec(
        "DDPM", "nothing", "unet", ("unet", "scheduler"), ("DDIMScheduler", "DDPMScheduler"), 1000
    ),
    "DDIMPipeline": PipelineSpec(
        "DDIM", "nothing", "unet", ("unet", "scheduler"), ("DDIMScheduler",), 50
    ),
    "LDMPipeline": PipelineSpec(
        "Latent diffusion",
        "nothing",
        "unet",
        ("vqvae", "unet", "scheduler"),
        ODE,
        50,
        halves=False,
    ),
    "ConsistencyModelPipeline": PipelineSpec(
        "Consistency model",
        "nothing",  # or classes, as its U-Net says
        "unet",
        ("unet", "scheduler"),
        ("CMStochasticIterativeScheduler",),
        1,
    ),
}

# Folders of parts that we exported, by our algorithm; what walks through them is our own sampler.
_WALKS = {"ddpm": "ddim", "flow": "euler", "edm": "euler", "ect": "consistency"}
PARTS: dict[str, PipelineSpec] = {
    f"{space}.{kind}": PipelineSpec(
        f"Parts of {space}.{kind}",
        "nothing",
        "unet",
        ("unet",),
        (),
        50,
        halves=False,
        walk=walk,
    )
    for space in ("diffusion", "latent")
    for kind, walk in _WALKS.items()
}
