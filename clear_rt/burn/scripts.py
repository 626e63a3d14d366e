"""Random subtitle lines in six scripts: enough letter shapes to train and test with, no claim to grammar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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


def random_line(script: Script, rng: np.random.Generator) -> str:
    """One line of random pieces; Korean gets an occasional space, Latin and Cyrillic an occasional line of capitals."""
    low, high = script.pieces_per_line
    picked = [script.pieces[i] for i in rng.integers(0, len(script.pieces), int(rng.integers(low, high + 1)))]
    if script.name == "ko":
        picked = [piece + (" " if rng.random() < 0.25 else "") for piece in picked]
    line = script.joiner.join(picked).strip()
    if script.name in ("en", "ru"):
        line = line.upper() if rng.random() < 0.1 else line[0].upper() + line[1:]
    if rng.random() < 0.25:
        line += {"zh": "。", "ja": "。", "ar": "؟"}.get(script.name, rng.choice([".", "!", "?", "..."]))
    return f"- {line}" if script.direction == "ltr" and rng.random() < 0.08 else line


def script_of(text: str) -> Script:
    """The script whose font and shaping fit `text`, by its first decisive character; Latin where none decides."""
    for char in text:
        code = ord(char)
        if 0x3040 <= code <= 0x30FF:
            return SCRIPTS["ja"]
        if 0xAC00 <= code <= 0xD7AF:
            return SCRIPTS["ko"]
        if 0x0400 <= code <= 0x04FF:
            return SCRIPTS["ru"]
        if 0x0600 <= code <= 0x06FF:
            return SCRIPTS["ar"]
    return SCRIPTS["zh"] if any(0x4E00 <= ord(char) <= 0x9FFF for char in text) else SCRIPTS["en"]
