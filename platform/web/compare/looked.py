"""The grid of samples as it is looked at: a row a seed or a class, with nearest training images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.urls import reverse

from catalog.models import Dataset
from experiments.models import SheetReading
from leaderboards.comparing.classes import predicts_own_classes
from leaderboards.comparing.sides import Comparison
from web.compare.pictures import Column, Grid
from web.formats import significant
from web.sheets import Sheet

PER_CLASS = 3  # images of a class in a cell
MOST_CLASSES = 20  # rows
NOT_KEPT = "not kept: it was evaluated before classes and nearest images were"


@dataclass(frozen=True)
class Near:
    """The training image that is nearest to a sample."""

    source: str
    box: str
    index: int  # in the training split
    distance: str


@dataclass(frozen=True)
class Picture:
    """One sample, and what is nearest to it where that is asked for and known."""

    number: int  # on its sheet, from 1
    box: str
    near: Near | None = None


@dataclass(frozen=True)
class Cell:
    column: Column
    pictures: tuple[Picture, ...]
    why: str = ""  # why there is none, or nothing near


@dataclass(frozen=True)
class Row:
    head: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Looked:
    """A grid with what was read of its sheets under one protocol."""

    grid: Grid
    readings: dict[int, SheetReading]  # by sample set
    dataset: Dataset  # of the classes that are rows
    by_class: bool
    near: bool

    @property
    def rows(self) -> list[Row]:
        return list(self._class_rows() if self.by_class else self._seed_rows())

    @property
    def left_out(self) -> int:
        """Return how many classes have no row."""
        return max(0, self.dataset.num_classes - MOST_CLASSES) if self.by_class else 0

    @property
    def distances(self) -> list[str]:
        """Return in words what distances are of, each once."""
        words = [
            f"{each.get_distance_display()}, of {each.evaluation.protocol.board_name}"
            if each.distance == SheetReading.Distance.FEATURES
            else "pixels, the root of their mean square difference"
            for each in self.readings.values()
        ]
        return list(dict.fromkeys(words))

    def reading_of(self, column: Column) -> SheetReading | None:
        drawn = column.sample_set
        return None if drawn is None else self.readings.get(drawn.pk)

    def _seed_rows(self) -> Iterator[Row]:
        for number, cells in self.grid.rows:
            found = (self._of_seed(column, number, box) for column, box in cells)
            yield Row(str(number), tuple(found))

    def _of_seed(self, column: Column, number: int, box: str) -> Cell:
        if not box:
            return Cell(column, (), "not on its sheet" if column.sample_set else "not drawn yet")
        picture = self._picture(column, number - 1)
        return Cell(column, (picture,), "" if picture.near or not self.near else NOT_KEPT)

    def _class_rows(self) -> Iterator[Row]:
        for number, name in enumerate(self.dataset.classes[:MOST_CLASSES]):
            yield Row(str(name), tuple(self._of_class(each, number) for each in self.grid.columns))

    def _of_class(self, column: Column, number: int) -> Cell:
        labels, why = self._labels(column)
        if labels is None or column.sheet is None:
            return Cell(column, (), why)
        shown = labels[: column.sheet.images]
        places = [place for place, label in enumerate(shown) if label == number]
        found = tuple(self._picture(column, place) for place in places[:PER_CLASS])
        return Cell(column, found, "" if found else f"none of its first {len(shown)}")

    def _labels(self, column: Column) -> tuple[Sequence[int] | None, str]:
        """Return the class of each image on a sheet; else why nobody knows it."""
        drawn, reading = column.sample_set, self.reading_of(column)
        if drawn is None:
            return None, "not drawn yet"
        if column.dataset.pk != self.dataset.pk:
            return None, f"of {column.dataset.name}"
        if reading is None:
            return None, NOT_KEPT
        if reading.asked is not None:
            return reading.asked, ""
        if reading.predicted is not None and predicts_own_classes(reading.evaluation.protocol):
            return reading.predicted, ""
        return None, "drawn without classes, and nothing here predicts the dataset's"

    def told_by(self, column: Column) -> str:
        """Return where the classes of a column are from, "" where rows are none."""
        reading = self.reading_of(column)
        if not self.by_class or reading is None:
            return ""
        return "classes as given" if reading.asked is not None else "classes as predicted"

    def _picture(self, column: Column, place: int) -> Picture:
        assert column.sheet is not None, "only what was drawn has pictures"
        near = self._near(column, place) if self.near else None
        return Picture(place + 1, column.sheet.box(place), near)

    def _near(self, column: Column, place: int) -> Near | None:
        reading = self.reading_of(column)
        if reading is None or column.sheet is None or place >= len(reading.nearest):
            return None
        sheet = Sheet(column.sheet.side, len(reading.nearest))
        return Near(
            source=f"{reverse('nearest-images', args=[reading.pk])}?v={reading.evaluation_id}",
            box=sheet.box(place),
            index=reading.nearest[place],
            distance=significant(reading.distances[place], 3),
        )

    @property
    def heads(self) -> list[tuple[Column, str]]:
        """Return each column with what is said under its name."""
        return [
            (column, "; ".join(filter(None, [column.about, self.told_by(column)])))
            for column in self.grid.columns
        ]


def look(comparison: Comparison, grid: Grid, *, by_class: bool, near: bool) -> Looked:
    """Return the grid with what was read of its sheets, by the protocol that read most of them."""
    readings: dict[int, SheetReading] = {}
    if by_class or near:
        drawn = [c.sample_set.pk for c in grid.columns if c.sample_set is not None]
        readings = _readings(drawn)
    dataset = comparison.baseline.entry.experiment.dataset
    return Looked(grid, readings, dataset, by_class and bool(dataset.classes), near)


def _readings(sample_sets: Sequence[int]) -> dict[int, SheetReading]:
    """Return a reading of each sample set; where several protocols have one, the commonest's."""
    found = list(
        SheetReading.objects.filter(evaluation__sample_set__in=sample_sets).select_related(
            "evaluation__protocol__dataset"
        )
    )
    having = [each.evaluation.protocol_id for each in found]
    found.sort(key=lambda each: (having.count(each.evaluation.protocol_id), -each.pk))
    return {each.evaluation.sample_set_id: each for each in found}
