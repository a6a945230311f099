"""Stage data: every row has one place, and every row that has none is named."""

from __future__ import annotations

import json

import pytest
from stage_rig import read_jsonl, run_stage, spec_of, write_jsonl

from guideway.core.errors import GuidewayError, SpecError

ALL = {"test": {"share": 0.3}}


def pairs(count, **more):
    return [{"prompt": f"question {n}", "response": f"answer {n}", **more} for n in range(count)]


def data(sources=("rows.jsonl",), **more):
    return {"sources": [{"path": path} if isinstance(path, str) else path for path in sources], "splits": ALL, **more}


@pytest.fixture
def build(tmp_path):
    """Run the stage over what stands in ``tmp_path``."""

    def builds(out="out", task="chat", **parts):
        return run_stage("data", spec_of(data=data(**parts), task=task), tmp_path, tmp_path / out)

    return builds


def all_rows(folder):
    return [row for path in sorted(folder.glob("*.jsonl")) if path.stem != "rejected" for row in read_jsonl(path)]


def test_every_row_lands_in_exactly_one_file_with_its_own_fields(tmp_path, build):
    write_jsonl(tmp_path / "rows.jsonl", pairs(40, topic="numbers"))
    job = build()
    rows = all_rows(job.out)
    assert len(rows) == 40 == len({row["id"] for row in rows})
    assert rows[0]["fields"] == {"topic": "numbers"}
    assert [message["role"] for message in rows[0]["messages"]] == ["user", "assistant"]
    assert job.one("rows", slice="train").value + job.one("rows", slice="test").value == 40


def test_the_id_of_a_row_depends_on_its_content_alone(tmp_path, build):
    write_jsonl(tmp_path / "rows.jsonl", pairs(20, topic="a"))
    first = {row["id"] for row in all_rows(build("one").out)}
    write_jsonl(tmp_path / "rows.jsonl", list(reversed(pairs(20, topic="b"))))
    assert {row["id"] for row in all_rows(build("two").out)} == first


def test_two_runs_write_the_same_bytes(tmp_path, build):
    write_jsonl(tmp_path / "rows.jsonl", [*pairs(30), {"prompt": 3}, "no"])
    one, two = (build(name, max_bad_rows=0.5).out for name in ("one", "two"))
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {p.name: p.read_bytes() for p in two.iterdir()}


def test_no_output_says_where_on_which_machine_or_when_it_was_made(tmp_path, build):
    write_jsonl(tmp_path / "rows.jsonl", pairs(30))
    for path in build().out.iterdir():
        assert str(tmp_path) not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"prompt": "a", "response": ', "not JSON"),
        (b'{"prompt": "\xff", "response": "b"}', "not UTF-8"),
        (b'["a", "b"]', "a JSON array, not an object"),
        (b"null", "a JSON null, not an object"),
        (b'{"prompt": "a"}', "no field 'response'"),
        (b'{"prompt": "a", "response": 4}', "field 'response' is no text"),
        (b'{"messages": "a"}', "no list of objects"),
        (b'{"messages": [{"role": "boss", "content": "a"}]}', "role 'boss' is none of"),
        (b'{"messages": [{"role": "user", "content": "a"}]}', "does not end with an answer"),
        (b"[" * 5000, "not JSON"),
        (b'{"prompt": "a", "response": "b", "more": ' + b"[" * 600 + b"]" * 600 + b"}", "too deep"),
    ],
)
def test_a_broken_row_is_named_counted_and_kept_apart(tmp_path, build, line, why):
    good = "\n".join(json.dumps(row) for row in pairs(30)).encode()
    (tmp_path / "rows.jsonl").write_bytes(good + b"\n" + line + b"\n")
    job = build(max_bad_rows=0.1)
    (rejected,) = read_jsonl(job.out / "rejected.jsonl")
    assert (rejected["file"], rejected["line"]) == ("rows.jsonl", 31)
    assert why in rejected["why"]
    assert job.one("rejected_rows").value == pytest.approx(1 / 31)
    assert "left out: 1 rejected" in job.facts


def test_too_many_broken_rows_stop_the_build_and_the_first_are_named(tmp_path, build):
    write_jsonl(tmp_path / "rows.jsonl", [*pairs(10), *[{"prompt": "only"}] * 5])
    with pytest.raises(GuidewayError) as stopped:
        build(max_bad_rows=0.05)
    assert "5 of 15 rows" in stopped.value.what and "and 2 more" in stopped.value.what
    assert stopped.value.where == "rows.jsonl:11"


