"""Small tokenizer.json files, random but for the components that each is there for. Written by text_make_digests.py."""
import random

from text_strings import WORDS
from text_variants import BAILING, BYTES, GPT2, LLAMA3, QWEN2, SEED_CODER, split, token

CHARACTERS = list("abcdefghijklmnopqrstuvwxyzABCDEINST .,'0123456789<>x\n") + ["\u2581", "\u00e9", "\u4f60", "\u597d", "\u0301", "\U0001f600"]
FLAGGED = ["[TAG]", "word", "\u00e9t\u00e9", "e\u0301", "  ", "\n\n", "the", "<0x41>", " x", "<a>", "<a><ab>", "<ab><abc>", "<0x0a>", "\u4f60\u597d"]


def byte_alphabet() -> list[str]:
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = iter(range(256, 256 + 68))
    return [chr(byte if byte in kept else next(moved)) for byte in range(256)]


def grow(rng: random.Random, vocab: dict[str, int], starts: list[str], space: str, count: int) -> list[list[str]]:
    """Adds `count` merges of `starts` and what they became, half of them towards words."""
    merges, pool = [], list(starts)
    while len(merges) < count:
        pair = [rng.choice(pool), rng.choice(pool)]
        if rng.random() < 0.7:
            word = space + rng.choice(WORDS)
            cut = rng.randrange(1, len(word))
            pair = [word[:cut], word[cut:]] if word[:cut] in vocab and word[cut:] in vocab else list(word[:2])
        merged = "".join(pair)
        if pair in merges or len(merged) > 12 or not all(part in vocab for part in pair):
            continue
        merges.append(pair)
        vocab.setdefault(merged, len(vocab))
        pool.append(merged)
    return merges


def add_tokens(rng: random.Random, vocab: dict[str, int], contents: list[str], with_flags: bool) -> list[dict]:
    def flag(probability):
        return with_flags and rng.random() < probability

    added, next_id = [], len(vocab)
    for content in contents:
        id = vocab.get(content, next_id)
        next_id += id == next_id
        # Two tokens that strip the same white space make the library panic.
        lstrip = flag(0.3) and not content.isspace()
        added.append(token(id, content, single_word=flag(0.2), lstrip=lstrip, rstrip=flag(0.3), normalized=flag(0.3),
                           special=content.startswith("<") or flag(0.3)))
    return added


def document(model: dict, **parts) -> dict:
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
             "byte_fallback": False, "ignore_merges": False, **model}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None,
            "post_processor": None, "decoder": None, **parts, "model": model}


def replace(what: str, by: str) -> dict:
    return {"type": "Replace", "pattern": {"String": what}, "content": by}


def sequence(name: str, *parts: dict) -> dict:
    return {"type": "Sequence", name: list(parts)}


def strip(content: str, start: int) -> dict:
    return {"type": "Strip", "content": content, "start": start, "stop": 0}


TO_SPACE, FALLBACK, FUSE = replace("\u2581", " "), {"type": "ByteFallback"}, {"type": "Fuse"}
SPACE = replace(" ", "\u2581")
PREPEND = {"type": "Prepend", "prepend": "\u2581"}
NFC = {"type": "NFC"}
ONLY_SPACES = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}


def of_characters(seed: int, bytes_share: float = 1.0, with_flags: bool = False, model=None, **parts) -> dict:
    """A vocabulary of characters and `bytes_share` of the byte tokens."""
    rng = random.Random(seed)
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256) if rng.random() < bytes_share]
    tokens += [c for c in dict.fromkeys(CHARACTERS) if c == "\u2581" or rng.random() < 0.9]
    vocab = {text: id for id, text in enumerate(tokens)}
    starts = [text for text in tokens if len(text) == 1] + tokens[:1] + tokens[3:7]
    merges = grow(rng, vocab, starts, "\u2581", 400)
    added = add_tokens(rng, vocab, ["<unk>", "<s>", "</s>", "<|turn>", *(FLAGGED if with_flags else [])], with_flags)
    model = {"byte_fallback": bytes_share > 0, "unk_token": "<unk>", **(model or {}), "vocab": vocab, "merges": merges}
    return document(model, added_tokens=added, **parts)


def of_bytes(seed: int, *pre_tokenizers: dict, with_flags: bool = False, model=None, **parts) -> dict:
    rng = random.Random(seed)
    vocab = {text: id for id, text in enumerate(byte_alphabet())}
    merges = grow(rng, vocab, list(vocab)[32:127], "\u0120", 400)
    added = add_tokens(rng, vocab, ["<s>", "</s>", "<|im_end|>", *(FLAGGED if with_flags else [])], with_flags)
    parts = {"decoder": GPT2, "pre_tokenizer": sequence("pretokenizers", *pre_tokenizers), **parts}
    return document({**(model or {}), "vocab": vocab, "merges": merges}, added_tokens=added, **parts)


GEMMA = {"normalizer": SPACE, "pre_tokenizer": ONLY_SPACES, "decoder": sequence("decoders", TO_SPACE, FALLBACK, FUSE)}
LLAMA2 = {"normalizer": sequence("normalizers", PREPEND, SPACE), "decoder": sequence("decoders", TO_SPACE, FALLBACK, FUSE, strip(" ", 1))}
FUSED = {"fuse_unk": True}

FILES = {
    "gemma": of_characters(1, **GEMMA, model=FUSED),
    "gemma_flags": of_characters(2, with_flags=True, **GEMMA, model=FUSED),
    "llama2": of_characters(3, **LLAMA2, model=FUSED),
    "llama2_flags": of_characters(4, with_flags=True, **LLAMA2),
    "some_bytes_fused": of_characters(5, bytes_share=0.8, **GEMMA, model=FUSED),
    "some_bytes": of_characters(6, bytes_share=0.8, **LLAMA2),
    "no_bytes_no_unknown": of_characters(7, bytes_share=0.0, **GEMMA, model={"unk_token": None}),
    "no_bytes_nfc": of_characters(8, bytes_share=0.0, **{**GEMMA, "normalizer": sequence("normalizers", NFC, SPACE)}),
    "characters_ignore_merges": of_characters(9, **{**GEMMA, "pre_tokenizer": split("\u2581?[a-z]+|\\n+")}, model={"ignore_merges": True}),
    "rules_around_bytes": of_characters(10, with_flags=True, normalizer=SPACE, decoder=sequence(
        "decoders", TO_SPACE, strip(" ", 1), FALLBACK, replace("e", "E"), strip("\ufffd", 1), FUSE, strip("a", 2), strip("E", 1))),
    "qwen2": of_bytes(11, split(QWEN2), BYTES, normalizer=NFC),
    "qwen2_flags": of_bytes(12, split(QWEN2), BYTES, normalizer=NFC, with_flags=True),
    "llama3": of_bytes(13, split(LLAMA3), BYTES, model={"ignore_merges": True}),
    "bailing": of_bytes(14, split(BAILING), BYTES),
    "seed_coder": of_bytes(15, split(SEED_CODER), BYTES),
    "gpt2": of_bytes(16, {**GPT2, "add_prefix_space": True}, with_flags=True),
}
