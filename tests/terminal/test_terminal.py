"""The board in the terminal: everything that fits, and no number cut."""

import io

import pytest
from rich.console import Console

from leaderboards import ranking, rounding
from terminal.bars import board_table
from tests.web import scenes

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("width", [80, 120])
def test_no_number_is_cut_and_only_headline_metrics_of_models_and_real_images_are_shown(
    width: int,
) -> None:
    board = ranking.rank(scenes.finished_comparison(seeds=1).protocol)
    out = io.StringIO()

    Console(file=out, width=width).print(board_table(board))

    text = "".join(out.getvalue().split())
    assert "density" not in text and "Uniformnoise" not in text
    rows = [row for row in board.rows if not row.is_aside]
    for key in ("fd", "recall", "authenticity"):
        cells = [row.cells[key] for row in rows]
        numbers = [rounding.number(cell.value or 0.0, rounding.decimals([cell])) for cell in cells]
        assert "".join(numbers) in text, key
