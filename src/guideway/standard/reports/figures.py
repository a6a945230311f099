"""Figures: what was measured on the model, as tables with intervals, and in plain words for the public."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from guideway.core.artifact import short
from guideway.core.dossier import Proof
from guideway.core.evidence import Evidence
from guideway.standard.judge import number
from guideway.standard.reports.candidates import candidates
from guideway.standard.reports.drawn import (
    Drawn,
    baseline,
    day,
    expired,
    finite,
    proof,
    proofs,
    setting,
    sliced_metrics,
)
from guideway.standard.reports.page import Block, Paragraph, Table, Whisker, Whiskers
from guideway.standard.reports.words import Cell, Piece, Words, code, missing

METRICS: Mapping[str, Words] = {
    "exact_match": Words("answers that match exactly", "完全匹配的回答"),
    "accuracy": Words("texts in the right class", "分类正确的文本"),
    "macro_f1": Words("mean F1 of the classes", "各类别 F1 的均值"),
    "calibration_error": Words("expected calibration error", "期望校准误差"),
    "out_of_scope_recall": Words("found, of what is out of scope", "超出范围文本的检出率"),
    "out_of_scope_precision": Words("right, of what was said to be out of scope", "判为超出范围的文本中判断正确的比例"),
    "ndcg_at_10": Words("how high the right passages stand among the first ten", "正确段落在前十名中的排序质量"),
    "recall_at_1": Words("questions whose first passage is right", "首个段落即正确的问题"),
    "recall_at_5": Words("right passages among the first five", "前五名中找到的正确段落"),
    "mrr_at_10": Words("mean reciprocal rank of the first right passage", "首个正确段落的平均倒数排名"),
    "perplexity": Words("perplexity", "困惑度"),
    "loss": Words("loss", "损失"),
    "train_loss": Words("loss at the end of training", "训练结束时的损失"),
    "validation_loss": Words("loss on rows held out of training", "训练留出样本上的损失"),
    "teacher_loss": Words("the teacher's loss on the same rows", "教师模型在同样样本上的损失"),
    "distillation_gap": Words("the student's loss beyond its teacher's", "学生模型高出教师模型的损失"),
    "merge_gap": Words(
        "the merged model's loss beyond that of the model that learned", "合并后的模型高出训练所得模型的损失"
    ),
    "size_ratio": Words("weights, of the teacher's", "权重数与教师模型之比"),
    "tuning_trials": Words("trials of the search for parameters", "参数搜索的试验次数"),
    "tuning_folds": Words("folds that judged every trial", "评判每次试验的交叉验证折数"),
    "tuning_loss": Words("mean loss of the best trial over its folds", "最佳试验各折损失的平均值"),
    "tuning_gain": Words("loss that the best parameters save against the defaults", "最佳参数相对默认值降低的损失"),
    "mixture_share": Words("share of the training batches", "训练批次占比"),
    "epsilon": Words("privacy loss ε of every row", "每行数据的隐私损失 ε"),
    "epsilon_total": Words("privacy loss ε of every row in all trainings", "历次训练中每行数据的隐私损失 ε 之和"),
    "delta": Words("chance δ that the privacy bound fails", "隐私界失效的概率 δ"),
    "delta_total": Words("chance δ that a privacy bound fails, all trainings", "历次训练隐私界失效的概率 δ 之和"),
    "kl_to_source": Words("divergence from the trained model", "与训练后模型的散度"),
    "top1_flips": Words("first choices that changed", "首选词元改变的比例"),
    "model_bytes": Words("size of the weights", "权重大小"),
    "parity_difference": Words("largest difference of outputs", "输出的最大差异"),
    "parity_agreement": Words("outputs that agree", "输出一致的比例"),
    "non_finite_outputs": Words("outputs that are no number", "非数值输出"),
    "held_out_loss_spread": Words(
        "how far losses of parts of the held-out rows are apart", "留出样本各部分损失的离散程度"
    ),
    "cross_validated_spread": Words("how far folds are apart", "交叉验证各折的离散程度"),
    "drift_reference_rows": Words("prompts behind the reference for drift", "漂移参考所依据的提示数"),
    "outlier_share": Words("ordinary prompts beyond the bound for outliers", "被判为异常的平常提示比例"),
    "outlier_recall": Words("outliers found, of what is out of scope", "超出范围文本中被判为异常的比例"),
    "refusal_overlap": Words("prompts left out because they were learnt from", "因训练时见过而剔除的提示数"),
    "refusal_share": Words("refused, of what must be refused", "应拒答问题的拒答率"),
    "wrong_refusal_share": Words("refused, of what is harmless", "正常问题的误拒率"),
}
UNITS: Mapping[str, Words] = {
    "nats/token": Words("nats per token", "纳特/词元"),
    "nats/row": Words("nats per row", "纳特/行"),
    "rows": Words("rows", "行"),
    "prompts": Words("prompts", "条提示"),
    "bytes": Words("bytes", "字节"),
    "trials": Words("trials", "次试验"),
    "weights": Words("weights", "个权重"),
    "s": Words("s", "秒"),
}
COMPRESSION = ("kl_to_source", "top1_flips", "parity_difference", "parity_agreement")
SAY = {
    "accuracy": Words(
        "Of {n} texts that it had not seen (`{slice}`), it put {share} into the right class{around}.",
        "在 {n} 段它没有见过的文本（`{slice}`）中，{share} 的分类正确{around}。",
    ),
    "recall_at_1": Words(
        "For {share} of {n} questions that it had not seen (`{slice}`), what it found first was right{around}.",
        "在 {n} 个它没有见过的问题（`{slice}`）中，{share} 的首个检索结果是正确的{around}。",
    ),
    "exact_match": Words(
        "Of {n} questions that it had not seen (`{slice}`), it answered {share} exactly as expected{around}.",
        "在 {n} 个它没有见过的问题上（`{slice}`），{share} 的回答与期望完全一致{around}。",
    ),
    "perplexity": Words(
        "On text that it had not seen (`{slice}`), it was on average as unsure as if it had to choose blindly among"
        " {value} pieces of words{around}; fewer is better.",
        "在它没有见过的文本上（`{slice}`），它平均的不确定程度相当于在 {value} 个词元之间随意选择{around}；越少越好。",
    ),
}
BUILD_FIRST = Words(
    "`guideway build` measures every split of `data.splits`.", "`guideway build` 会测量 `data.splits` 的每个拆分。"
)
WITH_BASELINE = Words("{metric}: value, interval, and the baseline (dashed)", "{metric}：数值、区间与基线（虚线）")
ALONE = Words("{metric}: value and interval", "{metric}：数值与区间")
REPORTED = Words(" (reported, not judged)", "（仅报告，不评判）")
NONE = Words("not measured", "未测量")


def label(metric: str) -> tuple[Piece, ...]:
    """The name of a metric for people, and the one in the evidence."""
    return (METRICS[metric], " ", code(metric)) if metric in METRICS else (code(metric),)


def value(evidence: Evidence, at: float) -> tuple[Piece, ...]:
    """The value with its unit; and since when it no longer counts."""
    shown: tuple[Piece, ...] = (number(evidence.value),)
    if evidence.unit == "bytes":
        shown = (f"{evidence.value / 1e6:,.1f} MB",)
    elif evidence.unit and evidence.unit != "share":
        shown += (" ", UNITS.get(evidence.unit, evidence.unit))
    if expired(evidence, at):
        shown += (Words(" (expired {day})", "（已于 {day} 过期）").fill(day=day(evidence.valid_until or 0.0)),)
    return shown


def interval(evidence: Evidence) -> Cell:
    """``0.91 to 0.95``, at which level and by which method."""
    found = evidence.interval
    if found is None:
        return Words("none", "无")
    bounds = {"low": number(found.low), "high": number(found.high)}
    return Words("{low} to {high} ({level}, {how})", "{low} 至 {high}（{level}，{how}）").fill(
        **bounds, level=_percent(found.level), how=found.method
    )


def evaluation(drawn: Drawn) -> tuple[Block, ...]:
    """Every figure of every held-out slice, beside the baseline and the model before compression."""
    metrics = sliced_metrics(drawn.dossier)
    if not metrics:
        return (Paragraph(missing(BUILD_FIRST)),)
    columns = (
        Words("Slice", "切片"),
        Words("Figure", "指标"),
        Words("Model that ships", "上线模型"),
        Words("Interval", "区间"),
        Words("n", "样本数"),
        Words("Simple baseline", "简单基线"),
        Words("Before compression", "压缩前"),
        Words("Proof", "证据"),
    )
    rows = [_row(drawn, one) for metric in metrics for one in proofs(drawn.dossier, metric, "shipped")]
    return (Table(columns, tuple(rows)), *pictures(drawn))


def pictures(drawn: Drawn, only: Collection[str] | None = None) -> tuple[Whiskers, ...]:
    """The same as drawings: one for each metric that has intervals, or for those of *only*."""
    found = []
    for metric in sliced_metrics(drawn.dossier):
        measured = [one.evidence for one in proofs(drawn.dossier, metric, "shipped")]
        rows = tuple(filter(None, (_whisker(drawn, one) for one in measured)))
        if rows and (only is None or metric in only):
            title = WITH_BASELINE if any(one.against is not None for one in rows) else ALONE
            found.append(Whiskers(title.fill(metric=METRICS.get(metric, metric)), rows))
    return tuple(found)


def compression(drawn: Drawn) -> tuple[Block, ...]:
    """What compression changed; a paragraph says so when nothing was compressed, or when it was not measured."""
    dossier = drawn.dossier
    if dossier.ships == "train":
        said = Words("The model ships as it was trained; nothing was compressed.", "模型按训练结果直接上线，未经压缩。")
        return (Paragraph(said),)
    found = [one for metric in (*COMPRESSION, "model_bytes") for one in proofs(dossier, metric, "shipped")]
    if not found:
        return (
            Paragraph(missing(Words("`guideway build` compares both models.", "`guideway build` 会比较两个模型。"))),
        )
    columns = (
        Words("Figure", "指标"),
        Words("Value", "数值"),
        Words("Interval", "区间"),
        Words("n", "样本数"),
        Words("Proof", "证据"),
    )
    rows = [
        (
            label(one.evidence.metric),
            value(one.evidence, drawn.at),
            interval(one.evidence),
            _n(one.evidence),
            _code(one),
        )
        for one in found
    ]
    return (Table(columns, tuple(rows)), *candidates(drawn))


def in_plain_words(drawn: Drawn) -> tuple[Cell, ...]:
    """One sentence for each figure that means something to everybody, and one for its baseline."""
    found: list[Cell] = []
    for metric, words in SAY.items():
        for one in proofs(drawn.dossier, metric, "shipped"):
            simple = baseline(drawn.dossier, one.evidence)
            said = _sentence(words, one.evidence)
            found.append(said if simple is None else (said, " ", _against(simple)))
    flips = proof(drawn.dossier, "top1_flips", "shipped")
    if flips is not None:
        words = Words(
            "To run faster it was made smaller; at {share} of the places looked at, its first choice changed.",
            "为了更快运行，模型经过压缩；在所检查的位置中，{share} 的首选发生了变化。",
        )
        found.append(words.fill(share=_percent(flips.evidence.value)))
    return tuple(found)


def _sentence(words: Words, evidence: Evidence) -> Words:
    around: Words | str = ""
    if evidence.interval is not None:
        low, high = evidence.interval.low, evidence.interval.high
        show = _percent if evidence.unit == "share" else number
        around = Words(
            " (with {level} confidence between {low} and {high})",
            "（在 {level} 的置信水平下介于 {low} 与 {high} 之间）",
        ).fill(level=_percent(evidence.interval.level), low=show(low), high=show(high))
    return words.fill(
        n=f"{evidence.n:,}",
        slice=evidence.slice,
        share=_percent(evidence.value),
        value=number(evidence.value),
        around=around,
    )


def _against(simple: Evidence) -> Words:
    show = _percent if simple.unit == "share" else number
    words = Words(
        "A simple method without a neural network reached {value} there.",
        "在同一处，不用神经网络的简单方法达到 {value}。",
    )
    return words.fill(value=show(simple.value))


def _row(drawn: Drawn, one: Proof) -> tuple[Cell, ...]:
    evidence, dossier = one.evidence, drawn.dossier
    simple = baseline(dossier, evidence)
    before = [found.evidence for found in proofs(dossier, evidence.metric, "train") if dossier.ships != "train"]
    same = next((found for found in before if found.slice == evidence.slice), None)
    judged = setting(dossier, "data", "splits", evidence.slice, "judged") is not False
    return (
        (code(evidence.slice),) if judged else (code(evidence.slice), REPORTED),
        label(evidence.metric),
        value(evidence, drawn.at),
        interval(evidence),
        _n(evidence),
        number(simple.value) if simple else NONE,
        number(same.value) if same else NONE,
        _code(one),
    )


def _whisker(drawn: Drawn, evidence: Evidence) -> Whisker | None:
    found, simple = evidence.interval, baseline(drawn.dossier, evidence)
    if found is None or not all(map(finite, (evidence.value, found.low, found.high))):
        return None
    against = simple.value if simple and finite(simple.value) else None
    return Whisker(evidence.slice, evidence.value, found.low, found.high, against)


def _n(evidence: Evidence) -> str:
    return f"{evidence.n:,}" if evidence.n else "–"


def _code(one: Proof) -> Cell:
    return code(short(one.digest))


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
