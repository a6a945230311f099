"""``guideway signers`` and ``guideway signature`` as people call them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from guideway.pipeline.workshop import open_workshop
from guideway.sealing.seal import seal
from guideway.signing.keypair import Signer
from guideway.signing.keys import chosen_name, signer, trusted
from guideway.store import ledger
from guideway.store.blobs import Blobs
from guideway.store.database import Database
from guideway.store.home import Home


@pytest.fixture
def home(project):
    return Home.of(project.folder)


def lines(home):
    with Database(home.database) as database:
        return [(one.what, one.subject) for one in ledger.entries(database)]


def test_a_journey_of_a_key_from_new_to_revoked(project, home, tmp_path):
    assert "no key yet" in project("signers", "list").stdout
    assert project("signers", "new", "anna").returncode == 0
    first = project("signers", "export", "anna").stdout
    (tmp_path / "anna.pub.pem").write_text(first)
    assert project("signers", "rotate", "anna").returncode == 0
    assert project("signers", "export", "anna").stdout != first
    old = next(one for one in json.loads(project("signers", "list", "--json").stdout) if not one["current"])
    assert project("signers", "revoke", old["id"][:10], "--reason", "found in a backup").returncode == 0
    assert "revoked 20" in project("signers", "list").stdout and old["id"] not in trusted(home.keys)
    said = project("signers", "trust", "other", str(tmp_path / "anna.pub.pem"))
    assert said.returncode == 3 and "this key is revoked: found in a backup" in said.stderr
    assert [what for what, _ in lines(home)] == ["signer made", "signer rotated", "signer revoked"]
    assert lines(home)[-1] == ("signer revoked", f"sha256:{old['id']}")


def test_the_key_of_somebody_else_is_trusted_from_a_file(project, home, tmp_path):
    ben = Signer.generate("ben")
    (tmp_path / "b.pem").write_bytes(ben.pem)
    assert project("signers", "trust", "ben", str(tmp_path / "b.pem")).returncode == 0
    assert trusted(home.keys)[ben.id].name == "ben" and lines(home) == [("signer trusted", f"sha256:{ben.id}")]
    listed = json.loads(project("signers", "list", "--json").stdout)
    assert [(one["name"], one["signs"], one["kind"]) for one in listed] == [("ben", False, "ECDSA P-256")]


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["new", "../anna"], 2, "cannot be the name of a signer"),
        (["rotate", "nobody"], 2, "no private key of 'nobody'"),
        (["revoke", "nobody", "--reason", "x"], 2, "no key of that name"),
        (["revoke", "nobody"], 2, "missing option '--reason'"),
        (["export", "nobody"], 2, "no key of that name"),
        (["trust", "ben", "guideway.yaml"], 4, "not a public key"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_line_in_the_ledger(project, home, argv, code, says):
    said = project("signers", *argv)
    assert said.returncode == code and says in said.stderr.lower() and len(said.stderr.splitlines()) == 1
    assert lines(home) == [] and not list(home.keys.glob("*.pem"))


def test_the_environment_names_who_signs_a_build(home, monkeypatch):
    assert open_workshop(home).signer.name == "guideway"
    monkeypatch.setenv("GUIDEWAY_SIGNER", "ci")
    assert open_workshop(home).signer.name == "ci"


@pytest.fixture
def released(project, home, tmp_path):
    """The project with a sealed release of two small files, signed by `ci`."""
    (tmp_path / "files").mkdir()
    for name in ("a.txt", "b.json"):
        (tmp_path / "files" / name).write_text(name)
    blobs = Blobs(home.oci)
    with Database(home.database) as database:
        files = blobs.put_tree(tmp_path / "files").files
        by = signer(home.keys, chosen_name({"GUIDEWAY_SIGNER": "ci"}))
        seal(blobs, database, by, name="small", files=files, judgements=(), proofs=(), facts={}, at=1.0)
    return project


def test_a_release_says_who_signed_it(released):
    said = released("verify")
    assert said.returncode == 0 and "whole and signed by ci" in said.stdout


def test_a_release_goes_out_with_its_signature_and_everybody_can_check_it(released, home, tmp_path):
    out, signature = tmp_path / "out", tmp_path / "out.sig"
    assert released("signature", "export", str(signature), "--files", str(out)).returncode == 0
    key = home.keys / "ci.pub.pem"
    assert "exactly what ci" in released("signature", "verify", str(out), str(signature)).stdout
    argv = [sys.executable, "-m", "model_signing", "verify", "key", str(out), "--signature", str(signature)]
    assert subprocess.run([*argv, "--public_key", str(key)], check=False, capture_output=True).returncode == 0
    (out / "c").write_bytes(b"")
    said = released("signature", "verify", str(out), str(signature), "--key", str(key))
    assert said.returncode == 4 and "'c' was added: nobody signed it" in said.stderr


def test_with_a_key_a_folder_is_verified_without_any_project(released, guideway, home, tmp_path):
    released("signature", "export", str(tmp_path / "s"), "--files", str(tmp_path / "out"))
    assert guideway("signature", "verify", "out", "s", "--key", str(home.keys / "ci.pub.pem")).returncode == 0
    assert "there is no spec here" in guideway("signature", "verify", "out", "s").stderr


def test_a_file_that_is_no_signature_is_one_line(project):
    said = project("signature", "verify", ".", "guideway.yaml")
    assert said.returncode == 4 and "guideway.yaml: this is not a model signature" in said.stderr
    assert len(said.stderr.splitlines()) == 1


def test_files_are_laid_out_in_a_new_folder_only(released, tmp_path):
    said = released("signature", "export", str(tmp_path / "s"), "--files", str(released.folder))
    assert said.returncode == 2 and "this folder exists already" in said.stderr and not (tmp_path / "s").exists()
