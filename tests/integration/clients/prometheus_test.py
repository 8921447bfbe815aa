"""Prometheus accepts the metrics and the scrape configuration, and scrapes a running cluster.

Usage: prometheus_test.py TESSERA
"""
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

from running_cluster import PATIENCE_S, RunningCluster

CONFIG_DIR = pathlib.Path(__file__).parents[3] / "deploy/prometheus"

# Family and labels of lines that must be there.
EXPECTED = [
    ("tessera_http_requests_total", 'route="/v1/completions"'), ("tessera_requests_total", 'outcome="length"'),
    ("tessera_request_stop_details_total", 'detail="max_tokens"'),
    ("tessera_requests_rejected_total", 'reason="queue_full"'),
    ("tessera_request_queue_seconds_count", ""), ("tessera_time_to_first_commit_seconds_count", 'stream="1"'),
    ("tessera_inter_commit_seconds_count", ""), ("tessera_request_e2e_seconds_count", ""),
    ("tessera_request_prompt_tokens_count", ""), ("tessera_request_cached_tokens_count", ""),
    ("tessera_request_output_tokens_count", ""), ("tessera_request_forward_passes_count", ""),
    ("tessera_request_tokens_per_forward_count", ""), ("tessera_commit_tokens_count", ""),
    ("tessera_prompt_tokens_total", 'source="computed"'), ("tessera_prompt_tokens_total", 'source="cached"'),
    ("tessera_output_tokens_total", ""), ("tessera_prefix_lookup_tokens_total", ""),
    ("tessera_prefix_hit_tokens_total", ""), ("tessera_engine_steps_total", ""),
    ("tessera_request_forwards_total", 'phase="prefill"'), ("tessera_request_forwards_total", 'phase="denoise"'),
    ("tessera_request_forwards_total", 'phase="store_only"'), ("tessera_request_forwards_total", 'phase="rebuild"'),
    ("tessera_preemptions_total", ""), ("tessera_requests_running", 'replica="0"'), ("tessera_requests_waiting", ""),
    ("tessera_kv_pages", 'replica="0",state="free"'), ("tessera_kv_pages", 'replica="0",state="active"'),
    ("tessera_kv_pages", 'replica="0",state="cached"'), ("tessera_kv_page_evictions_total", ""),
    ("tessera_server_state", 'state="ready"'), ("tessera_replica_restarts_total", 'replica="0"'),
    ("tessera_rank_up", 'replica="0",rank="0"'), ("tessera_rank_up", 'replica="0",rank="1"'),
    ("tessera_rank_heartbeat_age_seconds", 'replica="0",rank="1"'),
    ("tessera_rank_compute_seconds_total", 'replica="0",rank="1"'),
    ("tessera_rank_collective_seconds_total", 'replica="0",rank="1"'), ("tessera_build_info", "version="),
    ("tessera_http_connections", ""), ("process_resident_memory_bytes", ""), ("process_cpu_seconds_total", ""),
] + [("tessera_step_seconds_count", f'replica="0",phase="{phase}"')
     for phase in ("schedule", "wire", "compute", "collective", "apply")]


def run(*command, **more) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, **more)


def check_configuration():
    result = run("promtool", "check", "config", str(CONFIG_DIR / "prometheus.yml"))
    assert result.returncode == 0, result.stdout + result.stderr


def check_metrics(cluster: RunningCluster):
    for _ in range(2):
        cluster.post("/v1/completions", {"prompt": "How many legs have " * 8, "max_tokens": 40, "ignore_eos": True})
    cluster.request("POST", "/v1/completions", {"prompt": "x", "max_tokens": 40, "ignore_eos": True, "stream": True}).read()
    time.sleep(0.1)  # the engine's numbers are copied out 20 times a second
    text = cluster.get("/metrics")
    result = run("promtool", "check", "metrics", input=text)
    assert result.returncode == 0, result.stdout + result.stderr
    for family, labels in EXPECTED:
        found = [line for line in text.splitlines() if line.startswith(family) and labels in line]
        assert found, f"no {family}{{{labels}}} in\n{text}"
    lines = len([line for line in text.splitlines() if not line.startswith("#")])
    assert lines < 2000, f"{lines} series are too many for one scrape"
    assert cluster.metric('tessera_requests_total{outcome="length"}') == 3
    assert cluster.metric("tessera_output_tokens_total") == 120, text
    assert cluster.metric("tessera_prefix_hit_tokens_total") > 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check_scrape(cluster: RunningCluster):
    """The shipped configuration, with this server's port, in a real Prometheus."""
    configuration = (CONFIG_DIR / "prometheus.yml").read_text()
    assert "127.0.0.1:8080" in configuration
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "prometheus.yml"
        path.write_text(configuration.replace("127.0.0.1:8080", f"127.0.0.1:{cluster.port}")
                        .replace("scrape_interval: 5s", "scrape_interval: 1s"))
        (pathlib.Path(folder) / "alerts.yml").write_text((CONFIG_DIR / "alerts.yml").read_text())
        port = free_port()
        server = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "prometheus", f"--config.file={path}",
             f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={folder}/data"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for_value(port, 'up{job="tessera"}', 1)
            wait_for_value(port, 'tessera_requests_total{outcome="length"}', 3)
        finally:
            server.kill()
            server.wait()


def wait_for_value(port: int, query: str, expected: float):
    url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    deadline = time.monotonic() + PATIENCE_S
    seen = None
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                seen = json.load(response)["data"]["result"]
        except OSError:
            pass  # it is starting
        if seen and float(seen[0]["value"][1]) == expected:
            return
        time.sleep(0.2)
    raise AssertionError(f"{query} is {seen}, not {expected}")


def main():
    check_configuration()
    with RunningCluster(sys.argv[1], "--tp", "2") as cluster:
        check_metrics(cluster)
        check_scrape(cluster)
    assert cluster.exit_code == 0, cluster.exit_code


main()
