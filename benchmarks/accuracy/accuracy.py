"""Accuracy and speed of served models beside what the decoding oracle reached.

Per trained model: serves its checkpoint with `tessera serve`, sends the problems with `tessera
bench` once per row of the oracle's table and level of concurrency, with the options of the row's
golden file, and prints a Markdown table. Exits with 1 if a request failed or an accuracy is more
than --tolerance points off the oracle's.

    python3 benchmarks/accuracy/accuracy.py --tessera build/release/bin/tessera sdar llada2
    python3 benchmarks/accuracy/accuracy.py --tessera ... --concurrency 1,16 sdar -- --tp 2

The oracle stops at <|endoftext|> alone, a server at every id of generation_config.json, which for
most checkpoints is one token earlier: one token less per answer, and some forwards. Levels after the
first find pages of their prompts cached, which saves forwards, too.

The checkpoints, the oracle's figures and the goldens are looked for in $TESSERA_MODELS_DIR and
$TESSERA_GOLDENS_DIR, else in deploy/models and tests/golden. Exits with 77 (a skipped test) if the
checkpoint of a model is in neither, or with -- --backend cuda on a machine without a driver.
"""
import argparse
import contextlib
import ctypes
import gzip
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS = 120
SKIPPED = 77
SAMPLING = ("max_tokens", "temperature", "top_p", "top_k", "seed")


def oracle_rows(table: pathlib.Path) -> dict[str, dict[str, float]]:
    """Rows of the Markdown table by golden file."""
    rows = {}
    header = []
    for line in table.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or set(line) <= set("|-: "):
            continue
        if not header:
            header = cells
        else:
            rows[cells[0]] = {name: float(re.sub("[ %]", "", value))
                              for name, value in zip(header[2:], cells[2:])}
    return rows


def options_of(golden: pathlib.Path) -> dict:
    with gzip.open(golden, "rt") as lines:
        first = json.loads(next(lines))
    return first["options"] | {"strategy": first["strategy"]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url: str) -> dict:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


@contextlib.contextmanager
def served(tessera: str, model: pathlib.Path, flags: list[str]):
    """URL of a server that lives inside the block; its output goes to a file shown on failure."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile("w+") as log:
        command = [tessera, "serve", str(model), "--port", str(port), *flags]
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                try:
                    get(f"{url}/health/ready")
                    break
                except (urllib.error.URLError, OSError):
                    if server.poll() is not None or time.monotonic() > deadline:
                        log.seek(0)
                        sys.exit(f"the server did not become ready:\n{log.read()[-3000:]}")
                    time.sleep(0.1)
            yield url
        finally:
            server.terminate()
            server.wait()


def checkpoint_of(model: str) -> pathlib.Path:
    folders = [ROOT / "deploy/models"]
    if "TESSERA_MODELS_DIR" in os.environ:
        folders.append(pathlib.Path(os.environ["TESSERA_MODELS_DIR"]))
    for folder in folders:
        if (folder / f"tiny-{model}").is_dir():
            return folder / f"tiny-{model}"
    print(f"tiny-{model} is in none of {', '.join(map(str, folders))}; set TESSERA_MODELS_DIR")
    sys.exit(SKIPPED)


def decoding_of(url: str, options: dict) -> dict:
    """Those of the options that the server's strategy takes, with its name."""
    strategies = get(f"{url}/v1/models")["data"][0]["tessera"]["strategies"]
    strategy = next(entry for entry in strategies if entry["name"] == options["strategy"])
    known = {entry["name"] for entry in strategy["options"]} | {"strategy"}
    return {name: value for name, value in options.items() if name in known}


def measure(tessera: str, url: str, problems: pathlib.Path, count: int, options: dict,
            concurrency: str) -> list[dict]:
    """The levels of a run of `tessera bench`."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder, "report.json")
        command = [tessera, "bench", "--server", url, "--dataset", str(problems), "--num-requests",
                   str(count), "--concurrency", concurrency, "--json", str(report)]
        for name in SAMPLING:
            command += ["--" + name.replace("_", "-"), str(options[name])]
        for name, value in decoding_of(url, options).items():
            command += ["--decoding", f"{name}={json.dumps(value).strip(chr(34))}"]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode not in (0, 2):  # 2: requests failed, which the report counts
            sys.exit(f"{' '.join(command)}\nexited with {run.returncode}:\n{run.stderr}")
        return json.loads(report.read_text())["levels"]


def print_row(name: str, concurrency: str, level: dict, oracle: dict):
    failed = level["requests"] - level["ok"]
    words = level["accuracy_by_task"]["word"]["percent"]
    print(f"| {name} | {concurrency} | {level['requests']} | {failed} "
          f"| {level['accuracy']['percent']:.1f} % | {oracle['accuracy']:.1f} % "
          f"| {words:.1f} % | {oracle['word problems']:.1f} % "
          f"| {level['tokens_per_request']:.1f} | {oracle['tokens']} "
          f"| {level['nfe_per_request']:.2f} | {oracle['NFE']} "
          f"| {level['tokens_per_forward']:.2f} | {oracle['TPF']} "
          f"| {level['output_tokens_per_second']:.0f} |", flush=True)


def has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def main() -> int:
    bundled = ROOT / "tests/golden"
    problems = pathlib.Path(os.environ.get("TESSERA_MODELS_DIR", bundled / "problems"))
    goldens = pathlib.Path(os.environ.get("TESSERA_GOLDENS_DIR", bundled)) / "trained"
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tessera", required=True, help="the tessera program")
    parser.add_argument("--concurrency", default="16", help="levels of tessera bench, e.g. 1,16")
    parser.add_argument("--tolerance", default=2.0, type=float, help="points of accuracy")
    parser.add_argument("models", nargs="+", help="sdar is the checkpoint tiny-sdar")
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    args = parser.parse_args(sys.argv[1:split])
    serve_flags = sys.argv[split + 1:]

    if "cuda" in serve_flags and not has_driver():
        print("this machine has no NVIDIA driver")
        return SKIPPED
    checkpoints = {model: checkpoint_of(model) for model in args.models}
    is_off = False
    print("| golden file | at a time | n | failed | accuracy | oracle | word problems | oracle "
          "| tokens | oracle | NFE | oracle | tokens per forward | oracle | output tok/s |")
    print("|---|" + "--:|" * 14, flush=True)
    for model, checkpoint in checkpoints.items():
        rows = {name: row for name, row in oracle_rows(problems / "oracle_accuracy.md").items()
                if name.startswith(model + ".")}
        if not rows:
            sys.exit(f"no row of {problems / 'oracle_accuracy.md'} begins with {model}.")
        with served(args.tessera, checkpoint, serve_flags) as url:
            for name, oracle in rows.items():
                levels = measure(args.tessera, url, problems / "public_test.jsonl",
                                 int(oracle["n"]), options_of(goldens / f"{name}.jsonl.gz"),
                                 args.concurrency)
                for concurrency, level in zip(args.concurrency.split(","), levels, strict=True):
                    print_row(name, concurrency, level, oracle)
                    off = abs(level["accuracy"]["percent"] - oracle["accuracy"])
                    is_off |= level["requests"] > level["ok"] or off > args.tolerance
    if is_off:
        print(f"\nA request failed, or an accuracy is more than {args.tolerance} points off.")
    return 1 if is_off else 0


if __name__ == "__main__":
    sys.exit(main())
