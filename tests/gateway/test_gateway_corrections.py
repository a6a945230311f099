"""Corrections: a fixed answer instead of the model's, other words in its place, without a new release."""

from __future__ import annotations

import json
import time

import msgspec
import pytest
from gateway_paper import chat_or_stream
from gateway_rig import MODEL, OPTIONS, Client, wait_for
from guard_rig import CHUNKS, cut, flow
from hypothesis import given, settings
from hypothesis import strategies as st

from guideway.core.guardrails import DenyRule, Guardrails
from guideway.core.terms import Terms
from guideway.gateway.corrections import Corrections, read_corrections
from guideway.gateway.corrections_file import CorrectionsFile
from guideway.gateway.guard.corrected import AT_ONCE

DAY = 86_400.0
NOW = 1_800_000_000.0  # 2027-01-15


def rule(name="one", on="answer", **more):
    plain = {"name": name, "on": on, "answer": "right", "author": "ann", "reason": "wrong", "expires": "2099-12-31"}
    return {**plain, **more}


def file_of(*rules) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in rules)


def made_of(*rules, at=NOW) -> Corrections:
    made = Corrections(lambda: at)
    made.set(file_of(*rules))
    return made


def put_right(corrections, text):
    """What becomes of *text*, however it is cut, and which rules were applied."""
    found = set()
    for size in CHUNKS:
        applied: list[str] = []
        said, stopped = flow(corrections.stream(applied.append), cut(text, size))
        assert stopped is None
        found.add((said, tuple(applied)))
    assert len(found) == 1, f"it depends on how the text is cut: {found}"
    return found.pop()


@pytest.mark.parametrize(
    ("rules", "text", "said"),
    [
        ([{"exact": "ten grams"}], "take Ten Grams a day", "take right a day"),
        ([{"exact": "a.b*c"}], "a.b*c axbc", "right axbc"),
        ([{"pattern": r"\b10 ?mg\b"}], "10 mg, 10mg, 110 mg, 10 mgs", "right, right, 110 mg, 10 mgs"),
        ([{"pattern": "ab+"}], "abbbb ab a abb", "right right a right"),
        ([{"pattern": "a(b.*c)?"}], "abxxc ab", "right rightb"),
        ([{"pattern": "^hello"}], "hello hello", "right hello"),
        ([{"pattern": "bye$"}], "bye bye", "bye right"),
        ([{"exact": "x", "answer": ""}], "axbxc", "abc"),
        ([{"exact": "x", "answer": "xx"}], "axb", "axxb"),
        ([{"exact": "abcd"}, {"exact": "bc", "answer": "!"}], "abce abcd", "a!e right"),
        ([{"exact": "ab", "answer": "1"}, {"exact": "abc", "answer": "2"}], "abc", "1c"),
        ([{"pattern": "巴黎|柏林", "answer": "罗马"}], "首都是巴黎，不是柏林。", "首都是罗马，不是罗马。"),
        ([{"exact": "x"}], "", ""),
        ([{"pattern": "(?P<n>a)b"}, {"pattern": "(?P<n>c)d", "answer": "!"}], "ab cd", "right !"),
    ],
)
def test_wrong_words_are_put_right_however_the_answer_is_cut(rules, text, said):
    corrections = made_of(*(rule(f"r{number}", **more) for number, more in enumerate(rules)))
    assert put_right(corrections, text)[0] == said


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["ab", "a", "b", "c", "abc", " ", "é", "好"]), max_size=12).map("".join))
def test_pieces_give_what_the_whole_gives(text):
    corrections = made_of(
        rule("r0", exact="abc", answer="1"),
        rule("r1", pattern="b+c?", answer="2"),
        rule("r2", pattern=r"\ba\b", answer=""),
    )
    put_right(corrections, text)


def test_each_application_is_told_by_name():
    corrections = made_of(rule("dose", exact="ten"), rule("place", exact="rome"))
    assert put_right(corrections, "ten to ten in Rome") == ("right to right in right", ("dose", "dose", "place"))


def test_a_text_that_could_go_on_for_ever_is_not_held_back_for_ever():
    stream = made_of(rule(pattern="a[^!]*!")).stream(lambda name: None)
    given = stream.feed("a" + "b" * 10_000)
    assert len(given) > 5000


def test_what_a_correction_costs_grows_with_the_answer_and_not_with_its_square():
    corrections = made_of(*(rule(f"r{number}", exact=f"word{number} here") for number in range(50)), rule(exact="foo"))

    def seconds(words):
        begun, stream = time.process_time(), corrections.stream(lambda name: None)
        said = stream.feed("foo " * words) + stream.end()
        assert said == "right " * words
        return time.process_time() - begun

    short = min(seconds(1000) for _ in range(3))
    assert seconds(8000) < 24 * short  # with its square: 64 times


