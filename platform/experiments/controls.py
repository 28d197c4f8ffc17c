"""Controls: images that no model made, scored like a model's, so that a board explains itself."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from catalog.models import Dataset, Protocol

TEST = "test"
ASKED = "asked"
SHUFFLED = "shuffled"
RECONSTRUCTED = "reconstructed"
ELSEWHERE: Mapping[str, str] = {  # kinds of entries that were not trained here, in a few words
    "external": "made elsewhere: only its samples are known here",
    "pipeline": "trained elsewhere, sampled here",
}
RECONSTRUCTED_BY = "Reconstructed by {}'s autoencoder"


@dataclass(frozen=True)
class Control:
    """One kind of control; `split` names the images it is made of, "" if it needs none."""

    kind: str
    label: str
    split: str
    source: str  # where the images come from, as the label of their sampler
    help: str
    is_asked: bool = False  # drawn for prompts, where it is known what follows them
    of_entry: bool = False  # made by what an entry has learned, once for each of its seeds

    def available(self, dataset: Dataset, wanted: int) -> int:
        """Return how many images there can be of the `wanted` ones: a split ends, noise does not."""
        if not self.split:
            return wanted
        return min(wanted, dataset.train_size if self.split == "train" else dataset.test_size)


CONTROLS: Mapping[str, Control] = MappingProxyType(
    {
        control.kind: control
        for control in (
            Control(
                kind=TEST,
                label="Real test images",
                split="test",
                source="test split",
                help="Real images that no model has seen: as good as it gets without copying.",
            ),
            Control(
                kind="copy",
                label="Copy of training images",
                split="train",
                source="train split",
                help="Training images as they are: nearest of all, and nothing is new.",
            ),
            Control(
                kind="noise",
                label="Uniform noise",
                split="",
                source="0…255",
                help="Every value drawn uniformly: as far from images as it gets.",
            ),
            Control(
                kind="blur",
                label="Blurred test images",
                split="test",
                source="test split",
                help="Real test images after a Gaussian blur: every class is there, no detail is.",
            ),
            Control(
                kind=ASKED,
                label="Real scenes for the prompts",
                split="",
                source="drawn for each prompt",
                help="Scenes drawn to follow their prompts: as well as prompts can be followed.",
                is_asked=True,
            ),
            Control(
                kind=SHUFFLED,
                label="Real scenes for other prompts",
                split="",
                source="drawn for shuffled prompts",
                help="The same for the prompts of other images: what following is worth by chance.",
                is_asked=True,
            ),
            Control(
                kind=RECONSTRUCTED,
                label=RECONSTRUCTED_BY.format("…"),
                split="test",
                source="encoded and decoded",
                help="Real images after the autoencoder of an entry, every seed's: what its samples "
                "can be at best.",
                of_entry=True,
            ),
        )
    }
)


def controls_of(dataset: Dataset, protocols: Iterable[Protocol]) -> list[Control]:
    """Return the controls that an experiment has once, in the order of boards."""
    asking = [each for each in protocols if each.prompt_set is not None]
    asked = [each.prompt_set.parsed() for each in asking if each.prompt_set is not None]
    drawn = any(each.can_be_drawn(dataset.channels, dataset.resolution) for each in asked)
    paired = any(each.facts.get("real_pairs") for each in asking)
    known = [each for each in CONTROLS.values() if not each.of_entry]
    if drawn or not paired:
        return [each for each in known if drawn or not each.is_asked]
    return [of_pairs(each) if each.is_asked else each for each in known]


def of_pairs(control: Control) -> Control:
    """Return a control of prompts whose images are real ones with these captions, not drawn."""
    source = "captions of the test split" if control.kind == ASKED else "captions of other images"
    return replace(control, label=control.label.replace("scenes", "images"), source=source)


def is_taken(label: str) -> bool:
    """Return whether no entry may be called so: a control is, or may be."""
    before, after = RECONSTRUCTED_BY.split("{}")
    return label in LABELS or (label.startswith(before) and label.endswith(after))


KINDS = tuple(CONTROLS)  # in the order of boards
LABELS = frozenset(  # no entry may be called so
    label for each in CONTROLS.values() for label in (each.label, of_pairs(each).label)
)
