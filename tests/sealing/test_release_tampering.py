"""A sealed release is changed in every way that a thief of the store could think of: each is refused."""

from __future__ import annotations

import base64
import json
import subprocess
import sys

import msgspec
import pytest
from release_rig import PASSED, House

from guideway.core.artifact import File, canonical_json, digest_bytes
from guideway.core.errors import Corrupt, Unavailable
from guideway.kit.files import write_atomic
from guideway.sealing.pack import attach, attachments, files_of, read_manifest
from guideway.sealing.verify import check_signature, model_signature, verify
from guideway.signing import dsse, oms, signers, statements
from guideway.signing.keypair import ED25519
from guideway.signing.keys import signer, trusted
from guideway.store import ledger

DSSE, OMS = dsse.MEDIA_TYPE, oms.MEDIA_TYPE


class Sealed(House):
    """A house with one sealed release, and the hands of somebody who can write everything but the keys."""

    def __init__(self, root):
        super().__init__(root)
        self.release = self.seal(PASSED)
        self.digest = self.release.digest
        self.manifest = read_manifest(self.blobs, self.digest)
        self.stranger = signer(root / "strange")  # of the same name as the one who signed

    def check(self, digest=None):
        return verify(self.blobs, digest or self.digest, self.trusted)

    def subject(self, digest=None):
        size = self.blobs.path(digest or self.digest).stat().st_size
        return {"mediaType": self.manifest["mediaType"], "digest": digest or self.digest, "size": size}

    def overwrite(self, digest, data):
        path = self.blobs.path(digest)
        path.chmod(0o644)
        path.write_bytes(data)

    def flip(self, digest):
        data = bytearray(self.blobs.path(digest).read_bytes())
        data[len(data) // 2] ^= 1
        self.overwrite(digest, data)

    def payload(self, kind, place=-1):
        return attachments(self.blobs, self.digest, kind)[place]

    def detach(self, kind, payload=None):
        """Take entries of a media type out of the index: all, or those with one payload."""
        index = self.blobs.index()
        tag = self.digest.replace(":", "-")

        def is_meant(entry):
            if (
                entry.get("artifactType") != kind
                or entry["annotations"].get("org.opencontainers.image.ref.name") != tag
            ):
                return False
            layers = msgspec.json.decode(self.blobs.read(entry["digest"]))["layers"]
            return payload is None or layers[0]["digest"] == digest_bytes(payload)

        index["manifests"] = [entry for entry in index["manifests"] if not is_meant(entry)]
        write_atomic(self.blobs.folder / "index.json", msgspec.json.encode(index))

    def replace(self, kind, new):
        """Put *new* in the place of the last attachment of a media type."""
        self.detach(kind, self.payload(kind))
        attach(self.blobs, self.subject(), kind, new)

    def statement(self):
        return dsse.unseal(self.payload(DSSE), self.trusted)


@pytest.fixture
def sealed(tmp_path):
    return Sealed(tmp_path)


def other_release(house):
    """Another release, sealed by the same trusted key."""
    return house.seal(PASSED, files=[*house.files, house.blobs.put_file(house.root / "state.db", name="more")])


def swap_blobs(house):
    first, second = (house.blobs.path(file.digest) for file in house.files[:2])
    one, two = first.read_bytes(), second.read_bytes()
    house.overwrite(house.files[0].digest, two)
    house.overwrite(house.files[1].digest, one)


def edit_envelope(house, **fields):
    house.replace(DSSE, json.dumps(json.loads(house.payload(DSSE)) | fields).encode())


def lie_in_the_statement(house):
    said = house.statement() | {"predicate": {"purl": "pkg:oci/other"}}
    edit_envelope(house, payload=base64.b64encode(canonical_json(said)).decode())


def flip_the_signature(house):
    signature = json.loads(house.payload(DSSE))["signatures"][0]
    raw = bytearray(base64.b64decode(signature["sig"]))
    raw[-1] ^= 1
    edit_envelope(house, signatures=[signature | {"sig": base64.b64encode(raw).decode()}])


def swap_the_statement(house):
    other = other_release(house).digest
    house.replace(DSSE, attachments(house.blobs, other, DSSE)[-1])


def sign_as_somebody_of_the_same_name(house):
    assert house.stranger.name == house.signer.name
    house.replace(DSSE, dsse.seal(house.statement(), house.stranger))


def sign_with_the_id_of_the_trusted_key(house):
    envelope = json.loads(dsse.seal(house.statement(), house.stranger))
    envelope["signatures"][0]["keyid"] = house.signer.id
    house.replace(DSSE, json.dumps(envelope).encode())


def sign_everything_as_a_stranger(house):
    house.detach(DSSE)
    house.detach(OMS)
    bundle = attach(house.blobs, house.subject(), OMS, oms.sign_model(house.files, house.stranger, name="m"))
    said = statements.released(name="m", release=house.digest, beside=[(OMS, bundle)])
    attach(house.blobs, house.subject(), DSSE, dsse.seal(said, house.stranger))


def swap_the_evidence(house):
    house.detach(DSSE, b"proof")
    attach(house.blobs, house.subject(), DSSE, b"a better proof")


def swap_the_bundle(house):
    house.replace(OMS, oms.sign_model(house.files, house.stranger, name="m"))


def lie_in_the_bundle(house):
    bundle = json.loads(house.payload(OMS))
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    assert b"model.onnx" in payload
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload.replace(b"model.onnx", b"other.onnx")).decode()
    house.replace(OMS, json.dumps(bundle).encode())


