"""The verbs of the Standard as a person calls them: tables, JSON, JUnit, exit codes, one clear line for a mistake."""

from __future__ import annotations

import datetime
import json
import os
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

sys.path.append(str(Path(__file__).parents[1] / "pipeline"))

from assess_rig import Project

from shell_rig import call


class Desk:
    """A built project, and the command line in its folder."""

    def __init__(self, root):
        self.project = Project(root)
        self.project.now = time.time()
        self.release = self.project.build()
        self.folder = root

    def __call__(self, *argv, code=0):
        done = call(argv, self.folder, {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"})
        assert done.returncode == code, (argv, done.returncode, done.stdout[-500:], done.stderr[-500:])
        return done.stdout if code in (0, 3) and done.stdout else done.stderr


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    return Desk(tmp_path_factory.mktemp("desk"))


def test_the_standard_is_listed_in_both_languages(desk):
    assert len(json.loads(desk("standard", "--json"))) == 47
    assert "i/b/b" in desk("standard") and "judged as dev" in desk("standard")
    assert "许可证" in desk("standard", "--lang", "zh")


def test_one_clause_is_explained_with_who_asks_for_it(desk):
    said = desk("standard", "show", "DAT-04")
    for words in ("2016/679", "个人信息", "staging: blocks", "personal_data_residue of data, at most 0.001"):
        assert words in said, words
    assert "did you mean 'EVL-01'" in desk("standard", "show", "EVL-1", code=2)


def test_assess_says_in_dev_that_nothing_blocks_and_in_prod_what_does(desk):
    assert "nothing blocks" in desk("assess")
    said = desk("assess", "-e", "prod", code=3)
    assert "PRV-01" in said and "→" in said and said.rstrip().endswith("block")


def test_assess_speaks_to_machines(desk):
    said = json.loads(desk("assess", "-e", "prod", "--json", code=3))
    by_clause = {one["clause"]: one for one in said["judgements"]}
    assert by_clause["EVL-01"]["verdict"] == "PASS" and not by_clause["EVL-01"]["stops"]
    assert "PRV-01" in said["blocks"] and said["level"] == "prod" and said["policy"].startswith("sha256:")


def test_a_junit_file_fails_what_blocks_and_skips_what_does_not(desk):
    desk("assess", "-e", "prod", "--junit", "out.xml", code=3)
    suite = ElementTree.parse(desk.folder / "out.xml").getroot()
    blocked = json.loads(desk("assess", "-e", "prod", "--json", code=3))["blocks"]
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure")) == len(blocked)
    assert int(suite.get("tests")) == len(suite.findall("testcase"))


def test_only_what_is_open_is_shown_when_asked_for(desk):
    assert "✓ PASS" in desk("assess") and "✓ PASS" not in desk("assess", "--open")
    assert "PRV-03" not in desk("assess", "--when", "seal")


def test_a_person_signs_and_a_stranger_or_the_author_does_not(desk):
    assert "nobody called 'zoe' signs here" in desk("approve", "-e", "prod", "--as", "zoe", code=2)
    assert "answers for nobody" in desk("approve", "-e", "prod", "--as", "guideway", code=2)
    desk("signers", "new", "alice")
    assert "alice approves days:1" in desk("approve", "-e", "prod", "--as", "alice", "--why", "read it")
    said = json.loads(desk("assess", "-e", "prod", "--json", code=3))
    assert "REL-04" not in said["blocks"]


def test_a_waiver_shows_in_the_list_and_in_the_table(desk):
    desk("signers", "new", "mei")
    waive = ("standard", "waive", "PRV-04", "-e", "prod", "--as", "mei")
    assert "within a year" in desk(*waive, "--reason", "x", "--until", "2099-01-31", code=2)
    soon = datetime.date.today() + datetime.timedelta(days=30)
    desk(*waive, "--reason", "staff only", "--until", str(soon))
    listed = json.loads(desk("standard", "waivers", "-e", "prod", "--json"))
    assert [one["clauses"] for one in listed] == [["PRV-04"]] and listed[0]["signer"] == "mei"
    assert f"waived by mei until {soon}: staff only" in " ".join(desk("assess", "-e", "prod", code=3).split())


def test_evidence_is_listed_shown_and_imported(desk):
    desk("signers", "new", "ann")
    (desk.folder / "drill.json").write_text('{"metric": "rollback_seconds", "value": 0.2, "unit": "s"}')
    assert "by hand" in desk("evidence", "import", "drill.json", "-e", "prod", "--as", "ann")
    assert "rollback_seconds" in desk("evidence", "list", "-e", "prod")
    listed = json.loads(desk("evidence", "list", "-e", "prod", "--json"))
    digest = next(one["digest"] for one in listed if one["evidence"]["metric"] == "rollback_seconds")
    assert "rollback_seconds" in desk("evidence", "show", digest)
    assert "neither XML nor JSON" in desk("evidence", "import", "guideway.yaml", "--as", "ann", code=2)


def test_what_the_verification_of_the_ledger_found_can_be_kept(desk):
    assert "chain whole" in desk("audit", "verify", "--record")
    assert "ledger_faults" in desk("evidence", "list")


def test_nothing_serves_so_there_is_nothing_to_judge_while_serving(desk):
    assert "nothing serves in 'prod'" in desk("assess", "--serving", "-e", "prod", code=2)


@pytest.mark.parametrize("kind", ["card", "transparency", "annex-iv", "ml-test-score", "aibom"])
def test_every_report_is_drawn_in_both_languages(desk, kind):
    english, chinese = (desk("report", kind, "--lang", lang, "--format", "md") for lang in ("en", "zh"))
    assert "days" in english and english != chinese


def test_going_back_to_what_was_never_admitted_is_refused(desk):
    assert "never admitted into 'prod'" in desk("rollback", "--to", "1", "-e", "prod", code=3)
