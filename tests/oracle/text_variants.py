"""Changes of a tokenizer.json (JSON merge patches, RFC 7396) that exercise components the tiny models lack."""

EXTRA_WORDS = ["[TAG]", "x[TAG]y", "  [TAG]  ", "word", "keyword", "word2", " word ", "\u00e9t\u00e9", "e\u0301te\u0301", "<s>", "</s>", "<a><ab><abc>"]
GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}


def split(pattern: str, behavior: str = "Isolated", invert: bool = False) -> dict:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def steps(*parts: dict) -> dict:
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": list(parts)}}


def token(id: int, content: str, **flags: bool) -> dict:
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": False, **flags}


FIRST_NEW = 2014
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SEED_CODER = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+")
BAILING = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

PATCHES = {
    "gpt2_regex": {"pre_tokenizer": GPT2, "normalizer": None},
    "gpt2_regex_prefix_space": {"pre_tokenizer": {**GPT2, "add_prefix_space": True}},
    "seed_coder": {**steps(split(SEED_CODER), BYTES), "normalizer": None},
    "bailing": {**steps(split(BAILING), BYTES), "normalizer": None},
    "digits_then_gpt2": steps({"type": "Digits", "individual_digits": False}, GPT2),
    "single_digits_then_gpt2": steps({"type": "Digits", "individual_digits": True}, GPT2),
    "llama3_with_bos": {
        **steps(split(LLAMA3), BYTES),
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]},
        "added_tokens": [token(FIRST_NEW, "<s>", special=True), token(FIRST_NEW + 1, "</s>", special=True)],
        "post_processor": {"type": "Sequence", "processors": [
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
            {"type": "TemplateProcessing",
             "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                        {"SpecialToken": {"id": "</s>", "type_id": 0}}],
             "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
             "special_tokens": {"<s>": {"id": "<s>", "ids": [FIRST_NEW], "tokens": ["<s>"]},
                                "</s>": {"id": "</s>", "ids": [FIRST_NEW + 1], "tokens": ["</s>"]}}}]}},
    "ignore_merges": {"model": {"ignore_merges": True}},
    "string_pattern_removed": steps({"type": "Split", "pattern": {"String": "e."}, "behavior": "Removed", "invert": False}, GPT2),
    "added_token_flags": {"added_tokens": [
        token(FIRST_NEW, "[TAG]", lstrip=True, rstrip=True),
        token(FIRST_NEW + 1, "word", single_word=True),
        token(FIRST_NEW + 2, "\u00e9t\u00e9", normalized=True),
        token(FIRST_NEW + 3, "<s>", special=True, rstrip=True),
        token(FIRST_NEW + 4, "</s>", special=True, lstrip=True, normalized=True),
        token(FIRST_NEW + 5, "<a>"), token(FIRST_NEW + 6, "<a><ab>"), token(FIRST_NEW + 7, "<ab><abc>")]},
}
for name in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
    PATCHES["split_" + name.lower()] = steps(split(r"[aeiou ]|\n+", name), BYTES)
    PATCHES["split_inverted_" + name.lower()] = steps(split(r"[a-z]+|\d", name, invert=True), BYTES)


def merge_patch(target, patch):
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result
