"""Advice holds for the environment and the spec that the person asked for."""

from __future__ import annotations

import click
import pytest

from guideway.cli import cli
from guideway.cli.hints import addressed


def said(text: str, **given: str) -> str:
    """*text* as a verb that was given these options would say it."""
    with click.Context(cli, info_name="guideway") as context:
        context.meta["guideway.asked"] = given
        return addressed(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("`guideway up`", "`guideway up -e prod`"),
        (
            "`guideway keys list` and `guideway status -w`",
            "`guideway keys list -e prod` and `guideway status -w -e prod`",
        ),
        ("`guideway ship 3 -e lab`", "`guideway ship 3 -e lab`"),
        ("`guideway ship 3 --env lab`", "`guideway ship 3 --env lab`"),
        ("`guideway signers list`", "`guideway signers list`"),
        ("`guideway drill rollback`", "`guideway drill rollback -e prod`"),
        ("`guideway nonsense`; --yes", "`guideway nonsense`; --yes"),
    ],
)
def test_a_verb_in_advice_gets_the_environment_if_it_takes_one(text, wanted):
    assert said(text, environment="prod") == wanted


def test_the_file_is_named_too_and_quoted():
    assert said("`guideway up`", environment="prod", path="my spec.yaml") == "`guideway up -f 'my spec.yaml' -e prod`"


def test_without_options_advice_stays_as_it_is():
    assert said("`guideway up`") == addressed("`guideway up`") == "`guideway up`"


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        (["rollback", "-e", "prod"], "(`guideway up -e prod`)"),
        (["rollback"], "(`guideway up`)"),
        (["rollback", "-e", "dev"], "(`guideway up`)"),
        (["keys", "revoke", "1234", "-e", "prod"], "(`guideway keys list -e prod`)"),
        (["abort", "-e", "prod"], "`guideway ship -e prod` begins one; `guideway rollback -e prod` returns"),
    ],
)
def test_errors_say_what_to_do_where_it_went_wrong(project, argv, wanted):
    assert wanted in project(*argv).stderr


def test_what_verbs_show_says_so_too(project):
    (project.folder / "guideway.yaml").rename(project.folder / "own.yaml")
    assert "`guideway up -f own.yaml -e prod` does it" in project("status", "-e", "prod", "-f", "own.yaml").stdout
    assert "`guideway keys new -f own.yaml -e prod`" in project("keys", "list", "-e", "prod", "-f", "own.yaml").stdout
