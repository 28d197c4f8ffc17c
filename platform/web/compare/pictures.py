"""Pictures of the compared entries: the same sample seeds side by side, and over the training."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from django.http import Http404

from catalog.models import Dataset
from experiments import controls
from experiments.models import Checkpoint, Entry, Run, SampleSet
from experiments.pages.views import spread
from jobs.models import Status
from leaderboards.comparing.sides import Comparison, Side, seed_of
from web.sheets import SHEET_IMAGES, Sheet

ROWS = 10  # images of each side on a page
MOST_STEPS = 24  # of a training, on its slider
REAL = "Real images"


@dataclass(frozen=True)
class Column:
    """What one side drew, or real images."""

    name: str
    about: str  # "seed 0", what is different from the others, "" if nothing is
    sample_set: SampleSet | None  # None = not drawn yet
    sheet: Sheet | None
    dataset: Dataset

    def boxes(self, first: int) -> list[str]:
        """Return where a page's images lie on the sheet; "" for those that it does not show."""
        places = range(first, first + ROWS)
        sheet = self.sheet
        return [sheet.box(place) if sheet and place < sheet.images else "" for place in places]


@dataclass(frozen=True)
class Grid:
    """Rows of images, one sample seed each; a column for real images, then for each side."""

    columns: tuple[Column, ...]
    seed: int
    seeds: tuple[int, ...]
    first: int  # place of the first row's image

    @property
    def rows(self) -> list[tuple[int, list[tuple[Column, str]]]]:
        """Return the number of each image, from 1, with every column and where it lies there."""
        boxes = [column.boxes(self.first) for column in self.columns]
        return [
            (self.first + k + 1, list(zip(self.columns, row, strict=True)))
            for k, row in enumerate(zip(*boxes, strict=True))
            if any(row)
        ]

    @property
    def most(self) -> int:
        """Return how many images the longest sheet shows."""
        return max((c.sheet.images for c in self.columns if c.sheet), default=0)

    @property
    def last(self) -> int:
        """Return the number of the last image that is shown."""
        return self.first + len(self.rows)

    @property
    def before(self) -> int | None:
        """Return the number of the first image of the page before; None on the first."""
        return max(0, self.first - ROWS) + 1 if self.first else None

    @property
    def after(self) -> int | None:
        return self.first + ROWS + 1 if self.first + ROWS < self.most else None

    @property
    def is_small(self) -> bool:
        """Whether the images have so few pixels that each is shown as a square."""
        return all(c.sheet.side <= 64 for c in self.columns if c.sheet)


def grid(comparison: Comparison, *, seed: str, image: str) -> Grid:
    """Return the images from number ``image`` on, of the training seed ``seed``.

    Raises:
        Http404: if no side has the seed, or no sheet shows the image.
    """
    counts = _seeds(comparison)
    seeds = tuple(sorted(counts))
    chosen = _chosen(seed, counts)
    columns = [*_real(comparison), *(_column(side, chosen) for side in comparison.sides)]
    if image and image not in {str(number) for number in range(1, SHEET_IMAGES + 1)}:
        raise Http404(f"expected the number of an image, 1 to {SHEET_IMAGES}, got {image[:60]!r}")
    return Grid(tuple(columns), chosen, seeds, int(image or 1) - 1)


def _seeds(comparison: Comparison) -> Counter[int]:
    """Return how many sides have samples of each training seed; of handed-in ones if of no other."""
    drawn = [[each for each in side.sets if each.run] for side in comparison.sides]
    known = drawn if any(drawn) else [list(side.sets) for side in comparison.sides]
    return Counter(seed for sets in known for seed in {seed_of(each) for each in sets})


def _chosen(seed: str, counts: Counter[int]) -> int:
    """Return the seed that is asked for, by default the one that most sides have."""
    if not seed:
        return min(counts, key=lambda each: (-counts[each], each), default=0)
    if seed not in {str(each) for each in counts}:
        known = ", ".join(map(str, sorted(counts)))
        raise Http404(f"expected a training seed of the entries ({known}), got {seed[:60]!r}")
    return int(seed)


