"""Where images lie on a contact sheet, so that a page can show one of them."""

import math
from dataclasses import dataclass

SHEET_COLUMNS, SHEET_IMAGES, SHEET_SIDE = 10, 100, 64  # of a sample set's contact sheet, see below


@dataclass(frozen=True)
class Sheet:
    """Where the images lie on a contact sheet, as `evaluation.imagesets.writing.grid_png` draws it."""

    side: int  # of an image, in pixels of its own
    images: int
    columns: int = SHEET_COLUMNS

    @property
    def scale(self) -> int:
        return max(1, SHEET_SIDE // self.side)

    @property
    def gap(self) -> int:
        return max(1, self.scale // 2)

    @property
    def cell(self) -> int:
        return self.side * self.scale + self.gap

    @property
    def width(self) -> int:
        return self.columns * self.cell + self.gap

    @property
    def height(self) -> int:
        return math.ceil(self.images / self.columns) * self.cell + self.gap

    def box(self, index: int) -> str:
        """Return left, top, width and height of an image, as an SVG's viewBox has them."""
        row, column = divmod(index, self.columns)
        side = self.side * self.scale
        return f"{self.gap + column * self.cell} {self.gap + row * self.cell} {side} {side}"


class LaterSheet(Sheet):
    """The same of images beyond the contact sheet, as `experiments.pages.sheets` joins them."""

    scale = 1
    gap = 0
