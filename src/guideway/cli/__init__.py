"""The command line: one file per verb. Each parses, calls, prints; nothing is imported before it is needed."""

from __future__ import annotations

import contextlib
import errno
import gc as memory  # a verb of ours is called gc too
import importlib
import keyword
import os
import sys
import traceback
from typing import Any

import click

from guideway import __version__
from guideway.cli.hints import addressed
from guideway.core.errors import EXIT_CODES, GuidewayError, Unavailable, did_you_mean
from guideway.kit.printable import printable

SECTIONS: dict[str, dict[str, str]] = {
    "Make a release": {
        "init": "Start a project from a template.",
        "check": "Check guideway.yaml and everything it names.",
        "plan": "Say which stages will run, and why.",
        "build": "Run the stages, judge them, seal a release.",
        "releases": "List the sealed releases.",
        "diff": "What changed between two releases: data, parameters, figures, size, licence, policy.",
        "verify": "Read every byte of a release again and check its signature.",
        "scan": "Judge any model file or folder without running it.",
    },
    "Prove it": {
        "standard": "List and explain what must be proven; waive a clause for a while.",
        "assess": "Judge a release by every clause, for one environment.",
        "evidence": "List, show and import what is proven.",
        "approve": "Sign that a release may go into an environment.",
        "explain": "Show which words of a text made the answer, or the class, of a release.",
        "report": "Draw a report from the evidence: model card, transparency, Annex IV, score, bill of materials.",
    },
    "Move releases": {
        "push": "Push a release to an OCI registry.",
        "pull": "Pull a release from an OCI registry.",
        "export": "Write a release into one file, for a closed network.",
        "import": "Read a release from such a file.",
    },
    "Run it": {
        "up": "Build, admit and ship in one go; print URL, key and a curl line.",
        "ship": "Move an environment to a release: by a canary, in shadow, or all at once.",
        "status": "What runs, where, and who gets it.",
        "promote": "Give the candidate of a rollout all traffic.",
        "pause": "Hold the weight of a canary.",
        "resume": "Go on with it.",
        "abort": "End a rollout: all traffic goes back to the stable release.",
        "rollback": "Go back to the release that served before.",
        "drill": "Roll back, kill, overload for real, under a small load; leave signed evidence.",
        "controller": "Look after all that runs, in the foreground: for systemd and other service managers.",
        "logs": "Show the logs of replicas, gateway, controller or stages.",
        "down": "Stop everything in an environment.",
        "keys": "Make, list and revoke client keys.",
        "feedback": "List what clients say of answers, and erase what a tenant said.",
        "gateway": "Write HAProxy's or nginx's configuration; show the gateway's certificate.",
    },
    "Look after it": {
        "audit": "Show, verify, export or seal the ledger.",
        "signers": "Make, list, trust, rotate and revoke signing keys.",
        "signature": "Verify a folder of model files, or export a release's model signature.",
        "gc": "Remove what no release and no kept result needs.",
        "schema": "Print the JSON Schema of guideway.yaml.",
        "doctor": "Check this machine, and say what is missing.",
    },
}
_HELP = {verb: text for section in SECTIONS.values() for verb, text in section.items()}


def module_of(verb: str) -> str:
    """The module of a verb; one that Python keeps for itself has an underscore at its end."""
    return f"guideway.cli.{verb}{'_' if keyword.iskeyword(verb) else ''}"


class _Verbs(click.Group):
    """A group that knows its verbs by name and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_HELP)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _HELP:
            return None
        memory.disable()  # what is imported stays to the end: a fifth of `guideway plan` went into looking at it
        try:
            command: click.Command = importlib.import_module(module_of(cmd_name)).command
        finally:
            memory.freeze()
            memory.enable()
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except GuidewayError as error:  # here it is still known what was asked for
            error.what, error.try_this = addressed(error.what), error.try_this and addressed(error.try_this)
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _HELP and not args[0].startswith("-"):
            raise click.UsageError(f"there is no verb '{args[0]}' ({did_you_mean(args[0], _HELP)})")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(list(verbs.items()))
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), text) for code, text in EXIT_CODES.items()])


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="guideway")
def cli() -> None:
    """One standard way to production for large models.

    One file, guideway.yaml, takes a model from data to a monitored, reversible service.
    Start with `guideway init my-model`, then `guideway up`.

    Shell completion: eval "$(_GUIDEWAY_COMPLETE=bash_source guideway)" (or zsh_source, fish_source).
    """


def main(argv: list[str] | None = None) -> None:
    """The entry point: run a verb, print an error as one line, end with the documented exit code."""
    sys.exit(_run(argv))


def _run(argv: list[str] | None) -> int:
    try:
        result: Any = cli.main(argv, prog_name="guideway", standalone_mode=False, complete_var="_GUIDEWAY_COMPLETE")
        return result if isinstance(result, int) else 0
    except GuidewayError as error:
        return _say(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.UsageError as error:
        verb = error.ctx.command_path if error.ctx else "guideway"
        message = error.format_message().rstrip(".")
        return _say(f"{message[0].lower()}{message[1:]} (see `{verb} --help`)", 2)
    except click.ClickException as error:
        return _say(error.format_message(), 2)
    except (KeyboardInterrupt, click.Abort, EOFError):
        return _say("interrupted; what was finished is kept", 130)
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OSError as error:
        return _say(str(_of_system(error)), Unavailable.exit_code)
    except Exception as error:  # a fault of ours: say so, keep the trace for whoever asks for it
        if os.environ.get("GUIDEWAY_DEBUG"):
            traceback.print_exc()
        return _say(f"internal error: {type(error).__name__}: {error} (GUIDEWAY_DEBUG=1 shows the trace)", 1)


def _of_system(error: OSError) -> GuidewayError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable("the disk is full, nothing was changed", where=error.filename, try_this="free some space")
    return Unavailable((error.strerror or str(error)).lower(), where=error.filename)


def _say(line: str, code: int) -> int:
    one_line = printable(" ".join(line.split()))
    who = "guideway:" if os.environ.get("NO_COLOR") else click.style("guideway:", fg="red", bold=True)
    click.echo(f"{who} {one_line}", err=True)
    return code
