"""Options of a gateway that no worker could start or serve with: told before anything is started."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping

from guideway.core.errors import SpecError
from guideway.core.privacy import Action, Entity, in_force
from guideway.core.spec.gateway import Gateway
from guideway.gateway.cache.address import read_address
from guideway.gateway.traces import endpoint

_NAMED: tuple[Entity, ...] = ("name", "address")


def check_options(options: Gateway, release: Mapping[Entity, Action] | None = None) -> None:
    """Refuse what cannot be meant; *release* is what ``policy.masking`` demands beside.

    Raises:
        SpecError: what is wrong, and what to do.
    """
    _check_ports(options)
    if options.cache.store not in {"memory", "off"}:
        read_address(options.cache.store)
    if options.telemetry.traces:
        endpoint(options.telemetry.traces)
        _needs("opentelemetry.exporter.otlp", "gateway.telemetry.traces", "otlp")
    masking = options.masking
    if masking.presidio:
        _needs("presidio_analyzer", "gateway.masking.presidio", "presidio")
        return
    force = in_force(masking.entities, release or {})
    asked = [entity for entity in _NAMED if force[entity] != "allow"]
    if asked:
        advice = "set gateway.masking.presidio: true (needs guideway[presidio])"
        raise SpecError(f"masking of '{asked[0]}' needs Presidio", where="gateway.masking", try_this=advice)


def _check_ports(options: Gateway) -> None:
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", options.host):
        advice = "an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them"
        raise SpecError(f"'{options.host}' is no address to listen on", where="gateway.host", try_this=advice)
    if options.admin and options.admin == options.port:
        advice = "another port, or 0: only the Unix socket"
        raise SpecError(f"port {options.port} cannot serve both", where="gateway.admin", try_this=advice)


def _needs(module: str, where: str, extra: str) -> None:
    try:
        found = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise SpecError(f"{where} needs a library", where=where, try_this=f"pip install 'guideway[{extra}]'")
