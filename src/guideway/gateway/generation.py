"""The workers of one version of the settings, and what must hold before another version can be taken up."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec

from guideway.core.errors import SpecError
from guideway.core.route import GatewaySettings
from guideway.gateway.exposure import identity_of
from guideway.gateway.listen import bind
from guideway.gateway.settings import Versions
from guideway.gateway.slot import Child, Slot
from guideway.gateway.soundness import check_options

LOOPBACK = "127.0.0.1"


class Generation:
    """One worker for each of *sockets*; all read *file*, which holds *settings* with the port that was given."""

    def __init__(self, settings: GatewaySettings, file: Path, sockets: Sequence[socket.socket]) -> None:
        self.settings, self.file, self.port = settings, file, settings.port
        self.slots = [Slot(one, number) for number, one in enumerate(sockets)]

    @property
    def sockets(self) -> list[socket.socket]:
        """What they listen on."""
        return [slot.listening for slot in self.slots]

    @property
    def workers(self) -> list[Child]:
        """Those that run."""
        return [slot.current for slot in self.slots if slot.current]

    @property
    def serving(self) -> list[int]:
        """The process ids of those that serve."""
        return [worker.pid for worker in self.workers if worker.ready]

    @property
    def ready(self) -> bool:
        """Is every socket served?"""
        return len(self.serving) == len(self.slots)


def generation_of(settings: GatewaySettings, sockets: Sequence[socket.socket], versions: Versions) -> Generation:
    """A generation of workers for *sockets*, none started yet; their file is one of *versions*.

    Raises:
        OSError: the file cannot be written.
    """
    given = msgspec.structs.replace(settings, port=sockets[0].getsockname()[1])
    return Generation(given, versions.keep(given), sockets)


def effective(wanted: GatewaySettings, now: GatewaySettings) -> GatewaySettings:
    """*wanted* with its port named: a free one on the host of *now* is the one that there is."""
    keeps = wanted.port == 0 and wanted.host == now.host
    return msgspec.structs.replace(wanted, port=now.port) if keeps else wanted


def check(wanted: GatewaySettings, now: GatewaySettings | None = None) -> None:
    """Refuse what no worker could serve with; *now* is what serves at present, where something does.

    Raises:
        GuidewayError: what is wrong, in one line, so that it is not told by workers that die.
    """
    check_options(wanted.options)
    identity_of(wanted)
    if now is None:
        return
    if wanted.folder != now.folder:
        raise SpecError("the folder of a gateway cannot change while it runs", where=wanted.folder)
    if wanted.options.admin not in {0, now.options.admin}:
        for one in bind(LOOPBACK, wanted.options.admin, 1):
            one.close()


def sockets_for(wanted: GatewaySettings, now: Generation) -> list[socket.socket]:
    """Sockets for the workers of *wanted*: those of *now*, as far as the address is the same.

    Raises:
        Unavailable: the address cannot be had.
    """
    if (wanted.host, wanted.port) != (now.settings.host, now.port):
        return bind(wanted.host, wanted.port, wanted.workers, ours=wanted.port == now.port, listen=False)
    kept = now.sockets[: wanted.workers]
    more = wanted.workers - len(kept)
    return kept + bind(wanted.host, now.port, more, ours=True, listen=False) if more else kept
