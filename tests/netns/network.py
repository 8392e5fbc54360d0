"""Networks for tests: namespaces joined by virtual cables and bridges, apart from the host's.

A *host* is a network namespace, in which processes run; a *switch* is one with a bridge to which
hosts are plugged. Nothing is made in the host machine's own network: both ends of a cable are born
in their namespaces. Names carry the process id of the test run, so runs do not meet, and what a
killed run left behind is swept away by the next one.
"""

import os
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

PREFIX = "rpltest"
COMMAND_SECONDS = 30
SWEEP_SECONDS = 10


class NetworkError(Exception):
    """A command that builds the network failed."""


def ip(*arguments: str) -> str:
    """Run ``ip`` and give what it says.

    Raises:
        NetworkError: it failed, or there is no such command.
    """
    try:
        done = subprocess.run(
            ["ip", *arguments], capture_output=True, text=True, timeout=COMMAND_SECONDS
        )
    except OSError as error:
        raise NetworkError(f"ip cannot be run: {error}") from error
    if done.returncode:
        raise NetworkError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


@cache
def why_not() -> str | None:
    """Why networks cannot be made here; None where they can."""
    if shutil.which("ip") is None:
        return "network namespaces need the command ip (on Debian: apt-get install iproute2)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        with Network() as network:
            switch = network.switch("s")
            network.host("h").plug(switch, "10.0.0.1/24")
    except NetworkError as error:
        return f"network namespaces are not permitted here: {error}"
    return None


class Host:
    """A network namespace.

    Attributes:
        name: what tests call it.
        namespace: what the kernel calls it.
        within: what to put before a command that is to run in it.
    """

    def __init__(self, name: str, namespace: str) -> None:
        self.name = name
        self.namespace = namespace
        self.within = ("ip", "netns", "exec", namespace)
        self._interfaces = 0
        ip("netns", "add", namespace)
        self.ip("link", "set", "lo", "up")

    def ip(self, *arguments: str) -> str:
        """Run ``ip`` on this host's network."""
        return ip("-n", self.namespace, *arguments)

    def next_interface(self) -> str:
        """A name for one more interface: eth0, eth1 and so on."""
        self._interfaces += 1
        return f"eth{self._interfaces - 1}"

    def plug(self, switch: "Switch", address: str) -> str:
        """Plug into a switch with an address such as ``10.1.0.1/24``; gives the interface."""
        mine, _ = switch.cable(self)
        self.ip("address", "add", address, "dev", mine)
        return mine

    def link_to(self, other: "Host", mine: str, theirs: str) -> None:
        """Lay a cable to another host; both addresses are of its own subnet."""
        here, there = cable(self, other)
        self.ip("address", "add", mine, "dev", here)
        other.ip("address", "add", theirs, "dev", there)

    def move(self, interface: str, old: str, new: str) -> None:
        """Replace an address by another one; at once, without a farewell to anyone."""
        self.ip("address", "delete", old, "dev", interface)
        self.ip("address", "add", new, "dev", interface)

    def route(self, subnet: str, via: str) -> None:
        """Reach a subnet through a router."""
        self.ip("route", "add", subnet, "via", via)

    def forward(self) -> None:
        """Be a router from now on."""
        command = "echo 1 > /proc/sys/net/ipv4/ip_forward"
        subprocess.run([*self.within, "sh", "-c", command], check=True, timeout=COMMAND_SECONDS)


class Switch(Host):
    """A namespace with a bridge, to which hosts and other switches are plugged."""

    def __init__(self, name: str, namespace: str) -> None:
        super().__init__(name, namespace)
        # Without a spanning tree a port carries traffic as soon as it is up.
        self.ip("link", "add", "bridge", "type", "bridge", "stp_state", "0", "forward_delay", "0")
        self.ip("link", "set", "bridge", "up")

    def cable(self, other: Host) -> tuple[str, str]:
        """Plug another one in; gives the other's interface, and the port here."""
        theirs, port = cable(other, self)
        self.ip("link", "set", port, "master", "bridge")
        if isinstance(other, Switch):
            other.ip("link", "set", theirs, "master", "bridge")
        return theirs, port

    def cut(self, port: str) -> None:
        """Take a port out of service."""
        self.ip("link", "set", port, "down")

    def heal(self, port: str) -> None:
        """Put a port into service again."""
        self.ip("link", "set", port, "up")


def cable(one: Host, other: Host) -> tuple[str, str]:
    """Join two namespaces by a cable; gives the interface in each of them."""
    here, there = one.next_interface(), other.next_interface()
    ip(
        *("link", "add", here, "netns", one.namespace, "type", "veth"),
        *("peer", "name", there, "netns", other.namespace),
    )
    one.ip("link", "set", here, "up")
    other.ip("link", "set", there, "up")
    return here, there


class Network:
    """All namespaces of one test; a context that leaves none behind."""

    _made = 0

    def __init__(self) -> None:
        Network._made += 1
        self._prefix = f"{PREFIX}-{os.getpid()}-{Network._made}-"
        self._leaving = ExitStack()

    def __enter__(self) -> "Network":
        sweep()
        return self

    def __exit__(self, *exception: object) -> None:
        self._leaving.close()

    def host(self, name: str) -> Host:
        """One more namespace."""
        return Host(name, self._new(name))

    def switch(self, name: str) -> Switch:
        """One more namespace with a bridge."""
        return Switch(name, self._new(name))

    def _new(self, name: str) -> str:
        namespace = self._prefix + name
        # Remembered first: what fails halfway is to be removed, too.
        self._leaving.callback(remove, namespace)
        return namespace


def namespaces() -> list[str]:
    """Those of this machine."""
    return [line.split()[0] for line in ip("netns", "list").splitlines() if line]


def remove(namespace: str) -> None:
    """Remove a namespace with all that runs in it; nothing where it is not there."""
    if namespace not in namespaces():
        return
    deadline = time.monotonic() + SWEEP_SECONDS
    while pids := ip("netns", "pids", namespace).split():
        if time.monotonic() > deadline:
            raise NetworkError(f"processes {pids} do not leave {namespace}")
        for pid in pids:
            _kill(int(pid))
        time.sleep(0.01)
    ip("netns", "delete", namespace)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):  # it may have ended by itself
        os.kill(pid, signal.SIGKILL)


def sweep() -> None:
    """Remove what test runs left that are no more."""
    for namespace in namespaces():
        prefix, _, rest = namespace.partition("-")
        pid = rest.partition("-")[0]
        if prefix == PREFIX and pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            remove(namespace)
