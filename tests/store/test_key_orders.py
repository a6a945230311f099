"""Orders about keys: row, ledger line and file change together."""

from __future__ import annotations

import msgspec
import pytest

from guideway.core.route import ApiKey, KeyFile
from guideway.signing.keys import pepper
from guideway.store import api_keys, key_orders, ledger
from guideway.store.home import Home

KEY = ApiKey(id="aaaaaaaa", digest="aa" * 32, label="ci", role="admin")


@pytest.fixture
def home(tmp_path):
    return Home.of(tmp_path)


def file_of(home) -> KeyFile:
    return msgspec.json.decode((home.environment("dev") / "keys.json").read_bytes(), type=KeyFile)


def test_a_key_that_is_made_is_a_row_a_line_and_in_the_file(home, database):
    key_orders.make(home, database, "dev", KEY, at=5.0, who="somebody")
    assert api_keys.all_of(database, "dev") == [KEY]
    assert file_of(home) == KeyFile(pepper=pepper(home.keys).hex(), keys=(KEY,))
    assert (home.environment("dev") / "keys.json").stat().st_mode & 0o777 == 0o600
    (line,) = ledger.entries(database, subject="aaaaaaaa")
    assert (line.at, line.who, line.what, line.why) == (5.0, "somebody", "key made", "ci")


def test_a_key_is_revoked_once_and_stays_so(home, database):
    key_orders.make(home, database, "dev", KEY, at=5.0, who="somebody")
    for _ in range(2):
        assert key_orders.revoke(home, database, "dev", KEY.id, at=6.0, who="somebody") is True
    assert file_of(home).keys[0].revoked
    assert [line.what for line in ledger.entries(database, subject="aaaaaaaa")] == ["key made", "key revoked"]


def test_a_key_of_another_environment_is_not_there(home, database):
    key_orders.make(home, database, "prod", KEY, at=5.0, who="somebody")
    assert key_orders.revoke(home, database, "dev", KEY.id, at=6.0, who="somebody") is False
    assert not api_keys.all_of(database, "prod")[0].revoked