def _column(side: Side, seed: int) -> Column:
    drawn = side.set_of(seed)
    about = []
    if drawn is not None and drawn.run is not None and drawn.run.seed != seed:
        about.append(f"has no seed {seed}: seed {seed_of(drawn)}")
    if side.entry.kind == Entry.Kind.EXTERNAL:
        about.append("as they were handed in")
    dataset = side.entry.experiment.dataset
    return Column(side.name, "; ".join(about), drawn, _sheet(drawn, side.entry), dataset)


def _sheet(drawn: SampleSet | None, entry: Entry) -> Sheet | None:
    if drawn is None:
        return None
    return Sheet(entry.experiment.dataset.resolution, min(drawn.count, SHEET_IMAGES))


def _real(comparison: Comparison) -> list[Column]:
    """Return a column of real test images for each dataset; sides that are these need none."""
    known = {side.entry.pk for side in comparison.sides}
    tested = Entry.objects.filter(
        experiment__in={entry.experiment_id for entry in comparison.entries},
        kind=Entry.Kind.CONTROL,
        config__control=controls.TEST,
    )
    # By their keys: the database would look through all completed sets of the site.
    keys = list(tested.order_by().values_list("pk", flat=True))
    sets = SampleSet.objects.filter(entry__in=keys, status=Status.COMPLETED)
    sets = sets.select_related("entry__experiment__dataset")
    of_dataset = {each.entry.experiment.dataset_id: each for each in sets.order_by("-pk")}
    several = len(of_dataset) > 1
    return [
        Column(
            REAL,
            each.entry.experiment.dataset.name if several else "",
            each,
            _sheet(each, each.entry),
            each.entry.experiment.dataset,
        )
        for each in of_dataset.values()
        if each.entry_id not in known
    ]


@dataclass(frozen=True)
class Preview:
    """A grid drawn when a checkpoint was written."""

    pk: int
    images_seen: int
    digest: str


@dataclass(frozen=True)
class Film:
    """One run's previews: for each step the last that was drawn until then, None before the first."""

    run: Run
    frames: tuple[Preview | None, ...]


@dataclass(frozen=True)
class Films:
    """The trainings beside each other, at the same numbers of images."""

    steps: tuple[int, ...]  # images seen
    films: tuple[Film, ...]
    step: int  # which is shown, from 1

    @property
    def shown(self) -> list[tuple[Film, Preview | None]]:
        return [(film, film.frames[self.step - 1]) for film in self.films]

    @property
    def images_seen(self) -> int:
        return self.steps[self.step - 1]


def films(comparison: Comparison, *, seed: int, step: str) -> Films | None:
    """Return the previews of each entry's run of a seed, else of its first; None without any.

    Raises:
        Http404: if there is no such step.
    """
    runs = [_run_of(comparison, entry, seed) for entry in comparison.entries]
    chosen = {run.pk: run for run in runs if run is not None}
    found: dict[int, list[Preview]] = {pk: [] for pk in chosen}
    rows = Checkpoint.objects.filter(run__in=chosen).exclude(preview="").order_by("images_seen")
    for pk, run, seen, digest in rows.values_list("pk", "run_id", "images_seen", "sha256"):
        found[run].append(Preview(pk, seen, digest[:12]))
    drawn = sorted({each.images_seen for previews in found.values() for each in previews})
    if not drawn:
        return None
    steps = tuple(spread(drawn, at_most=MOST_STEPS))
    if step and step not in {str(number) for number in range(1, len(steps) + 1)}:
        raise Http404(f"expected a step, 1 to {len(steps)}, got {step[:60]!r}")
    made = tuple(
        Film(chosen[pk], tuple(_last(previews, at) for at in steps))
        for pk, previews in found.items()
        if previews
    )
    return Films(steps, made, int(step or len(steps)))


def _run_of(comparison: Comparison, entry: Entry, seed: int) -> Run | None:
    runs = [run for run in comparison.runs if run.entry_id == entry.pk]
    for run in runs:
        run.entry = entry
    return next((run for run in runs if run.seed == seed), next(iter(runs), None))


def _last(previews: Sequence[Preview], at: int) -> Preview | None:
    return next((each for each in reversed(previews) if each.images_seen <= at), None)
