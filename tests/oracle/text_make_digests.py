"""Writes tests/golden/text/tokenizers/*.json, string_pools.json and digests.jsonl: what the `tokenizers` library makes of 20,000 strings
and as many lists of ids, for each of those files and of the models in MODELS_DIR, as one 64-bit digest per 100 of them.

Usage: python3 tests/oracle/text_make_digests.py MODELS_DIR
       python3 tests/oracle/text_make_digests.py --show TOKENIZER_JSON BLOCK     (what is in one digest)
       (pip install tokenizers)
"""
import json
import pathlib
import sys

import text_strings
import text_tokenizers
import tokenizers

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "text"
STRINGS, BLOCK = 20000, 100
END = 0xFFFFFFFF  # Behind every sequence in a digest.


class Case:
    """One string and one list of ids, and everything that is made of them."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, specials: list[str], index: int):
        self.text = text_strings.drawn_text(index, specials)
        tokenizer.encode_special_tokens = False
        self.ids = tokenizer.encode(self.text, add_special_tokens=False).ids
        tokenizer.encode_special_tokens = True
        self.plain = tokenizer.encode(self.text, add_special_tokens=False).ids
        self.drawn = text_strings.drawn_ids(index, max(tokenizer.get_vocab().values()) + 1)
        self.decoded = [tokenizer.decode(ids, skip_special_tokens=skip) for ids in (self.ids, self.drawn) for skip in (False, True)]

    def sequences(self):
        yield map(ord, self.text)
        yield self.ids
        yield self.plain
        for text in self.decoded:
            yield map(ord, text)


def digest(cases) -> str:
    state = 0
    for case in cases:
        for sequence in case.sequences():
            for value in (*sequence, END):
                state = ((state ^ value) * 0x9E3779B97F4A7C15) & text_strings.MASK
                state ^= state >> 32
    return f"{state:016x}"


def digests(document: str) -> list[str]:
    tokenizer = tokenizers.Tokenizer.from_str(document)
    specials = [token["content"] for token in json.loads(document)["added_tokens"]]
    return [digest(Case(tokenizer, specials, i) for i in range(first, first + BLOCK)) for first in range(0, STRINGS, BLOCK)]


def show(path: str, block: int) -> None:
    document = pathlib.Path(path).read_text(encoding="utf-8")
    tokenizer = tokenizers.Tokenizer.from_str(document)
    specials = [token["content"] for token in json.loads(document)["added_tokens"]]
    for index in range(block * BLOCK, (block + 1) * BLOCK):
        print(json.dumps({"index": index, **vars(Case(tokenizer, specials, index))}))


def main(models_dir: str) -> None:
    (OUT / "tokenizers").mkdir(parents=True, exist_ok=True)
    (OUT / "string_pools.json").write_text(json.dumps(text_strings.POOLS) + "\n")
    rows = []
    for name, document in text_tokenizers.FILES.items():
        text = json.dumps(document, separators=(",", ":")) + "\n"
        (OUT / "tokenizers" / f"{name}.json").write_text(text)
        rows.append({"file": name, "digests": digests(text)})
    for folder in sorted(pathlib.Path(models_dir).glob("tiny-*")):
        rows.append({"model": folder.name, "digests": digests((folder / "tokenizer.json").read_text(encoding="utf-8"))})
    (OUT / "digests.jsonl").write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
    print(len(rows), "tokenizers,", STRINGS, "strings each")


if __name__ == "__main__":
    if sys.argv[1] == "--show":
        show(sys.argv[2], int(sys.argv[3]))
    else:
        main(sys.argv[1])
