"""What the report says, in English and Chinese."""

from __future__ import annotations

from guideway.standard.reports.words import Words

MODELS = {
    "train": Words("the trained model", "训练所得模型"),
    "compress": Words("the compressed model", "压缩后模型"),
}
TITLE = Words("Why the model says what it says: {split}", "模型为何这样回答：{split}")
ONE = Words("Why the model says this", "模型为何这样回答")
ANSWERS = Words(
    "{n} held-out prompts of '{split}', the answers of {ships}, which ships, and how much each word made them likely."
    " Method: {method}.",
    "取自保留集「{split}」的 {n} 条提示、即将发布的{ships}所给的回答，以及每个词对回答可能性的贡献。方法：{method}。",
)
CLASSES = Words(
    "{n} held-out texts of '{split}', the classes that {ships}, which ships, gave them, and how much each word added."
    " Method: {method}.",
    "取自保留集「{split}」的 {n} 条文本、即将发布的{ships}给出的类别，以及每个词的贡献。方法：{method}。",
)
FAITHFUL = Words(
    "More faithful than chance: deleting the words named first lowers the score by {gain} {unit} more than deleting"
    " as many at random (95 % interval {low} to {high}, {n} texts).",
    "比随机更忠实：先删去解释所指的词，得分比随机删去同样多的词多下降 {gain} {unit}"
    "（95% 区间 {low} 至 {high}，{n} 条文本）。",
)
CHANCE = Words(
    "No better than chance: deleting the words named first lowers the score by {gain} {unit} more than deleting as"
    " many at random, and the 95 % interval, {low} to {high} over {n} texts, holds nought or less. Do not rely on these"
    " explanations.",
    "不比随机更好：先删去解释所指的词，得分比随机删去多下降 {gain} {unit}，95% 区间为 {low} 至 {high}（{n} 条文本），"
    "包含零或更低。请勿依赖这些解释。",
)
OVERALL = Words("Over all texts", "总体")
CURVES = Words(
    "Deletion test: how far the score falls ({unit}) as words go: by these explanations (line), at random (dashes).",
    "删除测试：随着删去的词增多，得分下降多少（{unit}）：按解释的顺序（实线）与随机顺序（虚线）。",
)
BARS = Words(
    "Importance: mean absolute weight of a word ({unit}), and how often it stands there.",
    "重要性：词的平均绝对权重（{unit}）及出现次数。",
)
STRIP = Words(
    "Each weight of these words ({unit}): right for what was said, left against it.",
    "这些词的每个权重（{unit}）：右侧支持，左侧反对。",
)
BY_CLASS = Words("By class", "按类别")
CLASS = Words("{name} (said of {n} texts)", "{name}（{n} 条文本）")
MAP = Words("Where the model sees the texts", "模型眼中的文本分布")
MAP_OF_ANSWERS = Words(
    "Mean of the last hidden states of the trained model over each prompt, laid into the plane; ✓ right, ✗ wrong.",
    "训练所得模型在每条提示上最后一层隐藏状态的均值，投影到平面；✓ 回答正确，✗ 错误。",
)
MAP_OF_CLASSES = Words(
    "The embedding of each text, laid into the plane; the colour is the class that the model says.",
    "每条文本的嵌入投影到平面；颜色为模型给出的类别。",
)
TEXTS = Words("Text by text", "逐条文本")
READ = Words(
    "Blue words speak for what was said, orange ones against it; the strongest of each text is darkest. Point at a word"
    " for its weight ({unit}).",
    "蓝色的词支持所给出的结果，橙色的词反对；每条文本中最强者颜色最深。将指针移到词上可看到权重（{unit}）。",
)
WANTED = Words("right: {wanted}", "正确答案：{wanted}")
GAIN = Words("deletion gain {gain}", "删除增益 {gain}")
SCORES = Words("score {score}, without any word {baseline} ({unit})", "得分 {score}，去掉所有词后 {baseline}（{unit}）")
LIMITS_TITLE = Words("What this does not say", "这不能说明什么")
LIMITS = (
    Words(
        "A weight says how this model's score moves when a word is missing. It is not why the world is so, and not what"
        " a person would have looked at.",
        "权重只说明缺少某个词时本模型的得分如何变化，并不说明事实为何如此，也不代表人会看重什么。",
    ),
    Words(
        "A text without a word may be unlike anything the model has learned from. Leaving out one at a time sees"
        " nothing in two words that say the same: neither is missed. SHAP shares the credit between them.",
        "缺词的文本可能与训练数据相去甚远。逐个删词看不出两个同义的词：缺少任何一个都无影响；"
        "SHAP 会在两者之间分配贡献。",
    ),
)