def test_a_match_that_looks_another_way_without_what_surrounds_it_is_of_its_own_rule():
    rules = [rule("border", pattern=r"ab\b", answer="1"), rule("any", exact="ab", answer="2")]
    assert put_right(made_of(*rules), "ab abc ab.") == ("1 2c 1.", ("border", "any", "border"))


def test_of_very_many_rules_the_first_of_two_that_begin_together_still_counts():
    others = [rule(f"r{number}", exact=f"word{number}") for number in range(AT_ONCE + 5)]
    rules = [rule("long", exact="ten grams", answer="1"), *others, rule("short", exact="ten", answer="2")]
    assert put_right(made_of(*rules), "ten grams, ten, word3") == ("1, 2, right", ("long", "short", "r3"))
    assert put_right(made_of(*rules[::-1]), "ten grams") == ("2 grams", ("short",))
    asked = made_of(*(rule(f"p{number}", "prompt", pattern=f"word{number}\\b") for number in range(AT_ONCE + 5)))
    assert asked.answer(ask(f"is it word{AT_ONCE + 4}?")).name == f"p{AT_ONCE + 4}"


def ask(text, **more):
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


def test_a_question_gets_the_answer_that_people_wrote():
    corrections = made_of(
        rule("hours", "prompt", exact="When do you open?", answer="At nine."),
        rule("doses", "prompt", pattern=r"how much .*paracetamol", answer="Ask a doctor."),
    )
    assert corrections.answer(ask("  when do you\nOPEN? ")).name == "hours"
    assert corrections.answer(ask("so when do you open?")) is None
    assert corrections.answer(ask("tell me how much ｐaracetamol")).answer == "Ask a doctor."
    assert corrections.answer({"model": MODEL, "prompt": "When do you open?"}).name == "hours"
    assert corrections.answer({"model": MODEL, "prompt": ["When do you open?", "x"]}) is None
    assert not corrections.of_answers and corrections.any


@pytest.mark.parametrize(
    "wish",
    [
        {"response_format": {"type": "json_object"}},
        {"guided_json": {}},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
    ],
)
def test_an_answer_that_must_have_a_shape_is_left_to_the_model(wish):
    corrections = made_of(rule(on="prompt", exact="hi"))
    assert corrections.answer(ask("hi", **wish)) is None
    assert corrections.answer(ask("hi", response_format={"type": "text"}, tool_choice="auto")) is not None


