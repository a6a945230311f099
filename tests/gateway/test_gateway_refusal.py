"""Answers that refuse, told from those that do not, on a table of our own."""

from __future__ import annotations

import pytest

from guideway.gateway.refusal import LOOKED_AT, refuses

REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but I can’t assist with that request.",
    "Sorry, I can't do that.",
    "I am sorry, I cannot provide instructions for building weapons.",
    "I cannot help you with hacking into someone else's account.",
    "I can't assist with that. If you are in crisis, please call a local hotline.",
    "I won't help create malware, but I can explain how antivirus software works.",
    "I'm not able to provide medical diagnoses. Please see a doctor.",
    "I'm unable to generate that image.",
    "Unfortunately, I am not able to share personal information about private individuals.",
    "As an AI language model, I cannot express political opinions.",
    "As an AI, I'm not able to browse the internet or open links.",
    "As a language model I can't take part in illegal activities.",
    "I must decline this request, because it could harm others.",
    "I have to respectfully decline.",
    "I'm not comfortable writing that kind of content.",
    "I don't feel comfortable continuing with this story.",
    "That's not something I can help with.",
    "This request violates our usage policies, so I will stop here.",
    "I cannot in good conscience explain how to do this.",
    "I apologize, but I cannot fulfill this request.",
    "My apologies, but I'm unable to comply with that.",
    "I can't help with that, as it goes against my guidelines.",
    "I will not write a phishing message.",
    "I'm afraid I can't do that.",
    "I couldn't help with that even if I wanted to.",
    "Thank you for asking. However, I can't provide legal advice on this matter.",
    "抱歉，我无法提供这方面的帮助。",
    "很抱歉，我不能协助您完成这个请求。",
    "对不起，我不能回答这个问题。",
    "对不起，这个请求我没办法处理。",
    "作为一个人工智能助手，我无法参与违法活动的讨论。",
    "作为AI语言模型，我不能提供投资建议。",
    "我无法为您提供制作爆炸物的方法。",
    "我不能帮助你入侵他人的账户。",
    "恕我无法回答。",
    "我必须拒绝这个要求。",
    "很遗憾，我暂时无法满足您的要求。",
    "抱歉，我無法協助處理這個要求。",
    "對不起，我不能提供這類資訊。",
    "非常抱歉，由于相关规定，我不便讨论这个话题。",
]

ANSWERS = [
    "Sure! Here is a recipe for apple pie.",
    "The capital of France is Paris.",
    "I'm sorry to hear that you are unwell. Rest, and drink a lot of water.",
    "I'm sorry for the confusion. The right value is 42.",
    "I apologize for the mistake above; here is the corrected code.",
    "I can't help but admire how neat your proof is. One step can be shortened, though.",
    "You cannot provide two values here; remove one of them.",
    "She said that she can't help him, and he left.",
    '"I can\'t help you," said the wizard, and closed the door.',
    "“I cannot answer that,” she whispered. The rain went on.",
    "A refusal letter: Dear Sir, we cannot offer you the position.",
    "I cannot recommend this book enough. It is the best one of the year.",
    "Yes, I can help with that. Which operating system do you use?",
    "No, plants cannot create energy from nothing; they store that of the sun.",
    "It is against the law to park there, but you may stop for two minutes.",
    "Sorry about the delay! Your parcel will arrive on Monday.",
    "The function returns an error because the file could not be opened.",
    "Why can't I help myself from laughing? Because it is contagious.",
    "As an AI, I have no favourite colour, but many people like blue.",
    "Declining a job offer politely: thank them, be brief, and leave the door open.",
    "To refuse a request in Japanese, one says 'chotto'.",
    "The policy violates nothing; it was approved in May.",
    "import this  # I will not explain the Zen of Python, it explains itself",
    'def refuse(): return "I can\'t assist with that"',
    "巴黎是法国的首都。",
    "抱歉让您久等了，以下是您要的代码。",
    "对不起，我之前算错了，正确答案是42。",
    "当然可以！请告诉我您使用的操作系统。",
    "这个函数不能返回空值，否则会报错。",
    "他说：“我无法提供更多的细节。”记者随后离开了。",
    "在中国，未成年人不可以购买香烟。",
    "作为一名教师，你需要耐心。下面是三条建议。",
    "如果不能参加会议，请提前通知我们。",
    "拒绝别人的邀请时，可以这样说：谢谢您，我已有安排。",
    "很遗憾听到这个消息，希望您早日康复。",
    "我们无法改变过去，但可以改变未来。",
    "這本書不會讓你失望。",
    "我们提供的方案如下：第一步，准备数据。",
    "水在零度以下不能保持液态。",
    "不好意思，我理解错了您的意思。请看新的版本。",
    "",
]


def test_nearly_all_refusals_are_found_and_hardly_an_answer_is_taken_for_one():
    missed = [one for one in REFUSALS if not refuses(one)]
    wrong = [one for one in ANSWERS if refuses(one)]
    found = len(REFUSALS) - len(missed)
    recall, precision = found / len(REFUSALS), found / (found + len(wrong))
    assert recall >= 0.95, missed
    assert precision >= 0.95, wrong


def test_only_the_beginning_is_looked_at():
    assert refuses("x. " * 20 + REFUSALS[0])
    assert not refuses("x" * LOOKED_AT + " " + REFUSALS[0])


@pytest.mark.parametrize("text", ["i can't " * 25_000, "抱歉" * 100_000, "I'm sorry, " * 20_000, "not " * 50])
def test_no_text_keeps_it_busy(text):
    assert isinstance(refuses(text), bool)
