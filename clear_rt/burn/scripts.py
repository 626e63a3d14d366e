"""Random subtitle lines in twelve scripts: enough letter shapes to train and test with, no claim to grammar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clear_rt.burn import further_words

_ZH = (
    "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好都然没日于起还发成"
    "事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者"
    "向情部正名定女问力机给等几很业最间新什打便位因重被走电四第门相次东政海口使教西再平真听世气信北少关并内加化由却代军产入先山五太水万市眼"
)
_JA_KANA = (
    "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをんがぎぐげござじずぜ"
    "ぞだでどばびぶべぼっゃゅょ"
)
_JA_KATA = (
    "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワンガギグゲゴザジズゼゾ"
    "ダデドバビブベボッャュョー"
)
_JA_KANJI = (
    "今日明本当時間人私彼女何行来見言思知食会話手目心気家車道夜朝空海山川雨風花火水木金土友達先生学校仕事電話世界名前"
)
_KO = (
    "가나다라마바사아자차카타파하고노도로모보소오조초코토포호구누두루무부수우주추쿠투푸후그느드르므브스으즈기니디리미비시이지치키티피히"
    "안녕하세요감사합니다사랑해괜찮아어디갔었니정말그래서우리함께오늘밤에만날까요무슨일이야믿을수없어잘알겠습니다"
)
_EN = (
    "the you and that was for are with his they this have from one had word but not what all were when your can "
    "said there use each which she how their will other about out many then them these some her would make like "
    "him into time has look two more write see number way could people my than first water been call who oil its "
    "now find long down day did get come I'm don't it's Wait, Really? Never! okay. Mr. Why, Hello, Listen... "
    "tonight? Sorry, [door] 1984 9:30 50% REC STOP"
)
_RU = (
    "и в не на я быть он с что а по это она этот к но они мы весь который из у то за свой от ты все же год "
    "сказать так его время рука нет самый когда мочь другой наш знать такой себя кто день жизнь где потом очень "
    "сейчас Почему? Хорошо, Привет! ничего можно думать человек дело каждый большой новый почти Щука, объект, "
    "ещё, Ты слышишь? Конечно... Эй, 1917"
)
_AR = (
    "في من على إلى هذا أن لا ما كان هو هي مع كل عن أنت نعم شكرا مرحبا لماذا كيف الآن اليوم غدا بيت مدينة رجل "
    "امرأة طفل ماء نار سماء أرض بحر قلب حياة وقت صديق أخي أمي أبي تعال اذهب انظر اسمع أحبك هيا لنذهب حسنا ربما "
    "أبدا دائما بعد قبل هناك هنا شيء الحقيقة المستقبل السلام عليكم؟ انتظر، ماذا حدث؟ لا أعرف، أعتقد"
)


@dataclass(frozen=True, slots=True)
class Script:
    """How lines of one script are made and shaped. `language` and `direction` go to the text shaper."""

    name: str
    pieces: tuple[str, ...]
    joiner: str
    pieces_per_line: tuple[int, int]
    language: str
    direction: str = "ltr"


SCRIPTS: dict[str, Script] = {
    "zh": Script("zh", tuple(_ZH), "", (3, 20), "zh-Hans"),
    "en": Script("en", tuple(_EN.split()), " ", (2, 9), "en"),
    "ja": Script("ja", tuple(_JA_KANA * 2 + _JA_KATA + _JA_KANJI * 2), "", (3, 20), "ja"),
    "ko": Script("ko", tuple(_KO), "", (3, 18), "ko"),
    "ru": Script("ru", tuple(_RU.split()), " ", (2, 8), "ru"),
    "ar": Script("ar", tuple(_AR.split()), " ", (2, 9), "ar", "rtl"),
}
# Apart from the six: random lines of all of those are what published figures were measured with.
FURTHER: dict[str, Script] = {
    "zh-hant": Script("zh-hant", tuple(further_words.ZH_HANT), "", (3, 20), "zh-Hant"),
    "el": Script("el", tuple(further_words.EL.split()), " ", (2, 8), "el"),
    "he": Script("he", tuple(further_words.HE.split()), " ", (2, 9), "he", "rtl"),
    "th": Script("th", tuple(further_words.TH.split()), "", (3, 12), "th"),
    "hi": Script("hi", tuple(further_words.HI.split()), " ", (2, 9), "hi"),
    "vi": Script("vi", tuple(further_words.VI.split()), " ", (2, 9), "vi"),
}
ALL_SCRIPTS = SCRIPTS | FURTHER
# Written in columns as well, from the right.
VERTICAL = ("zh", "zh-hant", "ja")
_CAPITALS = ("en", "ru", "el", "vi")
_FULL_STOPS = {"zh": "。", "zh-hant": "。", "ja": "。", "ar": "؟", "hi": "।", "th": "", "he": ""}
# First and last character of what decides for a script at once; Chinese does only where none of these is found.
_DECISIVE = (
    (0x3040, 0x30FF, "ja"),
    (0xAC00, 0xD7AF, "ko"),
    (0x0400, 0x04FF, "ru"),
    (0x0600, 0x06FF, "ar"),
    (0x0370, 0x03FF, "el"),
    (0x0590, 0x05FF, "he"),
    (0x0E00, 0x0E7F, "th"),
    (0x0900, 0x097F, "hi"),
)


def random_line(script: Script, rng: np.random.Generator) -> str:
    """One line of random pieces; Korean gets an occasional space, scripts with capitals an occasional line of them."""
    low, high = script.pieces_per_line
    picked = [script.pieces[i] for i in rng.integers(0, len(script.pieces), int(rng.integers(low, high + 1)))]
    if script.name == "ko":
        picked = [piece + (" " if rng.random() < 0.25 else "") for piece in picked]
    line = script.joiner.join(picked).strip()
    if script.name in _CAPITALS:
        line = line.upper() if rng.random() < 0.1 else line[0].upper() + line[1:]
    if rng.random() < 0.25:
        line += _FULL_STOPS.get(script.name, rng.choice([".", "!", "?", "..."]))
    return f"- {line}" if script.direction == "ltr" and rng.random() < 0.08 else line


def script_of(text: str) -> Script:
    """The script whose font and shaping fit `text`, by its first decisive character; Latin where none decides."""
    for char in text:
        for first, last, name in _DECISIVE:
            if first <= ord(char) <= last:
                return ALL_SCRIPTS[name]
    return SCRIPTS["zh"] if any(0x4E00 <= ord(char) <= 0x9FFF for char in text) else SCRIPTS["en"]
