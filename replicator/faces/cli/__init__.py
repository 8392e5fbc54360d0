"""The command ``replicator``. What it needs beyond the library comes with an extra."""

import sys

from replicator.errors import MissingExtraError

EXTRA = ("click", "hiredis", "msgspec", "rich")
"""The packages of the extra ``daemon``, by the names under which they are imported."""


def main() -> None:
    """The console script: runs a command and ends the process with its exit code."""
    try:
        from replicator.faces.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        sys.stderr.write(f"replicator: {missing(error.name)}\n")
        sys.exit(2)
    run()


def missing(package: str) -> MissingExtraError:
    """What to say where a package of the extra is not installed."""
    return MissingExtraError(
        f"the command line and the daemon need {package}, which is not installed; run: "
        "pip install 'level-replicator[daemon]'"
    )
