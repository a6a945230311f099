"""Signed checkpoints: a cut tail, a rewritten and an exchanged ledger are found, also in an exported file."""

from __future__ import annotations

import json
import os

import msgspec
import pytest
from postgres_rig import as_owner, unguarded
from test_ledger_lines import rewrite

from guideway.core.errors import Corrupt
from guideway.signing import dsse, statements
from guideway.signing.keys import signer, trusted
from guideway.store import checkpoints, ledger, ledger_file
from guideway.store.database import Database
from guideway.store.home import Home


class Office:
    """A ledger of ten lines with checkpoints at 4 and 8, its signer, and no guard against its owner."""

    def __init__(self, where, folder):
        self.where, self.folder = where, folder
        self.home = Home(folder / "home", copies=str(folder / "other-disk"))
        self.signer = signer(self.home.keys)
        self.database = Database(where)
        for number in range(1, 11):
            self.append(number)
            if number in (4, 8):
                assert checkpoints.make(self.database, self.home, self.signer, 50.0 + number)
        unguarded(where)

    def append(self, number=0):
        ledger.append(self.database, at=float(number), who="ann", what="build", subject=f"s{number}")

    def report(self, folders=None, keys=None):
        folders = checkpoints.folders(self.home) if folders is None else folders
        return checkpoints.verify(self.database, folders, trusted(keys or self.home.keys))

    def says(self, **more):
        return [problem.what for problem in self.report(**more).problems]

    def drop_rows(self):
        as_owner(self.where, "DELETE FROM checkpoints")

    def files(self):
        return [path.name for path in sorted(self.home.checkpoints.glob("*.json"))]

    def forge(self, name, by, **changes):
        """A checkpoint in the folder that says something else."""
        text = (self.home.checkpoints / "00000008.json").read_bytes()
        said = dsse.unseal(text, trusted(self.home.keys))
        predicate = {**said["predicate"], **changes}
        subject = {"ledger": "sha256:" + predicate["hash"]}
        forged = dsse.seal(statements.statement(checkpoints.KIND, subject, predicate), by)
        (self.home.checkpoints / name).unlink(missing_ok=True)
        (self.home.checkpoints / name).write_bytes(forged)


@pytest.fixture
def office(where, tmp_path):
    one = Office(where, tmp_path)
    yield one
    one.database.close()


def test_a_whole_ledger_verifies_and_says_how_many_lines_only_the_chain_holds(office):
    assert office.report() == checkpoints.Report(lines=10, checkpoints=2, bare=2, problems=())


def test_a_checkpoint_is_a_signed_statement_in_a_file_and_in_its_copy(office):
    assert office.files() == ["00000004.json", "00000008.json"]
    text = (office.home.checkpoints / "00000008.json").read_bytes()
    assert (office.folder / "other-disk" / "00000008.json").read_bytes() == text
    said = dsse.unseal(text, trusted(office.home.keys))
    assert said["predicateType"] == "urn:guideway:ledger-checkpoint:v1"
    line = next(one for one in ledger.lines(office.database) if one.seq == 8)
    expected = {"installation": ledger.installation(office.database), "seq": 8, "hash": line.hash, "at": 58.0}
    assert said["predicate"] == expected
    assert statements.subjects(said) == {"sha256:" + line.hash}


def test_a_flipped_bit_is_named(office):
    as_owner(office.where, "UPDATE ledger SET who = 'eve' WHERE seq = 6")
    assert office.says() == ["line 6 was changed"]


def test_every_problem_is_named_not_only_the_first(office):
    as_owner(office.where, "UPDATE ledger SET who = 'eve' WHERE seq = 3", "DELETE FROM ledger WHERE seq = 6")
    assert office.says() == ["line 3 was changed", "line 6 is missing"]


@pytest.mark.parametrize("without", ["files", "rows"])
def test_a_tail_that_was_cut_before_a_checkpoint_is_named_from_either_place(office, without):
    as_owner(office.where, "DELETE FROM ledger WHERE seq > 6")
    folders = [] if without == "files" else checkpoints.folders(office.home)
    if without == "rows":
        office.drop_rows()
    assert office.says(folders=folders) == ["lines 7 to 8 are missing: checkpoint 8 was signed when they were there"]


