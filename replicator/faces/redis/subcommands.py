"""Commands whose second word says what is to be done, such as CLIENT and CONFIG."""

from collections.abc import Mapping
from dataclasses import dataclass

from replicator.faces.access import Role
from replicator.faces.redis.client import Client
from replicator.faces.redis.shared import client_of
from replicator.faces.redis.table import Awaited, Command, Run, Work
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request, Status
from replicator.faces.stepwise import CommandError, Session


@dataclass(frozen=True, slots=True)
class Subcommand:
    """One of them.

    Attributes:
        run: as of a `Command`; it is given the whole request.
        least, most: how many words a request has, both names included; None is any number.
        usage: its arguments, and what it does in a sentence.
        needs: what a client must be to run it, beyond what the whole command asks for.
    """

    run: Run
    least: int
    most: int | None
    usage: tuple[str, str]
    needs: Role = Role.READONLY


class Subcommands:
    """All of one command.

    Args:
        name: of the command, in capitals.
        table: by their names in capitals; HELP comes by itself.
    """

    def __init__(self, name: str, table: Mapping[bytes, Subcommand]) -> None:
        self._name = name
        self._table = table

    @property
    def names(self) -> list[str]:
        """Their names, in capitals."""
        return [name.decode() for name in self._table] + ["HELP"]

    def run(
        self, turn: Turn, session: Session, request: Request
    ) -> "Reply | Work | Awaited | Command":
        """Run the one that a request names.

        Raises:
            CommandError: it names none, has a wrong number of words, or the client must not.
        """
        word = request[1].upper()
        if word == b"HELP" and len(request) == 2:
            return self._help()
        found = self._table.get(word)
        shown = request[1][:128].decode(errors="backslashreplace")
        if found is None:
            raise CommandError(f"ERR unknown subcommand '{shown}'. Try {self._name} HELP.")
        count = len(request)
        full_name = f"{self._name.lower()}|{shown.lower()}"
        if count < found.least or (found.most is not None and count > found.most):
            raise CommandError(f"ERR wrong number of arguments for '{full_name}' command")
        if _role_of(client_of(session)) < found.needs:
            raise CommandError(f"NOPERM this user has no permissions to run '{full_name}'")
        return found.run(turn, session, request)

    def _help(self) -> Reply:
        """The same form as Redis's."""
        lines = [f"{self._name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
        for name, subcommand in self._table.items():
            arguments, sense = subcommand.usage
            lines += [f"{name.decode()} {arguments}".rstrip(), f"    {sense}"]
        return [Status(line) for line in (*lines, "HELP", "    Print this help.")]


def _role_of(client: Client) -> int:
    return 0 if client.role is None else client.role