def test_the_share_of_broken_rows_that_is_allowed_is_still_allowed(tmp_path, build):
    write_jsonl(tmp_path / "rows.jsonl", [*pairs(19), {"prompt": "only"}])
    assert build(max_bad_rows=0.05).one("rejected_rows").value == 0.05


def test_rows_that_say_nothing_are_left_out_and_counted(tmp_path, build):
    write_jsonl(
        tmp_path / "rows.jsonl", [*pairs(20), {"prompt": " \n", "response": "a"}, {"prompt": "a", "response": ""}]
    )
    job = build()
    assert json.loads((job.out / "manifest.json").read_text())["rows"]["empty"] == 2
    assert len(all_rows(job.out)) == 20


def test_copies_are_left_out_whatever_their_white_space(tmp_path, build):
    write_jsonl(tmp_path / "rows.jsonl", [*pairs(20), {"prompt": "question  3 ", "response": "answer 3"}])
    job = build()
    assert len(all_rows(job.out)) == 20
    assert job.one("duplicate_rows").value == pytest.approx(1 / 21)


def test_copies_stay_when_the_spec_says_so(tmp_path, build):
    write_jsonl(tmp_path / "rows.jsonl", [*pairs(20), *pairs(20)])
    assert len(all_rows(build(deduplicate=False).out)) == 40


def test_nothing_held_out_was_seen_in_training_even_with_another_answer(tmp_path, build):
    rows = [{"prompt": f"Question {n % 10}", "response": f"answer {n}"} for n in range(60)]
    rows += [{"prompt": f"question  {n % 10}", "response": f"other {n}"} for n in range(60)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    job = build()
    assert job.one("exact_overlap", slice="test").value == 0


def test_a_prompt_on_both_sides_of_a_split_is_measured(tmp_path, build):
    rows = [{"prompt": f"q {n}", "response": f"a {side}", "side": side} for n in range(5) for side in ("left", "right")]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    job = build(splits={"right": {"by": ["side"], "values": ["right"]}})
    assert job.one("exact_overlap", slice="right").value == 5


def test_the_first_split_that_matches_takes_the_row(tmp_path, build):
    write_jsonl(tmp_path / "rows.jsonl", [{**row, "kind": "abc"[n % 3]} for n, row in enumerate(pairs(30))])
    splits = {"first": {"by": ["kind"], "values": ["a", "b"]}, "second": {"by": ["kind"], "share": 1.0}}
    with pytest.raises(GuidewayError, match="nothing is left to train on"):
        build(splits=splits)
    splits["second"] = {"by": ["kind"], "values": ["a"]}
    with pytest.raises(SpecError, match="the split 'second' finds no row whose kind is 'a'"):
        build("again", splits=splits)


def test_a_split_that_comes_out_empty_is_named(tmp_path, build):
    write_jsonl(tmp_path / "rows.jsonl", pairs(5))
    with pytest.raises(GuidewayError, match="the split 'tiny' came out empty"):
        build(splits={"tiny": {"share": 0.0}})


def test_a_split_by_a_field_that_no_row_has_gets_advice(tmp_path, build):
    write_jsonl(tmp_path / "rows.jsonl", pairs(5, topic="a"))
    with pytest.raises(SpecError) as refused:
        build(splits={"held": {"by": ["topik"], "share": 0.5}})
    assert "topik" in refused.value.what and "held" in refused.value.what
    assert refused.value.try_this == "did you mean 'topic'?"


@pytest.mark.parametrize(
    ("splits", "what"),
    [
        ({"train": {"share": 0.1}}, "no split can be called 'train'"),
        ({"a": {}}, "either a share or values"),
        ({"a": {"share": 0.1, "values": ["b"], "by": ["c"]}}, "either a share or values"),
        ({"a": {"values": ["b"]}}, "values need exactly one field"),
    ],
)
def test_a_split_that_means_nothing_or_two_things_is_refused_before_any_work(tmp_path, build, splits, what):
    write_jsonl(tmp_path / "rows.jsonl", pairs(5))
    with pytest.raises(SpecError, match=what):
        build(splits=splits)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "no rows in this file"),
        (b'{"prompt": "", "response": ""}\n', "every row is empty"),
    ],
)
def test_a_source_without_rows_is_one_clear_line(tmp_path, build, content, what):
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(GuidewayError, match=what) as refused:
        build()
    assert refused.value.where == "rows.jsonl"


def test_no_data_at_all_is_one_clear_line(build):
    with pytest.raises(SpecError, match=r"no file matches 'rows\.jsonl'"):
        build()


