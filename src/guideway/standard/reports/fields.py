"""Fields: one thing that a report tells, where it is drawn from, and what to do when there is nothing to draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from guideway.core.artifact import short
from guideway.standard.judge import number
from guideway.standard.reports.drawn import (
    Drawn,
    architecture,
    day,
    distributions,
    document,
    parameters,
    policy,
    proof,
    setting,
    shipped,
    training,
)
from guideway.standard.reports.page import Facts
from guideway.standard.reports.words import Cell, Words, code, missing


class Field(NamedTuple):
    """``draw`` gives None where there is no evidence; ``how`` says what would leave some."""

    name: str
    label: Words
    draw: Callable[[Drawn], Cell | None]
    how: Words


def facts(fields: Sequence[Field], drawn: Drawn) -> Facts:
    """Every field with its value, or with what is missing."""
    return Facts(tuple((field.label, shown(field, drawn)) for field in fields))


def shown(field: Field, drawn: Drawn) -> Cell:
    """The value of one field, or what is missing."""
    found = field.draw(drawn)
    return missing(field.how) if found is None else found


def lacking(fields: Sequence[Field], drawn: Drawn) -> tuple[Field, ...]:
    """The fields without a value."""
    return tuple(field for field in fields if field.draw(drawn) is None)


BUILD = Words("Run `guideway build`.", "运行 `guideway build`。")
SEAL = Words("`guideway build` seals a release.", "`guideway build` 会封装发布。")


def _policy(key: str, en: str, zh: str) -> Field:
    how = Words(f"Fill in `policy.{key}` and build again.", f"请填写 `policy.{key}` 并重新构建。")
    return Field(key, Words(en, zh), lambda drawn: policy(drawn.dossier, key), how)


def _train(key: str, en: str, zh: str) -> Field:
    def draw(drawn: Drawn) -> Cell | None:
        found = training(drawn.dossier).get(key)
        return None if found is None else code(str(found))

    return Field(f"train_{key}", Words(en, zh), draw, BUILD)


def _shape(key: str, en: str, zh: str) -> Field:
    def draw(drawn: Drawn) -> Cell | None:
        found = architecture(drawn.dossier).get(key)
        return None if found is None else code(str(found))

    return Field(f"model_{key}", Words(en, zh), draw, BUILD)


def _release(drawn: Drawn) -> Cell | None:
    release = drawn.dossier.release
    return code(f"{release.name}:{release.number}") if release else None


def _digest(drawn: Drawn) -> Cell | None:
    return code(drawn.dossier.release.digest) if drawn.dossier.release else None


def _sealed(drawn: Drawn) -> Cell | None:
    return day(drawn.dossier.release.created) if drawn.dossier.release else None


def _size(drawn: Drawn) -> Cell | None:
    release = drawn.dossier.release
    if release is None or not release.files:
        return None
    return Words("{mb} MB in {n} files", "{mb} MB，共 {n} 个文件").fill(
        mb=f"{release.size / 1e6:,.1f}", n=len(release.files)
    )


def _predecessor(drawn: Drawn) -> Cell | None:
    dossier = drawn.dossier
    if dossier.release is None:
        return None
    if dossier.previous is None:
        return Words("none: this is the first release", "无：这是首个发布")
    return code(f"{dossier.previous.name}:{dossier.previous.number}")


def _model(drawn: Drawn) -> Cell | None:
    found = shipped(drawn.dossier)
    return code(found) if found else None


def _base(drawn: Drawn) -> Cell | None:
    base = setting(drawn.dossier, "train", "teacher") or setting(drawn.dossier, "train", "base")
    if base is not None:
        return code(str(base))
    scratch = setting(drawn.dossier, "train", "recipe") == "scratch"
    return Words("none: trained from random weights", "无：从随机权重开始训练") if scratch else None


def _loss(drawn: Drawn) -> Cell | None:
    found = proof(drawn.dossier, "train_loss", "train")
    if found is None:
        return None
    words = Words("{loss} nats per token after {n} steps", "{n} 步之后为 {loss} 纳特/词元")
    return words.fill(loss=number(found.evidence.value), n=f"{found.evidence.n:,}")


def _parameters(drawn: Drawn) -> Cell | None:
    found = parameters(drawn.dossier)
    return f"{found:,}" if found else None


def _precision(drawn: Drawn) -> Cell | None:
    if drawn.dossier.ships == "train" and shipped(drawn.dossier):
        return Words("as trained", "与训练时相同")
    found = setting(drawn.dossier, "compress", "precision")
    return code(str(found)) if found else None


def _engine(drawn: Drawn) -> Cell | None:
    found = document(drawn.dossier, "serve.json", "engine") or setting(drawn.dossier, "serve", "engine")
    return code(str(found)) if found else None


def _decoding(drawn: Drawn) -> Cell | None:
    found = document(drawn.dossier, "serve.json", "decoding") or setting(drawn.dossier, "serve", "decoding")
    if not found:
        return None
    return code(", ".join(f"{name}={value}" for name, value in sorted(found.items()) if value not in (None, [], ())))


def _task(drawn: Drawn) -> Cell | None:
    found = setting(drawn.dossier, "task")
    return code(str(found)) if found else None


def _software(drawn: Drawn) -> Cell | None:
    found = distributions(drawn.dossier)
    return code(", ".join(f"{name}=={version}" for name, version in found)) if found else None


def _signers(drawn: Drawn) -> Cell | None:
    names = sorted({one.signer for one in drawn.dossier.proofs if one.signer and one.envelope})
    return ", ".join(names) or None


def _commit(drawn: Drawn) -> Cell | None:
    """The commit as evidence names it; its digest where no evidence does."""
    found = drawn.dossier.subjects.get("code")
    sources = [one.evidence.source for one in drawn.dossier.proofs if one.evidence.source is not None]
    named = next((one.role for one in sources if one.kind == "code" and one.digest == found and one.role), None)
    return code(named or short(found)) if found else None


INTENDED_USE = _policy("intended_use", "Intended use", "预期用途")
LIMITS = _policy("limits", "Limits", "局限")
OVERSIGHT = _policy("oversight", "How people step in", "人工干预方式")
CONTACT = _policy("contact", "Whom to ask", "联系方")
LICENCE = _policy("licence", "Licence", "许可证")
RELEASE = Field("release", Words("Release", "发布"), _release, SEAL)
DIGEST = Field("digest", Words("Digest", "摘要"), _digest, SEAL)
SEALED = Field("sealed", Words("Sealed", "封装日期"), _sealed, SEAL)
SIZE = Field("size", Words("Size", "大小"), _size, SEAL)
PREDECESSOR = Field("predecessor", Words("Release before", "上一个发布"), _predecessor, SEAL)
MODEL = Field("model", Words("Model that ships", "上线模型"), _model, BUILD)
TASK = Field("task", Words("Task", "任务"), _task, BUILD)
BASE = Field(
    "base",
    Words("Base model or teacher", "基座模型或教师模型"),
    _base,
    Words("State `train.recipe`.", "请写明 `train.recipe`。"),
)
PRECISION = Field("precision", Words("Precision", "精度"), _precision, BUILD)
ENGINE = Field("engine", Words("Engine", "推理引擎"), _engine, BUILD)
DECODING = Field("decoding", Words("Decoding", "解码设置"), _decoding, BUILD)
SOFTWARE = Field("software", Words("Software", "软件"), _software, BUILD)
SIGNERS = Field("signers", Words("Evidence signed by", "证据签名者"), _signers, BUILD)
COMMIT = Field("commit", Words("Code", "代码"), _commit, Words("Build from a git commit.", "从 git 提交构建。"))
LOSS = Field("train_loss", Words("Loss at the end", "最终损失"), _loss, BUILD)
PARAMETERS = Field("parameters", Words("Weights", "权重数量"), _parameters, BUILD)
TRAINING = (
    _train("recipe", "Recipe", "训练方式"),
    BASE,
    _train("steps", "Steps", "步数"),
    _train("batch", "Rows per batch", "每批行数"),
    _train("learning_rate", "Learning rate", "学习率"),
    _train("warmup", "Warm-up steps", "预热步数"),
    _train("weight_decay", "Weight decay", "权重衰减"),
    _train("seed", "Seed", "随机种子"),
    LOSS,
)
SHAPE = (
    _shape("family", "Family", "架构家族"),
    PARAMETERS,
    _shape("layers", "Layers", "层数"),
    _shape("hidden", "Width", "隐藏维度"),
    _shape("heads", "Attention heads", "注意力头数"),
    _shape("vocabulary", "Vocabulary", "词表大小"),
    _shape("context", "Context in tokens", "上下文长度（词元）"),
)
HEADER = (RELEASE, DIGEST, SEALED)
