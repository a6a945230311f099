"""``guideway up``."""

from __future__ import annotations

from pathlib import Path

import click

from guideway.cli.check import sound, takeover
from guideway.cli.draw import drawn, print_json
from guideway.cli.hints import addressed, command_line
from guideway.cli.project import environment_option, json_option, opened, spec_option
from guideway.cli.ship import no_wait_option, ports_free, ship
from guideway.core.events import Note
from guideway.core.spec import Spec
from guideway.engines import engine
from guideway.fleet import orders
from guideway.gateway.exposure import development_certificate, trust
from guideway.gateway.exposure import url as url_of
from guideway.pipeline.build import build
from guideway.pipeline.workshop import open_workshop
from guideway.store import api_keys, fleet
from guideway.store.releases import label


@click.command("up")
@no_wait_option
@spec_option
@environment_option
@json_option
def command(no_wait: bool, path: Path, environment: str, as_json: bool) -> None:
    """Build, seal, admit and ship; print the URL, a key and a curl line.

    Run it again after a change: only what changed runs. The first time it makes a client key and shows it once.
    """
    file, home = opened(path, environment)
    sound(file)  # before a build that nothing could serve
    takeover(file)
    getattr(engine(file.spec.serve.engine), "servable", lambda: None)()
    shop = open_workshop(home)
    ports_free(file, shop)
    with drawn(as_json=as_json) as emit:
        built = build(file, shop, emit)
        emit(Note(f"sealed {label(built.release)}", {"release": built.release.digest}))
        ship(file, shop, built.release, emit, wait=not no_wait)
    first = not api_keys.all_of(shop.database, environment)
    key = orders.make_key(home, shop.database, environment, "first", clock=shop.clock) if first else None
    state = fleet.environment(shop.database, environment)
    assert state
    tls = state.gateway.tls
    port = state.port or state.gateway.port  # nobody has waited until it was given one
    url = url_of(state.gateway.host, port, tls) if port else None
    trusted = development_certificate(home.environment(environment)) if tls.development else None
    if as_json:
        print_json({"url": url, "model": state.model, "key": key, "release": built.release.digest})
        return
    _show(url, state.model, key, _asked(file.spec), trusted)


def _asked(spec: Spec) -> str:
    """What a first request brings: for a model that came without a tokenizer, numbers of tokens."""
    bare = spec.train.recipe == "import" and str(spec.train.base).endswith(".bin")
    return "tokens" if bare and spec.task != "classify" else spec.task


def _show(url: str | None, model: str, key: str | None, task: str, certificate: Path | None) -> None:
    shown = key or "$GUIDEWAY_KEY"
    address, body = _example(url or "$URL", model, task)
    click.echo(f"\n  URL    {url or addressed('not known yet: `guideway status` shows it')}")
    click.echo(f"  model  {model}")
    made = f"{key}  (shown this once)" if key else addressed("`guideway keys new` makes another one")
    click.echo(f"  key    {made}")
    trusting = f"--cacert {certificate} " if certificate else ""
    click.echo(f'\n  curl {trusting}{address} -H "Authorization: Bearer {shown}" \\')
    click.echo(f"    -H 'Content-Type: application/json' -d '{body}'\n")
    if certificate:
        click.echo(f"  clients trust it with: {trust(certificate)[1]}")
    click.echo(f"  stop it with: {command_line('down')}")


def _example(url: str, model: str, task: str) -> tuple[str, str]:
    """Where to send a first request, and its body."""
    if task == "classify":
        text = '{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["Hello, is anybody there?"]}'
        return f"{url.removesuffix('/v1')}/v2/models/{model}/infer", f'{{"inputs": [{text}]}}'
    if task == "embed":
        return f"{url}/embeddings", f'{{"model": "{model}", "input": "Hello"}}'
    if task == "tokens":
        return f"{url}/completions", f'{{"model": "{model}", "prompt": [1], "return_token_ids": true}}'
    if task == "completion":
        return f"{url}/completions", f'{{"model": "{model}", "prompt": "Once"}}'
    said = '{"role": "user", "content": "Hello"}'
    return f"{url}/chat/completions", f'{{"model": "{model}", "messages": [{said}]}}'
