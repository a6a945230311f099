"""Pickles, recognised by walking their instructions over an empty machine. Nothing is imported, built or called.

The walk keeps the stack as the unpickler would, so that a text that merely begins with the letters of instructions
is no pickle, and one that breaks off after its call still is.
"""

from __future__ import annotations

import pickletools
import re
import sys
from collections.abc import Iterable
from typing import Final, NamedTuple

from guideway.sealing.scanner.findings import shown
from guideway.sealing.scanner.source import Bytes, Said, Source, is_text

LIMIT = 2_000_000
"""Instructions that are looked at; what goes on for longer is taken for a pickle."""
TORCH_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""What torch wrote as a pickle of its own before all others, until its files became zips."""
LIMIT_INSIDE = 200_000
"""Instructions that are looked at within a text, all tries together."""
BEFORE = 256
"""Bytes before an import in which the arguments of its call may stand."""
WORDS, LONGEST_WORD = 1000, 256
"""Lines that a list of words has at least, and bytes of its longest word."""
RUNS = frozenset({"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"})
EXTENSIONS = frozenset({"EXT1", "EXT2", "EXT4"})
PUTS, GETS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"}), frozenset({"GET", "BINGET", "LONG_BINGET"})
NEWEST = 5
_LENGTHS = {-2: (1, False), -3: (4, True), -4: (4, False), -5: (8, False)}
_MARK: Final = object()
KNOWN = sys.stdlib_module_names | {
    "__builtin__",
    "commands",
    "guideway",
    "torch",
    "transformers",
    "numpy",
    "joblib",
    "sklearn",
    "pip",
    "setuptools",
}
"""Packages that are likely to be there. In a text an instance of anything else may be a word in brackets; in a list of
words, an import of anything else is two words."""
_IN_TEXT = re.compile(rb"[ci](?=([A-Za-z_][\w.]*)\r?\n([A-Za-z_][\w.]*)\r?\n)")
_SPACE = re.compile(rb"[ \t]")
_NUMBER = re.compile(rb"\s*[-+]?(?:[\d_]+\.?\d*(?:[eE][-+]?\d+)?L?|\.\d+|inf|nan)\s*")


class Op(NamedTuple):
    """One instruction: the bytes of its argument, what it takes from the stack, and what it leaves."""

    name: str
    size: int
    lines: int
    to_mark: bool
    pops: int
    pushes: int
    text: bool


class Walk(NamedTuple):
    """How far the instructions went: whether to their end, what they would import and where, and whether they call."""

    ops: int
    end: int
    stopped: bool
    runs: bool
    names: tuple[str, ...]
    imports: tuple[int, ...] = ()


def look(source: Source) -> Iterable[Said] | None:
    """A finding when the file is a pickle, under whatever name."""
    walk = walked(source.data)
    headed = source.data[:1] == b"\x80" and source.size > 1 and source.data[1] <= NEWEST
    if not is_pickle(walk, source.data, headed=headed):
        return None
    return [source.finding(*described(walk, source.data[:64]))]


def look_inside(source: Source) -> Iterable[Said]:
    """Pickles of the oldest kind, which are text, anywhere inside the text of *source*."""
    left, words = LIMIT_INSIDE, is_word_list(source.data)
    seen: set[int] = set()  # where a walk with more on its stack has come by in vain, another need not start
    for match in _IN_TEXT.finditer(source.data):
        for start in _starts(source.data, match.start()):
            if start in seen:
                continue
            walk = walked(source.data, start, limit=left)
            likely = not words or any(name.partition(".")[0] in KNOWN for name in walk.names)
            if walk.runs and likely and walk.end > match.end(2):
                return [source.finding("pickle", f"holds a pickle that calls {_called(walk)}, within its text")]
            seen.update(walk.imports)
            left -= walk.ops
        if left <= 0:
            return [source.finding("pickle", "holds too much that may be pickles, within its text")]
    return []


def is_word_list(data: Bytes) -> bool:
    """Is this a vocabulary, one word a line? There any pair of lines may look like a module and its attribute."""
    lines = bytes(data).splitlines()
    return len(lines) >= WORDS and all(len(line) <= LONGEST_WORD and not _SPACE.search(line) for line in lines)


def _starts(data: Bytes, place: int) -> list[int]:
    """Where a pickle may begin that imports at *place*: there, or at a mark shortly before."""
    before = max(0, place - BEFORE)
    marks = [match.start() + before for match in re.finditer(rb"\(", data[before:place])]
    return [place, *marks[-8:]]


def is_pickle(walk: Walk, data: Bytes, *, headed: bool) -> bool:
    """Does *walk* over *data* mean a pickle? *headed*: the data begins with a protocol number."""
    if walk.runs or walk.ops >= LIMIT:
        return True
    if walk.names and (walk.stopped or headed or not is_text(data[:256])):
        return True
    whole = walk.ops >= 3 and not data[walk.end : walk.end + 64].strip()
    return walk.stopped and (headed or whole)


def described(walk: Walk, head: bytes) -> tuple[str, str]:
    """The rule and the words for a pickle that begins with *head*."""
    calls = f" that calls {_called(walk)}" if walk.names else ""
    if TORCH_MAGIC in head or any(name.startswith("torch._utils.") for name in walk.names):
        return "torch-pickle", f"is a pickle of torch{calls}"
    if any(name.startswith(("joblib.", "sklearn.")) for name in walk.names):
        return "joblib", f"is a pickle of joblib{calls}"
    return "pickle", f"is a pickle{calls}"


def _called(walk: Walk) -> str:
    names = list(dict.fromkeys(shown(name) for name in walk.names))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def walked(data: Bytes, start: int = 0, *, limit: int = LIMIT) -> Walk:
    """Walk the instructions in *data* from *start* until they stop, break off, or reach *limit*."""
    machine, imports = _Machine(), []
    at, ops, stopped = start, 0, False
    while ops < limit and at < len(data) and not stopped:
        op = OPS.get(data[at])
        cut = _argument(data, at + 1, op) if op else None
        if op is None or cut is None or not machine.step(op, *cut[1]):
            break
        if op.lines == 2:
            imports.append(at)
        at, ops, stopped = cut[0], ops + 1, op.name == "STOP"
    return Walk(ops, at, stopped, machine.runs, tuple(machine.names), tuple(imports))


def _argument(data: Bytes, at: int, op: Op) -> tuple[int, tuple[bytes, ...]] | None:
    """Where the argument of *op* at *at* ends, and its beginning; None when the data ends before."""
    if op.lines:
        parts = []
        for _ in range(op.lines):
            end = data.find(b"\n", at)
            if end < 0:
                return None
            parts.append(bytes(data[at : min(end, at + 256)]))
            at = end + 1
        return at, tuple(parts)
    size = op.size
    if size < 0:
        width, signed = _LENGTHS[size]
        size = int.from_bytes(data[at : at + width], "little", signed=signed)
        at += width
    if size < 0 or at + size > len(data):
        return None
    return at + size, (bytes(data[at : at + min(size, 256)]),)


class _Machine:
    """The stack of an unpickler that holds names instead of objects."""

    def __init__(self) -> None:
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}
        self.names: list[str] = []
        self.runs = False
        self.marks: list[int] = []

    def step(self, op: Op, *argument: bytes) -> bool:
        """Do to the stack what *op* does; False where an unpickler would stop with an error."""
        if op.name == "PROTO":
            return argument[0][0] <= NEWEST
        if op.lines == 1 and not _written(op.name, argument[0]):
            return False
        if op.name in PUTS:
            return self._keep(argument[0], decimal=op.name == "PUT")
        if op.name == "MEMOIZE" and self.stack:
            self.memo[len(self.memo)] = self.stack[-1]
        taken = self._take(op)
        if taken is None or not self._import(op, taken, argument):
            return False
        self.runs = self.runs or (op.name in RUNS and (op.name != "INST" or _known(argument[0])))
        self._leave(op, taken, argument)
        return True

    def _take(self, op: Op) -> list[object] | None:
        if op.name == "POP" and self.marks and self.marks[-1] == len(self.stack) - 1:
            self.marks.pop()
            return [self.stack.pop()]
        sliced: list[object] = []
        if op.to_mark:
            if not self.marks:
                return None
            place = self.marks.pop()
            sliced = self.stack[place + 1 :]
            del self.stack[place:]
        floor = self.marks[-1] + 1 if self.marks else 0
        if len(self.stack) - floor < op.pops or (op.name == "OBJ" and not sliced):
            return None
        taken = self.stack[len(self.stack) - op.pops :]
        del self.stack[len(self.stack) - op.pops :]
        return taken

    def _import(self, op: Op, taken: list[object], argument: tuple[bytes, ...]) -> bool:
        """Note what *op* would import; False for names that no import takes."""
        if op.name in EXTENSIONS:
            self.names.append("a registered extension")
        elif op.name == "STACK_GLOBAL":
            self.names.append(".".join(item if isinstance(item, str) else "?" for item in taken))
        elif op.lines == 2:
            names = [part.decode("utf-8", "replace").rstrip("\r") for part in argument]
            if not all(name and not re.search(r"[\s\x00-\x1f\ufffd]", name) for name in names):
                return False
            self.names.append(".".join(names))
        return True

    def _leave(self, op: Op, taken: list[object], argument: tuple[bytes, ...]) -> None:
        if op.name == "MARK":
            self.marks.append(len(self.stack))
            self.stack.append(_MARK)
        elif op.name in GETS:
            self.stack.append(self.memo.get(_number(argument[0], decimal=op.name == "GET")))
        elif op.name in ("DUP", "MEMOIZE"):
            self.stack += taken * op.pushes
        else:
            value = argument[0].decode("utf-8", "replace").strip("'\"") if op.text else None
            self.stack += [value] * op.pushes

    def _keep(self, argument: bytes, *, decimal: bool) -> bool:
        if not self.stack:
            return False
        self.memo[_number(argument, decimal=decimal)] = self.stack[-1]
        return True


def _known(module: bytes) -> bool:
    return module.decode("utf-8", "replace").partition(".")[0] in KNOWN


def _written(name: str, argument: bytes) -> bool:
    """Would an unpickler take *argument*, which is written as text, for *name*?"""
    if name in ("INT", "LONG", "FLOAT"):
        return _NUMBER.fullmatch(argument) is not None
    if name == "STRING":
        bare = argument.strip()
        return len(bare) > 1 and bare[:1] in (b"'", b'"') and (bare[-1:] == bare[:1] or len(argument) > 250)
    return name not in ("GET", "PUT") or argument.strip().isdigit()


def _number(argument: bytes, *, decimal: bool) -> int:
    if not decimal:
        return int.from_bytes(argument, "little")
    return int(argument) if argument.strip().isdigit() and len(argument) < 20 else -1


def _table() -> dict[int, Op]:
    """The instructions of every protocol, from the standard library's description of them."""
    table = {}
    for code in pickletools.opcodes:
        before = [item.name for item in code.stack_before]
        to_mark = "mark" in before
        pops = before.index("mark") if to_mark else len(before)
        size = code.arg.n if code.arg else 0
        pair = code.name in ("GLOBAL", "INST")
        lines = (2 if pair else 1) if size == pickletools.UP_TO_NEWLINE else 0
        text = any(word in code.name for word in ("STRING", "UNICODE"))
        pushes = 1 if code.name == "MEMOIZE" else len(code.stack_after)
        table[ord(code.code)] = Op(code.name, size, lines, to_mark, pops, pushes, text)
    return table


OPS = _table()
