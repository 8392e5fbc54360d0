"""Runs a command that asks the name server of a test where it would ask the machine's:
``python asking.py RESOLV_CONF PORT replicator serve …``.

A name server in resolv.conf has port 53 always, which tests have not.
"""

import sys

from replicator.faces.cli import main
from replicator.net.discovery import questions


def run() -> None:
    resolv_conf, port, *command = sys.argv[1:]
    resolver_of = questions._resolver
    questions.RESOLV_CONF = resolv_conf
    questions._resolver = lambda _: resolver_of(("127.0.0.1", int(port)))
    sys.argv = command
    main()


if __name__ == "__main__":
    run()
