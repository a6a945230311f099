"""``guideway controller``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from guideway.cli.project import spec_option, state_of
from guideway.fleet.service import serve
from guideway.kit.user import user_name
from guideway.store.home import Home

UNIT = """\
[Unit]
Description=Guideway controller of {home}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
User={user}
WorkingDirectory={folder}
Environment={variable}
# A state on a server: EnvironmentFile=FILE with GUIDEWAY_STATE=postgresql://..., readable by its owner only.
ExecStart={python} -P -m guideway.cli controller -f {spec}
Restart=always
RestartSec=2
TimeoutStopSec=120
# Replicas and gateway outlive the controller. These keep systemd from ending them with it.
KillMode=process
OOMPolicy=continue
TasksMax=infinity
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""


@click.command("controller")
@click.option("--unit", is_flag=True, help="Print a unit file for systemd instead, with the paths of this project.")
@spec_option
def command(unit: bool, path: Path) -> None:
    """Look after all that runs here, in the foreground, until SIGTERM or Ctrl-C: for a service manager.

    Commands start a controller by themselves; this one is for servers, where it has to come back after a crash or a
    reboot. While another one acts it waits, and acts when that one ends. When it ends, traffic goes on without it.
    Exit code 0 after a signal, 5 when the state is away or a controller on another machine acts.
    """
    home = _home(path)
    if unit:
        click.echo(unit_of(home, path), nl=False)
        return
    serve(home, stay=True)


def _home(path: Path) -> Home:
    """The state folder; where $GUIDEWAY_HOME says it, no spec is needed."""
    if os.environ.get("GUIDEWAY_HOME") and not path.exists():
        return Home.of(path.absolute().parent)
    return state_of(path, "dev")[0]


def unit_of(home: Home, path: Path) -> str:
    """A unit file for the controller of *home*, whose spec is at *path*."""
    spec = path.absolute()
    return UNIT.format(
        home=_escaped(str(home.path)),
        user=user_name(),
        folder=_escaped(str(spec.parent)),
        variable=_quoted(f"GUIDEWAY_HOME={home.path}"),
        python=_quoted(sys.executable).replace("$", "$$"),
        spec=_quoted(str(spec)).replace("$", "$$"),
    )


def _escaped(text: str) -> str:
    """A percent sign begins a specifier of systemd."""
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    return '"' + _escaped(text).replace("\\", "\\\\").replace('"', '\\"') + '"'
