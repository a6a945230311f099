"""Push and pull against Debian's registry: equal digests, only what is missing, kills, passwords, TLS."""

from __future__ import annotations

import json
import threading

import pytest
from registry_rig import KIB, Mortal, Registry, Store, Valve, no_wait, wait_until

from guideway.core.errors import Corrupt, SpecError, Unavailable
from guideway.sealing.pack import attach, entries_beside
from guideway.sealing.registry import Access, pull, push
from guideway.sealing.registry.client import Repository
from guideway.sealing.registry.credentials import Credentials
from guideway.sealing.registry.http import Http
from guideway.sealing.transfers import Transfers
from guideway.sealing.verify import verify


def test_a_release_comes_back_with_equal_digests_and_everything_attached(registry, maker, user):
    release = maker.seal(300 * KIB, 5)
    sent = push(maker.blobs, release, registry.here(), wait=no_wait)
    seen: list[tuple[int, int]] = []
    got = pull(user.blobs, registry.here(), user.trusted, progress=lambda *both: seen.append(both), wait=no_wait)
    assert got.digest == release and got.moved == sent.moved and got.there == sent.there == 0
    assert got.size == sent.size == seen[-1][0] == seen[-1][1] > 300 * KIB
    assert verify(user.blobs, release, user.trusted) > 300 * KIB
    beside = [{one["digest"] for one in entries_beside(store.blobs, release)} for store in (maker, user)]
    assert beside[0] == beside[1] and len(beside[0]) == 3  # a proof, the model signature, the release statement
    assert user.left_over() == maker.left_over() == []


def test_attachments_are_listed_under_the_fallback_tag(registry, maker):
    release = maker.seal()
    push(maker.blobs, release, registry.here(), wait=no_wait)
    repository = Repository(Http(registry.here(), Access()), registry.here().repository)
    repository.ping()
    assert repository.referrers(release) is None
    tag = release.replace(":", "-")
    assert sorted(repository.tags()) == sorted([tag, "v1"])
    entries = json.loads(repository.manifest(tag).data)["manifests"]
    assert {one["digest"] for one in entries} == {one["digest"] for one in entries_beside(maker.blobs, release)}
    assert all(one["artifactType"] for one in entries)


def test_only_what_is_missing_moves(registry, maker, user, requests):
    push(maker.blobs, maker.seal(100 * KIB, 70), registry.here(), wait=no_wait)
    second = maker.seal(100 * KIB, 71)  # the first file is the same
    del requests[:]
    sent = push(maker.blobs, second, registry.here("v2"), wait=no_wait)
    uploads = [url for method, url in requests if method == "POST"]
    assert len(uploads) == 4 and sent.size < 10 * KIB  # file, config, model signature, statement
    pull(user.blobs, registry.here(), user.trusted, wait=no_wait)
    del requests[:]
    got = pull(user.blobs, registry.here("v2"), user.trusted, wait=no_wait)
    assert got.size == sent.size
    assert len([url for method, url in requests if method == "GET" and "/blobs/" in url]) == len(uploads)


def test_moving_again_transfers_nothing(registry, maker, user, requests):
    release = maker.seal()
    push(maker.blobs, release, registry.here(), wait=no_wait)
    pull(user.blobs, registry.here(), user.trusted, wait=no_wait)
    del requests[:]
    index = user.blobs.index()
    again = push(maker.blobs, release, registry.here(), wait=no_wait)
    back = pull(user.blobs, registry.here(), user.trusted, wait=no_wait)
    assert (again.moved, again.size) == (back.moved, back.size) == (0, 0)
    assert {method for method, _ in requests} == {"GET", "HEAD"}
    assert not [url for method, url in requests if method == "GET" and "/blobs/" in url]
    assert user.blobs.index() == index


def test_a_later_attachment_follows_alone(registry, maker, user):
    release = maker.seal()
    push(maker.blobs, release, registry.here(), wait=no_wait)
    pull(user.blobs, registry.here(), user.trusted, wait=no_wait)
    size = maker.blobs.path(release).stat().st_size
    attach(maker.blobs, {"mediaType": "m", "digest": release, "size": size}, "text/plain", b"card")
    assert push(maker.blobs, release, registry.here(), wait=no_wait).moved == 2
    assert pull(user.blobs, registry.here(), user.trusted, wait=no_wait).moved == 2
    assert len(entries_beside(user.blobs, release)) == 4


def test_a_release_can_be_asked_for_by_its_digest(registry, maker, user):
    release = maker.seal()
    by_digest = registry.reference(f"{registry.repository}/poet@{release}")
    push(maker.blobs, release, by_digest, wait=no_wait)
    assert pull(user.blobs, by_digest, user.trusted, wait=no_wait).digest == release
    other = maker.seal(7, seed="other")
    with pytest.raises(SpecError, match="not the digest"):
        push(maker.blobs, other, by_digest, wait=no_wait)


def test_blobs_are_mounted_from_another_repository(registry, maker):
    release = maker.seal(100 * KIB)
    push(maker.blobs, release, registry.here(), wait=no_wait)
    elsewhere = registry.reference(f"{registry.repository}/copy:v1")
    sent = push(maker.blobs, release, elsewhere, mount_from=[registry.here().repository], wait=no_wait)
    assert sent.size == 0 and sent.moved > 0


def test_a_large_blob_goes_in_parts(registry, maker, user):
    release = maker.seal(1000 * KIB)
    push(maker.blobs, release, registry.here(), part=256 * KIB, wait=no_wait)
    pull(user.blobs, registry.here(), user.trusted, wait=no_wait)
    verify(user.blobs, release, user.trusted)