def test_a_tail_that_was_cut_after_the_last_checkpoint_is_not_found_but_the_bare_lines_are_counted(office):
    as_owner(office.where, "DELETE FROM ledger WHERE seq > 9")
    assert office.report() == checkpoints.Report(lines=9, checkpoints=2, bare=1, problems=())


def test_an_emptied_ledger_is_named(office):
    as_owner(office.where, "DELETE FROM ledger", "DELETE FROM checkpoints")
    assert office.says() == ["lines 1 to 8 are missing: checkpoint 8 was signed when they were there"]


def test_a_tail_that_was_written_anew_hash_by_hash_is_named(office):
    previous = rewrite(office.where, 6, who="eve")
    for seq in range(7, 11):
        previous = rewrite(office.where, seq, previous=previous)
    assert ledger.verify(office.database) == 10  # the chain alone shows nothing
    assert office.says() == ["one or more of the lines 5 to 8 were written anew: checkpoint 8 was signed over others"]


def test_the_ledger_of_another_installation_in_its_place_is_named(office, tmp_path):
    as_owner(office.where, "UPDATE meta SET value = 'feedfacefeedface' WHERE key = 'installation'")
    previous = "feedfacefeedface"
    for seq in range(1, 11):
        previous = rewrite(office.where, seq, previous=previous)
    assert ledger.verify(office.database) == 10
    says = office.says()
    assert len(says) == 2 and all("the ledger was exchanged: checkpoint" in one for one in says)
    assert all("the ledger of feedfaceface"[:20] in one for one in says)


def test_a_checkpoint_signed_by_a_stranger_is_named_and_does_not_count(office, tmp_path):
    stranger = signer(tmp_path / "strange")
    office.forge("00000010.json", stranger, seq=10)
    path = office.home.checkpoints / "00000010.json"
    assert office.says() == [f"checkpoint {path}: no trusted key signed this"]
    assert office.report().checkpoints == 2


def test_without_the_signers_key_no_checkpoint_counts(office, tmp_path):
    signer(tmp_path / "strange")
    assert len(office.says(keys=tmp_path / "strange")) == 6  # two rows, two files, two copies


@pytest.mark.parametrize("text", [b"", b"{}", b"[1", b"\xff\xfe"])
def test_a_damaged_checkpoint_file_is_named(office, text):
    path = office.home.checkpoints / "00000009.json"
    path.write_bytes(text)
    assert office.says() == [f"checkpoint {path}: this is not a signed envelope"]


def test_something_else_that_we_signed_is_no_checkpoint(office):
    path = office.home.checkpoints / "00000009.json"
    path.write_bytes(
        dsse.seal(statements.statement(statements.RELEASE, {"a": "sha256:" + "0" * 64}, {}), office.signer)
    )
    assert office.says() == [f"checkpoint {path}: this is no checkpoint of a ledger"]


def test_two_checkpoints_of_one_line_over_different_lines_are_named(office):
    office.forge("00000008-again.json", office.signer, hash="0" * 64)
    assert "there are two checkpoints of line 8 over different lines" in office.says()


def test_one_is_due_after_a_hundred_lines_and_is_made_once(database, tmp_path):
    home = Home(tmp_path / "home")
    for number in range(1, 101):
        assert checkpoints.keep_up(database, home, 1.0) is None
        ledger.append(database, at=float(number), who="ann", what="build", subject="s")
    made = checkpoints.keep_up(database, home, 2.0)
    assert made and made.seq == 100
    assert checkpoints.keep_up(database, home, 3.0) is None
    assert [path.name for path in home.checkpoints.glob("*.json")] == ["00000100.json"]


def test_an_empty_ledger_has_nothing_to_sign(database, tmp_path):
    home = Home(tmp_path / "home")
    assert checkpoints.make(database, home, signer(home.keys), 1.0) is None


