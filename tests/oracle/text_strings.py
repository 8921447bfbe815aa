"""Strings that are hard on a tokenizer, made from a seed."""
import random

WORDS = """the a of and to in is you that it he was for on are as with his they at be this have from or one had by word
but not what all were we when your can said there use an each which she do how their if will up other about out many then
them these so some her would make like him into time has look two more write go see number no way could people my than
first water been call who oil its now find long down day did get come made may part Natalia sold clips half April
altogether apples costs dollars remaining total answer equals therefore minutes hours percent""".split()
CONTRACTIONS = ["I'm", "don't", "we'll", "they've", "you're", "he'd", "it's", "IT'S", "'S", "'ll", "O'Neil", "rock'n'roll",
                "it\u2019s", "'\u017f", "'LL", "'Re", "'tis", "''", "'", "x'd", "'dx"]
SCRIPTS = [
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8", "\ud55c\uad6d\uc5b4",
    "\u1112\u1161\u11ab\u1100\u1173\u11af", "\uac00\u11a8", "\u041f\u0440\u0438\u0432\u0435\u0442", "\u03b3\u03b5\u03b9\u03ac",
    "\u0645\u0631\u062d\u0628\u0627", "\u05e9\u05dc\u05d5\u05dd", "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\u0915\u093c", "\u0958", "\u1e69", "s\u0323\u0307", "s\u0307\u0323", "e\u0301", "\u00e9", "o\u0302\u0323", "A\u030a", "\u212b", "\u2126",
    "\u0344", "\u0f43", "\u2adc", "\ufb1d", "\ufb01", "\u1e9b\u0323", "\U0001d15e", "q\u0307\u0323\u0307", "\u0300", "a\u0315\u0300\u05ae\u0062",
    "\u304b\u3099", "\u304c", "\u0958\u0301", "\u1100\u1161", "\ud4db", "\u09c7\u09be", "\u0b47\u0b56", "\u2000", "\u2001",
]
EMOJI = ["\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd", "\u2764\ufe0f",
         "\U0001f3f3\ufe0f\u200d\U0001f308", "1\ufe0f\u20e3", "\u2603", "\U0001f9d1\u200d\U0001f4bb"]
DIGITS = ["0", "7", "42", "123456789", "3.14159", "1,000,000", "1e-9", "\u0661\u0662\u0663", "x\u00b2", "\u00bd", "\u2167", "\u2460\u2461",
          "12" * 30, "0x1F", "2024-01-31", "18:05:59", "$5.00", "50%", "\U0001d7d8\U0001d7d9"]
CODE = ["def f(x):\n    return x ** 2\n", "for (int i = 0; i < n; ++i) { a[i] += b[i]; }", "#include <vector>\r\n", "if x==y:\n\tpass",
        "SELECT * FROM t WHERE a='b';", "{\"k\": [1, 2, null]}", "https://example.org/a?b=c&d=%20#e", "a->b::c", "//!/**/", "\\frac{1}{2}",
        "<<12*3=36>>36", "#### 72", "```python\nprint('hi')\n```", "__init__", "camelCaseWord", "snake_case_word", "x=-1;", "<html></html>"]
SPACES = [" ", " ", " ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\r\n\r\n", "\r", "\t", "\t\t ", " \n", "\n ", " \n \n", "        ", " " * 37,
          "\u00a0", "\u3000", "\u2003", "\u200b", "\u180e", "\u0085", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x1f", "\ufeff", "\u202f", "\u205f",
          " \u00a0 ", "\u1680", ""]
ODD = ["\x00", "\x01\x02", "\x7f", "\u00ad", "\ufffd", "\ufffe", "\U0010ffff", "\ue000", "\U000e0041", "!!!", "...", "?!", "\u2026", "\u2014", "\u00ab\u00bb",
       "(", ")", "[]", "{}", "$$", "_", "__", "-", "--", "*", "**", "@user", "#tag", "~", "^", "`", "|", "||", "<", ">", "<|", "|>", "\u20ac", "\u2260",
       "\u00b7", "\u0378", "\U0001f900", "\u01c5", "\u02b0", "\u0370"]


def piece(rng: random.Random, specials: list[str]) -> str:
    kind = rng.random()
    if kind < 0.34:
        word = rng.choice(WORDS)
        return rng.choice([word, word, word, word.upper(), word.title()])
    for limit, pool in ((0.40, CONTRACTIONS), (0.54, SCRIPTS), (0.60, EMOJI), (0.70, DIGITS), (0.76, CODE), (0.86, ODD)):
        if kind < limit:
            return rng.choice(pool)
    if kind < 0.93:
        special = rng.choice(specials)
        return rng.choice([special, special, special, special[:-1], special[1:], special.upper(), special * 2])
    # Any scalar value of the first planes; unassigned ones too.
    length = rng.randint(1, 4)
    return "".join(chr(rng.choice([rng.randint(0x20, 0x7E), rng.randint(0xA0, 0x24F), rng.randint(0x400, 0x6FF),
                                   rng.randint(0x900, 0xDFF), rng.randint(0x1E00, 0x20CF), rng.randint(0x3040, 0x30FF),
                                   rng.randint(0x4E00, 0x9FA5), rng.randint(0xF900, 0xFAFF),
                                   rng.randint(0x1F300, 0x1F64F)])) for _ in range(length))


