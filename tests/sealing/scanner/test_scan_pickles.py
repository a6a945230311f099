"""Pickles are refused in every protocol, under every name and in every wrapping, and none of them ever runs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import pickletools
import tarfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scanner_rig import (
    Built,
    Call,
    Global,
    assembled,
    good_safetensors,
    judged_files,
    rules,
    with_bad_checksums,
    zipped,
)

from guideway.sealing.scanner import pickles

MARKER = "/tmp/guideway-a-pickle-has-run"
TOUCH = f"touch {MARKER}"
OPEN = f"open({MARKER!r}, 'w')"
PROTOCOLS = range(6)


def one(module, name, *args):
    return Call(Global(module, name), args)


GETATTR = Global("builtins", "getattr")
GADGETS = {
    "os.system": one("os", "system", TOUCH),
    "posix.system": one("posix", "system", TOUCH),
    "nt.system": one("nt", "system", TOUCH),
    "os.popen": one("os", "popen", TOUCH),
    "os.execvp": one("os", "execvp", "touch", ["touch", MARKER]),
    "os.spawnlp": one("os", "spawnlp", 0, "touch", "touch", MARKER),
    "os.posix_spawn": one("os", "posix_spawn", "/bin/touch", ["touch", MARKER], {}),
    "os.mkdir": one("os", "mkdir", MARKER),
    "subprocess.Popen": one("subprocess", "Popen", ["touch", MARKER]),
    "subprocess.check_output": one("subprocess", "check_output", ["touch", MARKER]),
    "subprocess.getoutput": one("subprocess", "getoutput", TOUCH),
    "builtins.eval": one("builtins", "eval", OPEN),
    "builtins.exec": one("builtins", "exec", OPEN),
    "__builtin__.eval": one("__builtin__", "eval", OPEN),
    "builtins.compile": Call(Global("builtins", "exec"), (one("builtins", "compile", OPEN, "x", "exec"),)),
    "builtins.open": one("builtins", "open", MARKER, "w"),
    "builtins.__import__": Call(GETATTR, (one("builtins", "__import__", "os"), "system")),
    "builtins.breakpoint": one("builtins", "breakpoint"),
    "getattr chain": Call(Call(GETATTR, (one("importlib", "import_module", "os"), "system")), (TOUCH,)),
    "importlib.import_module": one("importlib", "import_module", "antigravity"),
    "runpy.run_path": one("runpy", "run_path", "/tmp/payload.py"),
    "runpy._run_code": one("runpy", "_run_code", OPEN, {}),
    "pty.spawn": one("pty", "spawn", "/bin/sh"),
    "webbrowser.open": one("webbrowser", "open", "http://127.0.0.1/"),
    "operator.attrgetter": Call(one("operator", "attrgetter", "system"), (one("importlib", "import_module", "os"),)),
    "operator.methodcaller": Call(one("operator", "methodcaller", "system", TOUCH), (Global("os", "path"),)),
    "functools.partial": Call(Call(Global("functools", "partial"), (Global("os", "system"), TOUCH)), ()),
    "functools.reduce": Call(Global("functools", "reduce"), (GETATTR, [Global("os", "path"), "os", "system"])),
    "builtins.map": one("builtins", "list", one("builtins", "map", Global("os", "system"), [TOUCH])),
    "timeit.timeit": one("timeit", "timeit", OPEN),
    "timeit.main": one("timeit", "main", [OPEN]),
    "code.InteractiveInterpreter": Call(Call(GETATTR, (one("code", "InteractiveInterpreter"), "runsource")), (OPEN,)),
    "ctypes.CDLL": one("ctypes", "CDLL", "libc.so.6"),
    "socket.create_connection": one("socket", "create_connection", ("127.0.0.1", 9)),
    "urllib.request.urlopen": one("urllib.request", "urlopen", "http://127.0.0.1:9/"),
    "shutil.rmtree": one("shutil", "rmtree", "/tmp/guideway-nothing"),
    "pickle.loads": one("pickle", "loads", "cos\nsystem\n"),
    "marshal.loads": one("marshal", "loads", "c"),
    "types.FunctionType": one("types", "FunctionType", one("marshal", "loads", "c"), {}),
    "torch.load": one("torch.serialization", "load", "/tmp/payload.pt"),
    "torch.hub": one("torch.hub", "load", "somebody/something", "model"),
    "torch.jit.load": one("torch.jit", "load", "/tmp/payload.pt"),
    "torch inductor": one("torch._inductor.codecache", "compile_file", "/tmp/payload.py", "x", []),
    "torch.utils.collect_env.run": one("torch.utils.collect_env", "run", TOUCH),
    "numpy.testing runstring": one("numpy.testing._private.utils", "runstring", OPEN, {}),
    "numpy.f2py": one("numpy.f2py.crackfortran", "getlincoef", OPEN, {}),
    "bdb.Bdb": Call(Call(GETATTR, (one("bdb", "Bdb"), "run")), (OPEN,)),
    "cProfile.run": one("cProfile", "run", OPEN),
    "pdb.run": one("pdb", "run", OPEN),
    "doctest.debug_script": one("doctest", "debug_script", OPEN),
    "asyncio subprocess": one("asyncio.unix_events", "_UnixSubprocessTransport", None),
    "multiprocessing": one("multiprocessing.util", "spawnv_passfds", "touch", ["touch"], []),
    "pip.main": one("pip", "main", ["install", "x"]),
    "ensurepip": one("ensurepip", "_run_pip", ["install"]),
    "idlelib": one("idlelib.pyshell", "ModifiedInterpreter", None),
    "lib2to3": one("lib2to3.pgen2.grammar", "Grammar"),
    "distutils": one("distutils.file_util", "write_file", MARKER, ["x"]),
    "logging.config": one("logging.config", "_resolve", "os.system"),
    "pydoc.pipepager": one("pydoc", "pipepager", "x", TOUCH),
    "smtplib": one("smtplib", "SMTP", "127.0.0.1"),
    "sys.modules": Call(GETATTR, (Global("sys", "modules"), "get")),
    "BUILD with a state": Built(Global("os", "environ"), {"PATH": "/tmp"}),
}


@pytest.fixture(autouse=True)
def _nothing_has_run():
    from pathlib import Path

    assert not Path(MARKER).exists()
    yield
    assert not Path(MARKER).exists()


@pytest.mark.catalogue("B1")
@pytest.mark.parametrize("family", GADGETS)
def test_every_family_of_gadgets_is_refused_in_every_protocol(family, tmp_path):
    files = {f"p{protocol}.bin": assembled(GADGETS[family], protocol) for protocol in PROTOCOLS}
    scan = judged_files(tmp_path, files)
    assert {one.path for one in scan.unsafe} == set(files)
    assert set(rules(scan)) <= {"pickle", "torch-pickle"}
    assert all("calls" in one.what for one in scan.findings)


def test_the_finding_names_what_would_be_called(tmp_path):
    for protocol in PROTOCOLS:
        scan = judged_files(tmp_path, {"x": assembled(GADGETS["subprocess.Popen"], protocol)})
        assert "subprocess.Popen" in scan.findings[0].what


def test_the_assembler_of_these_tests_makes_real_pickles():
    for gadget in GADGETS.values():
        for protocol in PROTOCOLS:
            assert [code.name for code, *_ in pickletools.genops(assembled(gadget, protocol))][-1] == "STOP"
    harmless = [pickle.loads(assembled(one("builtins", "len", "four"), protocol)) for protocol in PROTOCOLS]
    assert harmless == [4] * 6


CALL = assembled(GADGETS["os.system"], 2)
SHORT = assembled(GADGETS["os.system"], 0)
OTHER_WAYS = {
    "without its end": CALL[:-1],
    "cut after the call": CALL[: CALL.index(b"R") + 1] + b"\xff\xff garbage",
    "a global alone": b"\x80\x02cos\nsystem\n.",
    "INST": b"(S'touch x'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'touch x'\no.",
    "NEWOBJ": b"\x80\x02csubprocess\nPopen\n)\x81.",
    "NEWOBJ_EX": b"\x80\x04csubprocess\nPopen\n)}\x92.",
    "names from the memo": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93\x8c\x01x\x85R.",
    "names with a detour": b"\x80\x04\x8c\x01x0\x8c\x02os\x8c\x06system\x93N\x85R.",
    "extension 1": b"\x80\x02\x82\x01)R.",
    "extension 2": b"\x80\x02\x83\x01\x00)R.",
    "extension 4": b"\x80\x02\x84\x01\x00\x00\x00)R.",
    "a newer name for an old one": b"c__builtin__\neval\n(S'1'\ntR.",
    "no protocol": SHORT,
    "a protocol twice": b"\x80\x02\x80\x02" + CALL[2:],
    "data first": b"\x80\x02]K\x010" + CALL[2:],
    "a lie about a frame": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f" + assembled(GADGETS["os.system"], 4)[11:],
    "marks taken back": b"\x80\x02(0((01" + CALL[2:],
    "several in a row": b"\x80\x02N." + CALL,
    "line ends of Windows": b"cos\r\nsystem\r\n(S'touch x'\r\ntR.",
}


@pytest.mark.catalogue("B1")
@pytest.mark.parametrize("way", OTHER_WAYS)
def test_a_call_is_found_however_it_is_written(way, tmp_path):
    assert "pickle" in rules(judged_files(tmp_path, {"weights.bin": OTHER_WAYS[way]}))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pickles_of_plain_data_are_refused_too(protocol, tmp_path):
    data = pickle.dumps({"a": [1, 2.5, "x", None, (True, b"bytes")], "b": {1, 2}}, protocol)
    assert rules(judged_files(tmp_path, {"x.bin": data})) == ["pickle"]


NAMES = (
    "model.bin",
    "model.safetensors",
    "config.json",
    "model.onnx",
    "tokenizer.model",
    "x.npy",
    "README.md",
    "a.gguf",
    "data",
    "x.txt",
    "x.jsonl",
    "chat_template.jinja",
    "x.yaml",
    "x.png",
    "x.xml",
    "x.pt",
    "x.pkl",
    ".hidden",
)


@pytest.mark.catalogue("B2")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_no_name_hides_a_pickle(name, protocol, tmp_path):
    scan = judged_files(tmp_path, {name: assembled(GADGETS["builtins.exec"], protocol)})
    assert "pickle" in rules(scan) and scan.formats[name] == "pickle"


def tarred(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


WHOLE = zipped({"archive/data.pkl": CALL, "archive/version": b"3\n", "archive/data/0": bytes(64)})
WRAPPED = {
    "gzip": (gzip.compress(CALL), "pickle"),
    "zlib": (zlib.compress(CALL), "pickle"),
    "zlib, fast": (zlib.compress(CALL, 1), "pickle"),
    "bzip2": (bz2.compress(CALL), "pickle"),
    "xz": (lzma.compress(CALL), "pickle"),
    "lzma": (lzma.compress(CALL, format=lzma.FORMAT_ALONE), "pickle"),
    "lz4": (b"\x04\x22\x4d\x18" + CALL, "compressed"),
    "zstd": (b"\x28\xb5\x2f\xfd" + CALL, "compressed"),
    "gzip, cut": (gzip.compress(CALL)[:-9], "pickle"),
    "gzip in gzip": (gzip.compress(gzip.compress(CALL)), "compressed"),
    "tar": (tarred({"data.pkl": CALL}), "archive"),
    "tar in gzip": (gzip.compress(tarred({"data.pkl": CALL})), "archive"),
    "torch": (WHOLE, "torch-pickle"),
    "torch, wrong checksums": (with_bad_checksums(WHOLE), "torch-pickle"),
    "zip": (zipped({"weights.bin": CALL}), "pickle"),
    "zip, packed": (zipped({"weights.bin": CALL + bytes(500)}, compression=8), "pickle"),
    "zip, wrong checksums": (with_bad_checksums(zipped({"a.txt": CALL})), "pickle"),
    "zip in zip": (zipped({"inner.zip": WHOLE}), "archive"),
    "zip behind garbage": (b"garbage\0" * 40 + WHOLE, "torch-pickle"),
    "zip behind text": (b"# A model\n" + zipped({"a": b"b"}), "polyglot"),
    "zip before garbage": (WHOLE + b"\n" * 40, "torch-pickle"),
    "zip with a comment": (WHOLE[:-2] + b"\x04\0note", "torch-pickle"),
    "zip behind weights": (good_safetensors() + WHOLE, "torch-pickle"),
    "zip, half": (WHOLE[: len(WHOLE) // 2], "archive"),
    "zip, encrypted flag": (
        WHOLE.replace(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\1\0"),
        "torch-pickle",
    ),
    "old torch": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03." + CALL, "torch-pickle"),
    "joblib": (assembled(one("joblib.numpy_pickle", "NumpyArrayWrapper"), 3) + bytes(64), "joblib"),
    "joblib in zlib": (zlib.compress(assembled(one("joblib.numpy_pickle", "NumpyArrayWrapper"), 3)), "joblib"),
    "behind garbage": (b"\0garbage\0" + CALL, "unknown-format"),
    "in the middle of a text": (b"# A model\n\nUse it.\n" + SHORT, "pickle"),
    "in the middle of a text, INST": (b"# A model\n\n(S'touch x'\nios\nsystem\n.\nmore\n", "pickle"),
}


@pytest.mark.catalogue("B2")
@pytest.mark.parametrize("way", WRAPPED)
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "notes.txt"])
def test_no_wrapping_hides_a_pickle(way, name, tmp_path):
    data, rule = WRAPPED[way]
    assert rules(judged_files(tmp_path, {name: data})) == [rule]


@pytest.mark.catalogue("B2")
@pytest.mark.parametrize(
    "data",
    [
        b"\x1f\x8b\x08\0" + bytes(30),
        b"BZh91AY&SY" + bytes(30),
        b"\xfd7zXZ\0" + bytes(30),
        gzip.compress(bytes(20_000), mtime=0)[:40],
    ],
)
def test_a_broken_packed_file_is_a_packed_file_all_the_same(data, tmp_path):
    assert rules(judged_files(tmp_path, {"model.bin": data})) == ["compressed"]


@pytest.mark.parametrize("head", [b"x\x9c", b"x^", b"]\0\0", b"BZh"])
def test_a_few_letters_do_not_make_a_packed_file(head, tmp_path):
    scan = judged_files(
        tmp_path, {"a.txt": head.replace(b"\x9c", b"^").replace(b"\0", b"") + b"2 + y^2 = z^2\n", "b": head + bytes(9)}
    )
    assert [(one.path, one.rule) for one in scan.findings] == [("b", "unknown-format")]


TEXTS = [
    "cat\ndog\nfish\n",
    "copyright notice\nby somebody\n",
    "(c) 2024 Somebody\nAll rights reserved\n",
    "N.\n",
    "I am.\n",
    "Some text.\n",
    "cos\nsin\ntan\n",
    "import\nthis\n",
    "(ipython\nkernel\n",
    "]\n",
    "}\n",
    "a\nb\nc\nd\n",
    "0.5\n1.5\n",
    "Name\nVersion\n",
    "The mimic\nos\nsystem\n",
    "ccc\nccc\nccc\n",
    "G12345678N\n",
    "\N{CJK UNIFIED IDEOGRAPH-4E2D}\n",
]


@pytest.mark.parametrize("said", TEXTS)
def test_a_text_that_only_begins_like_a_pickle_is_a_text(said, tmp_path):
    assert rules(judged_files(tmp_path, {"notes.txt": said, "other.txt": "First line.\n" + said})) == []


def test_a_long_list_of_words_is_a_text(tmp_path):
    words = "".join(f"c{first}{second}\n" for first in "abcdefghijklmnopqrst" for second in range(1500))
    assert rules(judged_files(tmp_path, {"words.txt": words})) == []


WORDS = "".join(f"word{number}\n" for number in range(1200))


def test_in_a_list_of_words_two_words_are_no_import(tmp_path):
    words = WORDS + "cal\ntimes\n(Vx\ntR.\n" + WORDS
    assert judged_files(tmp_path, {"vocab.txt": words.encode()}).findings == ()
    assert rules(judged_files(tmp_path, {"notes.txt": ("some words\n" + words).encode()})) == ["pickle"]


@pytest.mark.parametrize("module", ["posix", "builtins", "torch.serialization", "guideway.kit"])
def test_in_a_list_of_words_a_call_into_what_is_there_is_a_pickle(module, tmp_path):
    words = WORDS + f"c{module}\nsystem\n(Vx\ntR.\n" + WORDS
    assert rules(judged_files(tmp_path, {"vocab.txt": words.encode()})) == ["pickle"]


def test_a_text_with_too_much_that_may_be_pickles_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "LIMIT_INSIDE", 1000)
    halves = "".join("(" * 250 + f"cos\nname{n}\n0,\n" for n in range(200))
    assert rules(judged_files(tmp_path, {"halves.txt": halves})) == ["pickle"]


def test_a_file_that_goes_on_like_a_pickle_for_ever_is_taken_for_one(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "LIMIT", 1000)
    assert pickles.is_pickle(pickles.Walk(1000, 1000, False, False, ()), b"N" * 1001, headed=False)
    assert rules(judged_files(tmp_path, {"n.txt": b"N" * 999 + b"\n"})) == []


@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    ),
    st.integers(2, 5),
)
def test_every_pickle_with_a_head_is_walked_to_its_end(value, protocol):
    data = pickle.dumps(value, protocol)
    walk = pickles.walked(data)
    assert walk.stopped and walk.end == len(data)
    assert pickles.is_pickle(walk, data, headed=True)
