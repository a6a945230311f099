"""Whom the operating system takes us for."""

from __future__ import annotations

import os
import pwd


def user_name() -> str:
    """The name of the user that this process acts as, or ``uid 1234`` where it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # in a container, for instance
        return f"uid {os.geteuid()}"
