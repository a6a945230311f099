"""Push and pull against a registry that cuts, lies, sends elsewhere, refuses for a while, or never ends."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading

import pytest
from fake_registry import Fake
from registry_rig import KIB, Mortal, no_wait

from guideway.core.errors import Corrupt, GuidewayError, Refused, Unavailable
from guideway.sealing.pack import FILE_PATH, entries_beside
from guideway.sealing.registry import Access, pull, push, wire
from guideway.sealing.registry.client import Repository
from guideway.sealing.registry.credentials import Credentials
from guideway.sealing.registry.http import Http
from guideway.sealing.transfers import Transfers
from guideway.sealing.verify import verify

pytestmark = pytest.mark.thorough

BIG = 600 * KIB


@pytest.fixture
def pushed(fake, maker) -> str:
    """A release in the fake; its digest."""
    release = maker.seal(BIG, 9)
    push(maker.blobs, release, fake.reference(), wait=no_wait)
    fake.seen.clear()
    return release


@pytest.fixture
def big(fake, pushed) -> str:
    """The digest of the largest blob in the fake."""
    return max(fake.blobs, key=lambda digest: len(fake.blobs[digest]))


def on_blob(digest: str, act, *, times: int = 1 << 30):
    """A fault that happens when the blob is read, so many times."""
    left = [times]

    def fault(answer) -> bool:
        if answer.command != "GET" or not answer.route_path.endswith(digest) or left[0] <= 0:
            return False
        left[0] -= 1
        act(answer)
        return True

    return fault


def head(answer, status: int, **headers: str) -> None:
    answer.send_response(status)
    for name, value in headers.items():
        answer.send_header(name.replace("_", "-"), value)
    answer.end_headers()


def pull_it(user, fake, **more):
    return pull(user.blobs, fake.reference(), user.trusted, wait=no_wait, **more)


def test_attachments_come_and_go_through_the_referrers_interface_page_by_page(fake, maker, user, pushed):
    assert pull_it(user, fake).digest == pushed
    assert len(entries_beside(user.blobs, pushed)) == 3
    assert pushed.replace(":", "-") not in fake.manifests  # where referrers are known, no tag is needed
    assert len([path for path in fake.asked("GET") if "/referrers/" in path]) == 3


def test_a_tag_comes_last(fake, maker):
    push(maker.blobs, maker.seal(), fake.reference(), wait=no_wait)
    writes = [path for verb, path, _ in fake.seen if verb in ("PUT", "PATCH", "POST")]
    assert writes[-1].endswith("/manifests/v1") and sum(path.endswith("/manifests/v1") for path in writes) == 1


def test_a_token_is_fetched_with_the_password_and_the_password_goes_nowhere_else(fake, maker, user):
    fake.token, fake.users = "token-1", {"ann": "secret"}
    release = maker.seal()
    access = Access(Credentials("ann", "secret"))
    push(maker.blobs, release, fake.reference(), access, wait=no_wait)
    assert pull_it(user, fake, access=access).digest == release
    tokens = [path for path in fake.asked("GET") if path.startswith("/token")]
    assert "service=fake" in tokens[0] and "scope=repository%3Ateam%2Fpoet%3Apull" in tokens[0]
    assert all(said.startswith("Basic") == path.startswith("/token") for _, path, said in fake.seen if said)


def test_an_expired_token_is_fetched_again(fake, maker):
    fake.token = "first"

    def expire(answer) -> bool:
        if answer.command == "PUT" and fake.token == "first":
            fake.token = "second"
        return False

    fake.faults.append(expire)
    push(maker.blobs, maker.seal(), fake.reference(), wait=no_wait)
    assert fake.manifests["v1"] and fake.token == "second"


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"token": ""}', b'{"token": "a\\nb"}', b'{"token": 3}', b"{" * 5000])
def test_a_token_service_that_gives_none_is_told(fake, user, answer):
    fake.token = "t"
    fake.faults.append(lambda one: one.route_path == "/token" and (one.say(200, answer) or True))
    with pytest.raises(Unavailable, match="gives no token"):
        pull_it(user, fake)


def test_a_wrong_password_at_the_token_service_is_one_line(fake, user):
    fake.token, fake.users = "t", {"ann": "right"}
    with pytest.raises(Unavailable, match=r"token service refuses \(401\)") as caught:
        pull_it(user, fake, access=Access(Credentials("ann", "wrong-8841")))
    assert "8841" not in str(caught.value)


@pytest.mark.parametrize(
    "realm",
    ["file:///etc/passwd", "http://192.0.2.7/token", "http://169.254.169.254/token", "https://[::ffff:a9fe:a9fe]/"],
)
@pytest.mark.catalogue("B13")
def test_a_token_is_asked_for_nowhere_that_we_must_not_go(fake, user, requests, realm):
    challenge = f'Bearer realm="{realm}",service="s"'
    fake.faults.append(lambda one: one.say(401, WWW_Authenticate=challenge) or True)
    with pytest.raises(Refused, match="the registry leads to"):
        pull_it(user, fake, access=Access(Credentials("ann", "secret")))
    assert all(fake.host in url for _, url in requests)


def test_a_redirected_blob_is_followed_without_our_authorization(fake, maker, user, pushed, big):
    fake.users = {"ann": "secret"}
    other = Fake()
    other.blobs = {big: fake.blobs[big]}
    there = f"http://{other.host}/v2/x/blobs/{big}"
    fake.faults.append(on_blob(big, lambda one: one.say(307, Location=there)))
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(other.stop)
        pull_it(user, fake, access=Access(Credentials("ann", "secret")))
        assert [said for _, _, said in other.seen] == [""]
    assert any(said.startswith("Basic") for _, _, said in fake.seen)
    assert verify(user.blobs, pushed, user.trusted)


@pytest.mark.catalogue("B13")
@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest", "http://[::ffff:169.254.169.254]/", "https://[fd00:ec2::254]/", "file:///etc/passwd",
     "http://192.0.2.7/x", "https://u:p@192.0.2.7/", "http://[", "https://0.0.0.0/"],
)  # fmt: skip
def test_a_redirect_where_we_must_not_go_is_refused(fake, user, pushed, big, requests, target):
    fake.faults.append(on_blob(big, lambda one: one.say(302, Location=target)))
    with pytest.raises(Refused, match="the registry leads to"):
        pull_it(user, fake)
    assert all(fake.host in url for _, url in requests) and user.listed() == set()


@pytest.mark.catalogue("B13")
def test_a_name_that_leads_to_the_metadata_address_is_not_spoken_to(fake, monkeypatch):
    monkeypatch.setattr(wire, "is_forbidden", lambda peer: peer == "127.0.0.1")
    with pytest.raises(Refused, match="this name leads to an address"):
        Repository(Http(fake.reference(), Access()), "x").ping()
    assert fake.seen == []


def test_redirects_in_a_circle_end(fake, user, pushed, big):
    fake.faults.append(on_blob(big, lambda one: one.say(307, Location=one.path)))
    with pytest.raises(Unavailable, match="more than 5 redirects"):
        pull_it(user, fake)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_registry_that_refuses_for_a_while_is_asked_again_after_as_long_as_it_says(fake, user, pushed, big, status):
    fake.faults.append(on_blob(big, lambda one: one.say(status, Retry_After="7"), times=2))
    pauses: list[float] = []
    pull(user.blobs, fake.reference(), user.trusted, wait=pauses.append)
    assert pauses == [7.0, 7.0]


def test_a_registry_that_goes_on_refusing_is_given_up(fake, user, pushed, big):
    fake.faults.append(on_blob(big, lambda one: one.say(503)))
    pauses: list[float] = []
    with pytest.raises(Unavailable, match="answers 503"):
        pull(user.blobs, fake.reference(), user.trusted, wait=pauses.append)
    assert pauses == [0.5, 1.0, 2.0, 4.0]


def test_a_registry_that_never_answered_is_not_waited_for(fake, user):
    fake.stop()
    with pytest.raises(Unavailable, match="nothing answers at this address"):
        pull(user.blobs, fake.reference(), user.trusted, wait=lambda _: pytest.fail("it waited"))


def cut_after(count: int):
    def act(answer) -> None:
        data = answer.fake.blobs["sha256:" + answer.route_path.rpartition(":")[2]]
        start = int(answer.headers.get("Range", "bytes=0-")[6:-1])
        extent = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        head(answer, 206 if start else 200, Content_Length=str(len(data) - start), **extent)
        answer.wfile.write(data[start : start + count])
        answer.hang_up()

    return act


def test_a_blob_that_is_cut_off_goes_on_from_there(fake, user, pushed, big):
    fake.faults.append(on_blob(big, cut_after(200 * KIB), times=2))
    got = pull_it(user, fake)
    ranges = [path for path in fake.asked("GET") if path.endswith(big)]
    assert len(ranges) == 3 and got.size == sum(map(len, fake.blobs.values()))
    assert verify(user.blobs, pushed, user.trusted)


def test_a_blob_that_is_always_cut_off_is_given_up_and_what_came_is_kept(fake, user, pushed, big):
    fake.faults.append(on_blob(big, cut_after(10 * KIB)))
    with pytest.raises(Unavailable, match="the connection to the registry broke"):
        pull_it(user, fake)
    assert Transfers(user.blobs.folder).beginning(big).stat().st_size == 50 * KIB
    fake.faults.clear()
    assert pull_it(user, fake).size == BIG - 50 * KIB


def test_a_registry_without_ranges_sends_all_of_it_again(fake, user, pushed, big):
    Transfers(user.blobs.folder).beginning(big).write_bytes(fake.blobs[big][: 100 * KIB])
    fake.faults.append(on_blob(big, lambda one: one.say(200, fake.blobs[big])))
    seen: list[tuple[int, int]] = []
    pull_it(user, fake, progress=lambda *both: seen.append(both))
    assert seen[-1][0] == seen[-1][1] == sum(map(len, fake.blobs.values()))
    assert verify(user.blobs, pushed, user.trusted)


@pytest.mark.parametrize("kept", [b"x" * 1000, b"x" * (BIG + 5), b"x" * BIG])
@pytest.mark.catalogue("A31")
def test_a_beginning_that_is_wrong_is_dropped_and_fetched_anew(fake, user, pushed, big, kept):
    Transfers(user.blobs.folder).beginning(big).write_bytes(kept)
    pull_it(user, fake)
    assert verify(user.blobs, pushed, user.trusted) and user.left_over() == []


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def chunked(*parts: bytes, end: bool = True):
    def act(answer) -> None:
        head(answer, 200, Transfer_Encoding="chunked")
        for part in parts:
            answer.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
        if end:
            answer.wfile.write(b"0\r\n\r\n")

    return act


def endless(answer) -> None:
    head(answer, 200, Transfer_Encoding="chunked")
    while True:
        answer.wfile.write(b"10000\r\n" + b"z" * 65536 + b"\r\n")


LIES = {
    "a bit flipped": lambda data: lambda one: one.say(200, flipped(data)),
    "shorter, and said so": lambda data: lambda one: one.say(200, data[:-1]),
    "longer, and said so": lambda data: lambda one: one.say(200, data + b"x"),
    "shorter, unsaid": lambda data: chunked(data[:-1]),
    "longer, unsaid": lambda data: chunked(data, b"x"),
    "nothing": lambda data: lambda one: one.say(200, b""),
    "compressed": lambda data: lambda one: one.say(200, gzip.compress(data), Content_Encoding="gzip"),
    "without end": lambda data: endless,
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.catalogue("B38")
def test_other_bytes_than_the_digest_means_are_refused_and_none_is_kept(fake, user, pushed, big, lie):
    fake.faults.append(on_blob(big, LIES[lie](fake.blobs[big])))
    with pytest.raises(Corrupt) as caught:
        pull_it(user, fake)
    assert caught.value.where == big
    assert big.removeprefix("sha256:") not in {*user.kept(), *user.left_over()}
    assert user.listed() == set()


def swap(fake: Fake, name: str, change) -> None:
    """Change a manifest of the fake, and what is asked for by its digest too."""
    kind, data = fake.manifests[name]
    manifest = json.loads(data)
    change(manifest)
    fake.manifests[name] = (kind, json.dumps(manifest).encode())


def layer_of(path: str):
    return lambda manifest: manifest["layers"][0]["annotations"].update({FILE_PATH: path})


HOSTILE = {
    "leaves its folder": layer_of("../../evil"),
    "absolute": layer_of("/etc/cron.d/evil"),
    "backslash": layer_of("a\\b"),
    "empty part": layer_of("a//b"),
    "dot": layer_of("./a"),
    "control character": layer_of("a\x1b[2J"),
    "no path": lambda manifest: manifest["layers"][0].pop("annotations"),
    "twice": lambda manifest: manifest["layers"].append(manifest["layers"][0]),
    "file and folder": layer_of("model"),
    "negative size": lambda manifest: manifest["layers"][0].update(size=-1),
    "huge": lambda manifest: manifest["layers"][0].update(size=1 << 60),
    "two sizes": lambda manifest: manifest["layers"][0].update(digest=manifest["layers"][1]["digest"]),
    "digest that is a path": lambda manifest: manifest["layers"][0].update(digest="sha256:../../../evil"),
    "digest with a line end": lambda manifest: manifest["layers"][0].update(digest="sha256:" + "a" * 64 + "\n"),
    "other algorithm": lambda manifest: manifest["layers"][0].update(digest="md5:" + "a" * 32),
    "other kind": lambda manifest: manifest.update(artifactType="application/x"),
    "no layers": lambda manifest: manifest.pop("layers"),
    "deep": lambda manifest: manifest.update(subject=json.loads("[" * 900 + "]" * 900)),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.catalogue("B9")
def test_a_hostile_manifest_is_refused_before_anything_is_fetched(fake, user, pushed, kind):
    swap(fake, "v1", HOSTILE[kind])
    with pytest.raises(Corrupt):
        pull_it(user, fake)
    assert user.kept() == {} and not [path for path in fake.asked("GET") if "/blobs/" in path]


@pytest.mark.catalogue("B38")
@pytest.mark.parametrize("target", ["release", "attachment"])
def test_a_manifest_that_is_not_its_digest_is_refused(fake, user, pushed, target):
    by_digest = fake.reference(f"team/poet@{pushed}")
    name = pushed if target == "release" else next(
        digest for digest, (_, data) in fake.manifests.items() if ":" in digest and b"subject" in data
    )  # fmt: skip
    original = fake.manifests[name]
    fake.manifests[name] = (original[0], original[1] + b" ")
    if target == "attachment":  # the list still tells the truth
        fake.referrers = False
        entry = {"mediaType": original[0], "digest": name, "size": len(original[1]), "artifactType": "x"}
        fake.manifests[pushed.replace(":", "-")] = ("i", json.dumps({"manifests": [entry]}).encode())
    with pytest.raises(Corrupt, match="not what its digest says"):
        pull(user.blobs, by_digest, user.trusted, wait=no_wait)
    assert user.listed() == set()


@pytest.mark.catalogue("B38")
def test_without_its_signature_a_release_is_refused(fake, user, pushed):
    for digest, (_, data) in tuple(fake.manifests.items()):
        if b"subject" in data:
            del fake.manifests[digest]
    with pytest.raises(Corrupt, match="no trusted key"):
        pull_it(user, fake)
    assert user.listed() == set()


@pytest.mark.catalogue("B38")
def test_the_signature_of_another_release_does_not_count(fake, maker, user, pushed):
    other = maker.seal(8, seed="other")
    push(maker.blobs, other, fake.reference("team/poet:v2"), wait=no_wait)
    fake.referrers = False
    theirs = [
        {"mediaType": kind, "digest": digest, "size": len(data), "artifactType": "x"}
        for digest, (kind, data) in fake.manifests.items()
        if ":" in digest and json.loads(data).get("subject", {}).get("digest") == other
    ]
    fake.manifests[pushed.replace(":", "-")] = ("i", json.dumps({"manifests": theirs}).encode())
    with pytest.raises(Corrupt, match="about something else"):
        pull_it(user, fake)
    assert user.listed() == set()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"manifests": [3]}', b'{"manifests": [{"mediaType": "m"}]}'])
def test_a_damaged_list_of_attachments_is_refused(fake, user, pushed, body):
    fake.referrers = False
    fake.manifests[pushed.replace(":", "-")] = ("i", body.replace(b'"m"', b'"%b"' % wire_manifest()))
    with pytest.raises(Corrupt):
        pull_it(user, fake)


def wire_manifest() -> bytes:
    return b"application/vnd.oci.image.manifest.v1+json"


@pytest.mark.parametrize("path", ["/v2/", "/v2/team/poet/manifests/v1"])
@pytest.mark.catalogue("B26")
def test_an_answer_that_never_ends_is_cut_off(fake, user, pushed, path):
    fake.faults.append(lambda one: one.route_path == path and (endless(one) or True))
    with pytest.raises(Corrupt, match="does not end where it should"):
        pull_it(user, fake)


def test_what_others_list_meanwhile_stays_listed(fake, maker):
    """A list under the tag is read and written by everybody: one that was replaced is written again."""
    fake.referrers = False
    release = maker.seal()
    tag = release.replace(":", "-")
    theirs = {"mediaType": "m", "digest": "sha256:" + "0" * 64, "size": 1}
    replaced = []

    def interfere(answer) -> bool:
        if answer.command == "GET" and answer.route_path.endswith(tag) and tag in fake.manifests and not replaced:
            replaced.append(fake.manifests[tag])  # ours was written: theirs, begun before, comes after it
            fake.manifests[tag] = ("i", json.dumps({"manifests": [theirs]}).encode())
        return False

    fake.faults.append(interfere)
    push(maker.blobs, release, fake.reference(), wait=no_wait)
    listed = {entry["digest"] for entry in json.loads(fake.manifests[tag][1])["manifests"]}
    assert replaced and listed == {theirs["digest"]} | {one["digest"] for one in entries_beside(maker.blobs, release)}


PART = 64 * KIB


def uploads(fake: Fake) -> list[int]:
    return [len(data) for data in fake.uploads.values()]


@pytest.mark.catalogue("A28")
def test_a_killed_upload_goes_on_from_what_the_registry_has(fake, maker, user):
    release = maker.seal(BIG)
    held, go = threading.Event(), threading.Event()

    def hold(answer) -> bool:
        if answer.command != "PATCH" or max(uploads(fake)) < 3 * PART or go.is_set():
            return False
        session = answer.route_path.rpartition("/")[2]
        fake.uploads[session] += answer.rfile.read(PART // 2)  # the middle of a part
        held.set()
        go.wait(30)
        answer.hang_up()
        return True

    fake.faults.append(hold)
    mortal = Mortal("push", maker, fake.reference(), release, str(PART))
    assert held.wait(30)
    mortal.kill()
    go.set()
    sent = push(maker.blobs, release, fake.reference(), part=PART, wait=no_wait)
    assert sent.size < BIG - 3 * PART + 5 * KIB
    pull_it(user, fake)
    assert verify(user.blobs, release, user.trusted) and maker.left_over() == []


def test_an_upload_that_the_registry_forgot_begins_again(fake, maker):
    release = maker.seal(BIG)
    cuts = [2]

    def cut(answer) -> bool:
        if answer.command != "PATCH" or not cuts[0]:
            return False
        cuts[0] -= 1
        fake.uploads.pop(answer.route_path.rpartition("/")[2])
        answer.hang_up()
        return True

    fake.faults.append(cut)
    push(maker.blobs, release, fake.reference(), part=PART, wait=no_wait)
    assert cuts == [0] and "v1" in fake.manifests


def test_a_registry_that_never_takes_a_blob_is_given_up(fake, maker):
    fake.faults.append(lambda one: one.command == "PUT" and "/uploads/" in one.path and (one.say(500) or True))
    with pytest.raises(Unavailable, match="does not take this blob"):
        push(maker.blobs, maker.seal(), fake.reference(), wait=no_wait)
    assert "v1" not in fake.manifests and maker.left_over() == []


def test_a_registry_that_says_no_is_not_asked_again(fake, maker):
    fake.faults.append(lambda one: one.command == "POST" and (one.say(403, b"x" * 100) or True))
    with pytest.raises(Unavailable, match="does not allow it"):
        push(maker.blobs, maker.seal(), fake.reference(), wait=lambda _: pytest.fail("it waited"))


@pytest.mark.catalogue("A30")
def test_a_damaged_blob_of_ours_is_named_and_the_release_is_not_tagged(fake, maker):
    release = maker.seal(5000)
    digest = "sha256:" + max(maker.kept(), key=lambda name: len(maker.blobs.read(f"sha256:{name}")))
    maker.blobs.path(digest).chmod(0o644)
    maker.blobs.path(digest).write_bytes(b"z" * 5000)
    with pytest.raises(Corrupt) as caught:
        push(maker.blobs, release, fake.reference(), wait=no_wait)
    assert caught.value.where == digest and "v1" not in fake.manifests


def test_the_words_of_a_registry_are_never_repeated(fake, user):
    fake.faults.append(lambda one: one.say(418, b"\x1b[2J secret " + b"y" * 10_000, X_Note="\x1b[2J") or True)
    with pytest.raises(Unavailable) as caught:
        pull_it(user, fake)
    assert "418" in str(caught.value) and "secret" not in str(caught.value) and str(caught.value).isprintable()


def test_plain_http_needs_to_be_allowed_unless_the_registry_is_on_this_machine(fake, monkeypatch):
    from guideway.sealing.registry import http

    monkeypatch.setattr(http, "is_loopback", lambda _: False)
    with pytest.raises(Unavailable, match="does not speak TLS") as caught:
        Repository(Http(fake.reference(), Access()), "x").ping()
    assert "--insecure" in str(caught.value) and fake.seen == []
    Repository(Http(fake.reference(), Access(insecure=True)), "x").ping()


def test_a_registry_with_a_bad_certificate_is_never_spoken_to_in_the_clear(authority, requests):
    server = Fake(tls=authority.context())
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(server.stop)
        with pytest.raises(Unavailable, match="certificate is not trusted"):
            Repository(Http(server.reference(), Access(insecure=True)), "x").ping()
        Repository(Http(server.reference(), Access(ca=authority.file)), "x").ping()
    assert all(url.startswith("https:") for _, url in requests)


def test_a_file_without_certificates_is_told(fake, tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    for path in (tmp_path / "ca.pem", tmp_path / "none.pem"):
        with pytest.raises(GuidewayError, match="no certificate in this file"):
            Http(fake.reference(), Access(ca=path))
