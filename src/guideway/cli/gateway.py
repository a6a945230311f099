"""``guideway gateway``."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import click

from guideway.cli.draw import print_json
from guideway.cli.project import environment_option, json_option, opened, spec_option
from guideway.core.errors import SpecError
from guideway.core.spec import SpecFile
from guideway.gateway import certificate as certificates
from guideway.gateway.exposure import development_certificate, is_on, rooted, trust
from guideway.gateway.front import haproxy, nginx
from guideway.gateway.front.plan import Front, endpoint
from guideway.kit.files import write_atomic
from guideway.store.home import Home

WRITERS = {"haproxy": haproxy.write, "nginx": nginx.write}


@click.group("gateway")
def command() -> None:
    """Write what stands in front of several gateways, and look at their certificate."""


@command.command("config")
@click.argument("balancer", type=click.Choice(list(WRITERS)))
@click.option("--host", "hosts", multiple=True, required=True, metavar="HOST:PORT", help="A gateway; once for each.")
@click.option("--listen", default=":443", show_default=True, metavar="[HOST]:PORT", help="Where clients connect.")
@click.option("--certificate", default="", metavar="FILE", help="What clients are shown; without it, plain HTTP.")
@click.option("--key", default="", metavar="FILE", help="Its key, where that is in another file (nginx).")
@click.option("--gateway-ca", "ca", default="", metavar="FILE", help="Call the gateways by TLS; trust this file.")
@click.option("--gateway-name", "name", default="", metavar="NAME", help="The name in the gateways' certificates.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file instead of the terminal.")
@spec_option
@environment_option
def config(
    *,
    balancer: str,
    hosts: tuple[str, ...],
    listen: str,
    certificate: str,
    key: str,
    ca: str,
    name: str,
    output: Path | None,
    path: Path,
    environment: str,
) -> None:
    """Write the whole configuration of HAProxy or nginx in front of several gateway hosts.

    Sizes and time limits follow the spec as it holds in the environment.
    """
    file, _ = opened(path, environment)
    front = Front(listen, _absolute(certificate), _absolute(key), _absolute(ca), name)
    text = WRITERS[balancer]([endpoint(host) for host in hosts], front, file.spec.gateway)
    if output is None:
        click.echo(text, nl=False)
        return
    write_atomic(output.absolute(), text.encode())
    check = f"haproxy -c -f {output}" if balancer == "haproxy" else f"nginx -t -c {output.absolute()}"
    click.echo(f"{output} is written; check it with: {check}")
    if not certificate:
        click.echo("without --certificate clients send keys and prompts in clear", err=True)


@command.command("certificate")
@spec_option
@environment_option
@json_option
def certificate(path: Path, environment: str, as_json: bool) -> None:
    """Say which certificate the gateway shows, how long it holds, and how clients come to trust it.

    The one for development is made if there is none.
    """
    file, home = opened(path, environment)
    pair, shown = _pair(file, home)
    found = certificates.load(pair, time.time())
    ends = datetime.datetime.fromtimestamp(found.expires, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    if as_json:
        facts = {"certificate": str(shown), "expires": found.expires, "names": found.names, "sha256": found.fingerprint}
        print_json(facts)
        return
    click.echo(f"certificate  {shown}")
    click.echo(f"names        {', '.join(found.names) or 'none'}")
    click.echo(f"holds until  {ends}")
    click.echo(f"SHA-256      {found.fingerprint}")
    if file.spec.gateway.tls.development:
        click.echo("\nclients trust it so:")
        for line in trust(shown):
            click.echo(f"  {line}")


def _absolute(path: str) -> str:
    """A balancer reads its files from elsewhere."""
    return str(Path(path).absolute()) if path else ""


def _pair(file: SpecFile, home: Home) -> tuple[certificates.Pair, Path]:
    """The files that the gateway uses, and the one that clients may have."""
    options = rooted(file.spec.gateway, file.root)
    if not is_on(options.tls):
        advice = "set gateway.tls.certificate and gateway.tls.key, or gateway.tls.development: true"
        where = file.where("gateway", "tls")
        raise SpecError(f"the gateway of '{file.environment}' speaks plain HTTP", where=where, try_this=advice)
    if options.tls.development:
        shown = development_certificate(home.environment(file.environment))
        names = certificates.local_names(options.host)
        return certificates.development(shown.parent, names, time.time()), shown
    shown = Path(options.tls.certificate)
    return certificates.Pair(shown, Path(options.tls.key or shown)), shown
