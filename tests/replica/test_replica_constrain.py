"""Answers held to a form: whatever the model would say, what comes is valid."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replica_fakes import byte_tokenizer, piece_tokenizer, words_tokenizer

from guideway.replica.constrain.automaton import NODES, Expressions, Node, TooLargeError
from guideway.replica.constrain.constraint import Constraint, Triggered
from guideway.replica.constrain.grammar import DEPTH, Json
from guideway.replica.constrain.masks import Masks, Tokens
from guideway.replica.constrain.schema import SchemaError, compiled
from guideway.replica.spelling import Spelling, spell

BYTES, PIECES = byte_tokenizer(), piece_tokenizer()
TOKENS = {name: Tokens(spell(one) or []) for name, one in (("bytes", BYTES), ("pieces", PIECES))}
END = 2
VARIED = Tokens(
    [None, None, None, *(bytes((byte,)) for byte in range(256))]
    + [first + bytes((byte,)) for first in (b'"', b'"}', b"\\", b"\n", b" \t", b",", b'":') for byte in range(256)]
)
"""Every byte, and many pairs that mean something in JSON: as many tokens as possible that end a text, or do not."""
PERSON: dict[str, Any] = {
    "type": "object",
    "title": "Person",
    "properties": {
        "name": {"type": "string", "maxLength": 6, "description": "what they are called"},
        "kind": {"enum": ["a", "ab", "é🙂", None, 3, [1, {"x": True}]]},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
        "score": {"anyOf": [{"type": "number"}, {"type": "null"}, {"$ref": "#/$defs/pair"}]},
    },
    "required": ["name", "tags"],
    "additionalProperties": False,
    "$defs": {"pair": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 2}},
}


ALONE = {**PERSON, "properties": {name: one for name, one in PERSON["properties"].items() if name != "score"}}
"""The same without a part that is referred to, so that it may stand inside another schema."""


def node_of(schema: object) -> tuple[Expressions, Node]:
    make = Expressions()
    return make, compiled(schema, make, Json(make))


def takes(schema: object, text: str) -> bool:
    """May *text* be written under *schema*?"""
    state = after(schema, text)
    return state is not None and state.nullable


def takes_beginning(schema: object, text: str) -> bool:
    """May *text*, of which the last character may be in pieces, begin what is written under *schema*?"""
    return after(schema, text.rstrip("\ufffd")) is not None


def after(schema: object, text: str) -> Node | None:
    """What may follow *text* under *schema*; None: it may not be written. One space may stand before it."""
    make, state = node_of(schema)
    return _after(make, state, text.encode().removeprefix(b" "))


def wild(tokens: Tokens, schema: object, seed: int, limit: int = 300) -> tuple[str, bool]:
    """What a model that prefers any tokens writes under *schema*, and whether it came to an end."""
    random = np.random.default_rng(seed)
    constraint = Constraint(tokens, lambda make, values: compiled(schema, make, values), [END])
    closing = [token for token, text in enumerate(tokens.spelled) if text and text[:1] in b'"]},']
    said = b""
    for _ in range(limit):
        scores = random.normal(size=tokens.count).astype(np.float32)
        scores[closing] += 2.0
        token = int(constraint(scores).argmax())
        if token == END:
            return said.decode(), True
        constraint.push(token)
        said += tokens.spelled[token] or b""
        if constraint.over:
            return said.decode(), True
    return said.decode(errors="replace"), False


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_whatever_a_model_prefers_its_answer_is_valid(kind: str) -> None:
    for seed in range(12):
        text, over = wild(TOKENS[kind], PERSON, seed)
        assert over
        jsonschema.validate(json.loads(text), PERSON)


LEAVES: list[Any] = [
    {"type": "string", "maxLength": 3},
    {"type": "string", "minLength": 2, "maxLength": 4},
    {"type": "integer"},
    {"type": "number"},
    {"type": ["boolean", "null"]},
    {"enum": ["x", "xy", 1.5]},
    {"const": {"a": [1]}},
]


def parts(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    arrays = st.builds(lambda item, most: {"type": "array", "items": item, "maxItems": most}, inner, st.integers(0, 3))
    objects = st.builds(
        lambda properties, required: {
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if name in required],
            "additionalProperties": False,
        },
        st.dictionaries(st.sampled_from(["a", "b", "cd", 'q"'])
        , inner, max_size=3),
        st.sets(st.sampled_from(["a", "b", "cd"])),
    )  # fmt: skip
    return st.one_of(
        arrays, objects, st.builds(lambda branches: {"anyOf": branches}, st.lists(inner, min_size=1, max_size=3))
    )


SCHEMAS = st.recursive(st.sampled_from(LEAVES), parts, max_leaves=6)


@settings(max_examples=30, deadline=None)
@given(SCHEMAS, st.integers(0, 5))
def test_any_schema_that_is_taken_is_kept(schema: Any, seed: int) -> None:
    text, over = wild(TOKENS["bytes"], schema, seed, limit=600)
    if over:
        jsonschema.validate(json.loads(text), schema)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(VALUES, st.booleans())
def test_every_value_may_be_written_where_nothing_is_said_of_it(value: Any, ascii_: bool) -> None:
    assert takes({}, json.dumps(value, ensure_ascii=ascii_ and not _surrogates(value)))
    assert takes(True, json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _surrogates(value: Any) -> bool:
    return any(ord(letter) > 0xFFFF for letter in json.dumps(value, ensure_ascii=False))


@pytest.mark.parametrize(
    ("schema", "text", "allowed"),
    [
        ({"type": "string"}, '"a\\n\\u00e9\\""', True),
        ({"type": "string"}, '"a\nb"', False),
        ({"type": "string"}, '"\\ud800"', False),
        ({"type": "string"}, '"\\x"', False),
        ({"type": "string", "maxLength": 2}, '"水🙂"', True),
        ({"type": "string", "maxLength": 2}, '"abc"', False),
        ({"type": "string", "minLength": 2}, '"a"', False),
        ({"type": "integer"}, "-0", True),
        ({"type": "integer"}, "007", False),
        ({"type": "integer"}, "1.0", False),
        ({"type": "number"}, "-12.5e-3", True),
        ({"type": "number"}, "1.", False),
        ({"type": "number"}, ".5", False),
        ({"type": ["integer", "null"]}, "null", True),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 0}, "[]", True),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 0}, "[null]", False),
        ({"type": "array", "items": {"type": "null"}, "minItems": 2}, "[null]", False),
        ({"type": "array", "items": {"type": "null"}, "minItems": 2}, "[null, null,null]", True),
        (PERSON, '{"name":"x","tags":["y"]}', True),
        (PERSON, '{ "name": "x", "kind": "ab", "tags": ["y"], "score": [true,false] }', True),
        (PERSON, '{"tags":["y"]}', False),
        (PERSON, '{"name":"x","tags":["y"],"more":1}', False),
        (PERSON, '{"name":"x","kind":"b","tags":["y"]}', False),
        ({"type": "object"}, '{"any": {"thing": [1, "x"]}}', True),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, '{"a":1,"b":2}', True),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, '{"a":"x"}', False),
        ({"type": "object", "additionalProperties": False}, "{}", True),
        ({"type": "object", "properties": {"a": {}, "b": {}}}, '{"b":1}', True),
        ({"properties": {"a": {"type": "null"}}, "required": ["a"]}, '{"a":null}', True),
        ({"enum": ["a", "ab"], "type": "string"}, '"ab"', True),
        ({"enum": ["a", "ab"]}, '"abc"', False),
    ],
)
def test_a_schema_by_example(schema: object, text: str, allowed: bool) -> None:
    assert takes(schema, text) is allowed


DEEP: Any = {"type": "null"}
for _ in range(40):
    DEEP = {"type": "array", "items": DEEP}
DOUBLING = {
    "$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 4} for n in range(6)} | {"d6": {"type": "null"}},
    "$ref": "#/$defs/d0",
}


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "string", "pattern": "a+"}, '$: the keyword "pattern"'),
        (
            {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0}}},
            '$.properties.a: the keyword "min',
        ),
        ({"type": "array", "items": {"oneOf": []}}, '$.items: the keyword "oneOf"'),
        ({"type": "string", "format": "date"}, '"format"'),
        ({"type": "text"}, '"text" is not a type'),
        ({"type": []}, "is not a type"),
        ({"enum": []}, "$.enum"),
        ({"enum": ["x"], "type": "integer"}, '"x" is not of type'),
        ({"anyOf": []}, "$.anyOf"),
        ({"anyOf": [{"not": {}}]}, '$.anyOf[0]: the keyword "not"'),
        ({"type": "string", "maxLength": -1}, "$.maxLength"),
        ({"type": "string", "maxLength": True}, "$.maxLength"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "maxLength is less"),
        ({"type": "object", "properties": {}, "required": ["a"]}, '"a" is not in properties'),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": {}}, "additionalProperties"),
        ({"type": "object", "properties": []}, "properties must be an object"),
        ({"$ref": "#/$defs/x"}, "is not in this schema"),
        ({"$ref": "http://elsewhere"}, "only references"),
        (
            {"$defs": {"x": {"type": "array", "items": {"$ref": "#/$defs/x"}}}, "$ref": "#/$defs/x"},
            "reference to itself",
        ),
        (DEEP, "more than 32 levels"),
        (DOUBLING, "too large"),
        ({"enum": ["x" * 70_000]}, "characters"),
        ("string", "must be an object"),
    ],
)
def test_what_cannot_be_kept_to_is_refused_by_its_name(schema: object, says: str) -> None:
    with pytest.raises(SchemaError) as error:
        node_of(schema)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_masks_are_those_of_trying_every_token_byte_by_byte() -> None:
    tokens, random = TOKENS["bytes"], np.random.default_rng(5)
    make = Expressions()
    values = Json(make)
    state, masks = compiled(PERSON, make, values), Masks(tokens, make, values.char)
    for _ in range(60):
        tried = [bool(text) and _after(make, state, text or b"") is not None for text in tokens.spelled]
        assert masks.mask(state).tolist() == tried
        assert masks.mask(masks.known_as(state)).tolist() == tried
        token = int(random.choice(np.flatnonzero(tried)))
        following = _after(make, state, tokens.spelled[token] or b"")
        assert following is not None
        state = following
        if state is make.empty:
            break


def _after(make: Expressions, state: Node, text: bytes) -> Node | None:
    for byte in text:
        following = make.step(state, byte)
        if following is None:
            return None
        state = following
    return state


def test_a_long_string_needs_few_masks() -> None:
    tokens = TOKENS["bytes"]
    constraint = Constraint(tokens, lambda make, values: values.string(0, 5000), [END])
    letter = tokens.spelled.index(b"x")
    constraint.push(tokens.spelled.index(b'"'))
    for _ in range(1000):
        assert np.isfinite(constraint(np.zeros(tokens.count, np.float32))[letter])
        constraint.push(letter)
    assert len(constraint._kept) == 1
    assert len(constraint._make._known) < 4000


def objects(count: int, *, first: Any) -> Any:
    """One of *count* kinds of objects that are told apart only behind what *first* makes of their number."""
    kinds = [{"a": first(number), f"b{number}": {"type": "null"}} for number in range(count)]
    return {"anyOf": [{"type": "object", "properties": kind, "required": [*kind]} for kind in kinds]}


WIDE: dict[str, Any] = {
    "texts": {"anyOf": [{"type": "string", "maxLength": 1000 + number} for number in range(990)]},
    "lists": {"anyOf": [{"type": "array", "items": {"type": "string", "maxLength": 50 + n}} for n in range(490)]},
    "objects": objects(300, first=lambda number: {"type": "string", "maxLength": 1000 + number}),
    "anything": objects(300, first=lambda number: {}),
    "names": {"properties": {f"f{number}": {"type": "null"} for number in range(990)}},
}


@pytest.mark.parametrize("kind", sorted(WIDE))
def test_a_schema_that_keeps_very_many_ways_open_costs_little_and_is_refused_where_that_shows(kind: str) -> None:
    tokens, random = VARIED, np.random.default_rng(3)
    try:
        constraint = Constraint(tokens, lambda make, values: compiled(WIDE[kind], make, values), [END])
    except SchemaError as error:
        assert "too large" in str(error)
        return
    with pytest.raises(TooLargeError):
        for _ in range(40):
            constraint.push(int(constraint(random.normal(size=tokens.count).astype(np.float32)).argmax()))
    assert constraint._make.count < NODES


FAIR: dict[str, Any] = {
    "many may be left out": {"properties": {f"field_{number}": {"type": ["string", "null"]} for number in range(100)}},
    "many must be there": {
        "properties": {f"field_{number}": {"type": "integer"} for number in range(60)},
        "required": [f"field_{number}" for number in range(60)],
    },
    "many kinds": objects(40, first=lambda number: {"type": "string"}),
    "told apart at once": objects(120, first=lambda number: {"const": f"kind {number}"}),
    "deep": {"type": "array", "items": {"type": "array", "items": {"type": "array", "items": ALONE, "maxItems": 9}}},
}


@pytest.mark.parametrize("kind", sorted(FAIR))
def test_a_large_schema_that_people_may_have_is_kept(kind: str) -> None:
    text, over = wild(VARIED, FAIR[kind], 1, limit=200)
    if over:
        jsonschema.validate(json.loads(text), FAIR[kind])
    else:
        assert takes_beginning(FAIR[kind], text)


def test_a_long_answer_forgets_what_it_needs_no_more_and_stays_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every item of a list that is bounded is a state of its own."""
    monkeypatch.setattr("guideway.replica.constrain.constraint.GROWTH", 500)
    schema = {"type": "array", "items": ALONE, "minItems": 5000, "maxItems": 5000}
    constraint = Constraint(TOKENS["bytes"], lambda make, values: compiled(schema, make, values), [END])
    item = b'{"name":"x","age":12,"tags":["y"]},'
    begun = constraint._make.count
    for token in map(TOKENS["bytes"].spelled.index, (bytes((byte,)) for byte in b"[" + item * 40)):
        assert np.isfinite(constraint(np.zeros(TOKENS["bytes"].count, np.float32))[token])
        constraint.push(token)
        assert constraint._make.count < begun + 2000


