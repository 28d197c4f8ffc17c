"""The page that shows entries side by side, and the sentence where they cannot be shown."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from experiments.pages import losses
from experiments.pages.addresses import refuse_others
from leaderboards.comparing import curves
from leaderboards.comparing.classes import classes
from leaderboards.comparing.configurations import configuration
from leaderboards.comparing.sides import CompareError, read
from leaderboards.comparing.values import strangers, tables
from leaderboards.tables import Choice
from web.compare import looked, pictures, shown
from web.compare.address import Address

LOOK = (
    *("config", "loss", "x", "scale", "smooth", "columns"),
    *("seed", "image", "step", "pixels", "rows", "under"),
)
PIXELS = ("hard", "smooth")
ROWS = {"": "Seeds", "classes": "Classes"}
UNDER = {"": "Nothing", "nearest": "Nearest training image"}


@require_safe
def compare(request: HttpRequest) -> HttpResponse:
    """Show two to ten entries side by side; what cannot be compared is refused in a sentence."""
    asked = request.GET
    refuse_others(asked, ("entries", "baseline", *LOOK), several=("entries",))
    try:
        comparison = read(asked.getlist("entries"), asked.get("baseline", ""))
        wanted = curves.read(comparison, {name: asked.get(name, "") for name in curves.ASKED})
    except CompareError as error:
        status = 400 if asked else 200  # the bare address says how to come here
        return render(request, "web/compare/refused.html", {"error": error}, status=status)
    look = {name: value for name in LOOK if (value := asked.get(name, ""))}
    address = Address(comparison, look)
    found = tables(comparison)
    every = look.get("columns") == "all"
    context = {
        "comparison": comparison,
        "sides": shown.sides(address),
        "boards": [shown.board(table, every=every) for table in found],
        "strangers": strangers(comparison, found),
        "budgets": shown.budgets(comparison),
        "classes": classes(comparison, found),
        "columns": address.choices(
            "columns", {"": "Headline metrics", "all": "All"}, look.get("columns", ""), "#metrics"
        ),
        "json_link": f"{reverse('api:compare-list')}{address.link()}",
        **_configuration(address),
        **_curves(address, wanted),
        **_pictures(address),
    }
    return render(request, "web/compare/page.html", context)


def _configuration(address: Address) -> dict[str, Any]:
    options = {"": "Differences", "all": "Everything"}
    chosen = address.look.get("config", "")
    return {
        "configuration": configuration(address.comparison),
        "every_field": chosen == "all",
        "config_choices": address.choices("config", options, chosen, "#configuration"),
    }


def _curves(address: Address, wanted: curves.Wanted) -> dict[str, Any]:
    names = curves.losses_of(address.comparison)
    asked = {"loss": wanted.loss, "x": wanted.x, "scale": wanted.scale, "smooth": wanted.smoothing}
    query = urlencode([*address.comparison.query, *asked.items()])
    options = {
        "loss": ("Loss", losses.words(names), wanted.loss),
        "x": ("Over", dict(curves.AXES), wanted.x),
        "scale": ("Scale", {name: name for name in curves.SCALES}, wanted.scale),
        "smooth": ("Smoothing", {name: name for name in curves.SMOOTHINGS}, wanted.smoothing),
    }
    return {
        "wanted": wanted,
        "last_losses": curves.last_losses(address.comparison, wanted),
        "curve_source": f"{reverse('api:compare-curves')}?{query}",
        "curve_choices": [
            (label, address.choices(name, known, chosen, "#training"))
            for name, (label, known, chosen) in options.items()
            if len(known) > 1
        ],
    }


def _pictures(address: Address) -> dict[str, Any]:
    look = address.look
    grid = pictures.grid(address.comparison, seed=look.get("seed", ""), image=look.get("image", ""))
    default = "hard" if grid.is_small else "smooth"
    pixels = look["pixels"] if look.get("pixels") in PIXELS else default
    seeds = {str(each): str(each) for each in grid.seeds}
    rows, under = look.get("rows", ""), look.get("under", "")
    by_class, near = rows == "classes", under == "nearest"
    return {
        "grid": grid,
        "looked": looked.look(address.comparison, grid, by_class=by_class, near=near),
        "row_choices": address.choices("rows", ROWS, rows, "#samples"),
        "under_choices": address.choices("under", UNDER, under, "#samples"),
        "pixels": pixels,
        "pixel_choices": [
            Choice(name, address.link("#samples", pixels=name), name == pixels) for name in PIXELS
        ],
        "seed_choices": address.choices("seed", seeds, str(grid.seed), "#samples"),
        "before": grid.before and address.link("#samples", image=str(grid.before)),
        "after": grid.after and address.link("#samples", image=str(grid.after)),
        "films": pictures.films(address.comparison, seed=grid.seed, step=look.get("step", "")),
        "film_form": address.kept("step"),
    }
