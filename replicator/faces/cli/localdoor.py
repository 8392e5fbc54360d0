"""A store whose directory no daemon has open: the command line opens it itself."""

from pathlib import Path

from replicator.faces.cli.door import Door
from replicator.faces.cli.progress import Bar
from replicator.faces.client.replies import ReplyReader
from replicator.faces.configuration import Config
from replicator.faces.control import answer
from replicator.faces.leveldb import open_leveldb
from replicator.faces.library import visit
from replicator.faces.stepwise import Session

ADOPTING = "taking over the data that is there"


class LocalDoor(Door):
    """Runs commands in this process, on a handle that neither listens nor dials.

    Args:
        data: the directory.
        config: who wins conflicts, and how safe writes are.
        create: whether to make the store where there is none.

    Raises:
        UsageError, StorageError: as `open_leveldb` and `visit`.
    """

    running = False

    def __init__(self, data: Path, config: Config, *, create: bool) -> None:
        self._replies = ReplyReader()
        db = open_leveldb(data, create=create)
        try:
            with Bar(ADOPTING) as show:
                self._replica = visit(
                    db,
                    adoption_progress=lambda keys: show(keys, f"{keys:,} keys"),
                    **config.keywords,
                )
        except BaseException:
            db.close()
            raise
        self._session = Session(protocol=3)

    def close(self) -> None:
        self._session.close()
        self._replica.close()

    def _reply(self, arguments: tuple[bytes, ...]) -> object:
        self._replies.feed(answer(self._replica, self._session, list(arguments)))
        return self._replies.next()
