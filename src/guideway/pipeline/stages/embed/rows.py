"""Rows of a data set as embeddings see them: pairs to learn from, and questions to find passages for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from guideway.pipeline.stages.classify.rows import sample_of
from guideway.pipeline.stages.data.clean import same
from guideway.pipeline.stages.evaluate.splits import split_names
from guideway.pipeline.stages.examples import rows_of
from guideway.replica.classifier import TextReader

PASSAGES = 5000
"""Passages that are searched at the most."""


class Text(NamedTuple):
    """A row in words: a question, its passage, and what both are about; a text with a label is its own passage."""

    question: str
    passage: str
    about: str
    """Passages of questions about the same are right: the question itself, or else the label."""


class Pair(NamedTuple):
    """Two texts that belong together, as token ids. ``ids`` are of the passage, which is the longer one.

    Texts of pairs with the same ``passage`` or the same ``about`` are no negatives of each other.
    """

    ids: list[int]
    question: list[int]
    about: str
    passage: str


class Query(NamedTuple):
    """A question, and the numbers of the passages that are right."""

    text: str
    right: frozenset[int]


class Corpus(NamedTuple):
    """The passages that are searched, each once, and the split where each stands first; what they are about."""

    passages: list[str]
    splits: list[str]
    right: Mapping[str, frozenset[int]]
    all: int
    """How many there would be if their number had no bound."""


def text_of(row: Mapping[str, Any]) -> Text:
    """*row* in words."""
    if "messages" not in row:
        return Text(row["text"], row["text"], same(row["label"]))
    question = "\n".join(one["content"] for one in row["messages"][:-1])
    return Text(question, row["messages"][-1]["content"], same(question))


def pairs_of(rows: Iterable[Mapping[str, Any]], reader: TextReader) -> list[Pair]:
    """What is learnt from *rows*: pairs as they are; of texts with labels each one with the next of its label.

    Rows are in the order of their ids, which are digests and so as good as random. A label with a single row teaches
    nothing.
    """
    groups: defaultdict[str, list[Text]] = defaultdict(list)
    pairs: list[tuple[Text, Text]] = []
    for row in sorted(rows, key=lambda row: str(row["id"])):
        text = text_of(row)
        if "messages" in row:
            pairs.append((text, text))
        else:
            groups[text.about].append(text)
    for one in groups.values():
        pairs += list(zip(one, [*one[1:], one[0]], strict=True)) if len(one) > 1 else []
    return [
        Pair(reader.encode(second.passage), reader.encode(first.question), first.about, same(second.passage))
        for first, second in pairs
    ]


def corpus_of(data: Path) -> Corpus:
    """What held-out questions are answered from: the passages of every split, or the training texts with labels.

    Those of held-out questions come first, so that a bound leaves none of them out.
    """
    places: dict[str, int] = {}
    splits: list[str] = []
    right: defaultdict[str, set[int]] = defaultdict(set)
    seen: set[str] = set()
    for name in (*split_names(data), "train"):
        for row in sorted(rows_of(data / f"{name}.jsonl"), key=lambda row: str(row["id"])):
            text = text_of(row)
            if name != "train" and "messages" not in row:
                continue
            seen.add(text.passage)
            if text.passage not in places and len(places) < PASSAGES:
                places[text.passage] = len(places)
                splits.append(name)
            if text.passage in places:
                right[text.about].add(places[text.passage])
    return Corpus(list(places), splits, {about: frozenset(found) for about, found in right.items()}, len(seen))


def queries_of(path: Path, corpus: Corpus, most: int) -> list[Query]:
    """At most so many held-out questions in *path* for which *corpus* has an answer, each once."""
    asked = dict.fromkeys(text_of(row)[::2] for row in sample_of(path, most))
    return [Query(text, corpus.right[about]) for text, about in asked if corpus.right.get(about)]


def encoded(texts: Sequence[str], reader: TextReader) -> list[list[int]]:
    """Token ids of *texts*."""
    return [reader.encode(text) for text in texts]
