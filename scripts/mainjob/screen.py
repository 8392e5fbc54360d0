"""What people watch: lines and progress bars. Nothing from the file reaches it unescaped."""

import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

INDENT = 11

Advance = Callable[[int], object]
"""Called with how much is done."""


class Screen:
    """The terminal, or whatever standard output is."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)

    def say(self, text: str) -> None:
        self.console.print(escape(printable(text)), soft_wrap=not self.console.is_terminal)

    def doing(self, text: str) -> AbstractContextManager[object]:
        """Show what is done while the context is open; on a terminal alone."""
        if not self.console.is_terminal:
            return nullcontext()
        return self.console.status(escape(printable(text)))

    def fact(self, name: str, *lines: str) -> None:
        """Print lines behind a name."""
        head = f"{name:<{INDENT}}"
        for line in lines:
            for part in self._wrapped(line):
                self.say(f"{head}{part}".rstrip())
                head = " " * INDENT

    def _wrapped(self, line: str) -> list[str]:
        if not self.console.is_terminal:
            return [line]
        return textwrap.wrap(line, max(40, self.console.width - INDENT)) or [""]

    def complain(self, text: str) -> None:
        lines = "\n".join(escape(printable(line)) for line in text.splitlines())
        Console(stderr=True, highlight=False).print(f"[red]{lines}[/]", soft_wrap=True)

    @contextmanager
    def bars(self, totals: dict[str, int]) -> Iterator[list[Advance]]:
        """Progress bars, one for each title, while the context is open; on a terminal alone."""
        columns = (
            TextColumn("  {task.description:<10}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        hidden = not self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=hidden) as progress:
            tasks = [progress.add_task(title, total=total) for title, total in totals.items()]
            yield [
                lambda done, task=task: progress.update(task, completed=done)  # type: ignore[misc]
                for task in tasks
            ]


def printable(text: str) -> str:
    """Text of the file without what could move a cursor."""
    return "".join(part if part.isprintable() else ascii(part)[1:-1] for part in text)
