"""An experiment's progress in the terminal: a bar per run, then sampling, then evaluation."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from experiments.models import Experiment, Run, SampleSet
from jobs.models import FINISHED, Job
from leaderboards.ranking import Board, Cell, Column


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"


def describe(job: Job) -> str:
    """Return what stands beside a job's bar."""
    if job.status in FINISHED:
        return f"{job.status} {job.reason}".strip()
    if job.status == "queued":
        return job.reason or "queued"
    if isinstance(job, Run):
        return _describe_training(job)
    if isinstance(job, SampleSet):
        return f"{job.drawn:,}/{job.count:,} images"
    return str(getattr(job, "step", ""))


def _describe_training(run: Run) -> str:
    parts = [f"{run.images_seen:,} images"]
    if run.images_per_second:
        parts.append(f"{run.images_per_second:,.0f} images/s")
    parts += [f"{name} {value:.3f}" for name, value in list(run.losses.items())[:2]]
    if run.seconds_left is not None:
        parts.append(f"{duration(run.seconds_left)} left")
    return "  ".join(parts)


def _verb(job: Job) -> str:
    return {"run": "train", "sampleset": "sample", "evaluation": "evaluate"}[job.type_name()]


class ProgressView:
    """Bars in a terminal; one line per finished job where the output is no terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("{task.fields[verb]:>8}"),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[detail]}"),
            console=console,
        )
        self.bars: dict[tuple[str, int], TaskID] = {}
        self.told: set[tuple[str, int, int]] = set()

    def show(self, experiment: Experiment) -> bool:
        """Show the jobs as they are now; return whether all are finished."""
        jobs = experiment.jobs()
        for job in jobs:
            self._show_bar(job)
            if job.status in FINISHED and not self.console.is_terminal:
                self._tell(job)
        return all(job.status in FINISHED for job in jobs)

    def _show_bar(self, job: Job) -> None:
        key = (job.type_name(), job.pk)
        if key not in self.bars:
            self.bars[key] = self.progress.add_task(str(job), total=100, verb=_verb(job), detail="")
        percent = 100 if job.status == "completed" else getattr(job, "percent", 0)
        self.progress.update(self.bars[key], completed=percent, detail=describe(job))

    def _tell(self, job: Job) -> None:
        key = (job.type_name(), job.pk, job.attempt)
        if key not in self.told:
            self.told.add(key)
            self.console.print(f"{_verb(job):>8} {job}: {describe(job)}", highlight=False)


def board_table(board: Board) -> Table:
    """Return the leaderboard as a table for the terminal."""
    table = Table(title=f"{board.protocol} · {len(board.rows)} rows")
    table.add_column("#", justify="right")
    table.add_column("Entry")
    table.add_column("Sampler")
    table.add_column("Seeds")
    for column in board.columns:
        table.add_column(f"{column.label} {column.arrow}", justify="right")
    for row in board.rows:
        cells = [_text(row.cells[column.key], column) for column in board.columns]
        rank = row.cells[board.sort_key].rank
        seeds = f"{row.seeds_scored}/{row.seeds_total}"
        table.add_row(str(rank or "–"), row.entry.label, row.sampler_label, seeds, *cells)
    return table


FORMATS = {
    "nfe": ".0f",
    "parameters": ",.0f",
    "images_per_second": ",.0f",
    "device_seconds": ",.1f",
}


def _text(cell: Cell, column: Column) -> str:
    if cell.value is None:
        return "–"
    text = format(cell.value, FORMATS.get(column.key, ".4g"))
    if cell.low is not None and cell.high is not None:
        text += f" [dim]{cell.low:.3g}…{cell.high:.3g}[/]"
    return text
