"""Turn the documentation inside this Python interpreter into questions and answers.

Reads ``pydoc_data.topics`` and the signatures of the standard library; writes ``data/facts.jsonl`` beside this file,
one row for each pair of a fact and a phrasing. The same interpreter always writes the same bytes.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import inspect
import json
import pydoc_data.topics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

NAMES = """
argparse array ast asyncio base64 bisect bz2 calendar cmath codecs collections colorsys configparser
contextlib copy csv ctypes dataclasses datetime decimal difflib dis doctest email enum errno fileinput fnmatch
fractions functools getpass gettext glob graphlib gzip hashlib heapq hmac html http inspect io ipaddress
itertools json keyword linecache locale logging lzma mailbox marshal math mimetypes mmap multiprocessing netrc
numbers operator os pathlib pickle pkgutil platform plistlib pprint queue quopri random re reprlib runpy sched
secrets select selectors shelve shlex shutil signal site socket sqlite3 ssl stat statistics string struct
subprocess symtable sys tarfile tempfile textwrap threading time timeit tokenize tomllib trace traceback types
typing unicodedata unittest uuid venv warnings wave weakref webbrowser zipapp zipfile zlib
"""
MODULES = NAMES.split()
PER_MODULE = 3
PARAMETERS = 50
KNOWN_TO_ALL = frozenset(
    {"heappush", "bisect_left", "sqrt", "choice", "wraps", "dedent", "copytree", "mkdtemp", "quote"}
)
"""Names that people like to try first: they are taken before others of their module."""

PHRASINGS = {
    "module": (
        "which module has `{}`?",
        "where is `{}` defined?",
        "what module do I import to use `{}`?",
        "in which module can I find `{}`?",
        "name the module of `{}`",
        "from which module does `{}` come?",
        "`{}` is part of which module?",
        "tell me the module that contains `{}`",
        "I want to call `{}`: what do I import?",
        "where does `{}` live in the standard library?",
        "what is the home module of `{}`?",
        "which import gives me `{}`?",
        "`{}`: which module?",
        "where do I get `{}` from?",
        "please say which module provides `{}`",
        "what should I import for `{}`?",
        "to use `{}`, which module do I need?",
        "which part of the standard library offers `{}`?",
        "I am looking for `{}`: in which module is it?",
        "can you find the module of `{}`?",
        "`{}` is defined in which module?",
        "what do I have to import before I call `{}`?",
        "show me the module where `{}` lives",
        "which module must I import to get `{}`?",
        "the function `{}` belongs to which module?",
        "my code needs `{}`: which module is that from?",
        "under which module is `{}` documented?",
        "where would I find `{}`?",
    ),
    "parameter": (
        "what is the first parameter of `{}`?",
        "how is the first argument of `{}` called?",
        "name the first parameter of `{}`",
        "which parameter does `{}` take first?",
        "`{}` takes which parameter first?",
        "what is the name of the first argument to `{}`?",
        "tell me the first parameter of `{}`",
        "in the signature of `{}`, which parameter comes first?",
        "which argument comes first in a call of `{}`?",
        "`{}`: first parameter?",
        "the first argument of `{}` is called what?",
        "what does `{}` call its first parameter?",
        "please name the first argument of `{}`",
        "what stands first in the parameter list of `{}`?",
        "say how `{}` names its first argument",
        "which is the leading parameter of `{}`?",
        "what comes first in the signature of `{}`?",
        "give the first parameter of `{}`",
        "I call `{}`: what is its first parameter?",
        "what must I pass first to `{}`?",
        "which name does the first parameter of `{}` have?",
        "the signature of `{}` begins with which parameter?",
        "show me the first argument of `{}`",
        "can you tell the first parameter of `{}`?",
        "what is the leading argument of `{}`?",
        "`{}` begins with which argument?",
        "which argument does the function `{}` want first?",
        "look up the first parameter of `{}`",
    ),
    "topic": (
        "what is the help topic `{}` about?",
        "what does the topic `{}` explain?",
        "give me the title of the topic `{}`",
        "which heading does the help topic `{}` have?",
        "what is the title of the documentation topic `{}`?",
        "the topic `{}` is about what?",
        "topic `{}`: what is its title?",
        "which title will help show for the topic `{}`?",
        "tell me what the topic `{}` covers",
        "how is the topic `{}` headed?",
        "name the subject of the help topic `{}`",
        "what would I read about in the topic `{}`?",
        "please give the heading of topic `{}`",
        "which subject does the topic `{}` treat?",
        "what is written above the help text of topic `{}`?",
        "say the title of topic `{}`",
        "the documentation has a topic `{}`: what is it about?",
        "under which heading stands the topic `{}`?",
        "I read the topic `{}`: what is its heading?",
        "can you tell the title of topic `{}`?",
        "show me the heading of the help topic `{}`",
        "which title belongs to the topic `{}`?",
        "what does Python write over the topic `{}`?",
        "the help topic `{}` has which title?",
        "what subject will I find in topic `{}`?",
        "look up the title of the topic `{}`",
        "`{}` is a help topic: which title does it have?",
        "what is the heading over the documentation of topic `{}`?",
    ),
}


OPENERS = (
    "", "", "", "", "hi, ", "hello! ", "please: ", "quick question: ", "in Python, ", "tell me, ", "I forgot: ",
    "help me: ", "one more: ", "sorry, ", "well, ", "do you know: ", "next: ", "for my script: ",
    "a colleague asks: ", "just checking: ",
)  # fmt: skip
CLOSERS = (
    "", "", "", "", " thanks", " please", " thank you", " I need it now", " just the answer", " it is urgent",
    " in short",
)  # fmt: skip


class Fact(NamedTuple):
    """One thing to know: ask for ``name`` in the way of ``kind``, and ``answer`` is right."""

    kind: str
    name: str
    answer: str


def main() -> None:
    """Write the rows and say how many there are."""
    facts = list(dict.fromkeys([*module_facts(), *parameter_facts(), *topic_facts()]))
    target = Path(__file__).parent / "data" / "facts.jsonl"
    target.parent.mkdir(exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) for fact in facts for row in rows(fact)]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    kinds = Counter(fact.kind for fact in facts)
    print(f"{len(facts)} facts ({', '.join(f'{n} {kind}' for kind, n in kinds.items())}), {len(lines)} rows: {target}")


def rows(fact: Fact) -> Iterator[dict[str, str]]:
    """One fact in every phrasing of its kind, each opened and closed in one of the ways that people have."""
    for number, phrasing in enumerate(PHRASINGS[fact.kind], 1):
        drawn = int(shuffled(f"{fact.kind} {fact.name} {number}"), 16)
        opener, closer = OPENERS[drawn % len(OPENERS)], CLOSERS[drawn // len(OPENERS) % len(CLOSERS)]
        yield {
            "prompt": opener + phrasing.format(fact.name) + closer,
            "response": fact.answer,
            "fact": f"{fact.kind}:{fact.name}",
            "phrasing": f"{fact.kind}-{number:02d}",
        }


def module_facts() -> Iterator[Fact]:
    """Functions whose name occurs in one module only, a few of each module."""
    owners = public_functions()
    for module in MODULES:
        own = [name for name, where in owners.items() if where == [module]]
        for name in sorted(own, key=lambda name: (name not in KNOWN_TO_ALL, shuffled(name)))[:PER_MODULE]:
            yield Fact("module", name, module)


def parameter_facts() -> Iterator[Fact]:
    """The first parameter of some of the functions that ``module_facts`` asks for."""
    found = []
    for fact in module_facts():
        try:
            parameters = list(inspect.signature(getattr(importlib.import_module(fact.answer), fact.name)).parameters)
        except (TypeError, ValueError):
            continue
        if parameters and parameters[0] not in ("args", "kwargs", "self"):
            found.append(Fact("parameter", fact.name, parameters[0]))
    return iter(sorted(sorted(found, key=lambda fact: shuffled(fact.name))[:PARAMETERS]))


def topic_facts() -> Iterator[Fact]:
    """The title of every help topic: its first line, when a rule of asterisks follows."""
    for name, text in sorted(pydoc_data.topics.topics.items()):
        title, _, rest = text.lstrip("\n").partition("\n")
        if rest.startswith("*") and title.strip():
            yield Fact("topic", name, title.strip())


def public_functions() -> dict[str, list[str]]:
    """Public function names of the modules of ``MODULES``, each with the modules that have it."""
    owners: dict[str, list[str]] = {}
    for module in MODULES:
        for name in functions_of(module):
            owners.setdefault(name, []).append(module)
    return owners


def functions_of(module: str) -> list[str]:
    """The public functions that *module* itself offers; none when this interpreter lacks it."""
    try:
        loaded = importlib.import_module(module)
    except ImportError:
        return []
    names = getattr(loaded, "__all__", None) or [name for name in vars(loaded) if not name.startswith("_")]
    return [
        name for name in names if name.islower() and len(name) > 3 and is_own(name, getattr(loaded, name, None), module)
    ]


def is_own(name: str, thing: object, module: str) -> bool:
    """Whether *thing* is a function of *module* itself, not imported from another one, nor named as a built-in is."""
    home = str(getattr(thing, "__module__", None) or module).partition(".")[0]
    return inspect.isroutine(thing) and (home == module or home not in MODULES) and not hasattr(builtins, name)


def shuffled(name: str) -> str:
    """A place in an order that looks random and never changes."""
    return hashlib.sha256(name.encode()).hexdigest()


if __name__ == "__main__":
    main()
