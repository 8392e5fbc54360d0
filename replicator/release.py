"""Which release of this package runs."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def software_version() -> str:
    """The version of the installed package; "unknown" where it is not installed."""
    try:
        return version("level-replicator")
    except PackageNotFoundError:
        return "unknown"
