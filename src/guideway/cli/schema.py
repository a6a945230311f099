"""``guideway schema``."""

from __future__ import annotations

import json

import click

from guideway.core.spec import json_schema


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of guideway.yaml, for editors.

    With the YAML language server: put `# yaml-language-server: $schema=guideway.schema.json` in the first line.
    """
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
