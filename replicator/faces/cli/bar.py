"""The bar itself, drawn by rich."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class Shown:
    """A bar on standard error, from now on. What is written there meanwhile appears above it.

    Args:
        total: what is done at the end; None where nobody knows.
    """

    def __init__(self, title: str, total: int | None) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            TimeRemainingColumn(),
        )
        self._progress = Progress(
            *columns, console=Console(stderr=True), transient=True, redirect_stdout=False
        )
        self._task = self._progress.add_task(title, total=total, text="")
        self.start()

    def update(self, done: int, text: str) -> None:
        """Tell how far it is."""
        self._progress.update(self._task, completed=done, text=text)

    def start(self) -> None:
        """Show it, again."""
        self._progress.start()

    def stop(self) -> None:
        """Take it away."""
        self._progress.stop()