def test_what_is_not_there_is_one_line(registry, user):
    with pytest.raises(Unavailable, match="no such release") as caught:
        pull(user.blobs, registry.here("v9"), user.trusted, wait=no_wait)
    assert "v9" in str(caught.value) and user.kept() == {}


@pytest.mark.catalogue("B38")
def test_a_release_that_no_trusted_key_signed_is_not_listed_and_its_weights_are_not_asked_for(
    registry, maker, tmp_path, requests
):
    release = maker.seal(200 * KIB)
    push(maker.blobs, release, registry.here(), wait=no_wait)
    stranger = Store(tmp_path / "stranger")
    del requests[:]
    with pytest.raises(Corrupt, match="no trusted key"):
        pull(stranger.blobs, registry.here(), stranger.trusted, wait=no_wait)
    assert stranger.listed() == set()
    weights = max(maker.kept(), key=lambda name: (maker.root / "oci/blobs/sha256" / name).stat().st_size)
    assert not [url for _, url in requests if weights in url]


@pytest.mark.catalogue("A28")
def test_a_killed_push_goes_on_with_what_is_missing(registry, maker, user):
    release = maker.seal(*[512 * KIB] * 12)
    valve = Valve(registry.host, up=4 << 20)
    name = registry.here()
    mortal = Mortal("push", maker, f"{valve.host}/{name.repository}:v1", release)
    assert valve.shut.wait(30)
    mortal.kill()
    valve.close()
    with pytest.raises(Unavailable, match="no such release"):
        pull(user.blobs, name, user.trusted, wait=no_wait)
    sent = push(maker.blobs, release, name, wait=no_wait)
    assert 0 < sent.size <= 6 * 1024 * KIB - 4 * 512 * KIB + 10 * KIB  # of 4 MiB at most four blobs were on their way
    pull(user.blobs, name, user.trusted, wait=no_wait)
    verify(user.blobs, release, user.trusted)


@pytest.mark.catalogue("A28")
def test_a_killed_pull_leaves_nothing_half_and_goes_on_where_it_ended(registry, maker, user):
    release = maker.seal(6 << 20)
    push(maker.blobs, release, registry.here(), wait=no_wait)
    whole = maker.kept()
    valve = Valve(registry.host, down=3 << 20)
    mortal = Mortal("pull", user, f"{valve.host}/{registry.here().repository}:v1")
    assert valve.shut.wait(30)

    def beginning() -> int:
        return max((path.stat().st_size for path in Transfers(user.blobs.folder).folder.iterdir()), default=0)

    wait_until(lambda: beginning() > 2 << 20, "two MiB are on the disk")
    mortal.kill()
    valve.close()
    assert user.listed() == set() and all(name == found for name, found in user.kept().items())
    kept = beginning()
    got = pull(user.blobs, registry.here(), user.trusted, wait=no_wait)
    assert got.size == (6 << 20) - kept
    assert verify(user.blobs, release, user.trusted) and user.kept().items() <= whole.items()
    assert user.left_over() == []


@pytest.mark.catalogue("A32")
@pytest.mark.parametrize("verb", ["push", "pull"])
def test_two_at_once_do_the_work_of_one(registry, maker, user, verb):
    release = maker.seal(*[256 * KIB] * 6)
    if verb == "pull":
        push(maker.blobs, release, registry.here(), wait=no_wait)
    moved, store = [], maker if verb == "push" else user

    def move() -> None:
        blobs = type(store.blobs)(store.blobs.folder)
        if verb == "push":
            moved.append(push(blobs, release, registry.here(), wait=no_wait))
        else:
            moved.append(pull(blobs, registry.here(), user.trusted, wait=no_wait))

    threads = [threading.Thread(target=move) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(moved) == 2 and moved[0].digest == moved[1].digest == release
    assert 6 * 256 * KIB <= sum(one.size for one in moved) < 6 * 256 * KIB + 20 * KIB
    pull(user.blobs, registry.here(), user.trusted, wait=no_wait)
    verify(user.blobs, release, user.trusted)
    assert store.left_over() == []


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, authority):
    """The registry with a password and TLS."""
    folder = tmp_path_factory.mktemp("guarded") / "registry"
    registry = Registry(folder, users={"ann": "pass-7392"}, tls=authority)
    yield registry
    registry.stop()


def test_a_password_and_an_authority_of_our_own_let_us_in(guarded, authority, maker, user):
    release = maker.seal()
    access = Access(Credentials("ann", "pass-7392"), authority.file)
    push(maker.blobs, release, guarded.reference(), access, wait=no_wait)
    assert pull(user.blobs, guarded.reference(), user.trusted, access, wait=no_wait).digest == release


@pytest.mark.parametrize(
    ("credentials", "ca", "says"),
    [
        (Credentials("ann", "wrong-5521"), True, "wants a user name and a password, or refuses these"),
        (None, True, "wants a user name and a password"),
        (Credentials("ann", "pass-7392"), False, "certificate is not trusted"),
    ],
)
def test_who_is_not_let_in_reads_one_line_without_the_password(guarded, authority, maker, credentials, ca, says):
    release = maker.seal()
    with pytest.raises(Unavailable, match=says) as caught:
        push(
            maker.blobs,
            release,
            guarded.reference(),
            Access(credentials, authority.file if ca else None),
            wait=no_wait,
        )
    said = str(caught.value)
    assert "\n" not in said and "5521" not in said and "7392" not in said and caught.value.try_this
