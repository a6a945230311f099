"""Questions and passages that a tiny encoder learns to bring together in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from classify_rig import make_encoder
from stage_rig import COLOURS, spec_of, write_jsonl

from guideway.core.spec import Spec

ASKED = ("what colour has the {}", "which colour is a {}", "name the colour of {}", "how does some {} look to you")
TRAIN = {"recipe": "full", "base": "base", "steps": 60, "batch": 12, "learning_rate": 3e-3, "warmup": 3}


def faq_rows() -> list[dict[str, Any]]:
    """Four questions about each of twelve things, whose passage is the same; ``form`` numbers the questions."""
    return [
        {"prompt": form.format(thing), "response": f"everybody knows that {thing} is {colour}", "form": str(number)}
        for thing, colour in COLOURS.items()
        for number, form in enumerate(ASKED)
    ]


def faq_spec(**parts: Any) -> Spec:
    """The last form of every question is held out."""
    splits = {"test": {"by": ["form"], "values": ["3"]}}
    return spec_of(**{"task": "embed", "data": data_of(splits=splits), "train": TRAIN} | parts)


def data_of(**parts: Any) -> dict[str, Any]:
    return {"sources": [{"path": "rows.jsonl"}], **parts}


def make_faq(root: Path) -> Path:
    """The rows and the encoder in *root*."""
    write_jsonl(root / "rows.jsonl", faq_rows())
    make_encoder(root / "base", [text for row in faq_rows() for text in (row["prompt"], row["response"])])
    return root
