"""The glossary: what is known of each word beside its text, which `.readme/glossary.md` holds.

Formulas are in `templates/web/learn/formulas/`, as MathML.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from web.help import documents


@dataclass(frozen=True)
class Section:
    """What the glossary's text says under one heading."""

    short: str  # one sentence
    text: tuple[str, ...]  # paragraphs
    papers: tuple[str, ...]  # where it was published first, or as it is used here


def _sections(text: str) -> Iterator[tuple[str, Section]]:
    for title, *blocks in (part.split("\n\n") for part in text.strip().split("\n## ")[1:]):
        listed = blocks.pop() if blocks[-1].startswith("- ") else ""
        short, *paragraphs = (" ".join(block.split()) for block in blocks)
        papers = (" ".join(paper.split()) for paper in f"\n{listed}".split("\n- ")[1:])
        yield title, Section(short, tuple(paragraphs), tuple(papers))


_SECTIONS = dict(_sections((documents.ROOT / documents.FOLDER / "glossary.md").read_text("utf-8")))


@dataclass(frozen=True)
class Term:
    """One word: in a sentence, then in a few."""

    key: str  # of its address
    title: str  # the heading of its text
    has_formula: bool = True
    figure: str = ""  # which models' samples show it: a side of claims, or "real"
    packaged: str = ""  # the picture where no such model is here
    columns: tuple[str, ...] = ()  # heads of boards that it explains, as their keys begin
    also: tuple[str, ...] = ()  # other words to read

    @property
    def said(self) -> Section:
        """Its text."""
        return _SECTIONS[self.title]

    def explains(self, column: str) -> bool:
        """Return whether it says what stands in a column of boards."""
        return any(column == name or column.startswith(f"{name}_") for name in self.columns)


_TERMS = (
    Term(
        key="diffusion",
        title="Diffusion model",
        figure="pixel",
        packaged="diffusion",
        columns=("nfe",),
        also=("flow-matching", "latent-diffusion", "guidance"),
    ),
    Term(
        key="gan",
        title="GAN",
        figure="gan",
        packaged="gan",
        also=("vae", "diffusion", "precision-recall"),
    ),
    Term(
        key="vae",
        title="VAE",
        figure="vae",
        packaged="vae",
        also=("latent-diffusion", "gan"),
    ),
    Term(
        key="latent-diffusion",
        title="Latent diffusion",
        figure="latent",
        packaged="latent",
        also=("vae", "diffusion"),
    ),
    Term(
        key="flow-matching",
        title="Flow matching",
        figure="flow",
        packaged="diffusion",
        also=("diffusion",),
    ),
    Term(
        key="guidance",
        title="Guidance",
        columns=("following", "open_entropy", "prompt_vendi", "clip_score", "unparsed"),
        also=("diffusion", "precision-recall"),
    ),
    Term(
        key="fid",
        title="FID and FD",
        figure="real",
        packaged="real",
        columns=("fd", "class_fd", "mind", "sliced_wasserstein"),
        also=("kid", "precision-recall", "protocol"),
    ),
    Term(
        key="kid",
        title="KID and KD",
        figure="real",
        packaged="real",
        columns=("kd",),
        also=("fid",),
    ),
    Term(
        key="inception-score",
        title="IS and CS",
        columns=("is",),
        also=("fid", "precision-recall"),
    ),
    Term(
        key="precision-recall",
        title="Precision and recall",
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
        columns=("authenticity", "copies", "ct"),
        also=("controls",),
    ),
    Term(
        key="trilemma",
        title="The trilemma",
        has_formula=False,
        columns=("images_per_second", "parameters", "device_seconds"),
        also=("gan", "vae", "diffusion"),
    ),
    Term(
        key="protocol",
        title="Protocol and fingerprint",
        also=("fid", "controls"),
    ),
    Term(
        key="controls",
        title="Controls",
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
