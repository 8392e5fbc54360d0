"""Reloading on SIGHUP: what may change while a daemon runs, and what waits for its next start.

All of it or nothing: everything that can fail is done first, and where anything does, the daemon
goes on as it was.
"""

import logging
from collections.abc import AsyncIterable

import trio

from replicator.errors import ReplicatorError
from replicator.faces import logs
from replicator.faces.configuration import Config, Given
from replicator.faces.doors import Doors, Keys, read_keys
from replicator.faces.handle import Replica
from replicator.faces.notify import READY, Notifier
from replicator.net.address import Address, parse_address

logger = logging.getLogger("replicator")

RELOADED = frozenset(
    {
        "peers.static",
        "resp.certificate",
        "resp.key",
        "resp.client_ca",
        "http.certificate",
        "http.key",
        "access.readonly_password_file",
        "access.application_password_file",
        "access.admin_password_file",
        "access.http_token_file",
        "log.level",
    }
)
"""The keys that may change. The files of ``[tls]`` are read again whenever they change."""


class Reloading:
    """Reads the configuration again. For the daemon's trio thread.

    Args:
        given: what the daemon was given.
        started: what came of it.
    """

    def __init__(
        self,
        given: Given,
        started: Config,
        replica: Replica,
        doors: Doors,
    ) -> None:
        self._given = given
        self._started = started
        self._peers = _addresses(started)
        self._level = started.log.level
        self._replica = replica
        self._doors = doors

    async def keep(self, hangups: AsyncIterable[int], notifier: Notifier) -> None:
        """Reload whenever a signal comes, until cancelled."""
        async for _ in hangups:
            notifier.reloading()
            is_done = await self.reload()
            trouble = "" if is_done else "the last reload was refused, the log says why"
            notifier.tell(READY, f"STATUS={trouble}")

    async def reload(self) -> bool:
        """Take what has changed; whether it was. Never raises."""
        try:
            config, keys = await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
        except ReplicatorError as error:
            logger.error(
                "nothing was reloaded, all stays as it was: %s", "; ".join(str(error).split("\n"))
            )
            return False
        self._doors.use(keys)
        told = [*self._take_peers(config), *self._take_level(config)]
        logger.info("reloaded: %s", "; ".join([*told, "passwords and certificates read again"]))
        if waiting := self._waiting(config):
            logger.warning("changed, but not in force before a restart: %s", ", ".join(waiting))
        return True

    def _read(self) -> tuple[Config, Keys]:
        """What is new, checked: nothing fails after this."""
        config = self._given.read()
        keys = read_keys(config)
        self._doors.refuse(keys.access)
        return config, keys

    def _take_peers(self, config: Config) -> list[str]:
        peers = _addresses(config)
        added, removed = peers - self._peers, self._peers - peers
        for address in removed:
            self._replica.remove_peer(str(address))
        for address in added:
            self._replica.add_peer(str(address))
        self._peers = peers
        changes = (("peers added", added), ("peers removed", removed))
        return [f"{what}: {', '.join(sorted(map(str, some)))}" for what, some in changes if some]

    def _take_level(self, config: Config) -> list[str]:
        if config.log.level == self._level:
            return []
        self._level = config.log.level
        logs.set_level(self._level)
        return [f"log level: {self._level}"]

    def _waiting(self, config: Config) -> list[str]:
        """The keys that differ from those that the daemon has started with."""
        before = {key: value for key, value, _ in self._started.values()}
        waiting = [
            key for key, value, _ in config.values() if key not in RELOADED and value != before[key]
        ]
        # Whether there is TLS at all is for the start to say; which files, is not.
        for section in ("resp", "http"):
            had, has = (getattr(one, section).tls is not None for one in (self._started, config))
            if had != has:
                waiting.append(f"{section}.certificate")
        return waiting


def _addresses(config: Config) -> set[Address]:
    return {parse_address(text) for text in config.settings.peers}
