"""Fails if a decoding strategy is named outside strategies/, configurations, docs and tests.

A strategy's name is the name of its folder. Names that are also English words (no underscore, no
digit) count only as string literals. Model families of the same name may be named where families
are read: common/model_spec and worker/model.

Usage: check_strategy_names.py REPO_ROOT
"""
import pathlib
import re
import sys

SEARCHED = ("common", "coordinator", "kernels", "worker", "benchmarks")
FAMILY_FOLDERS = ("common/model_spec/", "worker/model/")
SUFFIXES = {".h", ".cpp", ".cu", ".cuh", ".capnp", ".js", ".html"}
NOT_STRATEGIES = {"registry", "templates"}


def strategy_names(root: pathlib.Path) -> list[str]:
    folders = (p for p in (root / "strategies").iterdir() if p.is_dir())
    return sorted(p.name for p in folders if p.name not in NOT_STRATEGIES)


def pattern_of(name: str) -> re.Pattern[str]:
    is_word = name.isalpha()
    return re.compile(f'"{name}"' if is_word else rf"\b{re.escape(name)}\b")


def main(root: pathlib.Path) -> int:
    names = strategy_names(root)
    if not names:
        print("no strategies found: wrong root?")
        return 1
    patterns = {name: pattern_of(name) for name in names}
    violations = []
    for folder in SEARCHED:
        for source in sorted((root / folder).rglob("*")):
            path = source.relative_to(root).as_posix()
            if source.suffix not in SUFFIXES or path.startswith(FAMILY_FOLDERS):
                continue
            for number, line in enumerate(source.read_text().splitlines(), start=1):
                violations += [f"{path}:{number}: names the strategy {name}"
                               for name, pattern in patterns.items() if pattern.search(line)]
    print("\n".join(violations) or f"no strategy of {', '.join(names)} is named outside its place")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
