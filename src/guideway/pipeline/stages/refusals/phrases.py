"""What an answer says when it refuses, in English and Chinese: data for the recogniser.

Texts are compared in small letters, NFKC, with plain apostrophes and single spaces. A refusal is an inability or an
unwillingness of the speaker together with what is not done: "I can't wait" is none. Pieces are regular expressions.
"""

from __future__ import annotations


def _any(text: str) -> str:
    """One of the lines of *text*."""
    return "(?:" + "|".join(line.strip() for line in text.strip().splitlines()) + ")"


_NOT = r"(?: not|n't)"
_CANNOT = _any(rf"""
(?:can|could|won|will|would|should|do)(?:'?t|{_NOT})
cannot
(?:am|'m|are|'re) not (?:able|allowed|permitted|willing|going|comfortable|in a position)(?: to| with)?
(?:do not|don't) feel (?:comfortable|right)(?: about)?
(?:am|'m|are|'re) (?:unable|unwilling|prohibited from|forbidden)(?: to)?
(?:must|may) not
""")
_SOFTLY = r"(?:,? {},?)*".format(
    _any("""
in good conscience
(?:ethically|legally|responsibly|really|directly|simply|actually|knowingly|ever|unfortunately)
(?:and|or) (?:won't|will not)
be(?: able to)?
""")
)
_DO = _any(r"""
help\b(?! (?:but|thinking|noticing|wondering|feeling|myself))
(?:assist|provid|support|compl[yi]|fulfil|answer|creat|writ|generat|produc|shar|discuss)
do (?:that|this|so|it|what)
giv(?:e|ing) (?:you|out|advice|instructions|guidance|information|details|any)
(?:engage|participat|offer|encourag|condone|promot|facilitat|advis|teach|process|accept|proceed|entertain|contribut)
(?:recommend|describe|outline|draft|develop|carry out|perform|execute|endorse|allow|aid|talk about|touch|take part)
(?:suggest ways|explain how|tell you (?:how|that)|show you how|walk you through|respond to|speak to|comment on)
(?:continue with|go along|go into|get involved|be part|be involved|make (?:that|this|such))
""")
_SORRY = r"(?:(?:i'?m |i am )?(?:so |very |really )?sorry|apologies|unfortunately|no)"
_REQUEST = r"(?:this|your|that|such a|the) (?:request|question|prompt)s?"
_RULES = r"(?:guidelines?|polic(?:y|ies)|principles|programming|rules|values|terms|safety|purpose)"

ENGLISH = (
    rf"\b(?:i|we) ?{_CANNOT}{_SOFTLY} (?:to |with )?{_DO}",
    rf"^{_SORRY}[,.!: -]+(?:but )?(?:{_CANNOT}|unable to|not able to){_SOFTLY} {_DO}",
    r"^no[,.!]? (?:i|we) (?:can'?t|cannot|won'?t|will not|refuse)\b",
    rf"^(?:{_SORRY}[,.]? (?:but )?)?(?:i|we) (?:can'?t|cannot|won'?t|will not)[.!]?$",
    r"\b(?:i|we)(?:'ll| will|'m going| am going)?(?: must| have to| need to| to)?,?(?: respectfully| politely| firmly)?"
    r" (?:decline|refuse|refrain)\b(?! in\b)",
    r"\bi(?:'d| would) (?:rather|prefer) not\b",
    rf"\b(?:against|violat\w+|contrary to|conflicts? with|outside) (?:of )?(?:my|our|the|these) (?:\w+ )?{_RULES}\b",
    rf"\b{_REQUEST} (?:can ?not|can't|could not|will not|won't|is not|isn't|may not|must not|are not) (?:be )?"
    r"(?:answered|fulfilled|processed|allowed|permitted|supported|something i|appropriate|completed)",
    rf"\b(?:is|are|that's|it's){_NOT} something (?:that )?(?:i|we)(?:'m|'re| can| will| could| am| are| want| feel)\b",
    r"\bthat'?s not something (?:that )?(?:i|we)\b",
    r"\b(?:outside|beyond) (?:of )?what (?:i|we) (?:can|am able|will|do)\b",
    r"\bthere(?:'s| is) no way (?:i|we)(?:'m|'ll| am| will| would| can)\b",
    r"\b(?:i|we) have no (?:comment|intention of)\b",
)
_UNABLE = "(?:不能|无法|不可以|没法|没有?办法|不会|不便|不愿|不想|拒绝|不应该?|不得|不予|不方便|难以)"
_ACT = (
    "(?:帮|协助|提供|回答|回应|满足|支持|完成|参与|生成|编写|撰写|写|讨论|告诉|给出|给您|给你|分享|解答|执行|处理"
    "|这样做|这么做|做这|照办|配合|继续|教|说明|透露|鼓励|谈论|涉及|遵从|服从|创作|制作|答复)"
)
CHINESE = (
    rf"(?:抱歉|对不起|不好意思|很遗憾|遗憾的是|恕我|恕)[^。!?]{{0,24}}{_UNABLE}(?!等)",
    rf"(?:我|我们|本助手|本系统|作为[^,。]{{0,14}},?)[^。,!?]{{0,8}}{_UNABLE}[^。,!?]{{0,10}}{_ACT}",
    rf"^{_UNABLE}(?:为您|为你|向您|向你|就此|对此|这个|此)?{_ACT}",
    r"(?:这|该|此|您的|你的)(?:个|一|类|种|项|些)?(?:请求|问题|要求|内容|话题|行为)[^。!?]{0,12}"
    r"(?:违反|违法|违规|不合适|不允许|无法|不能|不予|超出|不便)",
    r"(?:拒绝|谢绝)(?:回答|提供|协助|这|该|您|你)",
    r"(?:超出|违反|违背)了?(?:我|我们|相关|安全|使用|平台)[^。]{0,10}(?:范围|规定|准则|原则|政策|规范)",
    "无可奉告",
)
