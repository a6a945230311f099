"""Stage scan: what is found in the package is evidence about the package; the stage itself does not refuse."""

from __future__ import annotations

import json

import pytest
from stage_rig import FakeJob, spec_of

from guideway.pipeline.stages import STAGES, scan


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "package"
    (folder / "model").mkdir(parents=True)
    (folder / "serve.json").write_text('{"name": "small", "template": ""}')
    (folder / "model" / "config.json").write_text("{}")
    return folder


def scanned(package):
    job = FakeJob(dict(scan.params(spec_of())), {"package": package}, package.parent, package.parent / "out")
    scan.run(job)
    return job, json.loads((job.out / "report.json").read_text())


def test_it_comes_after_the_package_and_depends_on_nothing_else():
    assert list(STAGES)[-1] == "scan" and scan.needs == ("package",)
    assert scan.params(spec_of()) == {} and scan.sources(spec_of(), None) == ()


def test_a_clean_package_leaves_two_zeros(package):
    job, report = scanned(package)
    for metric, unit in (("unsafe_files", "files"), ("secrets", "findings")):
        found = job.one(metric, about="package")
        assert (found.value, found.unit, found.n) == (0, unit, 2)
    assert job.facts == ["2 files, nothing unsafe, no secret"]
    assert report["findings"] == [] and report["formats"] == {"model/config.json": "json", "serve.json": "json"}
    assert job.moved[-1][0] == job.moved[-1][1] > 0


@pytest.mark.catalogue("B8")
def test_findings_are_counted_and_the_first_is_told_but_the_stage_passes(package):
    (package / "model" / "modeling.py").write_text("import os\n")
    (package / "model" / "weights.bin").write_bytes(b"\x80\x02cos\nsystem\n.")
    (package / "secret.txt").write_text("AKIA" + "QWERTYUIOP234567" + "\n")
    job, report = scanned(package)
    assert job.one("unsafe_files", about="package").value == 2
    assert job.one("secrets", about="package").value == 1
    assert job.facts[0].startswith("model/modeling.py: is code by its name") and "and 2 more" in job.facts[0]
    assert [one["rule"] for one in report["findings"]] == ["code", "pickle", "secret"]
    assert "QWERTYUIOP" not in json.dumps(report) + repr(job.facts)


def test_the_report_is_the_same_wherever_the_package_lies(package, tmp_path):
    _, one = scanned(package)
    package.rename(tmp_path / "elsewhere")
    (tmp_path / "out").rename(tmp_path / "first")
    _, two = scanned(tmp_path / "elsewhere")
    assert one == two and str(tmp_path) not in json.dumps(one)
