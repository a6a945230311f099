"""Stand-ins for a model, and small folders."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from guideway.replica.backend import Logits

VOCABULARY = 97


class Remembering:
    """A model whose next token depends on every token of its own row, so a mix-up of rows shows."""

    def __init__(self, slots: int = 3, context: int = 1000) -> None:
        self.slots, self.context, self.vocabulary = slots, context, VOCABULARY
        self.rows: list[list[int]] = []
        self.begun: list[int] = []
        self.learned: list[int] = []
        self.steps = self.fed = 0
        self.broken: set[str] = set()

    def learn(self, ids: Sequence[int]) -> None:
        self.learned = list(ids)

    def recall(self) -> None:
        if "recall" in self.broken:
            raise RuntimeError("no memory for the prefix")
        assert len(self.rows) < self.slots
        self.begun = list(self.learned)

    def read(self, ids: Sequence[int]) -> None:
        if "read" in self.broken:
            raise RuntimeError("no memory for this piece")
        assert len(self.rows) < self.slots
        self.begun.extend(ids)
        self.fed += len(ids)

    def forget(self) -> None:
        self.begun = []

    def join(self, ids: Sequence[int]) -> Logits:
        if "join" in self.broken:
            raise RuntimeError("no memory for this prompt")
        assert len(self.rows) < self.slots
        self.rows.append([*self.begun, *ids])
        self.fed += len(ids)
        self.begun = []
        return one_hot(self.rows[-1])

    def step(self, ids: Sequence[int]) -> Logits:
        if "step" in self.broken:
            raise RuntimeError("the model broke")
        assert len(ids) == len(self.rows)
        self.steps += 1
        for row, token in zip(self.rows, ids, strict=True):
            row.append(token)
        return np.stack([one_hot(row) for row in self.rows])

    def leave(self, row: int) -> None:
        last = self.rows.pop()
        if row < len(self.rows):
            self.rows[row] = last

    def reset(self) -> None:
        self.rows.clear()
        self.begun = []


def next_of(row: Sequence[int]) -> int:
    """What the remembering model says after *row*."""
    return sum((place + 1) * token for place, token in enumerate(row)) % VOCABULARY


def one_hot(row: Sequence[int]) -> Logits:
    return np.eye(VOCABULARY, dtype=np.float32)[next_of(row)]


class Reciting:
    """A model that says the same tokens to everyone, one for each permit it was given (without end by default)."""

    def __init__(self, tokens: Sequence[int], vocabulary: int, *, slots: int = 2, context: int = 200) -> None:
        self.slots, self.context, self.vocabulary = slots, context, vocabulary
        self._tokens = list(tokens)
        self._said: list[int] = []
        self.permits: threading.Semaphore | None = None
        self.error: Exception | None = None
        self.joined, self.left = threading.Semaphore(0), threading.Semaphore(0)

    def learn(self, ids: Sequence[int]) -> None:
        """It says the same after everything."""

    def recall(self) -> None:
        """It says the same after everything."""

    def read(self, ids: Sequence[int]) -> None:
        self._wait()

    def forget(self) -> None:
        """Nothing of a prompt is kept here."""

    def join(self, ids: Sequence[int]) -> Logits:
        self._wait()
        self._said.append(0)
        self.joined.release()
        return self._logits(0)

    def step(self, ids: Sequence[int]) -> Logits:
        self._wait()
        self._said = [count + 1 for count in self._said]
        return np.stack([self._logits(count) for count in self._said])

    def leave(self, row: int) -> None:
        last = self._said.pop()
        if row < len(self._said):
            self._said[row] = last
        self.left.release()

    def reset(self) -> None:
        self._said.clear()

    def _wait(self) -> None:
        if self.permits is not None:
            assert self.permits.acquire(timeout=20)
        if self.error is not None:
            raise self.error

    def _logits(self, count: int) -> Logits:
        scores = np.zeros(self.vocabulary, np.float32)
        scores[self._tokens[count % len(self._tokens)]] = 1
        return scores


class Recorder:
    """Work for a scheduler that writes down what it is told; its answer has *limit* tokens."""

    def __init__(self, prompt: Sequence[int], limit: int) -> None:
        self.prompt, self.limit, self.cancelled = list(prompt), limit, False
        self.answer: list[int] = []
        self.error: Exception | None = None

    def pick(self, logits: Logits) -> int:
        return int(np.argmax(logits))

    def take(self, token: int) -> bool:
        self.answer.append(token)
        return len(self.answer) < self.limit

    def fail(self, error: Exception) -> None:
        self.error = error


def solo(backend: object, prompt: Sequence[int], count: int) -> list[int]:
    """Greedy tokens of one prompt, alone in the batch."""
    tokens = [int(np.argmax(backend.join(prompt)))]
    while len(tokens) < count:
        tokens.append(int(np.argmax(backend.step([tokens[-1]])[0])))
    backend.leave(0)
    return tokens


MARKS = ("<|pad|>", "<|turn|>", "<|end|>")
TEMPLATE = (
    "{% for m in messages %}<|turn|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


def byte_tokenizer(texts: Iterable[str] = ("hello world", "the end of the hello"), size: int = 280) -> Tokenizer:
    """A byte-level BPE, as most models have: a character may need several tokens."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(MARKS), initial_alphabet=alphabet)
    made.train_from_iterator(texts, trainer)
    return made


def piece_tokenizer() -> Tokenizer:
    """A tokenizer in the way of SentencePiece: spaces as '▁', unknown characters as single bytes, a start token."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "h", "i", "▁h", "▁hi", "o"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    made = Tokenizer(models.BPE(vocabulary, [("▁", "h"), ("▁h", "i")], unk_token="<unk>", byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens(["<s>", "</s>"])
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return made


def words_tokenizer() -> Tokenizer:
    """A tokenizer of whole words, whose spaces are in no token."""
    made = Tokenizer(models.WordPiece({"[UNK]": 0, "##s": 1, "hello": 2, "world": 3}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.decoder = decoders.WordPiece()
    return made


def write_tokenizer(folder: Path, **config: object) -> Path:
    """A model folder without a model: tokenizer, chat template, stop token."""
    folder.mkdir(parents=True, exist_ok=True)
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    named = {"eos_token": "<|end|>", "pad_token": {"content": "<|pad|>"}, "chat_template": TEMPLATE, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    (folder / "genai_config.json").write_text(json.dumps({"model": {"eos_token_id": 2}}))
    return folder


def write_release(folder: Path, model: Path, **settings: object) -> Path:
    """A release folder around *model*."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model").symlink_to(model)
    (folder / "serve.json").write_text(json.dumps({"name": "tiny", "task": "chat", "engine": "onnx", **settings}))
    return folder
