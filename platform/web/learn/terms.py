"""The glossary: each word once, for its page and for what stands behind the heads of columns.

Formulas are in `templates/web/learn/formulas/`, as MathML.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Paper:
    """Where a thing was published first, or as it is used here."""

    authors: str
    year: int
    title: str

    def __str__(self) -> str:
        return f"{self.authors}, {self.year}, “{self.title}”"


@dataclass(frozen=True)
class Term:
    """One word: in a sentence, then in a few."""

    key: str  # of its address
    title: str
    short: str
    text: tuple[str, ...]
    papers: tuple[Paper, ...] = ()
    has_formula: bool = True
    figure: str = ""  # which models' samples show it: a side of claims, or "real"
    packaged: str = ""  # the picture where no such model is here
    columns: tuple[str, ...] = ()  # heads of boards that it explains, as their keys begin
    also: tuple[str, ...] = ()  # other words to read

    def explains(self, column: str) -> bool:
        """Return whether it says what stands in a column of boards."""
        return any(column == name or column.startswith(f"{name}_") for name in self.columns)


HO = Paper("Ho, Jain and Abbeel", 2020, "Denoising diffusion probabilistic models")
HEUSEL = Paper(
    "Heusel and others",
    2017,
    "GANs trained by a two time-scale update rule converge to a local Nash equilibrium",
)
KYNKAANNIEMI = Paper(
    "Kynkäänniemi and others",
    2019,
    "Improved precision and recall metric for assessing generative models",
)

_TERMS = (
    Term(
        key="diffusion",
        title="Diffusion model",
        short="A network that takes noise out of images, step by step, until an image is left.",
        text=(
            "Training adds noise of a random strength to a real image and asks the network for the "
            "noise. That is plain regression: no opponent, and a loss that falls quietly.",
            "Sampling begins with noise alone and goes back in steps. Each step is one or two "
            "evaluations of the network, and so an image costs tens or hundreds of them, where a GAN "
            "takes one. Fewer steps are faster and coarser.",
        ),
        papers=(
            HO,
            Paper(
                "Karras and others",
                2022,
                "Elucidating the design space of diffusion-based generative models",
            ),
        ),
        figure="pixel",
        packaged="diffusion",
        columns=("nfe",),
        also=("flow-matching", "latent-diffusion", "guidance"),
    ),
    Term(
        key="gan",
        title="GAN",
        short="A generator that learns to deceive a discriminator, which learns to tell it from real images.",
        text=(
            "The generator maps a random vector to an image in one evaluation, which makes it fast. "
            "The discriminator is trained beside it to tell its images from real ones.",
            "Neither loss says how good the images are: both players move. The generator may also "
            "settle on the few kinds of images that deceive best, which is called mode collapse, and "
            "is what low recall shows.",
        ),
        papers=(Paper("Goodfellow and others", 2014, "Generative adversarial nets"),),
        figure="gan",
        packaged="gan",
        also=("vae", "diffusion", "precision-recall"),
    ),
    Term(
        key="vae",
        title="VAE",
        short="An encoder and a decoder that are trained together so that codes drawn at random decode to images.",
        text=(
            "The encoder turns an image into a distribution of codes, the decoder turns a code back. "
            "The loss asks for a good reconstruction and for codes that look like the prior, so that "
            "a code from the prior decodes to an image.",
            "Every real image must be reconstructed, so none is forgotten. Where a code may stand "
            "for several images, the decoder gives their mean, and that is blurred.",
        ),
        papers=(Paper("Kingma and Welling", 2014, "Auto-encoding variational Bayes"),),
        figure="vae",
        packaged="vae",
        also=("latent-diffusion", "gan"),
    ),
    Term(
        key="latent-diffusion",
        title="Latent diffusion",
        short="Diffusion in the small codes of an autoencoder, which decodes the result to an image.",
        text=(
            "An autoencoder is trained first. Diffusion then learns its codes, which are several "
            "times smaller a side than images: each step costs less.",
            "What the autoencoder loses is lost for good. Boards show real images after it beside "
            "the entry: its samples can hardly be better than those.",
        ),
        papers=(
            Paper(
                "Rombach and others",
                2022,
                "High-resolution image synthesis with latent diffusion models",
            ),
        ),
        figure="latent",
        packaged="latent",
        also=("vae", "diffusion"),
    ),
    Term(
        key="flow-matching",
        title="Flow matching",
        short="A network that learns the direction from noise to images along straight lines.",
        text=(
            "Each training pair is an image and a noise; on the line between both the network learns "
            "the direction of the line. Sampling follows the learnt direction from noise to an image.",
            "It is diffusion with another schedule and another target. The nearer the paths are to "
            "straight lines, the fewer steps do.",
        ),
        papers=(
            Paper("Lipman and others", 2023, "Flow matching for generative modeling"),
            Paper(
                "Liu, Gong and Liu",
                2023,
                "Flow straight and fast: learning to generate and transfer data with rectified flow",
            ),
        ),
        figure="flow",
        packaged="diffusion",
        also=("diffusion",),
    ),
    Term(
        key="guidance",
        title="Guidance",
        short="Going further in the direction in which a class or a prompt changes the network's answer.",
        text=(
            "A conditional network is also asked without its condition. The difference of both "
            "answers, times a scale, is added: samples follow the condition more.",
            "They also become more alike, and each step costs two evaluations. So a scale is a "
            "point on the way from coverage to quality, which boards of prompts draw as a curve.",
        ),
        papers=(Paper("Ho and Salimans", 2021, "Classifier-free diffusion guidance"),),
        columns=("following", "open_entropy", "prompt_vendi", "clip_score", "unparsed"),
        also=("diffusion", "precision-recall"),
    ),
    Term(
        key="fid",
        title="FID and FD",
        short="How far apart two sets of images are, as normal distributions of features.",
        text=(
            "Features of real and of generated images are taken from a network, and a normal "
            "distribution is put through each set. The distance is that of both distributions, so it "
            "falls with sharper images and with better coverage alike.",
            "It is called FID only of InceptionV3 with its known weights. With another extractor it "
            "is FD[extractor], and no number of one compares with one of another. Few images make "
            "it larger: boards take that bias out and say when it cannot be.",
        ),
        papers=(HEUSEL,),
        figure="real",
        packaged="real",
        columns=("fd", "class_fd", "mind", "sliced_wasserstein"),
        also=("kid", "precision-recall", "protocol"),
    ),
    Term(
        key="kid",
        title="KID and KD",
        short="How far apart two sets of images are, by the means of a cubic kernel of their features.",
        text=(
            "It compares all pairs within both sets with all pairs between them. No normal "
            "distribution is assumed, and its estimate has no bias at any number of images.",
            "The estimate of two equal sets is about 0 and may be below. Like FID it is called KID "
            "only of Inception, else KD[extractor].",
        ),
        papers=(Paper("Bińkowski and others", 2018, "Demystifying MMD GANs"),),
        figure="real",
        packaged="real",
        columns=("kd",),
        also=("fid",),
    ),
    Term(
        key="inception-score",
        title="IS and CS",
        short="How surely a classifier names each image, and how evenly all classes are named.",
        text=(
            "It is the exponential of the information between image and predicted class. One good "
            "image of each class repeated for ever has the best score, so it says nothing of variety "
            "within a class.",
            "IS is of Inception's classes; CS[classifier] is of a classifier that this site trained "
            "on the dataset.",
        ),
        papers=(Paper("Salimans and others", 2016, "Improved techniques for training GANs"),),
        columns=("is",),
        also=("fid", "precision-recall"),
    ),
    Term(
        key="precision-recall",
        title="Precision and recall",
        short="Which share of generated images lies near real ones, and of real ones near generated ones.",
        text=(
            "Around each image of one set there is a ball that reaches to its k-th nearest "
            "neighbour in that set. Precision is the share of generated images in some ball of real "
            "ones, recall the share of real images in some ball of generated ones.",
            "Precision falls with images that look like none (blurred ones too), recall with kinds "
            "that are missing. Density and coverage count the same with balls of real images alone, "
            "which outliers disturb less.",
        ),
        papers=(
            KYNKAANNIEMI,
            Paper(
                "Naeem and others",
                2020,
                "Reliable fidelity and diversity metrics for generative models",
            ),
        ),
        figure="real",
        packaged="real",
        columns=(
            "precision",
            "recall",
            "density",
            "coverage",
            "class_kl",
            "missing_classes",
            "modes",
            "ndb",
            "vendi",
            "cas",
        ),
        also=("trilemma", "fid"),
    ),
    Term(
        key="memorisation",
        title="Authenticity, C_T and copies",
        short="Whether generated images lie nearer to single training images than they should.",
        text=(
            "A model that stores its training images has a splendid distance. So nearest training "
            "images are looked at: authenticity is the share of samples that are not nearer to a "
            "training image than its nearest other; C_T tests whether samples are nearer to training "
            "images than held-out ones are, far below 0 being copies.",
            "NN authenticity is authenticity by nearest neighbours in a protocol's features. Copies "
            "counts samples that are almost one training image, even shifted or mirrored.",
            "Nobody leads by these: noise is furthest from copies.",
        ),
        papers=(
            Paper("Alaa and others", 2022, "How faithful is your synthetic data?"),
            Paper(
                "Meehan, Chaudhuri and Dasgupta",
                2020,
                "A non-parametric test to detect data-copying in generative models",
            ),
        ),
        columns=("authenticity", "copies", "ct"),
        also=("controls",),
    ),
    Term(
        key="trilemma",
        title="The trilemma",
        short="Sharp samples, full coverage, fast sampling: each family gives up one of them.",
        text=(
            "GANs are said to be sharp and fast and to miss kinds of images; VAEs to be fast and to "
            "cover all, but blurred; diffusion models to be sharp and to cover all, but slow.",
            "Whether that holds is what this site measures: see the claims.",
        ),
        papers=(
            Paper(
                "Xiao, Kreis and Vahdat",
                2022,
                "Tackling the generative learning trilemma with denoising diffusion GANs",
            ),
        ),
        has_formula=False,
        columns=("images_per_second", "parameters", "device_seconds"),
        also=("gan", "vae", "diffusion"),
    ),
    Term(
        key="protocol",
        title="Protocol and fingerprint",
        short="All that decides a value, and the sha256 of it: numbers compare only where it is equal.",
        text=(
            "A protocol says which images are the reference, which network takes features and with "
            "which weights, how images are resized, how many are scored, and each metric with its "
            "parameters.",
            "Its fingerprint is the sha256 of all of that. Two boards with different fingerprints "
            "have two different rulers.",
        ),
        also=("fid", "controls"),
    ),
    Term(
        key="controls",
        title="Controls",
        short="Images that no model made, scored like a model's, for scale.",
        text=(
            "Real test images are the floor that no honest model should beat by more than chance. "
            "Copies of training images, uniform noise, and blurred test images show what the metrics "
            "say of known faults.",
            "They have no rank. A model that is better than unseen real images is marked.",
        ),
        has_formula=False,
        figure="real",
        packaged="real",
        also=("memorisation", "protocol"),
    ),
)
TERMS: Mapping[str, Term] = MappingProxyType({term.key: term for term in _TERMS})


def of_column(key: str) -> Term | None:
    """Return the term that explains a column of boards, None where none does."""
    return next((term for term in _TERMS if term.explains(key)), None)
