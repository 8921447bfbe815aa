"""Speed of the `tokenizers` library on the text of text_benchmark, one thread, per second of CPU time; best of five.

Usage: python3 benchmarks/text/library_speed.py      (pip install tokenizers)
"""
import os
import pathlib
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "tests" / "golden" / "text" / "tokenizers"
TOKENIZERS = {"byte_level": ROOT / "deploy" / "models" / "tiny-sdar" / "tokenizer.json", "llama3": GOLDENS / "llama3.json",
              "gemma": GOLDENS / "gemma.json", "llama2": GOLDENS / "llama2.json"}


def messages_of(text: str) -> list[str]:
    messages, begin = [], 0
    while begin < len(text):
        end = text.find("\n", min(begin + 2000, len(text) - 1)) + 1 or len(text)
        messages.append(text[begin:end])
        begin = end
    return messages


def best_seconds(work) -> float:
    times = []
    for _ in range(5):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


def main() -> None:
    paths = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "tests" / "golden" / "problems" / "public_test.jsonl"]
    text = "".join(path.read_text(encoding="utf-8") for path in paths)
    num_bytes = len(text.encode())
    for name, path in TOKENIZERS.items():
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
        for kind, texts in (("messages", messages_of(text)), ("one_text", [text])):
            seconds = best_seconds(lambda: [tokenizer.encode(part, add_special_tokens=False) for part in texts])
            print(f"encode/{kind}/{name}: {num_bytes / seconds / 1e6:.2f} MB/s")
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        seconds = best_seconds(lambda: tokenizer.decode(ids))
        print(f"decode/{name}: {len(ids) / seconds / 1e6:.2f} Mtokens/s")


if __name__ == "__main__":
    main()