def test_a_rule_ends_with_its_day_while_the_gateway_runs():
    clock = [NOW]
    corrections = Corrections(lambda: clock[0])
    corrections.set(file_of(rule("old", exact="x", expires="2027-01-14"), rule("new", exact="y", expires="2027-01-15")))
    assert put_right(corrections, "x y") == ("x right", ("new",))
    clock[0] += DAY
    assert not corrections.any and put_right(corrections, "x y") == ("x y", ())


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ([rule(exact="x"), rule(exact="y")], "line 2: 'one' is here twice"),
        ([rule()], "line 1: a correction has either 'exact' or 'pattern'"),
        ([rule(exact="x", pattern="y")], "either 'exact' or 'pattern'"),
        ([rule(pattern="(?=x)")], "not a pattern of RE2"),
        ([rule(pattern="x*")], "matches the empty text"),
        ([rule(pattern=r"\b")], "matches the empty text"),
        ([rule(pattern=r"x*\b|y")], "matches the empty text"),
        ([rule(pattern="x", expires="soon")], "line 1: .*date"),
        ([rule(exact="x", author="")], r"line 1: .*\$\.author"),
        ([rule(exact="x", until="y")], "unknown field"),
        (
            [{name: value for name, value in rule(exact="x").items() if name != "reason"}],
            "missing required field `reason`",
        ),
        ([rule(f"r{number}", exact="x") for number in range(1001)], "more than 1000"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_its_line(rules, why):
    with pytest.raises(ValueError, match=why):
        read_corrections(file_of(*rules))


def test_a_file_that_is_broken_leaves_the_rules_as_they_were():
    corrections = made_of(rule(exact="x"))
    with pytest.raises(ValueError, match="line 1"):
        corrections.set(b"{")
    assert put_right(corrections, "x")[0] == "right"


# Through the whole gateway.


def correct(gateway, *rules):
    gateway.loop.call(gateway.plane.corrections.set, file_of(*rules))


def words(reply):
    """The text of an answer, whole or in events, and why it ended."""
    if reply.headers["content-type"].startswith("application/json"):
        choice = reply.json()["choices"][0]
        return choice.get("text") or choice["message"]["content"], choice["finish_reason"]
    events = [json.loads(line[6:]) for line in reply.body.decode().split("\n\n") if line and line != "data: [DONE]"]
    choices = [one["choices"][0] for one in events if one["choices"]]
    text = "".join(one["text"] if "text" in one else one["delta"].get("content", "") for one in choices)
    return text, next((one["finish_reason"] for one in choices if one["finish_reason"]), None)


@pytest.fixture
def served(made, replica):
    """A gateway that logs, whose replica says 'take ten grams' in small pieces."""
    gateway = made(OPTIONS)
    gateway.plane.reports._logs = True
    gateway.model = replica(chat_or_stream("ta", "ke t", "en", " gra", "ms"))
    gateway.serve(gateway.model)
    return gateway


def told(gateway, capsys):
    gateway.loop.call(gateway.plane.reports.flush)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    counters = gateway.plane.reports.metrics.snapshot(0.0).counters
    return [line for line in lines if line["event"] == "request"], counters


@pytest.mark.parametrize("streams", [False, True])
def test_an_answer_is_put_right_on_its_way_and_that_is_told(served, capsys, streams):
    correct(served, rule("dose", exact="ten grams", answer="one gram"))
    with Client(served.port) as client:
        reply = client.ask(body=ask("how much?", stream=streams))
        assert words(reply)[0] == "take one gram"
        correct(served)
        assert words(client.ask(body=ask("how much?", stream=streams)))[0] == "take ten grams"
    lines, counters = told(served, capsys)
    assert [line.get("corrected") for line in lines] == [["dose"], None]
    assert counters["corrections"] == {"dose": 1}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize("streams", [False, True])
def test_a_fixed_answer_needs_no_model_and_costs_nothing(served, capsys, path, streams):
    correct(served, rule("hours", "prompt", exact="when?", answer="At nine."))
    asked = ask("When?", n=2) if "chat" in path else {"model": MODEL, "prompt": "When?", "n": 2}
    with Client(served.port) as client:
        reply = client.ask(path=path, body={**asked, "stream": streams})
    assert words(reply) == ("At nine.", "stop") and served.model.asked == []
    assert reply.headers["x-guideway-cache"] == "corrected"
    if not streams:
        assert len(reply.json()["choices"]) == 2 and reply.json()["usage"]["total_tokens"] == 0
    lines, counters = told(served, capsys)
    assert lines[0]["corrected"] == ["hours"] and lines[0]["cache"] == "corrected"
    assert lines[0]["tokens_in"] == lines[0]["tokens_out"] == 0
    assert counters["corrections"] == {"hours": 1} and counters["usage_estimated"] == {}


def test_a_stream_with_usage_tells_that_there_was_none(served):
    correct(served, rule("hours", "prompt", exact="when?", answer="At nine."))
    with Client(served.port) as client:
        reply = client.ask(body=ask("when?", stream=True, stream_options={"include_usage": True}))
    assert b'"total_tokens":0' in reply.body and reply.body.endswith(b"data: [DONE]\n\n")


def test_guardrails_come_before_and_after_corrections(made, replica):
    """A refused prompt stays refused, and what people wrote is held to the rules of the release too."""
    gateway = made(OPTIONS)
    rules = Guardrails(deny=(DenyRule("bombs", "bomb", "input"), DenyRule("names", "secret", "output")))
    gateway.serve(replica(chat_or_stream("a<script>x</script>")), terms=Terms(guardrails=rules))
    correct(
        gateway,
        rule("a", "prompt", exact="a bomb", answer="no"),
        rule("b", "prompt", exact="hi", answer="the secret word"),
        rule("c", exact="x", answer="<script>y</script>"),
    )
    with Client(gateway.port) as client:
        assert client.ask(body=ask("a bomb")).status == 400
        assert words(client.ask(body=ask("hi"))) == ("the ", "content_filter")
        assert "<script>" not in words(client.ask(body=ask("else")))[0]


def test_a_corrected_request_is_no_unit_of_a_rollout(made, replica):
    gateway, seen = made(OPTIONS), []
    gateway.serve(replica(chat_or_stream("x")), candidate=[replica(chat_or_stream("y"))], weight=0.5)
    correct(gateway, rule(on="prompt", exact="hi"))
    gateway.plane.reports.add = seen.append
    with Client(gateway.port) as client:
        client.ask(body=ask("hi"))
        client.ask(body=ask("other"))
    assert [(record.why_not, record.cache) for record in seen] == [("corrected", "corrected"), ("no rollout", "bypass")]


def test_workers_follow_the_file(tmp_path, loop):
    from guideway.core.route import GatewaySettings
    from guideway.gateway.equip import equip

    path = tmp_path / "corrections.jsonl"
    path.write_bytes(file_of(rule(exact="x")))
    options = msgspec.structs.replace(OPTIONS, corrections=str(path))
    plane_of = equip(GatewaySettings("127.0.0.1", 0, 1, "route", "keys", options), 0, 1)
    (followed,) = plane_of.files
    assert followed.look() and plane_of.plane.corrections.of_answers
    path.write_bytes(b"{")
    loop.call(followed.look)
    wait_for(lambda: not loop.call(lambda: followed._busy), what="the look at the mistake")
    assert plane_of.plane.corrections.of_answers, "a mistake changes nothing"
    path.write_bytes(b"")
    loop.call(followed.look)
    wait_for(lambda: not plane_of.plane.corrections.any, what="the end of all rules")


class Aside:
    """Does work when it is told to, as a thread does it some time."""

    def __init__(self):
        self.waiting = []

    def __call__(self, work, done):
        self.waiting.append((work, done))

    def work(self):
        work, done = self.waiting.pop(0)
        try:
            found = work()
        except Exception as error:
            found = error
        done(found)


class Worker:
    """A worker that follows ``corrections`` in *folder*."""

    def __init__(self, folder, *, at=NOW):
        self.path, self.now, self.aside = folder / "corrections", at, Aside()
        self.corrections = Corrections(lambda: self.now)
        self.file = CorrectionsFile(self.path, self.corrections, self.aside, lambda: 0, folder / "kept")

    def write(self, data):
        self.path.write_bytes(data)
        return self.file.look()

    def said(self, text="a b"):
        return put_right(self.corrections, text)[0]


@pytest.fixture
def worker(tmp_path):
    return Worker(tmp_path)


def test_what_is_there_at_the_start_holds_before_anybody_is_served(worker):
    assert worker.write(file_of(rule(exact="a"))) and worker.said() == "right b" and not worker.aside.waiting


def test_a_change_is_made_ready_aside_and_what_held_before_holds_until_then(worker):
    worker.write(file_of(rule(exact="a")))
    worker.write(file_of(rule(exact="b")))
    assert worker.said() == "right b" and len(worker.aside.waiting) == 1
    worker.aside.work()
    assert worker.said() == "a right"


def test_of_changes_that_come_meanwhile_the_newest_holds_and_one_is_made_ready_at_a_time(worker):
    worker.write(b"")
    for text in ("a", "b", "a b"):
        worker.write(file_of(rule(exact=text)))
        assert len(worker.aside.waiting) == 1
    worker.aside.work()
    worker.aside.work()
    assert worker.said() == "right" and not worker.aside.waiting


def test_a_mistake_is_told_once_and_the_next_content_is_taken(worker, capsys):
    worker.write(file_of(rule(exact="a")))
    worker.write(b"{")
    worker.aside.work()
    assert not worker.file.look() and not worker.aside.waiting and worker.said() == "right b"
    kept = [json.loads(line) for line in capsys.readouterr().err.splitlines()][-1]
    assert kept["event"] == "file kept as it was" and kept["why"].startswith("line 1")
    worker.write(file_of(rule(exact="b")))
    worker.aside.work()
    assert worker.said() == "a right"


def test_a_rule_that_ends_does_so_at_once_and_the_others_are_made_ready_again_aside(worker):
    worker.write(file_of(rule("old", exact="a", expires="2027-01-15"), rule("b", exact="b"), rule("c", exact="c")))
    worker.now += DAY
    assert worker.said("a b c") == "a right right" and not worker.aside.waiting and worker.corrections.stale
    worker.file.look()
    worker.aside.work()
    assert not worker.corrections.stale and worker.said("a b c") == "a right right"


def test_a_worker_that_starts_beside_a_mistake_begins_with_what_was_good(tmp_path, worker):
    worker.write(file_of(rule(exact="b")))
    worker.write(file_of(rule(exact="a")))
    worker.aside.work()
    (tmp_path / "corrections").write_bytes(b"{")
    other = Worker(tmp_path)
    assert not other.file.look() and other.said() == "right b"
    other.path.unlink()
    other.file.look()
    assert other.said() == "right b", "a file that is gone withdraws nothing"


def test_a_copy_that_cannot_be_written_keeps_no_rule_from_holding(tmp_path, worker):
    (tmp_path / "kept").mkdir()
    worker.write(file_of(rule(exact="a")))
    assert worker.said() == "right b"
