"""Where the state is: by default a file of the state folder, otherwise what a URL says."""

from __future__ import annotations

from pathlib import Path

import pytest

from guideway.store.address import Address
from guideway.store.database import Database
from guideway.store.home import Home


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in ("GUIDEWAY_HOME", "GUIDEWAY_STATE", "GUIDEWAY_CHECKPOINTS"):
        monkeypatch.delenv(name, raising=False)


def test_the_state_is_a_file_in_the_folder_unless_a_url_says_otherwise(tmp_path):
    home = Home.of(tmp_path)
    assert home.database == tmp_path / ".guideway" / "state.db"
    assert not home.has_state and not home.shared
    Database(home.database).close()
    assert home.has_state


@pytest.mark.parametrize(
    ("url", "expected"), [("sqlite:///other/state.db", "other/state.db"), ("sqlite:////srv/state.db", "/srv/state.db")]
)
def test_a_file_in_a_url_starts_at_the_spec_unless_it_is_absolute(tmp_path, url, expected):
    assert Home.of(tmp_path, url).database == tmp_path / expected


def test_the_environment_goes_before_the_spec(tmp_path, monkeypatch):
    monkeypatch.setenv("GUIDEWAY_STATE", "postgresql://db/one")
    monkeypatch.setenv("GUIDEWAY_CHECKPOINTS", "/mnt/copies")
    home = Home.of(tmp_path, "sqlite:///other.db")
    assert (home.database, home.copies, home.shared) == ("postgresql://db/one", "/mnt/copies", True)


def test_the_state_on_a_server_is_gone_when_the_blobs_are(tmp_path):
    home = Home.of(tmp_path, "postgresql://db/one")
    assert home.has_state
    home.oci.rmdir()
    assert not home.has_state


@pytest.mark.parametrize(
    ("where", "label"),
    [
        (Path("/srv/state.db"), "/srv/state.db"),
        ("/srv/state.db", "/srv/state.db"),
        ("sqlite:////srv/state.db", "/srv/state.db"),
        ("postgresql://ann:s3cret@db:5433/x", "postgresql://db:5433/x"),
        ("postgres://ann:s3cret@db/x", "postgresql://db/x"),
        ("postgresql+psycopg://ann@/x?host=/run/pg&password=s3cret", "postgresql:///run/pg/x"),
        ("postgresql:///x", "postgresql://localhost/x"),
        ("postgresql://ann:a%2Fs3cret%40@[::1]:5432/x", "postgresql://::1:5432/x"),
    ],
)
def test_what_people_read_of_an_address_has_neither_user_nor_password(where, label):
    address = Address.of(where)
    assert address.label == label
    assert "s3cret" not in repr(Home(Path("/srv"), str(where)))
    if "s3cret" in str(where):
        assert any("s3cret" in secret for secret in address.secrets)


def test_a_file_and_its_url_are_one_state(tmp_path):
    with Database(tmp_path / "a.db") as one, Database(f"sqlite:///{tmp_path}/a.db") as two:
        assert one.address.label == two.address.label
