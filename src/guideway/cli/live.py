"""Steps on a terminal: a tree that moves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from guideway.cli.steps import Line, Steps
from guideway.core.events import Event
from guideway.kit.printable import printable


class Tree(Steps):
    """All steps in order; asked for its picture at every refresh."""

    def __rich__(self) -> Group:
        return Group(*map(_drawn, self.lines.values()))

    def take(self, event: Event) -> None:
        """Change the picture as *event* says."""
        self.changed(event)


@contextlib.contextmanager
def live() -> Iterator[Tree]:
    """A tree on the screen."""
    tree = Tree()
    with Live(tree, console=Console(highlight=False), refresh_per_second=12):
        yield tree


def _drawn(line: Line) -> Text:
    mark, style = line.mark()
    steps = line.state != "note"
    text = Text(f" {mark} ", style=style, no_wrap=steps, overflow="ellipsis" if steps else None)
    if steps:
        text.append(printable(f"{line.name:<10}"), style="bold" if line.state == "runs" else "")
    said = line.bar() if line.state == "runs" else line.note
    text.append(printable(said), style="dim" if line.state == "cached" else "")
    return text
