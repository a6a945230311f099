"""``guideway report``: the form follows from the option, the file or the kind."""

from __future__ import annotations

from pathlib import Path

import click.testing
import pytest

from guideway.cli.report import command, form_of
from guideway.standard.reports import REPORTS


@pytest.mark.parametrize(
    ("kind", "output", "form"),
    [
        ("card", None, "md"),
        ("aibom", None, "json"),
        ("card", "README.md", "md"),
        ("card", "card.HTML", "html"),
        ("aibom", "bom.html", "html"),
        ("aibom", "bom.cdx.json", "json"),
        ("aibom", "bom", "json"),
        ("transparency", "page.htm", "html"),
    ],
)
def test_the_form_follows_from_the_file_or_the_kind(kind, output, form):
    assert form_of(kind, Path(output) if output else None) == form


def test_help_names_every_report():
    text = click.testing.CliRunner().invoke(command, ["--help"]).output
    assert all(f"{kind}: " in text for kind in REPORTS)


def test_a_report_that_is_not_there_is_refused():
    found = click.testing.CliRunner().invoke(command, ["novel"])
    assert found.exit_code == 2
    assert "aibom" in found.output
