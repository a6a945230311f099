"""Stores with a release in them, Debian's registry as a process, certificates, and a proxy that can stop the flow."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from guideway.core.gate import Judgement, Verdict
from guideway.sealing.registry import parse
from guideway.sealing.seal import seal
from guideway.signing.keys import signer, trusted
from guideway.store.blobs import Blobs
from guideway.store.database import Database

REGISTRY, HTPASSWD = "/usr/bin/docker-registry", "/usr/bin/htpasswd"
PASSED = Judgement("EVL-01", "it is better", Verdict.PASS, "1", "< 2")
DEADLINE = 30.0
KIB = 1024


def no_wait(_: float) -> None:
    """What `time.sleep` is replaced by."""


def wait_until(condition, what: str):
    """The first true answer of *condition*."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.005)
    raise AssertionError(f"never happened: {what}")


def noise(size: int, seed: object = 0) -> bytes:
    return random.Random(repr(seed)).randbytes(size)


class Store:
    """A state folder with its own keys."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        self.blobs = Blobs(root / "oci")
        self.signer = signer(root / "keys")

    @property
    def trusted(self):
        return trusted(self.root / "keys")

    def trust(self, other: Store) -> Store:
        (self.root / "keys" / "other.pub.pem").write_bytes(other.signer.pem)
        return self

    def database(self) -> Database:
        return Database(self.root / "state.db")

    def seal(self, *sizes: int, name: str = "poet", seed: object = 0) -> str:
        """Seal a release with a file of each size; its digest."""
        folder = Path(tempfile.mkdtemp(dir=self.root))
        (folder / "model").mkdir(parents=True)
        for number, size in enumerate(sizes or (3000, 50)):
            (folder / "model" / f"{number}.safetensors").write_bytes(noise(size, (seed, number)))
        (folder / "serve.json").write_text("{}")
        files = self.blobs.put_tree(folder).files
        with self.database() as database:
            return seal(
                self.blobs, database, self.signer,
                name=name, files=files, judgements=[PASSED], proofs=[self.blobs.put_bytes(b"proof")],
                facts={"format": "onnx"}, at=1.0,
            ).digest  # fmt: skip

    def kept(self) -> dict[str, str]:
        """Every blob's name, and what its bytes really are."""
        folder = self.root / "oci" / "blobs" / "sha256"
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}

    def listed(self) -> set[str]:
        return {entry["digest"] for entry in self.blobs.index()["manifests"]}

    def left_over(self) -> list[str]:
        """What lies in the folder of transfers but locks."""
        folder = self.root / "oci" / "transfers"
        return [path.name for path in folder.glob("*") if path.suffix != ".lock"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Registry:
    """Debian's `docker-registry` on a free loopback port, its blobs below *folder*."""

    def __init__(self, folder: Path, *, users: dict[str, str] | None = None, tls: Authority | None = None) -> None:
        folder.mkdir()
        self.host = f"127.0.0.1:{free_port()}"
        config = folder / "config.yml"
        config.write_text(self._config(folder, users, tls))
        self._log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [REGISTRY, "serve", str(config)], stdout=self._log, stderr=self._log, env={"OTEL_TRACES_EXPORTER": "none"}
        )
        wait_until(self._listens, f"docker-registry listens: {(folder / 'log').read_text()[-2000:]}")

    def reference(self, name: str = "team/poet:v1"):
        return parse(f"{self.host}/{name}")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()

    def _listens(self) -> bool:
        assert self.process.poll() is None, "docker-registry ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(self.host.split(":")[1]))):
            return True
        return False

    def _config(self, folder: Path, users: dict[str, str] | None, tls: Authority | None) -> str:
        lines = ["version: 0.1", "log: {level: warn}", f"storage: {{filesystem: {{rootdirectory: {folder}/data}}}}"]
        lines += ["http:", f"  addr: {self.host}", "  secret: only-for-tests"]
        if tls:
            lines += ["  tls:", f"    certificate: {tls.certificate}", f"    key: {tls.key}"]
        for name, password in (users or {}).items():
            argv = [HTPASSWD, "-iBn", "-C", "4", name]
            line = subprocess.run(argv, input=password, check=True, capture_output=True, text=True).stdout
            (folder / "htpasswd").write_text(line)
        if users:
            lines.append(f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}")
        return "\n".join(lines) + "\n"


class Authority:
    """A certificate authority of our own, and a certificate of it for 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.file, self.certificate, self.key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
        ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        ca = self._certificate("our authority", ca_key, ca_key, None)
        self.file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        mine = self._certificate("registry", key, ca_key, ca)
        self.certificate.write_bytes(mine.public_bytes(serialization.Encoding.PEM))
        plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.key.write_bytes(key.private_bytes(*plain))

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def _certificate(self, name, key, ca_key, ca):
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca.subject if ca else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )
        if ca:
            here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([here]), critical=False)
        else:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        return builder.sign(ca_key, hashes.SHA256())


class Valve:
    """A TCP proxy before *host* that lets so many bytes through in one direction, and then holds all that come."""

    def __init__(self, host: str, *, up: int | None = None, down: int | None = None) -> None:
        self._target = host.split(":")
        self._left = {"up": up, "down": down}
        self._lock = threading.Lock()
        self.shut = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def reference(self, name: str = "team/poet:v1"):
        return parse(f"{self.host}/{name}")

    def close(self) -> None:
        self._server.close()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
                upstream = socket.create_connection((self._target[0], int(self._target[1])))
            except OSError:
                return
            self._sockets += [client, upstream]
            for source, sink, way in ((client, upstream, "up"), (upstream, client, "down")):
                threading.Thread(target=self._flow, args=(source, sink, way), daemon=True).start()

    def _flow(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16 * KIB):
                if not self._allows(way, len(data)):
                    self.shut.set()
                    continue
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def _allows(self, way: str, count: int) -> bool:
        with self._lock:
            left = self._left[way]
            if left is not None:
                self._left[way] = left - count
        return left is None or left >= count


class Mortal:
    """A push or a pull in a process of its own, to be killed."""

    def __init__(self, verb: str, store: Store, reference: object, *more: str) -> None:
        code = Path(__file__).with_name("mortal_mover.py")
        self._process = subprocess.Popen(
            [sys.executable, str(code), verb, str(store.root), str(reference), *more],
            env={**os.environ},
            stderr=subprocess.PIPE,
        )

    def kill(self) -> None:
        assert self._process.poll() is None, self._process.stderr.read()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process.stderr.close()
