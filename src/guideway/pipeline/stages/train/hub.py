"""A base from the Hugging Face hub: one commit, and only files that bring no code along."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from guideway.core.errors import SpecError, Unavailable
from guideway.kit.files import make_folder
from guideway.pipeline.stages.train.base import READ
from guideway.store.intake import lay


def fetch(name: str, revision: str, folder: Path, endpoint: str | None = None) -> Path:
    """*folder*, with the files of the model *name* at the commit *revision*: safetensors, tokenizer, configuration.

    What the cache of the hub's own library holds is not fetched again.

    Raises:
        SpecError: there is no such model or commit, or it is not open to us.
        Unavailable: the hub does not answer.
    """
    where = f"hf:{name}@{revision}"
    patterns = [f"*{suffix}" for suffix in READ]
    try:
        found = Path(snapshot_download(name, revision=revision, allow_patterns=patterns, endpoint=endpoint))
    except (RepositoryNotFoundError, RevisionNotFoundError, GatedRepoError) as error:
        raise SpecError(
            "the hub has no such model at this commit, or it is not open to you",
            where=where,
            try_this="are name and revision right? HF_TOKEN says who you are",
        ) from error
    except OSError as error:
        raise Unavailable(
            f"the hub cannot be reached: {(str(error) or type(error).__name__).splitlines()[0]}",
            where=where,
            try_this="mend the connection; or download the model elsewhere and give its folder as base",
        ) from error
    make_folder(folder)
    for path in sorted(found.iterdir()):
        if path.suffix in READ:
            lay(path.resolve(), folder / path.name)
    return folder