def test_an_answer_may_end_where_it_is_valid_and_not_before() -> None:
    tokens = TOKENS["bytes"]
    constraint = Constraint(tokens, lambda make, values: values.integer, [END])
    nothing = np.zeros(tokens.count, np.float32)
    assert np.isneginf(constraint(nothing)[END])
    constraint.push(tokens.spelled.index(b"7"))
    assert np.isfinite(constraint(nothing)[END])
    assert not constraint.over  # more digits may come


def test_scores_beyond_the_tokenizer_are_ruled_out() -> None:
    tokens = TOKENS["bytes"]
    constraint = Constraint(tokens, lambda make, values: values.value(DEPTH), [END])
    scores = constraint(np.zeros(tokens.count + 50, np.float32))
    assert scores.shape == (tokens.count + 50,)
    assert np.isneginf(scores[tokens.count :]).all()


def test_a_token_that_was_ruled_out_is_never_taken() -> None:
    tokens = TOKENS["bytes"]
    constraint = Constraint(tokens, lambda make, values: values.null, [END])
    with pytest.raises(ValueError, match="ruled out"):
        constraint.push(tokens.spelled.index(b"x"))


def test_expressions_have_a_bound() -> None:
    with pytest.raises(TooLargeError):
        Expressions(limit=10).literal(b"more than ten bytes of different letters")


