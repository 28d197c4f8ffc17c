"""An experiment's progress in the terminal: a bar per run, then sampling, then evaluation.

Of more jobs than the terminal has lines only those are shown that work or have failed.
"""

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column as TableColumn, Table

from experiments.comparison import ExperimentJobs
from experiments.models import Evaluation, Experiment, Run, SampleSet
from experiments.progress import progress
from jobs.models import Job, Status
from leaderboards import rounding
from leaderboards.board import Board, Cell

LINES_LEFT = 4  # of the terminal, above the bars


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"


def describe(job: Job) -> str:
    """Return what stands beside a job's bar."""
    if job.is_finished:
        return f"{job.status} {job.reason}".strip()
    if job.status == Status.QUEUED:
        return job.reason or "queued"
    if isinstance(job, Run):
        return _describe_training(job)
    if isinstance(job, SampleSet):
        return f"{job.drawn:,}/{job.count:,} images"
    return str(getattr(job, "step", ""))


def _describe_training(run: Run) -> str:
    parts = [f"{run.images_seen / 1000:.1f}k seen"]
    if run.images_per_second:
        parts.append(f"{run.images_per_second:,.0f}/s")
    parts += [f"loss {value:.3f}" for value in list(run.losses.values())[:1]]
    if run.seconds_left is not None:
        parts.append(duration(run.seconds_left))
    return " ".join(parts)


def _verb(job: Job) -> str:
    return {"run": "train", "sampleset": "sample", "evaluation": "evaluate"}[job.type_name()]


def _name(job: Job) -> str:
    """Return the job's name without what the verb says, and the seed where there are several."""
    if isinstance(job, Evaluation):
        return _name(job.sample_set)
    assert isinstance(job, Run | SampleSet), "the kinds of job there are"
    run = job if isinstance(job, Run) else job.run
    parts = [job.entry.label]
    if isinstance(job, SampleSet):
        parts.append(job.sampler_label)
    if run is not None and len(job.entry.experiment.seeds) > 1:
        parts.append(f"seed {run.seed}")
    return " ".join(parts)


class ProgressView:
    """Bars in a terminal; one line per finished job where the output is no terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn(
                "{task.fields[verb]:>8} [bold]{task.description}",
                table_column=TableColumn(no_wrap=True, max_width=34),
            ),
            BarColumn(bar_width=8, table_column=TableColumn(min_width=8)),
            TextColumn("{task.percentage:>3.0f}%", table_column=TableColumn(min_width=4)),
            TextColumn("{task.fields[detail]}", table_column=TableColumn(no_wrap=True)),
            console=console,
            disable=not console.is_terminal,
        )
        self.all = self.progress.add_task("completed", total=None, verb="jobs", detail="")
        self.bars: dict[tuple[str, int], TaskID] = {}
        self.told: set[tuple[str, int, int]] = set()

    def show(self, experiment: Experiment) -> bool:
        """Show the jobs as they are now; return whether all are finished."""
        jobs = ExperimentJobs.of(experiment).all
        standing = progress([experiment])[experiment.pk]
        self.progress.update(
            self.all, completed=standing.completed, total=standing.total, detail=str(standing)
        )
        fit = len(jobs) < self.console.height - LINES_LEFT
        for job in jobs:
            self._show_bar(job, visible=fit or job.is_active or job.status == Status.FAILED)
            if job.is_finished and not self.console.is_terminal:
                self._tell(job)
        return all(job.is_finished for job in jobs)

    def _show_bar(self, job: Job, *, visible: bool) -> None:
        key = (job.type_name(), job.pk)
        if key not in self.bars:
            self.bars[key] = self.progress.add_task(
                _name(job), total=100, verb=_verb(job), detail=""
            )
        percent = 100 if job.status == Status.COMPLETED else getattr(job, "percent", 0)
        self.progress.update(
            self.bars[key], completed=percent, detail=describe(job), visible=visible
        )

    def _tell(self, job: Job) -> None:
        key = (job.type_name(), job.pk, job.attempt)
        if key not in self.told:
            self.told.add(key)
            line = f"{_verb(job):>8} {_name(job)}: {describe(job)}"
            self.console.print(line, highlight=False, soft_wrap=True)


def board_table(board: Board) -> Table:
    """Return the board for the terminal: a column per row of the board, best on the left.

    It holds the headline metrics and no control but real test images; the page holds everything.
    """
    rows = [row for row in board.rows if not row.is_aside]
    table = Table(title=str(board.protocol), box=None, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column("", overflow="fold")
    for row in rows:
        table.add_column(
            f"{row.entry.label}\n[dim]{row.sampler_label}[/]", justify="right", overflow="fold"
        )
    for column in filter(lambda column: column.headline, board.columns):
        cells = [row.cells[column.key] for row in rows]
        places = rounding.decimals(cells)
        unit = f" {column.unit}" if column.unit else ""
        label = escape(f"{column.label}{unit} {column.arrow}")
        table.add_row(label, *(_text(cell, places) for cell in cells))
    seeds = [f"{row.seeds_scored}/{row.seeds_total}" for row in rows]
    table.add_row("Seeds scored", *seeds)
    ranks = [row.cells[board.ranked_by.key].range for row in rows]
    table.add_row(f"Rank by {escape(board.ranked_by.label)}", *ranks)
    return table


def _text(cell: Cell, places: int) -> str:
    if cell.value is None:
        return "–"
    places = rounding.own_decimals(cell, places)
    spread = escape(rounding.spread(cell, places))
    return rounding.number(cell.value, places) + cell.marks + f"\n[dim]{spread}[/]" * bool(spread)
