"""Integrated gradients of the log probability of an answer, through the trained model in torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from guideway.core.errors import SpecError
from guideway.pipeline.stages.explain.attribution import Floats, Token
from guideway.pipeline.stages.explain.gradients import OUTSIDE, Span, integrated_gradients, pooled
from guideway.replica.text import Text, render_chat


class AnswerGradients:
    """The language model in the Hugging Face folder *folder*, which the model that ships was made from."""

    def __init__(self, folder: Path) -> None:
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, dtype=torch.float32
        ).eval()
        self._model.requires_grad_(False)

    def weights(
        self, ids: Sequence[int], spans: Sequence[Span], tokens: Sequence[Token], answer: Sequence[int]
    ) -> Floats:
        """The weight of each token for *answer* after the prompt *ids*, which stand at *spans* of the text."""
        inside = [span != OUTSIDE for span in spans]
        embed, given = self._model.get_input_embeddings(), len(ids)
        wanted = torch.tensor(list(answer))
        after = embed(wanted[:-1])

        def score(prompts: torch.Tensor) -> torch.Tensor:
            whole = torch.cat([prompts, after.expand(len(prompts), -1, -1)], dim=1)
            logits = self._model(inputs_embeds=whole).logits[:, given - 1 :]
            logs = logits.log_softmax(dim=-1)
            found: torch.Tensor = logs.gather(-1, wanted.expand(len(prompts), -1)[..., None]).sum(dim=(1, 2))
            return found

        return pooled(integrated_gradients(score, embed(torch.tensor(list(ids))), inside), spans, tokens)


def placed(text: Text, turns: Sequence[dict[str, Any]], system: str) -> tuple[list[int], list[Span]]:
    """Token ids of a conversation, and where each stands in the content of its last turn.

    Raises:
        SpecError: the chat template changes that content, so that nothing can be placed in it.
    """
    whole, content = render_chat(text.template, turns, system, special=text.special), turns[-1]["content"]
    at = whole.rfind(content.strip())
    if at < 0:
        raise SpecError("the chat template changes the text, so gradients cannot be placed in it", try_this="occlusion")
    shift = at - (len(content) - len(content.lstrip()))
    encoded = text.tokenizer.encode(whole, add_special_tokens=False)
    return encoded.ids, [_inside(span, shift, len(content)) for span in encoded.offsets]


def placed_alone(text: Text, content: str) -> tuple[list[int], list[Span]]:
    """The same of a plain text."""
    encoded = text.tokenizer.encode(content)
    return encoded.ids or text.encode(content), encoded.offsets or [OUTSIDE]


def _inside(span: Span, shift: int, length: int) -> Span:
    start, end = max(0, span[0] - shift), min(length, span[1] - shift)
    return (start, end) if start < end else OUTSIDE
