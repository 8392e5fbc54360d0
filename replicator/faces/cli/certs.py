"""``certs``: the CA of a cluster, in a directory."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replicator.config import CA_DAYS, CERTIFICATE_DAYS, CLUSTER_DEFAULT
from replicator.errors import MissingExtraError
from replicator.faces.cli.codes import Exit
from replicator.faces.cli.options import DIRECTORY, Function, json_option
from replicator.faces.cli.output import escaped, print_json

if TYPE_CHECKING:
    from replicator.faces.certificates import Authority, Issued

DIRECTORY_DEFAULT = Path("certs")

_dir_option = click.option(
    "--dir",
    "directory",
    type=DIRECTORY,
    metavar="DIR",
    default=DIRECTORY_DEFAULT,
    show_default=True,
    help="Directory of the CA.",
)


def _days_option(default: int) -> Callable[[Function], Function]:
    return click.option(
        "--days", type=int, default=default, show_default=True, help="How long it is valid."
    )


@click.group()
def certs() -> None:
    """Make and revoke the certificates of a cluster.

    A node lets in whoever has a certificate of the cluster's CA. The CA is a directory on a
    machine of yours that need not be a node; whoever reads its ca.key can make certificates.

    \b
        replicator certs init
        replicator certs issue a            (then for every other node)
        replicator certs revoke a
    """


@certs.command()
@click.argument("directory", metavar="[DIR]", type=DIRECTORY, default=DIRECTORY_DEFAULT)
@_days_option(CA_DAYS)
@click.option(
    "--cluster", default=CLUSTER_DEFAULT, show_default=True, help="Name of the cluster, for people."
)
@json_option
def init(directory: Path, days: int, cluster: str, as_json: bool) -> int:
    """Make a CA in DIR, a new directory: certs where none is named.

    It holds ca.crt, ca.key and revoked.crl. Nothing that is there is overwritten.
    """
    expires = _authority(directory).init(cluster=cluster, days=days)
    if as_json:
        print_json({"directory": str(directory), "cluster": cluster, "expires": _json(expires)})
    else:
        where = escaped(str(directory))
        click.echo(
            f"CA of cluster {escaped(cluster)} made in {where}, valid until {_day(expires)}; keep "
            f"ca.key there.\nFor each node: replicator certs issue NAME --dir {where}"
        )
    return Exit.OK


@certs.command()
@click.argument("name")
@_dir_option
@_days_option(CERTIFICATE_DAYS)
@click.option("--renew", is_flag=True, help="The node has one: make a new one, move the old aside.")
@json_option
def issue(name: str, directory: Path, days: int, renew: bool, as_json: bool) -> int:
    """Issue a certificate and key to the node NAME.

    Makes NAME.crt and NAME.key in the CA's directory. A node takes renewed files without a
    restart; the earlier certificate stays valid until it expires or is revoked.
    """
    issued = _authority(directory).issue(name, days=days, renew=renew)
    files = {
        "ca": directory / "ca.crt",
        "certificate": directory / f"{name}.crt",
        "key": directory / f"{name}.key",
        "revoked": directory / "revoked.crl",
    }
    paths = {key: str(path.absolute()) for key, path in files.items()}
    if as_json:
        print_json({**_document(issued), "files": paths})
        return Exit.OK
    click.echo(f"certificate of {name} made, valid until {_day(issued.expires)}.")
    click.echo("Copy these four files to the node, the key closed to others, and write into its")
    click.echo("configuration, with the paths they have there:\n\n[tls]")
    for key, path in paths.items():
        click.echo(f"{key} = {json.dumps(path)}")
    return Exit.OK


@certs.command()
@click.argument("name")
@_dir_option
@json_option
def revoke(name: str, directory: Path, as_json: bool) -> int:
    """Revoke every certificate of the node NAME, renewed ones too.

    Takes effect on a node when its copy of revoked.crl is replaced by the new one.
    """
    revoked = _authority(directory).revoke(name)
    if as_json:
        for one in revoked:
            print_json(_document(one))
    elif revoked:
        click.echo(
            f"{len(revoked)} certificate{'s' * (len(revoked) > 1)} of {name} revoked. Copy "
            f"{escaped(str(directory / 'revoked.crl'))} to every node:\nit takes the new one "
            "within seconds, and ends its conversations with them."
        )
    else:
        click.echo(f"all certificates of {name} were revoked already")
    return Exit.OK


@certs.command(name="list")
@_dir_option
@json_option
def list_(directory: Path, as_json: bool) -> int:
    """Print every certificate that was issued to a node."""
    now = datetime.now(UTC)
    for one in _authority(directory).issued():
        if as_json:
            print_json(_document(one))
        else:
            click.echo(f"{one.name:20}  {one.serial:040x}  {_state(one, now)}")
    return Exit.OK


def _authority(directory: Path) -> "Authority":
    try:
        from replicator.faces.certificates import Authority
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("cryptography"):
            raise
        raise MissingExtraError(
            "certificates need cryptography, which is not installed; run: "
            "pip install 'level-replicator[tls]'"
        ) from error
    return Authority(directory)


def _state(one: "Issued", now: datetime) -> str:
    if one.revoked is not None:
        return f"revoked on {_day(one.revoked)}"
    return f"{'expired on' if one.expires <= now else 'valid until'} {_day(one.expires)}"


def _document(one: "Issued") -> dict[str, object]:
    return {
        "name": one.name,
        "serial": f"{one.serial:040x}",
        "expires": _json(one.expires),
        "revoked": None if one.revoked is None else _json(one.revoked),
    }


def _json(time: datetime) -> str:
    return time.isoformat(timespec="seconds")


def _day(time: datetime) -> str:
    return f"{time:%Y-%m-%d}"
