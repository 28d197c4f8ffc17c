"""Addresses of a comparison: the same one with something changed."""

from dataclasses import dataclass, replace
from urllib.parse import urlencode

from leaderboards.comparing.sides import Comparison, Side
from leaderboards.tables import Choice


@dataclass(frozen=True)
class Address:
    """What the page was asked for, and addresses of the same with something changed."""

    comparison: Comparison
    look: dict[str, str]  # how it is shown; what is left to the default is not there

    def link(self, anchor: str = "", **changes: str) -> str:
        """Return the address with changes; "" leaves a part to its default."""
        kept = {name: value for name, value in {**self.look, **changes}.items() if value}
        return f"?{urlencode([*self.comparison.query, *kept.items()])}{anchor}"

    def choices(self, name: str, options: dict[str, str], chosen: str, anchor: str) -> list[Choice]:
        """Return a link for each option; the first is the default and needs no parameter."""
        default = next(iter(options), "")
        return [
            Choice(label, self.link(anchor, **{name: "" if v == default else v}), v == chosen)
            for v, label in options.items()
        ]

    def kept(self, *without: str) -> list[tuple[str, str]]:
        """Return what a form that chooses a part sends besides."""
        rest = [(name, value) for name, value in self.look.items() if name not in without]
        return [*self.comparison.query, *rest]

    def of(self, sides: tuple[Side, ...], baseline: Side) -> str:
        """Return the address of other sides, shown as these are."""
        return replace(self, comparison=Comparison(sides, baseline)).link()