def test_a_checkpoint_is_never_overwritten(office):
    before = (office.home.checkpoints / "00000008.json").read_bytes()
    as_owner(office.where, "DELETE FROM ledger WHERE seq > 8")
    checkpoints.make(office.database, office.home, office.signer, 99.0)
    assert (office.home.checkpoints / "00000008.json").read_bytes() == before
    assert (office.home.checkpoints / "00000008.json").stat().st_mode & 0o222 == 0


def test_a_disk_for_copies_that_was_away_gets_what_it_missed(office):
    copies = office.folder / "other-disk"
    for path in copies.glob("*.json"):
        path.unlink()
    checkpoints.make(office.database, office.home, office.signer, 99.0)
    assert [path.name for path in sorted(copies.glob("*.json"))] == [*office.files()]


def test_a_folder_for_copies_that_cannot_be_written_leaves_the_checkpoint_itself(office):
    home = msgspec.structs.replace(office.home, copies=os.devnull)
    with pytest.raises(OSError, match="exists"):
        checkpoints.make(office.database, home, office.signer, 99.0)
    assert office.report(folders=[home.checkpoints]).bare == 0


# -- exported ------------------------------------------------------------------------------------------------------


@pytest.fixture
def exported(office):
    path = office.folder / "ledger.jsonl"
    assert ledger_file.export(office.database, checkpoints.folders(office.home), path) == 10
    return path


def says(office, path):
    return [problem.what for problem in ledger_file.verify(path, trusted(office.home.keys)).problems]


def test_an_exported_ledger_verifies_without_the_database(office, exported):
    office.database.close()
    report = ledger_file.verify(exported, trusted(office.home.keys))
    assert report == checkpoints.Report(lines=10, checkpoints=2, bare=2, problems=())


def test_an_exported_ledger_is_json_lines_with_a_header(office, exported):
    header, *lines = [json.loads(line) for line in exported.read_text().splitlines()]
    assert header["installation"] == ledger.installation(office.database) and len(header["checkpoints"]) == 2
    assert [(line["seq"], line["subject"]) for line in lines] == [(n, f"s{n}") for n in range(1, 11)]


def test_a_changed_line_of_a_file_is_named(office, exported):
    exported.write_text(exported.read_text().replace('"subject":"s5"', '"subject":"s6"', 1))
    assert says(office, exported) == ["line 5 was changed"]


def test_lines_of_a_file_that_changed_places_are_named(office, exported):
    lines = exported.read_text().splitlines(keepends=True)
    lines[5], lines[6] = lines[6], lines[5]
    exported.write_text("".join(lines))
    assert says(office, exported) == ["line 5 is missing", "line 5 stands after line 6"]


def test_a_file_that_was_cut_is_named(office, exported):
    exported.write_bytes(b"\n".join(exported.read_bytes().split(b"\n")[:6]) + b"\n")
    assert says(office, exported) == ["lines 6 to 8 are missing: checkpoint 8 was signed when they were there"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "no exported ledger"),
        (b"hello\n", "no exported ledger"),
        (b'{"format":"other","installation":"x","checkpoints":[]}\n', "no exported ledger"),
    ],
)
def test_something_else_is_no_exported_ledger(office, text, expected):
    path = office.folder / "other"
    path.write_bytes(text)
    with pytest.raises(Corrupt, match=expected):
        ledger_file.verify(path, {})


def test_a_line_of_a_file_that_cannot_be_read_is_named(office, exported):
    with exported.open("ab") as file:
        file.write(b'{"seq": 11, "at"')
    with pytest.raises(Corrupt) as caught:
        ledger_file.verify(exported, {})
    assert str(caught.value) == f"{exported}:12: this line cannot be read"


def test_an_export_that_fails_leaves_the_old_file(office, exported, monkeypatch):
    before = exported.read_bytes()
    monkeypatch.setattr(ledger, "lines", lambda database: (_ for _ in ()).throw(OSError("the disk is gone")))
    with pytest.raises(OSError, match="the disk is gone"):
        ledger_file.export(office.database, [], exported)
    assert exported.read_bytes() == before
    assert [path for path in office.folder.iterdir() if path.name.startswith(".")] == []
