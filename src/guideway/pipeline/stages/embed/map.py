"""The map of the embeddings as one page in English and Chinese: where the model that ships sees the texts."""

from __future__ import annotations

from typing import NamedTuple

from guideway.pipeline.stages.explain.page import page_of_maps
from guideway.pipeline.stages.explain.places import maps
from guideway.replica.embedder import Embeddings
from guideway.standard.reports.words import Words

TITLE = Words("Where the model sees the texts", "模型眼中的文本分布")
LABELS = Words(
    "Each point is a text, coloured by its label. Texts that the model takes for alike stand together: a label whose"
    " points are spread, or lie among those of others, is one that it cannot tell.",
    "每个点是一段文本，颜色表示标签。模型认为相近的文本会聚在一起：某个标签的点若分散或混入其他标签，说明模型难以区分它。",
)
KINDS = Words(
    "Each point is a question or a passage, coloured by kind and split. Held-out questions that stand apart from all"
    " passages ask for what the passages do not say, or in words that the model does not know.",
    "每个点是一个问题或一段文字，颜色表示种类与所属拆分。远离所有段落的留出问题，要么问的是段落里没有的内容，要么用了模型不熟悉的说法。",
)
LIMITS = Words(
    "A map has two dimensions and the embeddings have hundreds: what is near here need not be near there.",
    "图只有两维，而向量有数百维：图上相近不等于实际相近。",
)


class Placed(NamedTuple):
    """Embeddings [texts, width], and the group of each: its label where there are labels, or else its kind."""

    places: Embeddings
    groups: list[str]
    by_label: bool


def page(placed: Placed, seed: int) -> str:
    """The page."""
    found = maps(placed.places, placed.groups, seed)
    return page_of_maps(TITLE, (LABELS if placed.by_label else KINDS, LIMITS), found)
