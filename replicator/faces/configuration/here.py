"""What a configuration lacks on this machine: files that cannot be used, groups that there are not,
and sockets that a daemon would refuse to open.
"""

from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from replicator.errors import ReplicatorError
from replicator.faces import doors
from replicator.faces.access import read_access, read_secret
from replicator.faces.configuration.config import Config
from replicator.faces.configuration.source import DEFAULT_SOURCE, Mistake
from replicator.faces.listening import ServerContext, addresses_of, group_number
from replicator.net.address import Address

Check = Callable[[], object]


def lacking_here(config: Config) -> list[Mistake]:
    """What would keep a daemon from starting with this configuration, here and now. Blocks.

    The data directory, peers, and whether ports are free are not looked at.
    """
    found: list[Mistake] = []
    for key, check in _checks(config):
        try:
            check()
        except ReplicatorError as error:
            if not any(mistake.text == str(error) for mistake in found):
                named = _key_of(key, str(error), config)
                source = config.sources.get(named, DEFAULT_SOURCE)
                found.append(Mistake(source, named, str(error)))
    return found


def _checks(config: Config) -> Iterator[tuple[str, Check]]:
    """What is looked at, each with the key to blame."""
    resp, http = config.resp, config.http
    has_password, has_token = config.access.has_password, config.access.has_token
    yield "tls.certificate", lambda: _read_tls(config)
    yield "listen.host", lambda: _refuse_peers(config)
    for name, path in config.access.files.items():
        yield f"access.{name}_file", partial(read_secret, path)
    for name in (*config.access.files, *config.access.secrets):
        yield f"access.{name}_file", lambda: read_access(config.access)
    for section, files in (("resp", resp.tls), ("http", http.tls)):
        if files is not None:
            yield f"{section}.certificate", partial(ServerContext, files)
    yield (
        "resp.listen",
        lambda: doors.refuse_resp(resp, _addresses(resp.listen), has_password=has_password),
    )
    yield "resp.socket_mode", lambda: doors.refuse_socket(resp, has_password=has_password)
    if resp.socket_group is not None:
        yield "resp.socket_group", lambda: group_number(resp.socket_group or "")
    yield (
        "http.listen",
        lambda: doors.refuse_http(http, _addresses(http.listen), has_token=has_token),
    )


def _addresses(listen: Address | None) -> list[str]:
    return [] if listen is None else addresses_of(listen.host)


def _read_tls(config: Config) -> None:
    if config.settings.tls is not None:
        # Here, not at the top: it takes long to import, and needs an extra.
        from replicator.net.tls import Tls, TlsFiles

        Tls(TlsFiles.from_mapping(config.settings.tls))


def _refuse_peers(config: Config) -> None:
    import trio

    from replicator.net.listen import refuse_strangers

    settings = config.settings
    if settings.tls is None:
        trio.run(refuse_strangers, settings.host, None, settings.insecure)


def _key_of(key: str, text: str, config: Config) -> str:
    """The key to blame: of the same section that whose file the text begins with."""
    section = key.partition(".")[0]
    table = msgspec.structs.asdict(getattr(config.file, section))
    for name, value in table.items():
        if isinstance(value, str) and text.startswith(f"{value} "):
            return f"{section}.{name}"
    return key
