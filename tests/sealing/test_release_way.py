"""Pack, seal, admit, verify: the same files give the same release, and nothing unproven or changed passes."""

from __future__ import annotations

import shutil

import msgspec
import pytest
from release_rig import FAILED, PASSED, UNKNOWN, House

from guideway.core.errors import Corrupt, Refused
from guideway.sealing.pack import ARTIFACT, attachments, files_of, layer_type, read_manifest
from guideway.sealing.verify import verify, verify_folder
from guideway.signing import dsse
from guideway.signing.keys import signer, trusted
from guideway.store import ledger, releases


@pytest.fixture
def house(tmp_path, where):
    """The whole way runs on both databases."""
    one = House(tmp_path, where)
    yield one
    one.database.close()


def test_the_same_files_give_the_same_release_at_any_time_and_place(house, tmp_path):
    (tmp_path / "other").mkdir()
    other = House(tmp_path / "other", tmp_path / "other" / "state.db")
    assert house.seal(PASSED, at=1.0).digest == other.seal(PASSED, at=99.0).digest


def test_sealing_twice_gives_one_release(house):
    assert house.seal(PASSED) == house.seal(PASSED, at=5.0)
    assert len(releases.all_of(house.database)) == 1


def test_a_release_is_a_model_pack_manifest_with_a_path_for_every_file(house):
    release = house.seal(PASSED)
    manifest = read_manifest(house.blobs, release.digest)
    assert manifest["artifactType"] == ARTIFACT
    assert files_of(manifest) == house.files
    kinds = {layer["annotations"]["org.cncf.model.filepath"]: layer["mediaType"] for layer in manifest["layers"]}
    assert kinds["model/model.onnx"] == "application/vnd.cncf.model.weight.v1.raw"
    assert kinds["model/tokenizer.json"] == "application/vnd.cncf.model.weight.config.v1.raw"


@pytest.mark.parametrize(("path", "kind"), [("data/manifest.json", "dataset"), ("a.md", "doc"), ("serve.json", "code")])
def test_other_files_have_their_own_layer_types(path, kind):
    assert layer_type(path) == f"application/vnd.cncf.model.{kind}.v1.raw"


def test_proofs_and_the_release_statement_are_attached_beside_the_digest(house):
    release = house.seal(PASSED)
    payloads = attachments(house.blobs, release.digest, dsse.MEDIA_TYPE)
    assert payloads[0] == b"proof"
    said = dsse.unseal(payloads[1], house.trusted)
    assert said["predicateType"].startswith("https://in-toto.io/attestation/release")


@pytest.mark.parametrize("against", [FAILED, UNKNOWN])
def test_what_is_not_proven_is_not_sealed(house, against):
    with pytest.raises(Refused) as caught:
        house.seal(PASSED, against)
    assert against.clause in str(caught.value) and against.limit in str(caught.value)
    assert releases.all_of(house.database) == []
    assert [entry.what for entry in ledger.entries(house.database)] == ["seal refused"]


def test_a_judgement_that_only_informs_does_not_refuse(house):
    house.seal(PASSED, msgspec.structs.replace(FAILED, blocking=False))


def test_an_admission_leaves_a_signed_summary_for_the_environment(house):
    release = house.seal(PASSED)
    envelope = house.admit(release, PASSED)
    said = dsse.unseal(house.blobs.read(envelope), house.trusted)
    assert said["predicate"]["verificationResult"] == "PASSED"
    assert said["predicate"]["policy"]["uri"] == "urn:guideway:environment:dev"
    assert house.admit(release, PASSED) == envelope  # nothing changed: that summary stands


def test_an_unproven_release_is_not_admitted(house):
    with pytest.raises(Refused, match="admit refused"):
        house.admit(house.seal(PASSED), UNKNOWN)


def test_a_whole_release_verifies_and_says_how_much_was_read(house):
    release = house.seal(PASSED)
    seen = []
    size = verify(house.blobs, release.digest, house.trusted, progress=lambda done, total: seen.append((done, total)))
    assert size == sum(file.size for file in house.files) == seen[-1][0] == seen[-1][1]


@pytest.mark.catalogue("A30")
def test_one_flipped_bit_in_any_file_is_found_and_the_blob_named(house):
    release = house.seal(PASSED)
    for file in house.files:
        path = house.blobs.path(file.digest)
        good = path.read_bytes()
        path.chmod(0o644)
        for place in {0, len(good) - 1}:
            bad = bytearray(good)
            bad[place] ^= 1
            path.write_bytes(bad)
            with pytest.raises(Corrupt) as caught:
                verify(house.blobs, release.digest, house.trusted)
            assert caught.value.where == file.digest and file.path in caught.value.what
        path.write_bytes(good)
    verify(house.blobs, release.digest, house.trusted)


def test_a_release_signed_by_a_stranger_is_refused(house, tmp_path):
    release = house.seal(PASSED)
    signer(tmp_path / "strange")
    with pytest.raises(Corrupt, match="no trusted key"):
        verify(house.blobs, release.digest, trusted(tmp_path / "strange"))


def test_a_copy_of_the_layout_verifies_on_its_own(house, tmp_path):
    house.seal(PASSED)
    shutil.copytree(house.blobs.folder, tmp_path / "copy")
    assert verify_folder(tmp_path / "copy", house.trusted) == 1
    with pytest.raises(Corrupt, match="not an OCI image layout"):
        verify_folder(tmp_path, house.trusted)
