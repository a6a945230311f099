"""References, credentials and challenges: read strictly, and nothing secret is ever shown."""

from __future__ import annotations

import base64
import json

import pytest

from guideway.core.errors import SpecError
from guideway.sealing.registry.auth import Authorization, challenges
from guideway.sealing.registry.credentials import Credentials, checked, find
from guideway.sealing.registry.reference import parse

D = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "host", "hostname", "repository", "tag", "digest"),
    [
        ("registry.example/poet", "registry.example", "registry.example", "poet", "latest", ""),
        ("localhost/poet:v1", "localhost", "localhost", "poet", "v1", ""),
        ("reg:5000/team/a_b__c-d--e.f/x:V1.0-rc_2", "reg:5000", "reg", "team/a_b__c-d--e.f/x", "V1.0-rc_2", ""),
        (f"127.0.0.1:5000/poet@{D}", "127.0.0.1:5000", "127.0.0.1", "poet", "", D),
        ("[::1]:5000/poet", "[::1]:5000", "::1", "poet", "latest", ""),
        ("10.1.2.3/poet", "10.1.2.3", "10.1.2.3", "poet", "latest", ""),
    ],
)
def test_a_reference_has_a_host_a_repository_and_a_tag_or_a_digest(text, host, hostname, repository, tag, digest):
    found = parse(text)
    assert (found.host, found.hostname, found.repository) == (host, hostname, repository)
    assert (found.tag, found.digest, found.name) == (tag, digest, digest or tag)
    assert parse(str(found)) == found


BAD = [
    "", "/", "poet", "poet:v1", "library/poet", "Registry.example/poet", "registry.example/", "registry.example/Poet",
    "registry.example/../poet", "registry.example/a/../b", "registry.example//poet", "registry.example/poet/",
    "registry.example/poet:", "registry.example/poet:-x", "registry.example/poet:" + "x" * 129, "registry.example/a b",
    "registry.example/poet@sha256:abc", f"registry.example/poet:v1@{D}", f"registry.example/poet@{D}x",
    f"registry.example/poet@{D.upper()}", "registry.example/poet@md5:" + "a" * 32, "registry.example/%2e%2e/poet",
    "registry.example/a\\b", "registry.example/poet\n", "registry.example/poet:v1\n", "registry.example/p\x00t",
    "registry.example/" + "a" * 256, "registry.example:0/poet", "registry.example:99999/poet", "registry.example:/poet",
    "-a.example/poet", "a..b/poet", "http://registry.example/poet", "https://registry.example/poet", "file:///etc/passwd",
    "registry.example/poet?x=1", "registry.example/poet#x", "ρεγ.example/poet", "registry.example/ποετ", "[::1/poet",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
@pytest.mark.catalogue("B11")
def test_what_is_no_reference_is_one_clear_line(text):
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert str(caught.value).isprintable() and caught.value.try_this and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "169.254.0.1:5000", "[::ffff:169.254.169.254]:80", "[::ffff:a9fe:a9fe]", "[fe80::1]",
     "[fd00:ec2::254]", "100.100.100.200", "0.0.0.0", "[::]:5000", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]",
     "[::a9fe:a9fe]", "224.0.0.1"],
)  # fmt: skip
@pytest.mark.catalogue("B13")
def test_an_address_that_no_registry_has_is_refused(host):
    with pytest.raises(SpecError, match="link-local and metadata"):
        parse(f"{host}/poet")


@pytest.mark.parametrize("text", ["ann:hush-77@registry.example/poet", "https://ann:hush-77@registry.example/poet"])
def test_a_password_in_a_reference_is_refused_and_not_repeated(text):
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert "hush-77" not in str(caught.value)


def docker(folder, value) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(value if isinstance(value, str) else json.dumps(value))
    return {"DOCKER_CONFIG": str(folder)}


