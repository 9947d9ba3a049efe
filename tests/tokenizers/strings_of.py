"""The texts of these tests: 20,000, the same in every run and of every Python, by a generator of their own."""

import struct

COUNT = 20000


class Dice:
    """xorshift64*, so that no library's generator is part of the test."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def below(self, n: int) -> int:
        self.state ^= self.state >> 12
        self.state = (self.state ^ (self.state << 25)) & 0xFFFFFFFFFFFFFFFF
        self.state ^= self.state >> 27
        return ((self.state * 0x2545F4914F6CDD1D & 0xFFFFFFFFFFFFFFFF) >> 32) * n >> 32

    def of(self, things):
        return things[self.below(len(things))]


# Blocks of letters, marks, symbols; their unassigned places among them. 
RANGES = [
    (0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x17F), (0x180, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF),
    (0x531, 0x586), (0x591, 0x5F4), (0x600, 0x6FF), (0x900, 0x97F), (0xE01, 0xE5B), (0x10A0, 0x10FF), (0x1100, 0x11FF),
    (0x13A0, 0x13FD), (0x1E00, 0x1EFF), (0x1F00, 0x1FFE), (0x2000, 0x206F), (0x2070, 0x209C), (0x20A0, 0x20BF), (0x2100, 0x218B),
    (0x2190, 0x23FF), (0x2460, 0x24FF), (0x2500, 0x27BF), (0x3000, 0x30FF), (0x3131, 0x318E), (0x3220, 0x33FF), (0x4E00, 0x9FFF),
    (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xA640, 0xA69F), (0xFB00, 0xFB4F), (0xFE00, 0xFE0F), (0xFE50, 0xFE6B), (0xFF01, 0xFFEE),
    (0x10400, 0x1044F), (0x1D400, 0x1D7FF), (0x1F130, 0x1F189), (0x1F1E6, 0x1F1FF), (0x1F300, 0x1F6FF), (0x1F900, 0x1F9FF),
    (0x20000, 0x20FFF), (0xE0020, 0xE007F),
]  # fmt: skip
# Letters and marks that came after Unicode 15, which not every original knows; and NUL, which is no text.
NEWER = [0, 0x558, 0x58B, 0x58C, 0x88F, 0xC5C, 0xCDC, 0x1C89, 0x1C8A, 0x208F, 0x209D, 0x209E, 0x209F, 0x1D6A6, 0x1D6A7, *range(0x1ACF, 0x1AEC)]
SPACES = "".join(chr(c) for c in [9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029,
                                  0x202F, 0x205F, 0x3000, 0x200B, 0x2060, 0xFEFF, 0x180E])  # fmt: skip
CONTROLS = "".join(chr(c) for c in [*range(1, 9), *range(14, 28), 127, *range(0x80, 0xA0), 0x200C, 0x200D, 0x202E, 0x206A, 0xFFF9,
                                    0xFFFC, 0xFFFD, 0xAD, 0xE0001])  # fmt: skip
SPECIALS = ["<|startoftext|>", "<|endoftext|>", "<|STARTOFTEXT|>", "<|EndOfText|>", "<start_of_text>", "<end_of_text>",
            "<START_OF_TEXT>", "<end_of_te\u017ft>", "<\u017ftart_of_text>", "</s>", "<s>", "<unk>", "<pad>", "<eos>", "<bos>", "<mask>",
            "</S>", "<UNK>", "<0x0A>", "<|", "|>", "</w>", "\u2581", "\u2581\u2581", "<unused1>", "<start_of_turn>"]  # fmt: skip
ENTITIES = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&nbsp;", "&eacute;", "&EACUTE;", "&NTILDE;", "&szlig;", "&SZLIG;", "&amp;amp;",
            "&amp;lt;b&amp;gt;", "&#x41;", "&#65", "&#65;", "&#0;", "&#x80;", "&#150;", "&#xD800;", "&#1114112;", "&#99999999999;", "&#59;",
            "&copy", "&copy;", "&notit;", "&not", "&ampamp;", "&hellip;", "&NotEqualTilde;", "&fjlig;", "&zzz;", "&;", "&#;", "&#x;",
            "&AMP;", "&Amp;", "&#38;#38;", "&#x26;lt;", "&thetasym;", "&THETASYM;", "&FFLIG;", "&napos;", "&NAPOS;", "&ThickSpace;",
            "&aacute&eacute", "&a&#109;p;", "&#xfdd0;", "&#11;", "&#13;", "&CounterClockwiseContourIntegral;"]  # fmt: skip
MARKUP = ["<b>", "</b>", "<br/>", "\x1b[31m", "\x1b[0m", "\x1b[1;3;31mx", "\x1b[", "\r\n", "\r", "\n", "\u2028", "\u2018", "\u2019",
          "\u201c", "\u201d", "\u02bc", "\ufb01", "\u0149", "\u01c6", "\uff21\uff22", "\uff1c", "\uff06amp\uff1b", "\uffe3",
          "http://a.b/c?d=e&f=g", "a_b__c", "x@y.z", "#1", "don't", "I'LL", "we've", "it's", "'S", "'\u017f", "''s", "rock'n'roll",
          "3.14", "1,000", "10%", "$5"]  # fmt: skip
WORDS = ("a photo of a cat dog with small the red bird on top sunset painting by an artist in style beautiful 4k trending street "
         "ein Bild von einer Katze un chien dans la neige el perro corre por la playa gatto nero кошка и собака на улице фото "
         "猫 犬 写真 美しい 夕焼け 고양이 강아지 사진 قطة صورة कुत्ता तस्वीर แมว รูปภาพ γάτα ΟΔΥΣΣΕΥΣ σκύλος İstanbul ıspanak Straße "
         "naïve café cafe\u0301 Å A\u030a ﬁne ΑΣ Σ ΑΣ. ΣΑΣ 'ΑΣ' élève Ǆ ǅ 🐱 👩‍👩‍👧 🏳️‍🌈 👍🏽 🇩🇪 ❤️ ☕ ©").split()  # fmt: skip


def one(dice: Dice, kind: int) -> str:
    if kind == 0:
        return " ".join(dice.of(WORDS) for _ in range(1 + dice.below(12)))
    if kind == 1:
        low, high = dice.of(RANGES)
        return "".join(chr(low + dice.below(high - low + 1)) for _ in range(1 + dice.below(24)))
    if kind == 2:
        pieces = [dice.of([WORDS, SPECIALS, ENTITIES, MARKUP, SPACES, CONTROLS]) for _ in range(1 + dice.below(10))]
        return "".join(dice.of(piece) for piece in pieces)
    if kind == 3:
        low, high = dice.of(RANGES)
        marks = "".join(chr(0x300 + dice.below(0x70)) for _ in range(dice.below(6)))
        return chr(low + dice.below(high - low + 1)) + marks + dice.of(WORDS) + chr(0x300 + dice.below(0x70)) + dice.of(MARKUP)
    if kind == 4:
        return dice.of(SPACES).join(dice.of([WORDS, SPECIALS])[dice.below(20)] for _ in range(dice.below(8)))
    if kind == 5:
        return "".join(dice.of([ENTITIES, WORDS, [" "]])[0 if dice.below(3) == 0 else -1] + dice.of(ENTITIES) for _ in range(4))
    if kind == 6:
        words = [dice.of(WORDS).upper() if dice.below(2) else dice.of(WORDS).title() for _ in range(1 + dice.below(8))]
        return dice.of([" ", ", ", "-", "/", ""]).join(words)
    return "".join(chr(c) for c in (dice.below(0x3000) for _ in range(1 + dice.below(12))) if not 0xD800 <= c < 0xE000 and c > 0)


LONG = ["", " ", "  \t ", "\u3000", "a" * 3000, "ab" * 2000, "猫" * 1500, "e\u0301\u0323" * 800, "\u0301\u0323" * 900, "!" * 2000, "🐱" * 600,
        "the cat sat on the mat " * 100, "&amp;" * 300, "&" + "amp;" * 300, "Σ." * 500, " " * 2000 + "x", "</s>" * 90, "<|endoftext|>" * 90,
        "1234567890" * 200, "x</s>", "x </s> ", "</s>", "</s> x", "<unk>x", "<end_of_text>" * 90]  # fmt: skip


def texts() -> list[str]:
    dice = Dice(0x9E3779B97F4A7C15)
    made = [one(dice, i % 8) for i in range(COUNT - len(LONG))]
    newer = dict.fromkeys(NEWER)
    return LONG + [text.translate(newer) for text in made]


def packed(strings: list[str]) -> bytes:
    """What encode reads."""
    return b"".join(struct.pack("<I", len(s)) + s for s in (t.encode() for t in strings))


def unpacked(data: bytes, n: int) -> tuple[str, list[tuple[int, ...]]]:
    """What encode writes: a line, then n runs of ids."""
    line, data = data.split(b"\n", 1)
    ids, at = [], 0
    for _ in range(n):
        (count,) = struct.unpack_from("<I", data, at)
        ids.append(struct.unpack_from(f"<{count}i", data, at + 4))
        at += 4 + 4 * count
    assert at == len(data)
    return line.decode(), ids
