"""What is chosen on the page of prompts, and the links that choose something else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Self
from urllib.parse import urlencode

from django.http import Http404, QueryDict

from leaderboards.tables import Choice
from web.experiment import chosen_seed

PER_PAGE = 50  # prompts
MOST_COLUMNS = 8  # beside real images: with so many prompts a page stays under 300 KB


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
    page: int = 1
    count: int = 0  # prompts of the group
    columns: int = 1  # page of those
    column_count: int = 0  # on all pages

    @classmethod
    def of(
        cls,
        query: QueryDict,
        asked: Sequence[Mapping[str, Any]],
        each: int,
        seeds: list[int],
        column_count: int,
    ) -> Self:
        """Return what a request chooses of these prompts, with so many images each, and columns.

        Raises:
            Http404: if there is no such seed, group, image or page.
        """
        seed = chosen_seed(query.get("seed", ""), seeds)
        groups = tuple(dict.fromkeys(prompt["group"] for prompt in asked))
        group, image = query.get("group", ""), query.get("image", "") or "1"
        if group and group not in groups:
            raise Http404(f"expected a group of prompts ({', '.join(groups)}), got {group!r}")
        if image not in {str(place) for place in range(1, each + 1)}:
            raise Http404(f"expected an image of 1 to {each} of each prompt, got {image!r}")
        following = query.get("following", "")
        count = sum(group in ("", prompt["group"]) for prompt in asked)
        return cls(
            tuple(seeds),
            groups,
            each,
            seed,
            following,
            group,
            int(image) - 1,
            _page(query, "page", count, PER_PAGE),
            count,
            _page(query, "columns", column_count, MOST_COLUMNS),
            column_count,
        )

    def shown(self, asked: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
        """Return the prompts of the page with their numbers among all."""
        numbered = [each for each in enumerate(asked) if self.group in ("", each[1]["group"])]
        return numbered[self.first - 1 : self.last]

    @property
    def first(self) -> int:
        return 1 + PER_PAGE * (self.page - 1)

    @property
    def last(self) -> int:
        return min(self.count, PER_PAGE * self.page)

    @property
    def page_before(self) -> str:
        """Return the link to the prompts before, "" at the first."""
        return replace(self, page=self.page - 1).link if self.page > 1 else ""

    @property
    def page_after(self) -> str:
        """Return the link to the prompts after, "" at the last."""
        return replace(self, page=self.page + 1).link if self.last < self.count else ""

    @property
    def first_column(self) -> int:
        return 1 + MOST_COLUMNS * (self.columns - 1)

    @property
    def last_column(self) -> int:
        return min(self.column_count, MOST_COLUMNS * self.columns)

    @property
    def columns_before(self) -> str:
        """Return the link to the columns before, "" at the first."""
        return replace(self, columns=self.columns - 1).link if self.columns > 1 else ""

    @property
    def columns_after(self) -> str:
        """Return the link to the columns after, "" at the last."""
        is_last = self.last_column == self.column_count
        return "" if is_last else replace(self, columns=self.columns + 1).link

    @property
    def number(self) -> int:
        """Return which of a prompt's images is shown, from 1."""
        return self.image + 1

    @property
    def of_seeds(self) -> list[Choice]:
        return [self._choice(str(each), seed=each) for each in self.seeds]

    @property
    def of_groups(self) -> list[Choice]:
        return [self._choice(each or "all", group=each, page=1) for each in ("", *self.groups)]

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
        chosen["page"] = str(self.page) if self.page > 1 else ""
        chosen["columns"] = str(self.columns) if self.columns > 1 else ""
        return {"seed": str(self.seed)} | {name: text for name, text in chosen.items() if text}

    def _choice(self, label: str, **changes: int | str) -> Choice:
        other = replace(self, **changes)  # type: ignore[arg-type]  # seed or group
        is_chosen = replace(other, page=self.page) == self
        return Choice(label, other.link, is_chosen)


def _page(query: QueryDict, name: str, count: int, size: int) -> int:
    """Return which page of so many things is asked for, the first by default.

    Raises:
        Http404: if there is no such page.
    """
    pages, asked = max(1, ceil(count / size)), query.get(name, "") or "1"
    if asked not in {str(place) for place in range(1, pages + 1)}:
        raise Http404(f"expected a page of 1 to {pages} in {name}, got {asked!r}")
    return int(asked)
