"""The hands of the controller: nothing runs whose bytes were not read and found right."""

from __future__ import annotations

import json
import sys
import threading

import msgspec
import pytest
from fleet_rig import MODEL, Fleet

from guideway.core.errors import Corrupt, Refused, SpecError
from guideway.core.launch import Launch, Probe
from guideway.core.release import Release, ServeSettings
from guideway.core.rollout import EnvironmentState
from guideway.core.spec import Gateway
from guideway.core.terms import Terms
from guideway.fleet import host as room
from guideway.fleet.host import Host, terms_of
from guideway.sealing.admit import admit
from guideway.sealing.seal import seal
from guideway.signing.keys import signer, trusted
from guideway.store.blobs import Blobs

STATE = EnvironmentState("dev", "m", "local", replicas=2, gateway=Gateway())


class Tiny:
    """An engine for the tiny server; keeps what it was asked."""

    name = format = "tiny"

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, str]] = []

    def launch(self, folder, settings, *, port, threads):
        self.asked.append(((folder / "model" / "weights").read_text(), threads, settings.name))
        return Launch((sys.executable, "-I", "-S", "-c", MODEL, str(port), "well"), port, Probe("/", "{}"))


@pytest.fixture
def engine(monkeypatch):
    tiny = Tiny()
    monkeypatch.setattr(room, "engine", {"tiny": tiny}.__getitem__)
    return tiny


@pytest.fixture
def release(fleet: Fleet, tmp_path) -> Release:
    folder = tmp_path / "folder"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights").write_text("right")
    (folder / "serve.json").write_bytes(msgspec.json.encode(ServeSettings("m", "chat", "tiny", system="be kind")))
    (folder / "policy.json").write_bytes(b'{"cacheable":false,"masking":{"ip":"block"}}')
    blobs = Blobs(fleet.home.oci)
    files = blobs.put_tree(folder).files
    sign = signer(fleet.home.keys)
    sealed = seal(
        blobs, fleet.database, sign, name="m", files=files, judgements=(), proofs=(), facts={"format": "t"}, at=1.0
    )
    keys = trusted(fleet.home.keys)
    admit(blobs, fleet.database, sign, keys, sealed, environment="dev", judgements=(), at=2.0)
    return sealed


@pytest.fixture
def host(fleet, engine):
    return Host(fleet.home)


@pytest.fixture
def reads(monkeypatch):
    """How often a whole release was read."""
    counted: list[str] = []
    verify = room.verify

    def counting(blobs, digest, keys):
        counted.append(digest)
        return verify(blobs, digest, keys)

    monkeypatch.setattr(room, "verify", counting)
    return counted


def change(fleet, release, path):
    digest = next(file.digest for file in release.files if file.path == path)
    blob = Blobs(fleet.home.oci).path(digest)
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    return digest


def test_what_the_release_asks_of_the_gateway_travels_with_its_launch(fleet, host, release, engine):
    launch, _ = host.start(STATE, release.digest, "a1")
    assert launch.terms == Terms(system="be kind", cacheable=False, masking={"ip": "block"}, max_tokens=128)


def test_the_tokenizer_of_the_release_is_named_where_there_is_one(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "policy.json").write_bytes(b"{}")
    settings = ServeSettings("m", "chat", "tiny")
    assert terms_of(tmp_path, settings).tokenizer == ""
    (tmp_path / "model" / "tokenizer.json").write_bytes(b"{}")
    assert terms_of(tmp_path, settings).tokenizer == str(tmp_path / "model" / "tokenizer.json")


def test_a_replica_is_started_over_the_files_of_the_release(fleet, host, release, engine):
    launch, process = host.start(STATE, release.digest, "a1")
    assert fleet.processes("replica") == {process.pid}
    assert engine.asked[0][::2] == ("right", "m")
    assert engine.asked[0][1] >= 1
    while not host.probe(launch.port, launch.probe).ready:
        assert host.target("local").alive(process)


def test_a_changed_blob_never_loads_and_is_named(fleet, host, release):
    digest = change(fleet, release, "model/weights")
    with pytest.raises(Corrupt, match="not what its digest says") as caught:
        host.start(STATE, release.digest, "a1")
    assert digest in str(caught.value)
    assert fleet.processes("replica") == set()


def test_a_release_that_nobody_trusted_has_signed_never_loads(fleet, host, release):
    for key in fleet.home.keys.glob("*.pem"):
        key.unlink()
    signer(fleet.home.keys, "stranger")
    with pytest.raises(Refused, match="never admitted into 'dev'"):
        host.start(STATE, release.digest, "a1")
    assert fleet.processes("replica") == set()


def test_a_release_that_was_admitted_elsewhere_never_loads_here(fleet, host, release):
    with pytest.raises(Refused, match="never admitted into 'prod'"):
        host.start(msgspec.structs.replace(STATE, name="prod"), release.digest, "a1")
    assert fleet.processes("replica") == set()


def test_replicas_that_start_at_once_read_the_bytes_once(host, release, reads):
    threads = [threading.Thread(target=host.start, args=(STATE, release.digest, f"a{n}")) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reads == [release.digest]


def test_the_bytes_are_read_again_when_no_replica_had_them_mapped(fleet, host, release, reads):
    host.start(STATE, release.digest, "a1")
    host.unmapped(release.digest)
    change(fleet, release, "model/weights")
    with pytest.raises(Corrupt):
        host.start(STATE, release.digest, "a2")
    assert len(reads) == 2


def test_what_somebody_put_into_the_unpacked_folder_is_not_served(fleet, host, release, engine):
    host.start(STATE, release.digest, "a1")
    folder = next((fleet.home.run / "releases").iterdir())
    (folder / "model" / "weights").unlink()
    (folder / "model" / "weights").write_text("wrong")
    (folder / "model" / "extra").write_text("extra")
    Host(fleet.home).start(STATE, release.digest, "a2")
    assert [weights for weights, _, _ in engine.asked] == ["right", "right"]
    assert not (folder / "model" / "extra").exists()
    assert [path.name for path in (fleet.home.run / "releases").iterdir()] == [folder.name]


def test_an_engine_that_nobody_knows_is_an_error(fleet, release):
    with pytest.raises(SpecError, match="no engine called 'tiny'"):
        Host(fleet.home).start(STATE, release.digest, "a1")


def test_replicas_that_nobody_noted_are_found_by_their_logs(fleet, host, release):
    _, noted = host.start(STATE, release.digest, "a1")
    _, stray = host.start(STATE, release.digest, "a2")
    assert host.strays({"a1"}) == [stray]
    assert host.strays({"a1", "a2"}) == []
    assert set(host.strays(set())) == {noted, stray}


def test_a_controller_starts_what_was_sealed_and_fails_what_was_changed(fleet, host, release):
    fleet.use(host)
    assert fleet.served(release.digest).phase == "done"
    fleet.down()
    fleet.until(fleet.controller._all_down)
    digest = change(fleet, release, "serve.json")
    failed = fleet.served(release.digest)
    assert (failed.phase, digest in failed.reason) == ("failed", True)
    assert json.loads((fleet.home.environment("dev") / "route.json").read_bytes())["stable"]["endpoints"] == []


def test_a_release_whose_digest_begins_alike_has_a_folder_of_its_own(fleet, host, release):
    host.start(STATE, release.digest, "a1")
    (folder,) = (fleet.home.run / "releases").iterdir()
    assert f"sha256:{folder.name}" == release.digest