def vouch_for_the_bundle_of_a_stranger(house):
    bundle = attach(house.blobs, house.subject(), OMS, oms.sign_model(house.files, house.stranger, name="m"))
    said = statements.released(name="m", release=house.digest, beside=[(OMS, bundle)])
    attach(house.blobs, house.subject(), DSSE, dsse.seal(said, house.signer))


def add_a_trusted_bundle_about_other_files(house):
    other = [File(file.path, file.size, digest_bytes(b"other")) for file in house.files]
    attach(house.blobs, house.subject(), OMS, oms.sign_model(other, house.signer, name="m"))


CHANGES = {
    "a file, one byte": lambda house: house.flip(house.files[0].digest),
    "a file, cut": lambda house: house.overwrite(house.files[0].digest, b"weight"),
    "a file, longer": lambda house: house.overwrite(house.files[0].digest, b"weights and more"),
    "a file, dropped": lambda house: house.blobs.discard(house.files[0].digest),
    "two files, swapped": swap_blobs,
    "the config, one byte": lambda house: house.flip(house.manifest["config"]["digest"]),
    "the config, dropped": lambda house: house.blobs.discard(house.manifest["config"]["digest"]),
    "the manifest, one byte": lambda house: house.flip(house.digest),
    "the manifest, dropped": lambda house: house.blobs.discard(house.digest),
    "the evidence, one byte": lambda house: house.flip(digest_bytes(b"proof")),
    "the evidence, dropped": lambda house: house.blobs.discard(digest_bytes(b"proof")),
    "the evidence, taken off the list": lambda house: house.detach(DSSE, b"proof"),
    "the evidence, swapped": swap_the_evidence,
    "the statement, one byte": lambda house: house.flip(digest_bytes(house.payload(DSSE))),
    "the statement, another text": lie_in_the_statement,
    "the statement, dropped": lambda house: house.detach(DSSE, house.payload(DSSE)),
    "the statement, that of another release": swap_the_statement,
    "the signature, one bit": flip_the_signature,
    "the signature, none": lambda house: edit_envelope(house, signatures=[]),
    "the identity, another key of the same name": sign_as_somebody_of_the_same_name,
    "the identity, another key under the trusted id": sign_with_the_id_of_the_trusted_key,
    "everything signed again by a stranger": sign_everything_as_a_stranger,
    "the bundle, one byte": lambda house: house.flip(digest_bytes(house.payload(OMS))),
    "the bundle, dropped": lambda house: house.blobs.discard(digest_bytes(house.payload(OMS))),
    "the bundle, taken off the list": lambda house: house.detach(OMS),
    "the bundle, swapped for a stranger's": swap_the_bundle,
    "the bundle, another text": lie_in_the_bundle,
    "a second bundle, a stranger's in our name": vouch_for_the_bundle_of_a_stranger,
    "a second bundle, about other files": add_a_trusted_bundle_about_other_files,
}


@pytest.mark.catalogue("B38")
@pytest.mark.parametrize("what", CHANGES)
def test_a_release_with_a_change_is_refused(sealed, what):
    sealed.check()
    CHANGES[what](sealed)
    with pytest.raises(Corrupt) as caught:
        sealed.check()
    assert "\n" not in str(caught.value)


def other_manifest(house, edit):
    """The manifest with another list of layers, stored and listed as a release should be; its digest."""
    layers = [dict(layer) for layer in house.manifest["layers"]]
    edit(layers)
    data = canonical_json(house.manifest | {"layers": layers})
    digest = house.blobs.put_bytes(data)
    for kind in (DSSE, OMS):
        for payload in attachments(house.blobs, house.digest, kind):
            attach(house.blobs, house.subject(digest), kind, payload)
    return digest


def swap_layers(layers):
    layers[0]["digest"], layers[1]["digest"] = layers[1]["digest"], layers[0]["digest"]


@pytest.mark.catalogue("B38")
@pytest.mark.parametrize(
    "edit",
    [
        lambda layers: layers.pop(),
        lambda layers: layers.append(dict(layers[0], annotations={"org.cncf.model.filepath": "model/extra"})),
        swap_layers,
        lambda layers: layers[0].update(annotations={"org.cncf.model.filepath": "model/renamed"}),
    ],
    ids=["dropped", "added", "swapped", "renamed"],
)
def test_another_manifest_with_the_same_attachments_is_no_release(sealed, edit):
    digest = other_manifest(sealed, edit)
    assert digest != sealed.digest
    with pytest.raises(Corrupt, match="no trusted key signed this release"):
        sealed.check(digest)


