"""Model folders: the upstream command verifies what we sign, we verify what it signs, both refuse every change."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from oms_rig import FILES, known, lay_out, statement_of, text_of, upstream

from guideway.core.errors import Corrupt, SpecError, Unavailable
from guideway.signing import oms, signers
from guideway.signing.keypair import ED25519, Signer
from guideway.signing.keys import signer, trusted

ANNA = Signer.generate("anna")
KEYS = {ANNA.id: ANNA}


def change(folder):
    (folder / "model/a/b").write_bytes(b"Weights")


def add(folder):
    (folder / "model/more").write_bytes(b"")


def remove(folder):
    (folder / "config.json").unlink()


CHANGES = [(change, "'model/a/b' was changed"), (add, "'model/more' was added"), (remove, "'config.json' is missing")]


@pytest.fixture
def model(tmp_path):
    return lay_out(tmp_path / "m")


@pytest.fixture(scope="module")
def signed_by_us(tmp_path_factory):
    """A key folder and a signature over the small model, made from digests alone."""
    place = tmp_path_factory.mktemp("ours")
    (place / "m.sig").write_bytes(oms.sign_model(known(), signer(place / "keys"), name="m"))
    return place


def test_signing_uses_digests_only_and_lists_every_file_in_order(signed_by_us):
    bundle = oms.read_bundle((signed_by_us / "m.sig").read_bytes())
    assert [one.name for one in bundle.resources] == sorted(FILES)
    assert {f"sha256:{one.digest}" for one in bundle.resources} == {file.digest for file in known()}
    assert (bundle.method, bundle.name, bundle.hint) == ("key", "m", oms.hint(signer(signed_by_us / "keys")))
    assert set(bundle.serialization.ignore_paths) == set(oms.IGNORED)


def test_the_upstream_command_verifies_what_we_sign(signed_by_us, model):
    said = upstream_verifies(model, signed_by_us / "m.sig", signed_by_us / "keys/guideway.pub.pem")
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize(("work", "says"), CHANGES)
def test_a_change_to_what_we_signed_is_refused_by_both(signed_by_us, model, work, says):
    bundle = oms.read_bundle((signed_by_us / "m.sig").read_bytes())
    assert oms.verify_model(model, bundle, trusted(signed_by_us / "keys")).name == "guideway"
    work(model)
    with pytest.raises(Corrupt, match=says):
        oms.verify_model(model, bundle, trusted(signed_by_us / "keys"))
    said = upstream_verifies(model, signed_by_us / "m.sig", signed_by_us / "keys/guideway.pub.pem")
    assert said.returncode != 0 and "mismatch" in said.stderr.lower()


@pytest.fixture(scope="module")
def signed_by_upstream(tmp_path_factory):
    """A folder that the upstream command signed, with a key of ours, one file left out, the signature inside."""
    place = tmp_path_factory.mktemp("theirs")
    signers.new(place / "keys", "anna")
    folder = lay_out(place / "m", {**FILES, ".gitignore": b"*", "cache/x": b"not signed"})
    said = upstream("sign", "key", folder, "--private_key", place / "keys/anna.key.pem",
                    "--signature", folder / "model.sig", "--ignore-paths", folder / "cache")  # fmt: skip
    assert said.returncode == 0, said.stderr
    return place


def test_we_verify_what_the_upstream_command_signed_without_the_paths_that_it_ignored(signed_by_upstream):
    folder = signed_by_upstream / "m"
    bundle = oms.read_bundle((folder / "model.sig").read_bytes())
    assert "cache" in bundle.serialization.ignore_paths
    by = oms.verify_model(folder, bundle, trusted(signed_by_upstream / "keys"), signature=folder / "model.sig")
    assert by.name == "anna"


@pytest.mark.parametrize(("work", "says"), CHANGES)
def test_a_change_to_what_upstream_signed_is_refused_by_both(signed_by_upstream, model, work, says):
    signature, keys = signed_by_upstream / "m/model.sig", signed_by_upstream / "keys"
    work(model)
    with pytest.raises(Corrupt, match=says):
        oms.verify_model(model, oms.read_bundle(signature.read_bytes()), trusted(keys), signature=signature)
    assert upstream_verifies(model, signature, keys / "anna.pub.pem").returncode != 0


def upstream_verifies(folder: Path, signature: Path, key: Path) -> subprocess.CompletedProcess[str]:
    return upstream("verify", "key", folder, "--signature", signature, "--public_key", key)


def verified(folder, statement, keys=KEYS, **how):
    return oms.verify_model(folder, oms.read_bundle(text_of(statement, ANNA)), keys, **how)


def test_a_signature_of_a_stranger_is_refused(model):
    stranger = Signer.generate("anna")
    with pytest.raises(Corrupt, match="is not trusted"):
        verified(model, statement_of(), {stranger.id: stranger})


def test_a_hint_alone_gives_no_trust(model):
    bundle = json.loads(text_of(statement_of(), Signer.generate("anna")))
    bundle["verificationMaterial"]["publicKey"]["hint"] = oms.hint(ANNA)
    with pytest.raises(Corrupt, match="does not belong to what it says"):
        oms.verify_model(model, oms.read_bundle(json.dumps(bundle).encode()), KEYS)


def test_without_a_hint_every_trusted_key_is_tried(model):
    bundle = json.loads(text_of(statement_of(), ANNA))
    bundle["verificationMaterial"]["publicKey"] = {"rawBytes": "AAAA"}
    other = Signer.generate("ben")
    assert oms.verify_model(model, oms.read_bundle(json.dumps(bundle).encode()), {other.id: other, **KEYS}) is ANNA


def test_a_bundle_with_a_certificate_is_left_to_the_tool_that_knows_authorities(model):
    bundle = json.loads(text_of(statement_of(), ANNA))
    bundle["verificationMaterial"] = {"x509CertificateChain": {"certificates": [{"rawBytes": "AAAA"}]}}
    with pytest.raises(Corrupt, match=r"certificate.*model_signing verify certificate"):
        oms.verify_model(model, oms.read_bundle(json.dumps(bundle).encode()), KEYS)


def test_ignored_paths_are_left_out_with_all_below_them_but_only_at_their_place(model):
    lay_out(model, {"cache/deep/x": b"1", "notes": b"2", ".github/w": b"3"})
    how = {"ignore_paths": ["cache", "notes"]}
    assert verified(model, statement_of(**how)) is ANNA
    lay_out(model, {"model/cache": b"4"})
    with pytest.raises(Corrupt, match="'model/cache' was added"):
        verified(model, statement_of(**how))


def test_a_file_that_is_signed_is_checked_even_where_files_are_ignored(model):
    files = {**FILES, "cache/x": b"signed"}
    lay_out(model, files)
    statement = statement_of(files, ignore_paths=["cache"])
    assert verified(model, statement) is ANNA
    (model / "cache/x").write_bytes(b"forged")
    with pytest.raises(Corrupt, match="'cache/x' was changed"):
        verified(model, statement)


def test_the_signature_file_may_lie_beside_the_model_files(model):
    (model / "a.sig").write_bytes(text_of(statement_of(), ANNA))
    assert verified(model, statement_of(), signature=model / "a.sig") is ANNA
    with pytest.raises(Corrupt, match=r"'a.sig' was added"):
        verified(model, statement_of())


def test_links_count_only_when_the_signer_let_them(model, tmp_path):
    (tmp_path / "elsewhere").write_bytes(FILES["config.json"])
    (model / "config.json").unlink()
    (model / "config.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Corrupt, match="holds no links"):
        verified(model, statement_of())
    assert verified(model, statement_of(allow_symlinks=True)) is ANNA


def test_several_differences_are_one_line(model):
    for name in ("x", "y", "z"):
        (model / name).touch()
    with pytest.raises(Corrupt, match=r"'x' was added: nobody signed it \(and 2 more\)"):
        verified(model, statement_of())


def test_digests_by_blake2b_are_read_and_by_blake3_named(model):
    assert verified(model, statement_of(algorithm="blake2b")) is ANNA
    statement = json.loads(json.dumps(statement_of()).replace('"sha256", "allow', '"blake3", "allow'))
    for one in statement["predicate"]["resources"]:
        one["algorithm"] = "blake3"
    with pytest.raises(Corrupt, match=r"blake3.*model_signing verify key"):
        verified(model, statement)


def test_shards_are_read_and_each_byte_of_each_is_covered(tmp_path):
    pieces = {"w:0:4": b"0123", "w:4:8": b"4567", "w:8:10": b"89"}
    statement = statement_of(pieces, method="shards", shard_size=4)
    folder = lay_out(tmp_path / "m", {"w": b"0123456789"})
    assert verified(folder, statement) is ANNA
    for data, says in [(b"0123x56789", "'w:4:8' was changed"), (b"01234567", "'w:8:10' is missing"),
                       (b"0123456789ab0", "'w:8:12' was added|'w:8:10' is missing")]:  # fmt: skip
        (folder / "w").write_bytes(data)
        with pytest.raises(Corrupt, match=says):
            verified(folder, statement)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(Corrupt, match="no such folder"):
        verified(tmp_path / "absent", statement_of())


def test_files_of_a_repository_at_the_top_are_never_signed():
    files = known({".gitignore": b"", ".git/config": b"", "model/.gitignore": b"", ".gitmodules": b""})
    assert [file.path for file in oms.covered(files)] == ["model/.gitignore", ".gitmodules"]


def test_models_are_signed_with_p256_only_and_never_without_files():
    with pytest.raises(SpecError, match="'ben' has Ed25519"):
        oms.sign_model(known(), Signer.generate("ben", ED25519), name="m")
    with pytest.raises(SpecError, match="no file to sign"):
        oms.sign_model(known({".gitignore": b""}), ANNA, name="m")


def test_without_the_extra_signing_says_what_to_install_and_verifying_works(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "guideway.signing.oms_library", None)
    monkeypatch.delattr("guideway.signing.oms_library", raising=False)
    with pytest.raises(Unavailable, match=r"extra 'sign'.*pip install 'guideway\[sign\]'"):
        oms.sign_model(known(), ANNA, name="m")
    assert verified(model, statement_of()) is ANNA


def test_reading_and_verifying_import_nothing_heavy():
    code = "import sys, guideway.sealing.verify; print({'model_signing', 'sigstore_models'} & sys.modules.keys())"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "set()"
