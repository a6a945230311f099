"""Several signers in one folder: strict modes and names, trust, rotation and revocation."""

from __future__ import annotations

import os
import stat

import msgspec
import pytest

from guideway.core.errors import Corrupt, Refused, SpecError, Unavailable
from guideway.signing import dsse, signers, statements
from guideway.signing.keypair import ED25519, P256, Signer, Verifier
from guideway.signing.keys import DEFAULT, chosen_name, pepper, signer, trusted
from guideway.signing.revocation import Revocation, revoked

SAID = statements.released(name="m", release="sha256:" + "0" * 64)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "keys"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def names(keys):
    return sorted(one.name for one in keys)


def test_each_name_has_its_own_key_in_the_same_folder(folder):
    anna, ben = signers.new(folder, "anna"), signers.new(folder, "ben-2", kind=ED25519)
    signer(folder)
    assert (anna.kind, ben.kind) == (P256, ED25519)
    assert mode(folder) == 0o700 and mode(folder / "anna.key.pem") == 0o600
    assert names(trusted(folder).values()) == ["anna", "ben-2", "guideway"]
    assert signer(folder, "ben-2").id == ben.id != anna.id


def test_the_public_file_of_a_key_is_the_key(folder):
    made = signers.new(folder, "anna")
    assert Verifier.read((folder / "anna.pub.pem").read_bytes()).id == made.id == signers.find(folder, "anna").id


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../a", "a/b", "/etc/a", "Anna", "a b", "-a", ".a", "a.", "a..b", "ä", "a\n", "a\0", "x" * 65,
     "anna.0123abcd"],
)  # fmt: skip
def test_a_name_that_is_none_is_refused_and_nothing_is_written(folder, name):
    for work in (signer, signers.new, signers.rotate, lambda *who: signers.trust(*who, Signer.generate("a").pem)):
        with pytest.raises(SpecError, match="cannot be the name of a signer"):
            work(folder, name)
    assert not list(folder.rglob("*.pem"))


@pytest.mark.parametrize("name", ["a", "a1", "build-1", "anna.k", "a_b", "x" * 64, "deadbeef"])
def test_a_name_that_is_one_makes_a_key(folder, name):
    assert signer(folder, name).name == name and names(trusted(folder).values()) == [name]


def test_the_environment_names_who_signs():
    assert chosen_name({}) == chosen_name({"GUIDEWAY_SIGNER": ""}) == DEFAULT
    assert chosen_name({"GUIDEWAY_SIGNER": "ci"}) == "ci"


def test_a_chosen_name_with_a_path_in_it_is_refused():
    with pytest.raises(SpecError, match="cannot be the name"):
        chosen_name({"GUIDEWAY_SIGNER": "../../root"})


def test_a_name_is_given_once(folder):
    signers.new(folder, "anna")
    with pytest.raises(SpecError, match=r"already.*signers rotate anna"):
        signers.new(folder, "anna")


@pytest.mark.parametrize("loose", [0o750, 0o705, 0o770])
def test_a_folder_that_others_can_look_into_is_refused(folder, loose):
    signer(folder)
    folder.chmod(loose)
    for work in (signer, pepper, lambda keys: signers.rotate(keys, DEFAULT)):
        with pytest.raises(Unavailable, match=r"others can look into.*chmod 700"):
            work(folder)


