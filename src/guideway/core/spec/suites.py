"""The key ``evaluate.suites``: tasks in the form of lm-eval."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from guideway.core.spec.part import Part, Positive


class Suite(Part, frozen=True):
    """The tasks in a folder of YAML files; ``limit`` bounds the rows of each.

    ``chat`` asks with the release's prompt template and system prompt; without it the text goes in as it is. ``hub``
    lets tasks name a data set of the Hugging Face hub at a commit.
    """

    tasks: Annotated[str, Meta(min_length=1)]
    limit: Positive | None = None
    chat: bool = True
    hub: bool = False
