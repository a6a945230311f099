"""``guideway gateway``, and what `check` says about the address and the certificate of a gateway."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import pytest

from guideway.gateway.certificate import make

TWO = ["--host", "10.0.0.1:8080", "--host", "10.0.0.2:8080"]


def say(project, text):
    """Put *text* under the key ``gateway`` of the spec."""
    path = project.folder / "guideway.yaml"
    lines = path.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("gateway:"))
    end = next(
        number for number in range(at + 1, len(lines) + 1) if number == len(lines) or lines[number][:1] not in {" ", ""}
    )
    path.write_text("\n".join([*lines[:at], f"gateway: {text}", *lines[end:]]) + "\n")


@pytest.fixture
def pem(project):
    path = project.folder / "both.pem"
    path.write_bytes(make(("localhost",), time.time()))
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("name", ["haproxy", "nginx"])
def test_a_configuration_that_the_balancer_finds_sound_is_written(project, pem, name):
    argv = ["gateway", "config", name, *TWO, "--listen", "127.0.0.1:4443", "--certificate", "both.pem"]
    said = project(*argv, "-o", "front.conf")
    assert said.returncode == 0
    assert "check it with" in said.stdout
    file = project.folder / "front.conf"
    assert f"{pem}" in file.read_text(), "paths are absolute, for a balancer runs elsewhere"
    program = shutil.which(name, path="/usr/sbin:/usr/bin")
    assert program, f"{name} is missing: install Debian's package {name}"
    check = ["-c", "-f", str(file)] if name == "haproxy" else ["-t", "-c", str(file), "-g", f"pid {file}.pid;"]
    assert subprocess.run([program, *check], capture_output=True, timeout=20, check=False).returncode == 0
    assert project(*argv).stdout == file.read_text(), "without -o it goes to the terminal"


def test_without_a_certificate_a_written_configuration_comes_with_a_warning(project):
    said = project("gateway", "config", "haproxy", *TWO, "-o", "f.cfg")
    assert (said.returncode, "in clear" in said.stderr) == (0, True)


def test_figures_come_from_the_environment(project):
    say(project, "{body_megabytes: 17, routing: {timeout: 90.0}}")
    text = project("gateway", "config", "nginx", *TWO).stdout
    assert "client_max_body_size 17m;" in text and "proxy_read_timeout 100s;" in text


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["haproxy"], "missing option '--host'"),
        (["apache", *TWO], "is not one of"),
        (["nginx", "--host", "nowhere"], "'nowhere' is not HOST:PORT"),
        (["nginx", *TWO, "--gateway-ca", "x.pem"], "--gateway-name"),
        (["haproxy", *TWO, "--certificate", "a.pem", "--key", "b.pem"], "HAProxy reads the key from the file"),
        (["haproxy", *TWO, *TWO], "named twice"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(project, argv, says):
    said = project("gateway", "config", *argv)
    assert (said.returncode, len(said.stderr.splitlines()), said.stdout) == (2, 1, "")
    assert says.lower() in said.stderr.lower()


def test_the_certificate_for_development_is_made_and_told(project):
    say(project, "{tls: {development: true}}")
    said = project("gateway", "certificate")
    assert said.returncode == 0
    for word in ("localhost", "holds until", "SHA-256", "--cacert", "SSL_CERT_FILE="):
        assert word in said.stdout
    facts = json.loads(project("gateway", "certificate", "--json").stdout)
    assert facts["sha256"] in said.stdout, "it is made once"
    assert facts["certificate"].endswith("/run/env/dev/tls/certificate.pem")


def test_a_certificate_of_ones_own_is_told_and_checked(project, pem):
    say(project, "{tls: {certificate: both.pem}}")
    assert str(pem) in project("gateway", "certificate").stdout
    assert project("check").returncode == 0
    pem.chmod(0o644)
    for verb in (["gateway", "certificate"], ["check"]):
        said = project(*verb)
        assert (said.returncode, "open to other users" in said.stderr) == (2, True)


def test_a_gateway_in_clear_has_no_certificate(project):
    said = project("gateway", "certificate")
    assert said.returncode == 2
    assert "speaks plain HTTP" in said.stderr and "guideway.yaml:" in said.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{tls: {key: a.pem}}", "names a key without a certificate"),
        ("{tls: {development: true, certificate: a.pem}}", "one of yours"),
        ("{tls: {certificate: none.pem}}", "the certificate cannot be read"),
    ],
)
def test_check_refuses_a_tls_that_cannot_be(project, text, says):
    say(project, text)
    said = project("check")
    assert (said.returncode, says in said.stderr) == (2, True)


def test_check_warns_of_an_address_for_others_without_tls(project):
    assert "warning" not in project("check").stderr
    say(project, "{host: 0.0.0.0}")
    said = project("check")
    assert said.returncode == 0
    assert "warning: guideway.yaml:" in said.stderr and "in clear" in said.stderr
    say(project, "{host: 0.0.0.0, tls: {development: true}}")
    assert "warning" not in project("check").stderr