def entry(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def test_the_environment_comes_before_dockers_configuration(tmp_path):
    config = docker(tmp_path, {"auths": {"reg:5000": entry("bob:b")}})
    said = {"GUIDEWAY_REGISTRY_USER": "ann", "GUIDEWAY_REGISTRY_PASSWORD": "a:b"}
    assert find("reg:5000", {**config, **said}) == ("ann", "a:b")
    assert find("reg:5000", config) == ("bob", "b")


@pytest.mark.parametrize("name", ["reg:5000", "https://reg:5000", "http://reg:5000/v1/"])
def test_docker_names_a_registry_in_several_ways(tmp_path, name):
    assert find("reg:5000", docker(tmp_path, {"auths": {name: entry("bob:b:c")}})) == ("bob", "b:c")


def test_the_entry_of_another_registry_is_not_used(tmp_path):
    config = docker(
        tmp_path, {"auths": {"reg:5001": entry("bob:b"), "reg": entry("bob:b"), "reg:5000.evil": entry("b:b")}}
    )
    assert find("reg:5000", config) is None
    assert find("reg:5000", {"HOME": str(tmp_path / "nobody")}) is None


def test_no_helper_program_is_started(tmp_path):
    marker = tmp_path / "started"
    helper = tmp_path / "docker-credential-evil"
    helper.write_text(f"#!/bin/sh\ntouch {marker}\n")
    helper.chmod(0o755)
    config = docker(
        tmp_path / "docker", {"credsStore": "evil", "credHelpers": {"reg:5000": "evil"}, "auths": {"reg:5000": {}}}
    )
    assert find("reg:5000", {**config, "PATH": str(tmp_path)}) is None and not marker.exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": 3}', "[" * 5000, '{"auths": {"reg:5000": {"auth": "%%%"}}}'])
def test_a_damaged_configuration_is_told(tmp_path, text):
    with pytest.raises(SpecError) as caught:
        find("reg:5000", docker(tmp_path, text))
    assert "config.json" in str(caught.value)


@pytest.mark.parametrize(("name", "password"), [("", "x"), ("ann", ""), ("a:b", "x"), ("ann", "x\r\nHost: evil")])
def test_credentials_that_cannot_be_sent_are_refused_and_not_shown(name, password):
    with pytest.raises(SpecError) as caught:
        checked(name, password, where="here")
    assert "evil" not in str(caught.value)


def test_credentials_never_show_their_password():
    assert "hush" not in f"{Credentials('ann', 'hush')} {Credentials('ann', 'hush')!r}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("Negotiate", []),
        ('Basic realm="x"', [("basic", {"realm": "x"})]),
        ('bearer Realm="https://t/",SERVICE="s", scope="a:b:pull,push c"',
         [("bearer", {"realm": "https://t/", "service": "s", "scope": "a:b:pull,push c"})]),
        ('Bearer realm="r", Basic realm="x"', [("bearer", {"realm": "r"}), ("basic", {"realm": "x"})]),
        ("Bearer " + "a=" * 100_000, [("bearer", {})]),
    ],
)  # fmt: skip
def test_challenges_are_read(text, found):
    assert challenges(text) == found


def test_a_token_is_asked_for_everything_that_was_wanted_so_far():
    asked: list[tuple[str, str]] = []

    def fetch(url: str, header: str) -> bytes:
        asked.append((url, header))
        return b'{"access_token": "t%d"}' % len(asked)

    one = Authorization(Credentials("ann", "a"), fetch)
    assert one.learn('Bearer realm="https://t/x?y=1",scope="pull"', "") and one.header == "Bearer t1"
    assert one.learn('Bearer realm="https://t/x?y=1",scope="push"', "Bearer t1") and one.header == "Bearer t2"
    assert asked[1] == ("https://t/x?y=1&scope=pull&scope=push", "Basic YW5uOmE=")


def test_a_thread_that_comes_late_uses_what_another_one_learnt():
    one = Authorization(Credentials("ann", "a"), lambda url, header: pytest.fail("it asked"))
    one.header = "Bearer new"
    assert one.learn('Bearer realm="https://t/"', "Bearer old")


@pytest.mark.parametrize("challenge", ["", 'Basic realm="x"', 'Digest realm="x"'])
def test_without_credentials_a_password_is_not_invented(challenge):
    assert not Authorization(None, lambda url, header: b"").learn(challenge, "")