@given(st.text(max_size=40))
def test_what_tokens_write_adds_up_to_the_text(text: str) -> None:
    for tokenizer in (BYTES, PIECES):
        spelling = Spelling(tokenizer)
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        spelled = b"".join(spelling(token) for token in ids)
        assert spelled.decode().removeprefix(" " if tokenizer is PIECES else "") == tokenizer.decode(ids)


def test_a_special_token_writes_no_text_and_still_has_a_name() -> None:
    assert (spell(BYTES) or [])[END] is None
    assert Spelling(BYTES)(END) == b"<|end|>"


def test_a_tokenizer_whose_tokens_have_no_fixed_spelling_keeps_no_form() -> None:
    assert spell(words_tokenizer()) is None
    assert Spelling(words_tokenizer()).tokens is None
    assert Spelling(words_tokenizer())(2) == b"hello"


def test_a_tokenizer_that_cannot_write_every_letter_keeps_no_form() -> None:
    letters = [bytes((byte,)) for byte in range(0x20, 0x7F)]
    assert Tokens(letters).complete
    assert not Tokens(letters[1:]).complete
    assert not Tokens([*letters, "é".encode()[:1]]).complete  # nothing could end this character


def triggered(*pushed: bytes) -> Triggered:
    tokens = Tokens([*(bytes((byte,)) for byte in range(0x20, 0x7F)), b"a<", b"<<", b"<on>n", b"<on>x", None])
    made = Triggered(tokens, lambda make, values: values.null, [tokens.count - 1], b"<on>")
    for text in pushed:
        made.push(tokens.spelled.index(text))
    return made


@pytest.mark.parametrize(
    ("pushed", "holds"),
    [
        ((b"a", b"<", b"o", b"n"), False),
        ((b"a<", b"o", b"n", b">"), True),
        ((b"<<", b"o", b"n", b">"), True),
        ((b"<on>n",), True),
        ((b"<on>x",), False),  # what it brings does not fit, so nothing has begun
        ((b"<on>x", b"<", b"o", b"n", b">"), True),
    ],
)
def test_a_form_begins_behind_its_trigger_however_that_is_cut(pushed: tuple[bytes, ...], holds: bool) -> None:
    constraint = triggered(*pushed)
    scores = constraint(np.zeros(100, np.float32))
    assert constraint.holds is holds
    assert bool(np.isneginf(scores).any()) is holds
    assert not constraint.over


def test_behind_its_trigger_a_form_goes_on_to_its_end() -> None:
    constraint = triggered(b"<on>n", b"u", b"l", b"l")
    assert constraint.over
