"""``backup`` and ``restore``."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from replicator.core.dots import format_origin
from replicator.faces.cli.codes import Exit
from replicator.faces.cli.options import FILE, Where, json_option, store_options
from replicator.faces.cli.output import escaped, print_json
from replicator.faces.cli.progress import Bar
from replicator.store.backupchain import Checked, Progress, check_backup
from replicator.store.restore import restore as restore_directory

Show = Callable[[int, str], object]
"""Called with how much is done and a text."""


@click.command()
@click.argument("dest", metavar="DEST", type=FILE)
@store_options()
@click.option("--compress", is_flag=True, help="Deflate it: smaller, and slower to write.")
@click.option(
    "--since",
    type=FILE,
    metavar="PREVIOUS",
    help="An earlier backup of this store; DEST then holds only what has changed since.",
)
@json_option
def backup(dest: Path, where: Where, compress: bool, since: Path | None, as_json: bool) -> int:
    """Write a backup of the store, as it is at this moment, into the file DEST.

    Works beside a running daemon, which writes the file itself and goes on serving meanwhile. DEST
    must not be there; it appears when it is complete and on the disk. To restore an increment, its
    PREVIOUS is needed too, and the PREVIOUS of that one, down to the full backup: keep them in one
    directory.

    \b
        replicator backup --data ./a /backup/sunday
        replicator backup --data ./a --since /backup/sunday /backup/monday
    """
    request = [b"REPL.BACKUP", os.fsencode(dest.absolute())]
    if compress:
        request += [b"COMPRESS", b"1"]
    if since is not None:
        request += [b"SINCE", os.fsencode(since.absolute())]
    started = time.monotonic()
    with where.open() as door, _progress("backing up", None, as_json) as show:
        reply: Any = door.call(*request)
        while not reply[b"is_done"]:
            show(reply[b"size_bytes"], f"{reply[b'records']:,} records")
            reply = door.call(b"REPL.MORE")
    seconds = time.monotonic() - started
    size = dest.stat().st_size
    if as_json:
        found = {"backup": str(dest), "records": reply[b"records"], "size_bytes": size}
        print_json({"done": True, **found, "seconds": round(seconds, 3)})
    else:
        what = "changed records" if since else "records"
        click.echo(
            f"{reply[b'records']:,} {what} in {escaped(str(dest))}: {_megabytes(size)} "
            f"({seconds:.1f} s, {reply[b'size_bytes'] / max(seconds, 1e-6) / 1e6:,.0f} MB/s)"
        )
    return Exit.OK


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
@store_options("Directory to restore into; it must be new or empty.  [env: REPLICATOR_DATA]")
@click.option("--check", is_flag=True, help="Only read the backup, and see whether it is whole.")
@json_option
def restore(files: tuple[Path, ...], where: Where, check: bool, as_json: bool) -> int:
    """Make a store out of a backup: FILE, or a full backup and its increments in order.

    Of an increment alone, the files before it are looked for beside it. Then start the node: it
    goes on as a new one, with a new origin, and what the backup lacks comes from its peers. The
    old one stays a member until somebody forgets it.

    \b
        replicator restore --data ./a /backup/monday && replicator serve --data ./a
        replicator restore --check /backup/monday
    """
    total = sum(path.stat().st_size for path in files if path.exists())
    with _progress("checking" if check else "restoring", total, as_json) as show:
        report: Progress = lambda done, _: show(done, "")  # noqa: E731
        if check:
            found = check_backup(files, report)
        else:
            found = restore_directory(files, where.directory, report)
    if as_json:
        what = {} if check else {"data": str(where.directory)}
        print_json({"done": True, **what, **_facts(found)})
    else:
        click.echo(_checked(found) if check else _restored(found, where.directory))
    return Exit.OK


def _checked(checked: Checked) -> str:
    lines = [f"whole: {escaped(str(path))}" for path in checked.files]
    return "\n".join([*lines, f"{checked.records:,} records of {_of(checked)}"])


def _restored(restored: Checked, directory: Path) -> str:
    origin = format_origin(restored.head.origin)
    return (
        f"{restored.records:,} records of {_of(restored)} are in {escaped(str(directory))}\n"
        f"Its node will be a new one. The old one, {origin}, stays a member; when it is gone for "
        f"good, say so to any node: replicator forget {origin}"
    )


def _facts(found: Checked) -> dict[str, object]:
    head = found.head
    return {
        "files": [str(path) for path in found.files],
        "records": found.records,
        "node": head.node,
        "origin": format_origin(head.origin),
        "made_ms": head.made_ms,
    }


def _of(found: Checked) -> str:
    when = datetime.fromtimestamp(found.head.made_ms / 1000, UTC)
    return f"node {escaped(found.head.node)} as of {when.isoformat(' ', 'seconds')}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


@contextmanager
def _progress(title: str, total: int | None, as_json: bool) -> Iterator[Show]:
    """How far it is: JSON for programs, a bar for people, nothing for a log."""
    if as_json:
        yield _json_report
    else:
        with Bar(title, total) as show:
            yield lambda done, text: show(done, f"{_megabytes(done)} {text}")


def _json_report(done: int, _text: str) -> None:
    print_json({"done": False, "size_bytes": done})
    sys.stdout.flush()
