"""What counts as personal data, and what is done with it: the words that spec, release, gateway and stages share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Action = Literal["allow", "mask", "block"]
"""From the mildest to the strictest."""

Entity = Literal[
    "email",
    "phone",
    "card",
    "cn_id",
    "cn_company",
    "passport",
    "travel_permit",
    "iban",
    "us_ssn",
    "ip",
    "mac",
    "url_credentials",
    "secret",
    "name",
    "address",
]
"""``cn_company`` is the unified social credit code; ``name`` and ``address`` need the extra ``presidio``."""

DEFAULT: Mapping[Entity, Action] = {
    "email": "mask",
    "phone": "mask",
    "card": "mask",
    "cn_id": "mask",
    "cn_company": "allow",
    "passport": "mask",
    "travel_permit": "mask",
    "iban": "mask",
    "us_ssn": "mask",
    "ip": "allow",
    "mac": "allow",
    "url_credentials": "mask",
    "secret": "mask",
    "name": "allow",
    "address": "allow",
}
"""What happens to an entity that nobody speaks of: what names a person or opens a door is masked."""

_RANK: Mapping[Action, int] = {"allow": 0, "mask": 1, "block": 2}


def in_force(environment: Mapping[Entity, Action], release: Mapping[Entity, Action]) -> dict[Entity, Action]:
    """For every entity the stricter of what *environment* and *release* say; the default where the first is silent."""
    return {
        entity: max(environment.get(entity, default), release.get(entity, "allow"), key=_RANK.__getitem__)
        for entity, default in DEFAULT.items()
    }