def test_an_unknown_suffix_asks_for_the_format(tmp_path, build):
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(SpecError, match=r"format of 'rows\.parquet'"):
        build(sources=["rows.parquet"])


def test_a_glob_reads_every_file_in_the_order_of_names_and_no_file_twice(tmp_path, build):
    for name, rows in (("b", pairs(8)[4:]), ("a", pairs(8)[:4])):
        write_jsonl(tmp_path / "in" / f"{name}.jsonl", rows)
    job = build(sources=["in/*.jsonl", "in/a.jsonl"], splits={})
    assert [row["messages"][0]["content"] for row in read_jsonl(job.out / "train.jsonl")] == [
        f"question {n}" for n in range(8)
    ]
    manifest = json.loads((job.out / "manifest.json").read_text())
    assert [source["path"] for source in manifest["sources"]] == ["in/a.jsonl", "in/b.jsonl"]


def test_csv_is_read_with_its_header_quotes_and_line_ends(tmp_path, build):
    (tmp_path / "rows.csv").write_bytes(
        '\ufeffprompt,response,topic\r\n"a, ""b""\nc",d,e\r\nshort\r\nf,g,h\r\n'.encode()
    )
    job = build(sources=["rows.csv"], splits={}, max_bad_rows=0.5)
    first, second = read_jsonl(job.out / "train.jsonl")
    assert first["messages"][0]["content"] == 'a, "b"\nc' and first["fields"] == {"topic": "e"}
    assert second["messages"][1]["content"] == "g"
    (bad,) = read_jsonl(job.out / "rejected.jsonl")
    assert (bad["line"], bad["why"]) == (4, "1 cells under 3 headings")


def test_a_line_of_csv_that_is_not_utf8_is_kept_apart(tmp_path, build):
    (tmp_path / "rows.csv").write_bytes(b"prompt,response\n\xe4,b\nc,d\n")
    job = build(sources=["rows.csv"], splits={}, max_bad_rows=0.5)
    assert read_jsonl(job.out / "rejected.jsonl")[0]["why"] == "not UTF-8"
    assert len(read_jsonl(job.out / "train.jsonl")) == 1


def test_text_is_cut_into_passages_that_end_where_a_paragraph_ends(tmp_path, build):
    paragraphs = [f"{n} " + "word " * 60 for n in range(20)]
    (tmp_path / "book.txt").write_text("\n\n".join(paragraphs), encoding="utf-8")
    job = build(sources=["book.txt"], task="completion", splits={})
    passages = [row["text"] for row in read_jsonl(job.out / "train.jsonl")]
    assert [text for passage in passages for text in passage.split("\n\n")] == [text.strip() for text in paragraphs]
    assert all(400 < len(passage) < 2000 for passage in passages[:-1])


def test_a_line_without_end_is_cut_too_and_nothing_is_lost(tmp_path, build):
    (tmp_path / "long.txt").write_text("床前明月光" * 2000, encoding="utf-8")
    job = build(sources=["long.txt"], task="completion", splits={}, deduplicate=False)
    passages = [row["text"] for row in read_jsonl(job.out / "train.jsonl")]
    assert "".join(passages) == "床前明月光" * 2000
    assert max(map(len, passages)) <= 2000


def test_a_conversation_keeps_its_turns(tmp_path, build):
    turns = [{"role": r, "content": c} for r, c in (("system", "be kind"), ("user", "hi"), ("assistant", "hello"))]
    write_jsonl(tmp_path / "rows.jsonl", [{"messages": turns, "source": "desk"}])
    job = build(splits={})
    (row,) = read_jsonl(job.out / "train.jsonl")
    assert row["messages"] == turns and row["fields"] == {"source": "desk"}


def test_the_manifest_describes_sources_splits_and_what_was_left_out(tmp_path, build):
    write_jsonl(tmp_path / "rows.jsonl", pairs(30))
    source = {"path": "rows.jsonl", "licence": "CC0-1.0", "origin": "made here"}
    manifest = json.loads((build(sources=[source]).out / "manifest.json").read_text())
    (told,) = manifest["sources"]
    assert (told["licence"], told["origin"], told["rows"]) == ("CC0-1.0", "made here", 30)
    assert told["digest"].startswith("sha256:")
    assert manifest["splits"]["test"]["exact_overlap"] == 0
    assert manifest["rows"] == {"read": 30, "kept": 30, "duplicates": 0, "empty": 0, "rejected": 0}
