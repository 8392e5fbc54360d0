"""The command ``replicator``: its commands, and how each ends."""

import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click
import plyvel

from replicator.errors import ReplicatorError
from replicator.faces.cli import EXTRA, missing
from replicator.faces.cli.backup import backup, restore
from replicator.faces.cli.certs import certs
from replicator.faces.cli.cluster import forget, join, members
from replicator.faces.cli.codes import Exit, exit_of
from replicator.faces.cli.config import config
from replicator.faces.cli.data import delete, get, put, scan
from replicator.faces.cli.diff import diff
from replicator.faces.cli.exchange import export, import_
from replicator.faces.cli.feed import changes, token, wait_for
from replicator.faces.cli.health import health
from replicator.faces.cli.inspection import digest, status
from replicator.faces.cli.load import load
from replicator.faces.cli.output import complain
from replicator.faces.cli.serve import serve
from replicator.faces.cli.settling import conflicts, reevaluate, resolve, versions
from replicator.faces.cli.strip import strip
from replicator.faces.cli.verify import verify
from replicator.faces.leveldb import words_of
from replicator.faces.logs import log_to_stderr


class App(click.Group):
    """A group whose commands return their exit code, and whose errors are one clear line."""

    def invoke(self, ctx: click.Context) -> Any:
        ctx.exit(_ended(lambda: super(App, self).invoke(ctx)))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def _ended(command: Callable[[], int]) -> int:
    """Run a command and give its exit code."""
    try:
        code = command()
        sys.stdout.flush()
        return code
    except ReplicatorError as error:
        complain(str(error))
        return exit_of(error)
    except plyvel.Error as error:
        complain(words_of(error))
        return Exit.STORAGE
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        complain(str(missing(error.name)))
        return Exit.USAGE
    except BrokenPipeError:
        # Whoever reads has seen enough; what is still buffered must not be complained about.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.PIPE_CLOSED
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


@click.group(cls=App, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="level-replicator")
def cli() -> None:
    """A LevelDB on every node; all nodes end with the same data.

    Every node takes reads and writes on its own directory, and exchanges them with its peers.
    Two nodes on one machine:

    \b
        replicator serve --data ./a --name a --listen 127.0.0.1:9000 &
        replicator serve --data ./b --name b --listen 127.0.0.1:9001 \\
                         --peer 127.0.0.1:9000 &
        replicator put   --data ./a greeting hello
        replicator get   --data ./b greeting

    Commands on data work beside a running daemon, through its socket in the directory, as well
    as on the directory of a stopped one.

    \b
    Exit codes:
        0    done; the answer is yes
        1    the answer is no: the key is not there, the digests differ
        2    the command or the configuration is wrong
        3    LevelDB or the disk failed, or another program has the directory open
        4    the daemon does not answer
        130  interrupted with Ctrl-C
        141  whoever read the output closed it
    """


for _command in (
    serve,
    load,
    get,
    put,
    delete,
    scan,
    changes,
    token,
    wait_for,
    status,
    health,
    digest,
    conflicts,
    versions,
    resolve,
    reevaluate,
    members,
    join,
    forget,
    backup,
    restore,
    export,
    import_,
    verify,
    diff,
    strip,
    certs,
    config,
):
    cli.add_command(_command)


def run() -> NoReturn:
    """Run the command line of this process, and end it."""
    log_to_stderr("warning")
    cli.main(prog_name="replicator")
