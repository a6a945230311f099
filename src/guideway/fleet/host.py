"""This host's hands: unpack a release, start, probe and stop replicas."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Set
from pathlib import Path

import msgspec

from guideway.core.artifact import Digest
from guideway.core.guardrails import CLASSIFIER_FILE, OUTLIERS_FILE, RULES_FILE, Guardrails, read_guardrails
from guideway.core.launch import Launch, Probe, Process, Replica
from guideway.core.protocols import Target
from guideway.core.release import ServeSettings
from guideway.core.rollout import EnvironmentState
from guideway.core.spec.model import Policy
from guideway.core.terms import Terms
from guideway.engines import engine
from guideway.kit.process import free_port, is_alive, last_words, outputs, terminate
from guideway.sealing.admit import check_admission
from guideway.sealing.pack import files_of, read_manifest
from guideway.sealing.verify import verify
from guideway.signing.keys import trusted
from guideway.store.blobs import Blobs
from guideway.store.home import Home
from guideway.targets import TARGETS, target
from guideway.targets.probe import ProbeResult, ask, until_quiet

DRAIN = 12.0
"""Seconds that a replica gets to finish what it answers; our own takes ten."""
PROBE_TIMEOUT = 10.0
"""Seconds that a starting replica may be silent before it is asked again."""


class Host:
    """What the controller does on this machine. Methods block; the controller calls them from threads."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._blobs = Blobs(home.oci)
        self._mapped: set[Digest] = set()
        self._mapping = threading.Lock()

    def target(self, name: str) -> Target:
        """The target called *name*, with its files below ``run/``."""
        return target(name, self.home.run)

    def start(self, state: EnvironmentState, release: Digest, id: str) -> tuple[Launch, Process]:
        """Verify and unpack *release*, and start one replica of it, if it was admitted to this environment.

        Raises:
            Refused: nobody trusted admitted it here.
            Corrupt: a blob is missing or changed, or nobody trusted signed the release.
            SpecError: nobody knows its engine.
            Unavailable: the process cannot be started.
        """
        check_admission(self._blobs, release, trusted(self.home.keys), environment=state.name)
        folder = self._unpacked(release)
        settings = msgspec.json.decode((folder / "serve.json").read_bytes(), type=ServeSettings)
        most = state.scale.max if state.scale else state.replicas
        threads = max(1, len(os.sched_getaffinity(0)) // most)
        launch = engine(settings.engine).launch(folder, settings, port=free_port(), threads=threads)
        own = launch.terms
        terms = msgspec.structs.replace(terms_of(folder, settings), fields=own.fields, marks=own.marks)
        launch = msgspec.structs.replace(launch, terms=terms)
        return launch, self.target(state.target).start(launch, self.log(state.name, id))

    def probe(self, port: int, probe: Probe) -> ProbeResult:
        """Ask a replica for a token."""
        return ask(port, probe, answer=PROBE_TIMEOUT)

    def stop(self, state: EnvironmentState, replica: Replica) -> None:
        """Stop a replica, letting it finish what it answers. Returns when it is gone."""
        left = until_quiet(replica.port, replica.probe.busy, DRAIN) if replica.probe else DRAIN
        self.target(state.target).stop(replica.process, left)

    def alive(self, process: Process) -> bool:
        """Does *process* run?"""
        return is_alive(process.pid, process.started)

    def end(self, process: Process) -> None:
        """End *process* at once."""
        terminate(process.pid, process.started, 0.0)

    def last_words(self, environment: str, id: str) -> str:
        """What a replica said at the end."""
        return last_words(self.log(environment, id))

    def log(self, environment: str, id: str) -> Path:
        """The log of one replica."""
        return self.home.logs / environment / f"replica-{id}.log"

    def strays(self, known: Set[str]) -> list[Process]:
        """Replicas of ours whose id is not *known*: whoever started them was killed before it could note them."""
        found = []
        for log, processes in outputs().items():
            ours = log.parent.parent == self.home.logs.resolve() and log.match("replica-*.log")
            if ours and log.stem.removeprefix("replica-") not in known:
                found += [Process(pid, started) for pid, started in processes]
        return found

    def unmapped(self, release: Digest) -> None:
        """No replica of *release* runs any more: before the next one starts, every byte is read again."""
        self._mapped.discard(release)

    def rest(self) -> None:
        """Nothing runs any more: let the targets end what they kept warm."""
        for name in TARGETS:
            self.target(name).rest()

    def _unpacked(self, release: Digest) -> Path:
        """The release as a folder of links to its blobs, verified unless a replica has them mapped already.

        The folder has all digits: two releases with the same first twelve can be made on purpose.
        """
        folder = self.home.run / "releases" / release.removeprefix("sha256:")
        with self._mapping:
            if release not in self._mapped:
                verify(self._blobs, release, trusted(self.home.keys))
                self._lay_out(release, folder)
                self._mapped.add(release)
        return folder

    def _lay_out(self, release: Digest, folder: Path) -> None:
        """Make *folder* anew: what lay there before may be half a release, or changed."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
        try:
            self._blobs.lay_out(files_of(read_manifest(self._blobs, release)), fresh / "new")
            if folder.exists():
                folder.rename(fresh / "old")
            (fresh / "new").rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def generates(port: int, probe: Probe, timeout: float) -> bool:
    """Does the replica on *port* answer *probe* with at least one generated token?"""
    return ask(port, probe, answer=timeout).ready


def terms_of(folder: Path, settings: ServeSettings) -> Terms:
    """What the release in *folder*, whose bytes have been verified, asks of the gateway."""
    policy = msgspec.json.decode((folder / "policy.json").read_bytes(), type=Policy)
    rules, classifier = folder / RULES_FILE, folder / CLASSIFIER_FILE
    outliers = folder / OUTLIERS_FILE
    tokenizer = folder / "model" / "tokenizer.json"
    return Terms(
        system=settings.system,
        cacheable=policy.cacheable,
        masking=policy.masking,
        temperature=settings.decoding.temperature,
        max_tokens=settings.decoding.max_tokens,
        guardrails=read_guardrails(rules.read_bytes()) if rules.is_file() else Guardrails(),
        classifier=str(classifier) if classifier.is_file() else "",
        tokenizer=str(tokenizer) if tokenizer.is_file() else "",
        outliers=str(outliers) if outliers.is_file() else "",
    )
