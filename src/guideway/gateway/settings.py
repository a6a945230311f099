"""The settings of a gateway as files: what is wanted, each version that was taken up, and the one that served last."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from guideway.core.errors import SpecError
from guideway.core.route import GatewaySettings
from guideway.kit.files import write_atomic

KEPT = 2
"""So many versions stay: a process that was just started may not have read the one before the newest yet."""


def read_settings(path: Path) -> GatewaySettings:
    """The settings in the file *path*.

    Raises:
        SpecError: they are missing, or make no sense.
    """
    try:
        settings = msgspec.json.decode(path.read_bytes(), type=GatewaySettings)
    except OSError as error:
        raise SpecError(f"the settings cannot be read: {error.strerror}", where=str(path)) from None
    except msgspec.DecodeError as error:
        raise SpecError(f"the settings make no sense: {error}", where=str(path)) from None
    if settings.workers < 1 or not 0 <= settings.port <= 65535:
        raise SpecError("there must be at least one worker, and a port from 0 to 65535", where=str(path))
    return settings


def state_file(settings: Path) -> Path:
    """Where the parent tells its state; *settings* is the file that is wanted, or one of its versions."""
    wanted = settings.with_suffix("") if settings.suffix[1:].isdigit() else settings
    return wanted.with_name(wanted.name + ".state")


def served_file(wanted: Path) -> Path:
    """Where the settings lie that served last."""
    return wanted.with_name(wanted.name + ".served")


def same(one: GatewaySettings, other: GatewaySettings) -> bool:
    """Do both mean the same service, whatever their generation?"""
    return msgspec.structs.replace(one, generation=0) == msgspec.structs.replace(other, generation=0)


class Versions:
    """The versions of the settings in *wanted* that one parent took up, each in a file that never changes.

    So a process that is started again reads what its gateway has accepted, whatever is wanted by then.
    """

    def __init__(self, wanted: Path) -> None:
        self.wanted, self.state = wanted, state_file(wanted)
        self._number = 0
        self._forget(self._files())

    def keep(self, settings: GatewaySettings) -> Path:
        """A new file with *settings*.

        Raises:
            OSError: it cannot be written.
        """
        self._number += 1
        path = self.wanted.with_name(f"{self.wanted.name}.{self._number}")
        write_atomic(path, msgspec.json.encode(settings), durable=False)
        return path

    def served(self) -> GatewaySettings | None:
        """What served last, by this parent or by one before it."""
        try:
            return read_settings(served_file(self.wanted))
        except SpecError:
            return None

    def accept(self, settings: GatewaySettings) -> None:
        """*settings* serve from now on.

        Raises:
            OSError: that cannot be written down.
        """
        write_atomic(served_file(self.wanted), msgspec.json.encode(settings))
        self._forget(path for path in self._files() if int(path.suffix[1:]) <= self._number - KEPT)

    def _files(self) -> list[Path]:
        found = self.wanted.parent.glob(f"{self.wanted.name}.*")
        return [path for path in found if path.suffix[1:].isdigit()]

    @staticmethod
    def _forget(files: Iterable[Path]) -> None:
        for path in files:
            with contextlib.suppress(OSError):
                path.unlink()
