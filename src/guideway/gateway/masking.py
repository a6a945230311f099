"""Personal data of a request, masked before a replica, a log or a cache sees it; and the way back for its answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from guideway.core.privacy import Action, Entity, in_force
from guideway.core.spec.gateway import Masking as Options
from guideway.gateway import errors
from guideway.gateway.channels import Make
from guideway.gateway.errors import ApiError
from guideway.gateway.masked import masked, spoken
from guideway.privacy.conceal import Conceal
from guideway.privacy.detect import PATTERN_ENTITIES, find, suspicious
from guideway.privacy.mask import PLACEHOLDER, Blocked, Finder, Vault
from guideway.privacy.stream import Chain, Restore, TextStream

FAILED = ApiError(500, "the request could not be checked for personal data", "server_error", code="masking")
LACKING = ApiError(503, "names and addresses cannot be masked here", "server_error", code="masking")

LARGE = 16 * 1024
"""Bytes of a body that are masked in 40 ms at most (a text of nothing but telephones), in 3 ms as a rule, in 0.1 ms
where nothing is in them; more are left to a pool.
"""

_NOTHING: frozenset[Entity] = frozenset()


class Prepared(NamedTuple):
    """A request as others may see it. ``stream`` makes what its answer goes through; None: the answer stays as it is.

    ``kinds`` are the kinds of personal data that were found; ``restores``: something has to be put back.
    """

    body: bytes
    stream: Make | None
    kinds: frozenset[Entity]
    restores: bool = False


class Masking:
    """What one environment and one release demand. Holds nothing of any request.

    *finder* finds names and addresses too where *options* have ``presidio`` set. Where something that nobody here can
    find must not pass, every request is refused.
    """

    __slots__ = ("_actions", "_finder", "_lacking", "_output", "_wanted", "clean", "digest")

    def __init__(self, options: Options, release: Mapping[Entity, Action], finder: Finder = find) -> None:
        self._actions = in_force(options.entities, release)
        self.digest = hashlib.sha256(msgspec.json.encode([sorted(self._actions.items()), options.output])).digest()
        self._finder = finder
        self._wanted = frozenset(entity for entity, action in self._actions.items() if action != "allow")
        self._output = self._wanted & PATTERN_ENTITIES if options.output else frozenset()
        self.clean = self._make(None) if self._output else None
        self._lacking = not options.presidio and not self._wanted <= PATTERN_ENTITIES

    @property
    def asks(self) -> bool:
        """Is anything in prompts looked at?"""
        return bool(self._wanted)

    @property
    def looks(self) -> bool:
        """Is anything in answers looked at, whatever the prompt was?"""
        return bool(self._output)

    def quiet(self, text: str) -> bool:
        """Is there surely nothing in *text*, a whole one of an answer, that would be kept out?"""
        return not self._output or not suspicious(text)

    @property
    def is_lacking(self) -> bool:
        """Is something demanded that nobody here can find?"""
        return self._lacking

    @property
    def quick(self) -> int:
        """Bytes of a body for which an event loop can wait: none where an analyser of language has to read them."""
        return LARGE if self._lacking or self._wanted <= PATTERN_ENTITIES else -1

    def prepare(self, body: bytes) -> Prepared | ApiError:
        """*body*, a JSON object, with personal data masked in every text but the model's name; or why it is refused.

        What goes wrong on the way refuses the request: nothing passes that was not looked at.
        """
        if self._lacking:
            return LACKING
        try:
            return self._prepare(body)
        except Blocked as verdict:
            return _refusal(verdict)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return errors.bad_body("the body is not JSON")
        except RecursionError:
            return errors.bad_body("the body is nested too deeply")
        except Exception:
            return FAILED

    def texts(self, texts: Sequence[str]) -> list[str] | ApiError:
        """*texts* of one writer, masked for good; or why they are refused."""
        if self._lacking:
            return LACKING
        vault = Vault(self._actions, self._finder)
        try:
            return [vault.mask(text) for text in texts]
        except Blocked as verdict:
            return _refusal(verdict)
        except Exception:
            return FAILED

    def _prepare(self, body: bytes) -> Prepared:
        if not self._wanted or self._is_clean(body):
            return Prepared(body, self.clean, _NOTHING)
        vault = Vault(self._actions, self._finder)
        body = masked(body, vault)
        make = self._make(vault) if vault.values else self.clean
        return Prepared(body, make, vault.kinds, bool(vault.values))

    def _is_clean(self, body: bytes) -> bool:
        """Is there surely nothing in *body* that could be personal data or a placeholder?"""
        if self._finder is not find:
            return False
        text = spoken(body)
        return not suspicious(text) and PLACEHOLDER.search(text) is None

    def _make(self, vault: Vault | None) -> Make:
        output = self._output

        def make(channel: str) -> TextStream:
            is_json = channel == "arguments"
            streams: list[TextStream] = [Conceal(output, is_json=is_json)] if output else []
            if vault is not None and vault.values:
                streams.append(Restore(vault, escape=is_json))
            return streams[0] if len(streams) == 1 else Chain(streams)

        return make


def unreadable(field: str) -> ApiError:
    """The request has tokens in *field*: what nobody here can read is not passed on."""
    message = "send text: tokens cannot be checked for personal data"
    return ApiError(400, message, param=field, code="personal_data")


def _refusal(verdict: Blocked) -> ApiError:
    kinds = ", ".join(sorted(verdict.kinds))
    return ApiError(400, f"the request has personal data that must not be sent: {kinds}", code="personal_data")
