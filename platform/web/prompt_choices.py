"""What is chosen on the page of prompts, and the links that choose something else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlencode

from django.http import Http404, QueryDict

from leaderboards.tables import Choice
from web.experiment import chosen_seed


@dataclass(frozen=True)
class PromptChoices:
    """Which images of the grid are shown; by default the first of every prompt of every group.

    image: the place among a prompt's images, from 0: image i of a set is drawn from seed i, so that
    all columns show the same seed.
    """

    seeds: tuple[int, ...]  # of the trainings
    groups: tuple[str, ...]
    images: int  # of each prompt
    seed: int
    following: str
    group: str = ""
    image: int = 0

    @classmethod
    def of(
        cls, query: QueryDict, asked: Sequence[Mapping[str, Any]], each: int, seeds: list[int]
    ) -> Self:
        """Return what a request chooses of these prompts, with so many images each.

        Raises:
            Http404: if there is no such seed, group or image.
        """
        seed = chosen_seed(query.get("seed", ""), seeds)
        groups = tuple(dict.fromkeys(prompt["group"] for prompt in asked))
        group, image = query.get("group", ""), query.get("image", "") or "1"
        if group and group not in groups:
            raise Http404(f"expected a group of prompts ({', '.join(groups)}), got {group!r}")
        if image not in {str(place) for place in range(1, each + 1)}:
            raise Http404(f"expected an image of 1 to {each} of each prompt, got {image!r}")
        following = query.get("following", "")
        return cls(tuple(seeds), groups, each, seed, following, group, int(image) - 1)

    @property
    def number(self) -> int:
        """Return which of a prompt's images is shown, from 1."""
        return self.image + 1

    @property
    def of_seeds(self) -> list[Choice]:
        return [self._choice(str(each), seed=each) for each in self.seeds]

    @property
    def of_groups(self) -> list[Choice]:
        return [self._choice(each or "all", group=each) for each in ("", *self.groups)]

    @property
    def before(self) -> str:
        """Return the link to the image before, "" at the first."""
        return replace(self, image=self.image - 1).link if self.image else ""

    @property
    def after(self) -> str:
        """Return the link to the next image, "" at the last."""
        return replace(self, image=self.image + 1).link if self.number < self.images else ""

    @property
    def kept(self) -> dict[str, str]:
        """Return what a form that chooses the image keeps."""
        return {name: text for name, text in self._query().items() if name != "image"}

    @property
    def link(self) -> str:
        return f"?{urlencode(self._query())}#grid-heading"

    def _query(self) -> dict[str, str]:
        image = str(self.number) if self.image else ""
        chosen = {"following": self.following, "group": self.group, "image": image}
        return {"seed": str(self.seed)} | {name: text for name, text in chosen.items() if text}

    def _choice(self, label: str, **changes: int | str) -> Choice:
        other = replace(self, **changes)  # type: ignore[arg-type]  # seed or group
        return Choice(label, other.link, other == self)
