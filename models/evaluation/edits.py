"""Edits of a prompt that leave what it asks, and edits that do not, to see which are told apart.

An edit takes a text, its language (ISO 639-1) and a seeded `random.Random`; it gives the other
text, or None where it has nothing to change. No word of `fareway/words.toml` is read here.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

Edit = Callable[[str, str, random.Random], str | None]

GREETINGS = {
    "en": ("Hi, ", "Hello! ", "Hey there, ", "Good morning. "),
    "de": ("Hallo, ", "Guten Tag! ", "Guten Morgen, "),
    "fr": ("Bonjour, ", "Bonjour ! ", "Salut, "),
    "es": ("Hola, ", "¡Buenos días! ", "Buenas tardes, "),
    "it": ("Ciao, ", "Buongiorno! ", "Salve, "),
    "pt": ("Olá, ", "Bom dia! ", "Boa tarde, "),
    "nl": ("Hallo, ", "Goedemorgen! ", "Hoi, "),
    "ru": ("Здравствуйте! ", "Добрый день, "),
    "zh": ("你好，", "您好！"),
}
REQUESTS = {
    "en": ("Could you tell me, ", "Please tell me: ", "I would like to know: ", "Can you please "),
    "de": ("Können Sie mir sagen, ", "Könntest du mir bitte sagen: ", "Ich möchte wissen: "),
    "fr": ("Pourriez-vous me dire : ", "Peux-tu me dire, ", "Je voudrais savoir : "),
    "es": ("¿Me puedes decir: ", "Podría decirme, por favor: ", "Quisiera saber: "),
    "it": ("Potresti dirmi: ", "Mi può dire, per favore: ", "Vorrei sapere: "),
    "pt": ("Você pode me dizer: ", "Poderia me dizer, por favor: ", "Gostaria de saber: "),
    "nl": ("Kunt u mij vertellen: ", "Kun je me vertellen, ", "Ik wil graag weten: "),
}
THANKS = {
    "en": (" Thanks!", " Thank you very much.", " Thanks in advance", ", please"),
    "de": (" Danke!", " Vielen Dank im Voraus.", ", bitte"),
    "fr": (" Merci !", " Merci d'avance.", ", s'il vous plaît"),
    "es": (" ¡Gracias!", " Muchas gracias.", ", por favor"),
    "it": (" Grazie!", " Grazie mille.", ", per favore"),
    "pt": (" Obrigado!", " Muito obrigada.", ", por favor"),
    "nl": (" Bedankt!", " Alvast bedankt.", ", alstublieft"),
    "ru": (" Спасибо!", ", пожалуйста"),
    "zh": ("谢谢！", "非常感谢"),
}
#: Rarer ones, written without a look at what is dropped.
FLOWERY = {
    "en": (
        "Hope your week is going great! ",
        "I'd be ever so grateful for a hand with this one. ",
        "Good to meet you, assistant. ",
        "Apologies if this is a silly one. ",
    ),
    "de": ("Ich hoffe, Sie hatten ein schönes Wochenende! ", "Es wäre super, wenn das klappt. "),
    "fr": ("J'espère que tu passes une belle semaine ! ", "Désolée de vous déranger. "),
    "es": ("¡Espero que tengas una linda semana! ", "Perdona la molestia. "),
    "it": ("Spero che la settimana vada bene! ", "Scusa il disturbo. "),
    "pt": ("Espero que a semana esteja ótima! ", "Desculpe o incômodo. "),
    "nl": ("Ik hoop dat je een fijne week hebt! ", "Sorry voor het storen. "),
}
#: Statements that add to a question and ask for nothing.
ASIDES = {
    "en": (
        "I have been a customer for six years.",
        "My colleague could not say either.",
        "This has been on my mind since yesterday.",
        "I am writing from my phone.",
        "It is for my sister.",
        "We talked about it at dinner.",
        "I am a complete beginner.",
        "Keep the answer short.",
    ),
    "de": (
        "Ich bin seit sechs Jahren Kunde.",
        "Mein Kollege wusste es auch nicht.",
        "Ich schreibe vom Handy aus.",
        "Es ist für meine Schwester.",
    ),
    "fr": (
        "Je suis client depuis six ans.",
        "Mon collègue ne le savait pas non plus.",
        "J'écris depuis mon téléphone.",
        "C'est pour ma sœur.",
    ),
    "es": (
        "Soy cliente desde hace seis años.",
        "Mi compañero tampoco lo sabía.",
        "Escribo desde el móvil.",
        "Es para mi hermana.",
    ),
    "it": ("Sono cliente da sei anni.", "Scrivo dal telefono.", "È per mia sorella."),
    "pt": ("Sou cliente há seis anos.", "Escrevo do telemóvel.", "É para a minha irmã."),
    "nl": ("Ik ben al zes jaar klant.", "Ik schrijf vanaf mijn telefoon.", "Het is voor mijn zus."),
    "ru": ("Я ваш клиент уже шесть лет.", "Пишу с телефона.", "Это для моей сестры."),
    "zh": ("我是六年的老客户。", "我同事也不知道。", "这是给我妹妹的。"),
    "ja": ("私は六年前からの客です。", "スマホから書いています。"),
}
NAMES = ("Alder", "Brigham", "Castellan", "Dunmore", "Everly", "Fenwick", "Greta", "Halloran")
CONTRACTIONS = (
    ("do not", "don't"),
    ("does not", "doesn't"),
    ("did not", "didn't"),
    ("is not", "isn't"),
    ("cannot", "can't"),
    ("can not", "can't"),
    ("what is", "what's"),
    ("i am", "i'm"),
    ("i have", "i've"),
    ("it is", "it's"),
    ("i will", "i'll"),
    ("has not", "hasn't"),
    ("was not", "wasn't"),
)
NOTS = {
    "en": (
        "is",
        "are",
        "was",
        "do",
        "does",
        "did",
        "can",
        "should",
        "would",
        "will",
        "have",
        "has",
    ),
    "de": ("ist", "sind", "war", "kann", "hat", "wird", "soll"),
    "nl": ("is", "zijn", "was", "kan", "heeft", "wordt"),
}
NOT = {"en": "not", "de": "nicht", "nl": "niet"}
#: Put before a verb or taken away.
NOES = {"es": "no", "it": "non", "pt": "não", "ru": "не"}
OPPOSITES = (
    ("enable", "disable"),
    ("increase", "decrease"),
    ("buy", "sell"),
    ("before", "after"),
    ("with", "without"),
    ("legal", "illegal"),
    ("possible", "impossible"),
    ("open", "close"),
    ("activate", "deactivate"),
    ("send", "receive"),
    ("more", "less"),
    ("first", "last"),
    ("always", "never"),
    ("best", "worst"),
    ("largest", "smallest"),
    ("start", "stop"),
    ("add", "remove"),
    ("encrypt", "decrypt"),
    ("lock", "unlock"),
    ("safe", "unsafe"),
    ("can", "can't"),
    ("cake", "bomb"),
    ("high", "low"),
    ("old", "new"),
    ("over", "under"),
    ("cause", "cure"),
    ("prevent", "cause"),
    ("protect", "attack"),
    ("man", "woman"),
    ("cancel", "confirm"),
    ("wrong", "right"),
    ("up", "down"),
    ("mehr", "weniger"),
    ("mit", "ohne"),
    ("avec", "sans"),
    ("plus", "moins"),
    ("con", "sin"),
    ("más", "menos"),
)
_WORD = re.compile(r"[^\W\d_]+")
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_BLANKLESS = {"zh", "ja", "th"}


def cased(text: str, _: str, chance: random.Random) -> str | None:
    """lower, UPPER or Title Case."""
    return _other(text, chance.choice((str.lower, str.upper, str.title))(text))


def spaced(text: str, _: str, chance: random.Random) -> str | None:
    """Spaces doubled, some a line break; a blank line at the end."""
    return _other(
        text, re.sub(" ", lambda _: chance.choice((" ", " ", "  ", "\t", "\n")), text) + "\n\n"
    )


def space_lost(text: str, _: str, chance: random.Random) -> str | None:
    """One space between two words is gone."""
    return _swap_one(text, list(re.finditer(r"(?<=\w\w) (?=\w\w)", text)), lambda _: "", chance)


def unmarked(text: str, _: str, __: random.Random) -> str | None:
    """No punctuation at all, apostrophes and hyphens too."""
    return _other(text, "".join(c for c in text if not unicodedata.category(c).startswith("P")))


def marked(text: str, _: str, chance: random.Random) -> str | None:
    """A comma somewhere, typographic quotes, another mark at the end."""
    text = text.replace("'", "’").replace('"', "“")
    end = chance.choice(("", "?", "??", "!", "...", " ?", "."))
    commas = re.sub(r"(?<=\w) (?=\w)", lambda _: ", " if chance.random() < 1 / 8 else " ", text)
    return _other(text, commas.rstrip(" .!?。？！") + end)


def unaccented(text: str, _: str, __: random.Random) -> str | None:
    """Latin letters without accents."""
    bare = re.sub(r"(?<=[A-Za-z])[\u0300-\u036f]+", "", unicodedata.normalize("NFD", text))
    return _other(unicodedata.normalize("NFC", text), unicodedata.normalize("NFC", bare))


def invisible(text: str, _: str, chance: random.Random) -> str | None:
    """Characters that nobody sees, and emoji."""
    marks = "\u200b\u200d\u2060\ufeff"
    shown = "".join(c + (chance.choice(marks) if chance.random() < 0.1 else "") for c in text)
    return shown + chance.choice((" 🙏", " 😀😀", ""))


def polite(text: str, language: str, chance: random.Random) -> str | None:
    """A greeting, a request, thanks: one to three of them."""
    if language not in GREETINGS:
        return None
    parts = [
        chance.choice(said.get(language, ("",))) if chance.random() < 0.6 else ""
        for said in (GREETINGS, REQUESTS, THANKS)
    ]
    first = text
    if any(parts[:2]) and re.match(r"[A-Z][a-z]+ [a-z]", text) and chance.random() < 1 / 2:
        first = text[:1].lower() + text[1:]
    return _other(text, parts[0] + parts[1] + first + parts[2])


def flowery(text: str, language: str, chance: random.Random) -> str | None:
    """A courtesy that is rarer."""
    return chance.choice(FLOWERY[language]) + text if language in FLOWERY else None


def contracted(text: str, language: str, chance: random.Random) -> str | None:
    """A contraction opened or made."""
    if language != "en":
        return None
    pairs = [*CONTRACTIONS, *((b, a) for a, b in CONTRACTIONS)]
    chance.shuffle(pairs)
    for before, after in pairs:
        other = re.sub(rf"\b{before}\b", after, text, count=1, flags=re.IGNORECASE)
        if other != text:
            return other
    return None


def article_lost(text: str, language: str, chance: random.Random) -> str | None:
    """One article is gone."""
    if language != "en":
        return None
    found = list(re.finditer(r"\b(?:the|a|an) (?=\w)", text))
    return _swap_one(text, found, lambda _: "", chance)


def typo(text: str, language: str, chance: random.Random) -> str | None:
    """One slip in a word of at least four letters: lost, doubled, swapped, replaced or added."""
    if language in _BLANKLESS:
        return None
    words = [m for m in _WORD.finditer(text) if len(m.group()) >= 4]
    return _swap_one(text, words, lambda word: _slip(word, text, chance), chance)


def typos(text: str, language: str, chance: random.Random) -> str | None:
    """Two slips."""
    once = typo(text, language, chance)
    return once and typo(once, language, chance)


def numbered(text: str, _: str, chance: random.Random) -> str | None:
    """Every number is another."""
    return _other(text, re.sub(r"\d+", lambda _: str(chance.randint(1, 999)), text))


def renamed(text: str, language: str, chance: random.Random) -> str | None:
    """A name within a sentence is another, of as many words or not, wherever it stands."""
    if language in ("de", *_BLANKLESS):
        return None
    found = [
        m.group()
        for m in re.finditer(r"(?<=[a-z,] )[A-Z][a-z]+(?: [A-Z][a-z]+)*", text)
        if m.group() not in ("I", "What", "How", "Who", "Why", "When", "Where", "Which", "The")
    ]
    if not found:
        return None
    new = " ".join(chance.sample(NAMES, chance.choice((1, 1, 2))))
    return re.sub(rf"\b{re.escape(chance.choice(found))}\b", new, text)


def added(text: str, language: str, chance: random.Random) -> str | None:
    """One sentence more, before, behind or between."""
    return (
        with_sentence(text, chance.choice(ASIDES[language]), chance) if language in ASIDES else None
    )


def with_sentence(text: str, sentence: str, chance: random.Random) -> str:
    """A text with the sentence before it, behind it, or after one of its own."""
    text = text.strip()
    ends = [m.end() for m in re.finditer(r"[.!?] (?=[A-Z])|[。？！](?=.)", text)]
    at = chance.choice([0, len(text), *ends])
    if at == 0:
        return f"{sentence} {text}"
    if at == len(text):
        return f"{text if text[-1] in '.!?。？！:' else text + '.'} {sentence}"
    return f"{text[:at]}{sentence} {text[at:]}"


def both(first: Edit, second: Edit) -> Edit:
    """One edit after the other."""

    def edit(text: str, language: str, chance: random.Random) -> str | None:
        once = first(text, language, chance)
        return once and second(once, language, chance)

    return edit


POSITIVE: dict[str, Edit] = {
    "case": cased,
    "spacing": spaced,
    "a space lost": space_lost,
    "all marks gone": unmarked,
    "other marks": marked,
    "accents gone": unaccented,
    "invisible, emoji": invisible,
    "courtesy": polite,
    "courtesy, rare": flowery,
    "contraction": contracted,
    "article gone": article_lost,
    "typo": typo,
    "two typos": typos,
    "numbers": numbered,
    "name": renamed,
    "sentence added": added,
}
_PAIRS = (
    ("case", "typo"),
    ("case", "courtesy"),
    ("case", "sentence added"),
    ("other marks", "typo"),
    ("courtesy", "typo"),
    ("courtesy", "numbers"),
    ("name", "courtesy"),
    ("numbers", "typo"),
    ("name", "typo"),
    ("sentence added", "typo"),
    ("sentence added", "numbers"),
    ("name", "sentence added"),
    ("sentence added", "courtesy"),
    ("all marks gone", "case"),
)
POSITIVE |= {f"{a} + {b}": both(POSITIVE[a], POSITIVE[b]) for a, b in _PAIRS}


def replaced(words: Sequence[str]) -> Edit:
    """A content word is another of the source, of much the same length.

    Args:
        words: of the source, frequent ones as often as they are.
    """

    def edit(text: str, _: str, chance: random.Random) -> str | None:
        found = [m for m in _WORD.finditer(text) if len(m.group()) >= 4]

        def other(word: str) -> str:
            pool = [w for w in chance.sample(words, min(80, len(words))) if w != word.lower()]
            return min(pool, key=lambda w: abs(len(w) - len(word)), default=word)

        return _swap_one(text, found, other, chance)

    return edit


def near(neighbours: Mapping[str, Sequence[str]]) -> Edit:
    """A word is another that looks like it.

    Args:
        neighbours: of each word, the others at an edit distance of 1 or 2.
    """

    def edit(text: str, _: str, chance: random.Random) -> str | None:
        found = [m for m in _WORD.finditer(text) if neighbours.get(m.group().lower())]
        return _swap_one(text, found, lambda w: chance.choice(neighbours[w.lower()]), chance)

    return edit


def negated(text: str, language: str, chance: random.Random) -> str | None:
    """A negation more, or one less."""
    if language == "fr":
        found = list(re.finditer(r"\b(?:est|sont|a|peut|fait) ", text))
        return _swap_one(
            text,
            found,
            lambda verb: f"n'{verb}pas " if verb[0] in "ae" else f"ne {verb}pas ",
            chance,
        )
    if language in NOES:
        no = NOES[language]
        less = re.sub(rf"\b{no} ", "", text, count=1)
        found = list(re.finditer(r"(?<=\w) (?=\w)", text))
        return less if less != text else _swap_one(text, found, lambda _: f" {no} ", chance)
    if language not in NOT:
        return None
    no = NOT[language]
    less = re.sub(rf" {no}\b|n['’]t\b", "", text, count=1)
    if less != text:
        return less
    found = list(re.finditer(rf"\b(?:{'|'.join(NOTS[language])})\b", text))
    return _swap_one(text, found, lambda verb: f"{verb} {no}", chance)


def contrary(text: str, _: str, chance: random.Random) -> str | None:
    """A word is its opposite."""
    pairs = [*OPPOSITES, *((b, a) for a, b in OPPOSITES)]
    chance.shuffle(pairs)
    for before, after in pairs:
        other = re.sub(rf"\b{before}\b", after, text, count=1, flags=re.IGNORECASE)
        if other != text:
            return other
    return None


def inserted(words: Sequence[str]) -> Edit:
    """One content word more within a sentence."""

    def edit(text: str, _: str, chance: random.Random) -> str | None:
        found = list(re.finditer(r"(?<=\w) (?=\w)", text))
        return _swap_one(text, found, lambda _: f" {chance.choice(words)} ", chance)

    return edit


def removed(text: str, _: str, chance: random.Random) -> str | None:
    """A content word of at least five letters, and no name, is gone."""
    found = [
        m
        for m in re.finditer(r"(?<=\w )([^\W\d_]{5,}) (?=\w)", text)
        if not m[1].istitle()
        and m[1] not in ("please", "bitte", "kindly", "einen", "einer", "einem")
    ]
    return _swap_one(text, found, lambda _: "", chance)


def turned(text: str, _: str, chance: random.Random) -> str | None:
    """Two content words, no names, have changed places."""
    found = [m for m in _WORD.finditer(text) if len(m.group()) >= 4 and not m.group().istitle()]
    if len(found) < 2:
        return None
    first, second = sorted(chance.sample(found, 2), key=re.Match.start)
    if first.group().lower() == second.group().lower():
        return None
    return (
        text[: first.start()]
        + second.group()
        + text[first.end() : second.start()]
        + first.group()
        + text[second.end() :]
    )


def _slip(word: str, text: str, chance: random.Random) -> str:
    at = chance.randrange(len(word))
    head, letter, tail = word[:at], word[at], word[at + 1 :]
    kind = chance.choice(("lost", "doubled", "swapped", "replaced", "added"))
    if kind == "lost":
        return head + tail
    if kind == "doubled":
        return head + letter + letter + tail
    if kind == "swapped" and tail:
        return head + tail[0] + letter + tail[1:]
    other = _beside(letter, chance) or chance.choice([c for c in text if c.isalpha()])
    return head + other + ("" if kind == "replaced" else letter) + tail


def _beside(letter: str, chance: random.Random) -> str:
    """A key beside the letter's, or now and then any letter; nothing where it has no key."""
    for row, keys in enumerate(_KEYS):
        at = keys.find(letter.lower())
        if at >= 0:
            near = keys[max(0, at - 1) : at] + keys[at + 1 : at + 2]
            near += _KEYS[row - 1][at : at + 1] if row else ""
            anything = "abcdefghijklmnopqrstuvwxyz"
            return chance.choice(near if chance.random() < 0.75 else anything)
    return ""


def _swap_one(
    text: str,
    found: Sequence[re.Match[str]],
    change: Callable[[str], str],
    chance: random.Random,
) -> str | None:
    """The text with one of the matches changed; None where none is there or nothing changes."""
    if not found:
        return None
    at = chance.choice(found)
    return _other(text, text[: at.start()] + change(at.group()) + text[at.end() :])


def _other(text: str, other: str) -> str | None:
    return other if other != text else None
