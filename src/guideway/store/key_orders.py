"""Orders about keys: the row, its line in the ledger, and the file that workers follow."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from guideway.core.errors import SpecError
from guideway.core.route import ApiKey, KeyFile
from guideway.core.spec.model import NAME
from guideway.kit.files import write_atomic
from guideway.signing.keys import pepper
from guideway.store import api_keys, ledger
from guideway.store.database import Database
from guideway.store.home import Home


def make(home: Home, database: Database, environment: str, key: ApiKey, *, at: float, who: str) -> bool:
    """Keep *key*, whose digest was made with the pepper of *home*; *who* stands in the ledger.

    False: another key has its id, and nothing was kept; another one has to be made.

    Raises:
        SpecError: the tenant has no name that a tenant can have; a key of its own would be taken for it, or more.
    """
    if key.tenant and not re.fullmatch(NAME, key.tenant):
        advice = "small letters, digits, '.', '_' and '-', at most 63"
        raise SpecError(f"'{key.tenant}' is no name for a tenant", try_this=advice)
    with database.transaction():
        if api_keys.is_taken(database, key.id):
            return False
        api_keys.put(database, environment, key)
        grants = {"role": key.role, "tenant": key.tenant, "models": list(key.models)}
        ledger.append(database, at=at, who=who, what="key made", subject=key.id, why=key.label, data=grants)
    project(home, database, environment)
    return True


def revoke(home: Home, database: Database, environment: str, id: str, *, at: float, who: str) -> bool:
    """Make the key *id* worthless; False when there is none. Revoked once more, nothing changes."""
    with database.transaction():
        found = next((key for key in api_keys.all_of(database, environment) if key.id == id), None)
        if found is None:
            return False
        if not found.revoked:
            api_keys.put(database, environment, msgspec.structs.replace(found, revoked=True))
            ledger.append(database, at=at, who=who, what="key revoked", subject=id)
    project(home, database, environment)
    return True


def project(home: Home, database: Database, environment: str) -> None:
    """Write the keys of one environment, for the owner only, unless the file says the same already."""
    keys = KeyFile(pepper=pepper(home.keys).hex(), keys=tuple(api_keys.all_of(database, environment)))
    path, data = home.environment(environment) / "keys.json", msgspec.json.encode(keys)
    if _read(path) != data:
        write_atomic(path, data, mode=0o600)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
