"""lm-eval with our model as its own: the only module that knows the library, which is in an environment apart."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import lm_eval.utils
from datasets.features.features import _FEATURE_TYPES
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager

from guideway.core.errors import GuidewayError
from guideway.core.spec.suites import Suite
from guideway.pipeline.stages.evaluate.speaker import Speaker
from guideway.pipeline.stages.suites.fence import Fence
from guideway.pipeline.stages.suites.likelihood import Reader
from guideway.pipeline.stages.suites.tasks import Task

Found = TypeVar("Found")
BOOTSTRAP = 1000
ANSWER = 256
"""Tokens of an answer where a task says nothing."""
MEDIA = ("Image", "Audio", "Video", "Pdf", "Nifti", "Mesh")
"""Columns whose cells may name a file or an address instead of holding it; reading such a row would open that."""
SEED = 1234
"""For the examples that are shown before a question."""


def asked(suite: Suite, tasks: Sequence[Task], speaker: Speaker, *, chat: bool, say: Callable[[], None]) -> Any:
    """What lm-eval finds: its results, with every sample. *say* is called now and then.

    Raises:
        GuidewayError: a task does not work, with its name.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    _fence()
    loaded: dict[str, dict[str, Any]] = {"tasks": {}, "groups": {}, "group_map": {}}
    for task in tasks:
        made = _made(task)
        for one in made.values():
            if one.get_config("num_fewshot") is None:
                one.set_config(key="num_fewshot", value=0)
            one.set_fewshot_seed(seed=SEED)
        loaded["tasks"] |= made
    model = OurModel(speaker, chat=chat, say=say)
    return _guarded(
        ", ".join(task.name for task in tasks),
        lambda: evaluate(
            lm=model,
            task_dict=loaded,
            limit=suite.limit,
            bootstrap_iters=BOOTSTRAP,
            log_samples=True,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
        ),
    )


def _made(task: Task) -> dict[str, Any]:
    """The task of the library, with its data read."""

    def load() -> dict[str, Any]:
        found: dict[str, Any] = TaskManager(include_defaults=False).load([dict(task.config)])["tasks"]
        return found

    return _guarded(task.name, load)


class OurModel(LM):  # type: ignore[misc]
    """The model of lm-eval that is the release."""

    tokenizer_name = "release"

    def __init__(self, speaker: Speaker, *, chat: bool, say: Callable[[], None]) -> None:
        super().__init__()
        self._speaker, self._say = speaker, say
        self._reader = Reader(speaker, chat=chat)

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """For each context and continuation."""
        return [self._told(self._reader.continuation(*one.args)) for one in requests]

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """For each text."""
        return [self._told(self._reader.whole(one.args[0])) for one in requests]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """For each context; those that ask alike go together. Always greedy, as the evaluation of a release is."""
        found = [""] * len(requests)
        alike: dict[tuple[int, tuple[str, ...]], list[int]] = {}
        for at, one in enumerate(requests):
            alike.setdefault(_wish(one.args[1]), []).append(at)
        for (most, stop), places in alike.items():
            said = self._reader.answers([requests[at].args[0] for at in places], most, stop)
            for at, answer in zip(places, said, strict=True):
                found[at] = self._told(answer)
        return found

    def apply_chat_template(self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        """The conversation as the release writes it; its system prompt stands first."""
        voice = self._speaker.voice
        return voice.text.chat(chat_history, voice.system)

    def _told(self, found: Found) -> Found:
        self._say()
        return found


def _wish(said: Mapping[str, Any]) -> tuple[int, tuple[str, ...]]:
    until = said.get("until") or ()
    stop = (until,) if isinstance(until, str) else tuple(until)
    return int(said.get("max_gen_toks", ANSWER)), tuple(one for one in stop if one)


def _guarded(names: str, work: Callable[[], Found]) -> Found:
    """*work*, with the library's errors as one line."""
    try:
        return work()
    except GuidewayError:
        raise
    except Exception as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        advice = "do its templates name fields of the data, and its splits those of dataset_kwargs?"
        raise GuidewayError(f"lm-eval cannot run it: {first}", where=f"task {names}", try_this=advice) from error


@dataclass
class _Media:
    """Stands where a column of media would be made: the library looks for a name that is missing elsewhere too."""

    def __post_init__(self) -> None:
        raise ValueError("a column of pictures, sounds or documents is no text")


def _fence() -> None:
    """Templates of tasks read their row, and rows are texts and numbers: reading one opens no file and no address."""
    lm_eval.utils.env = Fence(lm_eval.utils.env.filters)
    _FEATURE_TYPES.update(dict.fromkeys(MEDIA, _Media))
