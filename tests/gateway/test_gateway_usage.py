"""The tokens that events tell."""

from __future__ import annotations

import pytest

from guideway.gateway.usage import Usage, of_events

NULL = b'data: {"choices":[{"delta":{"content":"\\"usage\\":1"}}],"usage":null}\n\n'
TOLD = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
BOTH = b'data: {"choices":[{"text":"a"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'


@pytest.mark.parametrize(
    ("events", "found", "passed"),
    [
        (NULL, None, NULL),
        (NULL + NULL, None, NULL + NULL),
        (NULL + TOLD, Usage(3, 2), NULL),
        (NULL + BOTH, Usage(3, 2), NULL + BOTH),
    ],
)
def test_usage_is_found_among_events_that_tell_none(events, found, passed):
    assert of_events(events, strip=True) == (found, passed)