@pytest.mark.parametrize("loose", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(folder, loose):
    signer(folder)
    (folder / "guideway.key.pem").chmod(loose)
    with pytest.raises(Unavailable, match=r"can be read by others.*chmod 600"):
        signer(folder)


def test_others_must_not_be_able_to_add_keys(folder):
    signer(folder)
    folder.chmod(0o755)
    assert len(trusted(folder)) == 1  # public keys may be read by everybody
    folder.chmod(0o722)
    with pytest.raises(Unavailable, match="others could add keys"):
        trusted(folder)


def test_a_link_in_place_of_a_key_is_refused(folder, tmp_path):
    signer(folder)
    (folder / "guideway.key.pem").rename(tmp_path / "elsewhere.pem")
    (folder / "guideway.key.pem").symlink_to(tmp_path / "elsewhere.pem")
    with pytest.raises(Unavailable, match="not a link"):
        signer(folder)


def test_a_dangling_link_is_not_followed_to_make_a_key(folder, tmp_path):
    folder.mkdir(mode=0o700)
    (folder / "guideway.key.pem").symlink_to(tmp_path / "made-elsewhere")
    with pytest.raises(Unavailable, match="not a link"):
        signer(folder)
    assert not (tmp_path / "made-elsewhere").exists()


def test_a_pipe_in_place_of_a_key_is_refused_and_does_not_hang(folder):
    folder.mkdir(mode=0o700)
    os.mkfifo(folder / "guideway.key.pem", 0o600)
    with pytest.raises(Unavailable, match="plain file"):
        signer(folder)


def test_a_key_of_another_user_is_refused(folder, monkeypatch):
    signer(folder)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    with pytest.raises(Unavailable, match="belongs to another user"):
        signer(folder)


def test_the_key_of_somebody_else_counts_but_cannot_sign(folder, tmp_path):
    anna = signers.new(tmp_path / "annas", "work")
    signers.trust(folder, "anna", anna.pem)
    (by,) = dsse.opened(dsse.seal(SAID, anna), trusted(folder)).by
    assert by.name == "anna" and by.id == anna.id
    with pytest.raises(Unavailable, match="only the public key of 'anna'"):
        signer(folder, "anna")
    assert trusted(folder).keys() == {anna.id}


def test_a_new_key_under_the_same_name_leaves_the_old_one_trusted(folder):
    old, new = Signer.generate("anna"), Signer.generate("anna", ED25519)
    signers.trust(folder, "anna", old.pem)
    signers.trust(folder, "anna", new.pem)
    assert trusted(folder).keys() == {old.id, new.id}
    assert names(trusted(folder).values()) == ["anna", "anna"] and signers.find(folder, "anna").id == new.id


def test_a_name_that_signs_here_cannot_be_taken_over(folder):
    signer(folder)
    with pytest.raises(SpecError, match="signs here with a key of its own"):
        signers.trust(folder, DEFAULT, Signer.generate("x").pem)
    with pytest.raises(SpecError, match="already"):
        signers.trust(folder, "other", signer(folder).pem)


def test_a_revoked_key_does_not_come_back_by_another_name(folder):
    stolen = Signer.generate("anna")
    signers.trust(folder, "anna", stolen.pem)
    signers.revoke(folder, "anna", at=1.0, reason="stolen")
    with pytest.raises(Refused, match="revoked: stolen"):
        signers.trust(folder, "anna-2", stolen.pem)


def test_a_damaged_public_key_is_named(folder):
    signer(folder)
    (folder / "anna.pub.pem").write_text("nonsense")
    with pytest.raises(Corrupt) as caught:
        trusted(folder)
    assert caught.value.where.endswith("anna.pub.pem")


@pytest.mark.parametrize("kind", [P256, ED25519])
def test_what_the_old_key_signed_stays_valid_and_the_new_one_signs(folder, kind):
    old = signers.new(folder, "anna", kind=kind)
    before = dsse.seal(SAID, old)
    new = signers.rotate(folder, "anna")
    assert new.kind == kind and signer(folder, "anna").id == new.id != old.id
    for text, by in ((before, old), (dsse.seal(SAID, new), new)):
        assert [(one.name, one.id) for one in dsse.opened(text, trusted(folder)).by] == [("anna", by.id)]
    assert (folder / f"anna.{old.id[:8]}.pub.pem").exists()


def test_the_old_private_key_is_destroyed_even_under_another_name(folder):
    signers.new(folder, "anna")
    os.link(folder / "anna.key.pem", folder / "copy")
    signers.rotate(folder, "anna")
    assert set((folder / "copy").read_bytes()) == {0}
    assert [path.name for path in folder.glob("*.key.pem")] == ["anna.key.pem"]


def test_a_name_may_rotate_again_and_again(folder):
    ids = {signers.new(folder, "anna").id} | {signers.rotate(folder, "anna").id for _ in range(3)}
    assert trusted(folder).keys() == ids and len(ids) == 4
    assert [one.current for one in signers.all_of(folder)] == [True, False, False, False]


@pytest.mark.parametrize("name", ["nobody", "anna"])
def test_only_a_name_that_signs_here_can_rotate(folder, name):
    signers.trust(folder, "anna", Signer.generate("anna").pem)
    with pytest.raises(SpecError, match=f"no private key of '{name}'"):
        signers.rotate(folder, name)


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_killed_anywhere_in_a_rotation_the_signer_signs_and_the_old_key_counts(folder, monkeypatch, writes):
    old = signers.new(folder, "anna")
    real, left = signers.write_atomic, [writes]

    def mortal(*args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        real(*args, **kwargs)

    for module in ("signers", "keys"):
        monkeypatch.setattr(f"guideway.signing.{module}.write_atomic", mortal)
    with pytest.raises(KeyboardInterrupt):
        signers.rotate(folder, "anna")
    monkeypatch.undo()
    now = signer(folder, "anna")
    assert {old.id, now.id} <= trusted(folder).keys()
    assert dsse.signers(dsse.seal(SAID, now), trusted(folder)) and (now.id == old.id) == (writes < 2)


def test_a_key_killed_before_its_public_half_was_written_is_mended(folder):
    made = signers.new(folder, "anna")
    (folder / "anna.pub.pem").unlink()
    assert signer(folder, "anna").id == made.id and trusted(folder).keys() == {made.id}


def test_nothing_that_a_revoked_key_signed_counts_any_more_before_or_after(folder):
    anna = signers.new(folder, "anna")
    text = dsse.seal(SAID, anna)
    signers.revoke(folder, "anna", at=5.0, reason="stolen laptop")
    assert anna.id not in trusted(folder) and dsse.signers(text, trusted(folder)) == ()
    with pytest.raises(Corrupt, match="no trusted key"):
        dsse.unseal(text, trusted(folder))
    assert revoked(folder) == {anna.id: Revocation(anna.id, "anna", 5.0, "stolen laptop")}


def test_a_revoked_key_refuses_to_sign_until_it_is_rotated(folder):
    old = signer(folder)
    signers.revoke(folder, DEFAULT, at=5.0, reason="stolen")
    with pytest.raises(Refused, match=r"revoked.*signers rotate guideway"):
        signer(folder)
    new = signers.rotate(folder, DEFAULT)
    assert signer(folder).id == new.id and trusted(folder).keys() == {new.id}
    assert old.id in revoked(folder)


def test_a_journey_what_the_old_key_signed_counts_after_rotate_and_no_longer_after_revoke(folder):
    old = signers.new(folder, "anna")
    text = dsse.seal(SAID, old)
    signers.rotate(folder, "anna")
    assert dsse.unseal(text, trusted(folder)) == SAID
    signers.revoke(folder, old.id[:8], at=9.0, reason="found in a backup")
    assert dsse.signers(text, trusted(folder)) == () and len(trusted(folder)) == 1


def test_the_list_only_grows(folder):
    for name in ("anna", "ben"):
        signers.new(folder, name)
        signers.revoke(folder, name, at=1.0, reason="left")
    assert [one["name"] for one in msgspec.json.decode((folder / "revoked.json").read_bytes())] == ["anna", "ben"]
    with pytest.raises(SpecError, match="revoked already"):
        signers.revoke(folder, "anna", at=2.0, reason="again")


@pytest.mark.parametrize("which", ["nobody", "0" * 8, "../anna", "", "guideway.pub", "GUIDEWAY"])
def test_a_key_that_nobody_has_cannot_be_revoked(folder, which):
    signer(folder)
    with pytest.raises(SpecError, match="no key of that name, and none begins"):
        signers.revoke(folder, which, at=1.0, reason="x")
    assert not revoked(folder)


def test_a_revocation_has_a_reason(folder):
    signer(folder)
    with pytest.raises(SpecError, match="needs a reason"):
        signers.revoke(folder, DEFAULT, at=1.0, reason="  ")


@pytest.mark.parametrize("damage", [b"", b"[", b"{}", b'[{"id": 1}]', b"\xff"])
def test_a_damaged_list_trusts_nobody(folder, damage):
    signer(folder)
    (folder / "revoked.json").write_bytes(damage)
    for work in (trusted, signer):
        with pytest.raises(Corrupt, match="list of revoked keys is damaged"):
            work(folder)
