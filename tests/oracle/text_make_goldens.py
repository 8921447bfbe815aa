"""Writes tests/golden/text/*.json: what the `tokenizers` library makes of many inputs.

Usage: python3 tests/oracle/text_make_goldens.py MODELS_DIR
       (pip install tokenizers; MODELS_DIR holds one folder per tiny model)

Deterministic: the same library versions write the same bytes.
"""
import json
import pathlib
import sys

import text_strings
import text_variants
import tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "golden" / "text"
SDAR = ROOT / "deploy" / "models" / "tiny-sdar"


def write_lines(name: str, cases: list) -> None:
    path = OUT / name
    lines = [json.dumps(case, ensure_ascii=True, separators=(",", ":")) for case in cases]
    path.write_text("\n".join(lines) + "\n")
    print(f"{path.relative_to(ROOT)}: {len(cases)} lines, {path.stat().st_size} bytes")


def encode(tokenizer: tokenizers.Tokenizer, text: str, add_special: bool = False) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=add_special).ids


def encode_cases(tokenizer: tokenizers.Tokenizer, texts: list[str]) -> list[dict]:
    """`plain`: ids with parse_special off, where they differ."""
    cases = []
    for text in texts:
        tokenizer.encode_special_tokens = False
        case = {"text": text, "ids": encode(tokenizer, text)}
        tokenizer.encode_special_tokens = True
        plain = encode(tokenizer, text)
        if plain != case["ids"]:
            case["plain"] = plain
        cases.append(case)
    return cases


def decode_cases(tokenizer: tokenizers.Tokenizer, id_lists: list[list[int]]) -> list[dict]:
    return [{"ids": ids, "all": tokenizer.decode(ids, skip_special_tokens=False),
             "skip": tokenizer.decode(ids, skip_special_tokens=True)} for ids in id_lists]


def main(models_dir: pathlib.Path) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    sdar = tokenizers.Tokenizer.from_file(str(SDAR / "tokenizer.json"))
    specials = [token.content for token in sdar.get_added_tokens_decoder().values()]
    write_lines("tiny_sdar_encode.jsonl", encode_cases(sdar, text_strings.make(3200, specials, seed=1)))
    id_lists = text_strings.make_id_lists(400, sdar.get_vocab_size(), seed=2)
    write_lines("tiny_sdar_decode.jsonl", decode_cases(sdar, id_lists))

    others = []
    for folder in sorted(models_dir.glob("tiny-*")):
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        specials = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        others += [{"model": folder.name, **case}
                   for case in encode_cases(tokenizer, text_strings.make(30, specials, seed=3))]
    write_lines("other_models_encode.jsonl", others)

    document = json.loads((SDAR / "tokenizer.json").read_text())
    variants = []
    for name, patch in text_variants.PATCHES.items():
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps(text_variants.merge_patch(document, patch)))
        specials = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        texts = text_strings.make(45, specials + text_variants.EXTRA_WORDS, seed=4)
        cases = []
        for text in texts:
            ids, special = encode(tokenizer, text), encode(tokenizer, text, add_special=True)
            cases.append({"text": text, "ids": ids, **({"special": special} if special != ids else {})})
        variants.append({"name": name, "patch": patch, "cases": cases})
    write_lines("variants.jsonl", variants)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
