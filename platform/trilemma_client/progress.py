"""A bar of the jobs that are done, in a terminal or a notebook."""

from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Bar:
    """A line that is drawn anew in its place until it is closed."""

    def __init__(self, name: str, *, is_shown: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("jobs, {task.fields[said]}", markup=False),
            TimeElapsedColumn(),
            disable=not is_shown,
        )
        self._task = self._progress.add_task(name, total=None, said="asked for")

    def show(self, status: str, *, completed: int, failed: int, total: int) -> None:
        """Show how many jobs of all are done, and in words whether any failed."""
        said = f"{status}, {failed} failed" if failed else status
        self._progress.update(self._task, completed=completed, total=total, said=said)

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()