def make(count: int, specials: list[str], seed: int) -> list[str]:
    rng = random.Random(seed)
    texts = ["", " ", "\n", "a", "\u00e9", *specials]
    texts += SCRIPTS + EMOJI + DIGITS + CODE + ODD + CONTRACTIONS + [f"a{s}b" for s in SPACES] + [f"{s}{s}x" for s in SPACES]
    texts = texts if count > 500 else texts[:5 + len(specials)]
    # Words longer than the short merge loop, and a run that merges over and over.
    if count > 500:
        texts += ["a" * 200, "the" * 50, "=" * 333, " " * 500 + "x", "\n" * 99, "\u4f60" * 80]
    while len(texts) < count:
        parts = []
        for _ in range(rng.randint(1, 9)):
            parts.append(piece(rng, specials))
            parts.append(rng.choice(SPACES) if rng.random() < 0.8 else "")
        texts.append("".join(parts))
    return texts[:count]


def make_id_lists(count: int, vocab_size: int, seed: int) -> list[list[int]]:
    """Random ids: bytes that are no UTF-8, special tokens, ids that do not exist."""
    rng = random.Random(seed)
    lists = [[], [vocab_size], [0], [vocab_size - 1], list(range(vocab_size - 10, vocab_size + 3))]
    while len(lists) < count:
        top = rng.choice([256, 256, vocab_size, vocab_size + 2])  # The first 256 are single bytes.
        lists.append([rng.randrange(top) for _ in range(rng.randint(1, 24))])
    return lists


# What the digests are made of. tests/coordinator/text/string_generator.cpp draws the same strings from the same seeds; the
# pools reach it as tests/golden/text/string_pools.json.

POOLS = {"words": WORDS, "contractions": CONTRACTIONS, "scripts": SCRIPTS, "emoji": EMOJI, "digits": DIGITS, "code": CODE, "odd": ODD,
         "spaces": SPACES}
# A piece is from the first pool whose number is above a draw of 0 to 99; above all of them are special tokens, then any characters.
LIMITS = [("words", 32), ("contractions", 38), ("scripts", 52), ("emoji", 58), ("digits", 68), ("code", 74), ("odd", 84)]
SPECIAL_LIMIT = 93
RANGES = [(0x20, 0x7E), (0xA0, 0x24F), (0x400, 0x6FF), (0x900, 0xDFF), (0x1E00, 0x20CF), (0x3040, 0x30FF), (0x4E00, 0x9FA5), (0xF900, 0xFAFF),
          (0x1F300, 0x1F64F)]
MASK = (1 << 64) - 1


class Draw:
    """SplitMix64 (Steele et al., 2014)."""

    def __init__(self, seed: int):
        self.state = seed & MASK

    def below(self, limit: int) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return ((z ^ (z >> 31)) >> 33) % limit

    def choice(self, pool):
        return pool[self.below(len(pool))]


def drawn_piece(draw: Draw, specials: list[str]) -> str:
    kind = draw.below(100)
    for name, limit in LIMITS:
        if kind < limit:
            text = draw.choice(POOLS[name])
            if name != "words":
                return text
            case = draw.below(6)
            return text.upper() if case == 0 else text[:1].upper() + text[1:] if case == 1 else text
    if kind < SPECIAL_LIMIT:
        special = draw.choice(specials)
        form = draw.below(7)
        return special[:-1] if form == 0 else special[1:] if form == 1 else special * 2 if form == 2 else special
    return "".join(chr(low + draw.below(high - low + 1)) for low, high in (draw.choice(RANGES) for _ in range(1 + draw.below(4))))


def drawn_text(index: int, specials: list[str]) -> str:
    draw = Draw(index)
    parts = []
    for _ in range(1 + draw.below(9)):
        repeats = 40 if draw.below(200) == 0 else 1
        parts.append(drawn_piece(draw, specials) * repeats)
        parts.append(draw.choice(SPACES) if draw.below(5) else "")
    return "".join(parts)


def drawn_ids(index: int, vocab_size: int) -> list[int]:
    """Small ids are mostly single bytes; the two behind the vocabulary do not exist."""
    draw = Draw(~index)
    top = min(270, vocab_size) if draw.below(2) else vocab_size + 2
    return [draw.below(top) for _ in range(1 + draw.below(24))]
