"""``guideway explain``: one answer of a sealed release, from the store, as a person calls it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from release_rig import PASSED, House
from stage_rig import FakeJob, colour_spec

from guideway.cli.explain import command, heat_map
from guideway.core.errors import Corrupt, SpecError
from guideway.pipeline.explaining import ReleaseExplainer, laid_out
from guideway.pipeline.stages import package
from guideway.pipeline.stages.explain.attribution import Attribution, tokens_of

QUESTION = "what colour is `grass`?"


def packed(colours, out, **parts):
    spec = colour_spec(**parts)
    inputs = {name: colours.out[name] for name in ("data", "train", "compress")}
    job = FakeJob(dict(package.params(spec)), inputs, out.parent, out)
    package.run(job)
    return out


@pytest.fixture(scope="module")
def project(colours, tmp_path_factory):
    """A folder with a spec, and in its store a release of the colours."""
    root = tmp_path_factory.mktemp("project")
    (root / "guideway.yaml").write_text("guideway: 1\nname: m\ndata:\n  sources: [{path: rows.jsonl}]\n")
    house = House(root / ".guideway")
    house.seal(PASSED, files=house.blobs.put_tree(packed(colours, root / "release")).files)
    return root


@pytest.fixture
def explain(project):
    def run(*argv):
        return CliRunner().invoke(command, [*argv, "-f", str(project / "guideway.yaml")])

    return run


def test_a_pipe_gets_one_line_for_each_word(explain):
    said = explain(QUESTION)
    assert said.exit_code == 0, said.exception
    head, *lines = said.stdout.splitlines()
    assert head.startswith("# green (score ") and head.endswith("; occlusion)")
    assert [line.split("\t")[1] for line in lines] == [token.text for token in tokens_of(QUESTION)]
    weights = {line.split("\t")[1]: float(line.split("\t")[0]) for line in lines}
    assert max(weights, key=weights.get) == "grass" and "\x1b" not in said.stdout


def test_another_answer_may_be_explained_and_is_less_likely(explain):
    own, other = (json.loads(explain("1", QUESTION, "--json", *more).stdout) for more in ((), ("--answer", "red")))
    assert (own["target"], other["target"]) == ("green", "red")
    assert own["score"] > other["score"] and own["release"].startswith("sha256:")


def test_a_page_is_written_that_stands_alone(explain, tmp_path):
    assert explain(QUESTION, "--html", str(tmp_path / "page.html")).exit_code == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert ">grass</b>" in page and "<script" not in page


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("",), "there is no word in the text"),
        (("word " * 99,), "tokens; 64 can be read"),
        ((QUESTION, "--answer", "red " * 99), "prompt and answer have"),
        ((QUESTION, "--method", "gradients"), "there are no weights that gradients could be taken of"),
        (("9", QUESTION), "no release"),
        (("1",), "'1' alone is read as a release, and there is no text to explain (`guideway explain 1 TEXT`"),
        (("v7",), "'v7' alone is read as a release"),
        (("m:1",), "'m:1' alone is read as a release"),
        (("--report", "page.html"), "no explanations of this release are kept here"),
    ],
)
def test_bad_input_is_one_line(explain, argv, says):
    error = explain(*argv).exception
    assert isinstance(error, SpecError) and error.exit_code == 2
    assert says in str(error) and "\n" not in str(error)


def test_the_beginning_of_a_digest_alone_is_no_text_and_behind_a_release_it_is_one(explain):
    digest = json.loads(explain(QUESTION, "--json").stdout)["release"].removeprefix("sha256:")[:8]
    error = explain(digest).exception
    assert isinstance(error, SpecError) and f"'{digest}' alone is read as a release" in str(error)
    assert explain("1", digest).exit_code == 0
    assert explain("grass: 12").exit_code == 0, "words with a space between them are a text"


def test_a_word_too_many_is_refused(explain):
    assert explain("1", QUESTION, "more").exit_code == 2


def test_a_release_that_ships_safetensors_has_gradients(colours, tmp_path):
    folder = packed(colours, tmp_path / "release", serve={"engine": "transformers"})
    found = ReleaseExplainer(folder).explain(QUESTION, method="gradients")
    assert found.method == "gradients" and len(found.weights) == len(tokens_of(QUESTION))
    heaviest = max(zip(found.weights, found.tokens, strict=True))[1]
    assert heaviest.text == "grass"


def test_every_byte_is_verified_before_anything_loads_and_nothing_is_left_behind(colours, tmp_path):
    house = House(tmp_path / "house")
    release = house.seal(PASSED)
    with laid_out(house.blobs, release.digest, house.trusted, tmp_path / "run") as folder:
        assert (folder / "model" / "model.onnx").read_text() == "weights"
    assert list((tmp_path / "run").iterdir()) == []
    path = house.blobs.path(next(file.digest for file in release.files if file.path == "model/model.onnx"))
    path.chmod(0o644)
    path.write_text("changed")
    with pytest.raises(Corrupt), laid_out(house.blobs, release.digest, house.trusted, tmp_path / "run"):
        pytest.fail("it was laid out")


def test_progress_reaches_its_end(colours, tmp_path):
    heard = []
    model = ReleaseExplainer(packed(colours, tmp_path / "release"))
    model.explain("the " * 40 + QUESTION, progress=lambda done, total: heard.append((done, total)))
    assert len(heard) > 2 and heard[-1][0] == heard[-1][1] and heard == sorted(heard)


def test_a_heat_map_colours_what_is_heavy_and_keeps_the_text():
    tokens = tokens_of("a b c")
    found = Attribution("a b c", tokens, (2.0, 0.01, -2.0), "x", "occlusion", 0.0, -1.0, "nats")
    drawn = heat_map(found)
    assert drawn.plain == "a b c"
    assert [str(span.style) for span in drawn.spans] == ["white on rgb(37,99,201)", "white on rgb(217,98,43)"]