@pytest.mark.catalogue("B38")
def test_what_strangers_attach_counts_for_nothing(sealed):
    sealed.root.joinpath("x").write_bytes(b"")
    attach(sealed.blobs, sealed.subject(), DSSE, dsse.seal(sealed.statement(), sealed.stranger))
    attach(sealed.blobs, sealed.subject(), DSSE, b"not an envelope")
    attach(sealed.blobs, sealed.subject(), OMS, oms.sign_model(sealed.files, sealed.stranger, name="m"))
    attach(sealed.blobs, sealed.subject(), OMS, b"not a bundle")
    assert [one.id for one in check_signature(sealed.blobs, sealed.digest, sealed.trusted)] == [sealed.signer.id]
    bundle = oms.read_bundle(model_signature(sealed.blobs, sealed.digest, sealed.trusted))
    assert oms.signer_of(bundle, sealed.trusted).id == sealed.signer.id


def test_a_release_with_an_added_file_is_refused_by_its_own_model_signature(sealed, tmp_path):
    bundle = oms.read_bundle(model_signature(sealed.blobs, sealed.digest, sealed.trusted))
    folder = sealed.blobs.lay_out(files_of(sealed.manifest), tmp_path / "out")
    assert oms.verify_model(folder, bundle, sealed.trusted).id == sealed.signer.id
    (folder / "more").write_bytes(b"")
    with pytest.raises(Corrupt, match="'more' was added"):
        oms.verify_model(folder, bundle, sealed.trusted)


def test_a_release_verifies_with_the_upstream_command(sealed, tmp_path):
    folder = sealed.blobs.lay_out(files_of(sealed.manifest), tmp_path / "out")
    (tmp_path / "m.sig").write_bytes(model_signature(sealed.blobs, sealed.digest, sealed.trusted))
    argv = [sys.executable, "-m", "model_signing", "verify", "key", str(folder), "--signature", str(tmp_path / "m.sig"),
            "--public_key", str(tmp_path / "keys/guideway.pub.pem")]  # fmt: skip
    assert subprocess.run(argv, check=False, capture_output=True, timeout=120).returncode == 0
    (folder / "serve.json").unlink()
    (folder / "serve.json").write_text("[1]")
    assert subprocess.run(argv, check=False, capture_output=True, timeout=120).returncode != 0


def test_what_the_old_key_sealed_verifies_after_rotate_and_no_longer_after_revoke(sealed):
    keys = sealed.root / "keys"
    signers.rotate(keys, "guideway")
    verify(sealed.blobs, sealed.digest, trusted(keys))
    signers.revoke(keys, sealed.signer.id, at=3.0, reason="stolen")
    with pytest.raises(Corrupt, match="no trusted key signed this release"):
        verify(sealed.blobs, sealed.digest, trusted(keys))


def test_after_a_revocation_the_same_build_signs_the_same_release_again(sealed):
    keys = sealed.root / "keys"
    signers.revoke(keys, "guideway", at=3.0, reason="stolen")
    sealed.signer = signers.rotate(keys, "guideway")
    assert sealed.seal(PASSED, at=4.0) == sealed.release
    verify(sealed.blobs, sealed.digest, trusted(keys))
    bundle = oms.read_bundle(model_signature(sealed.blobs, sealed.digest, trusted(keys)))
    assert bundle.hint == oms.hint(sealed.signer)
    assert [line.what for line in ledger.entries(sealed.database)] == ["seal", "sign again"]
    assert sealed.seal(PASSED, at=5.0) == sealed.release
    assert len(list(ledger.entries(sealed.database))) == 2  # signed by this key already: nothing to do


@pytest.mark.parametrize("reason", ["the key is Ed25519", "the extra is not installed"])
def test_a_release_without_a_model_signature_is_whole_and_says_so_when_asked_for_one(tmp_path, monkeypatch, reason):
    house = House(tmp_path)
    if "Ed25519" in reason:
        house.signer = signers.new(tmp_path / "keys", "ed", kind=ED25519)
    else:
        monkeypatch.setattr(oms, "available", lambda: False)
    release = house.seal(PASSED)
    keys = trusted(tmp_path / "keys")
    verify(house.blobs, release.digest, keys)
    with pytest.raises(Unavailable, match="no model signature came with this release"):
        model_signature(house.blobs, release.digest, keys)


def test_two_who_seal_the_same_files_both_sign(sealed):
    keys = sealed.root / "keys"
    sealed.signer = signers.new(keys, "anna")
    sealed.seal(PASSED)
    both = check_signature(sealed.blobs, sealed.digest, trusted(keys))
    assert [one.name for one in both] == ["guideway", "anna"]
