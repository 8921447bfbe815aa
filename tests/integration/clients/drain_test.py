"""A running cluster under load: a full queue, clients that leave, and SIGTERM.

Usage: drain_test.py TESSERA
"""
import json
import sys
import threading
import time

from running_cluster import RunningCluster

# On the slowest back end, and one token per step: about a second of decoding for each.
FLAGS = ["--backend", "reference"]
SLOW = {"prompt": "<|im_start|>user\nHow many legs have 8 goats?<|im_end|>\n<|im_start|>assistant\n", "max_tokens": 60, "ignore_eos": True, "stream": True,
        "decoding": {"accept_threshold": 1.0, "block_size": 4, "buffer_size": 1}}


class Stream:
    """A streamed completion, read by a thread of its own."""

    def __init__(self, cluster: RunningCluster, body=None):
        self.first = threading.Event()
        self.text, self.error, self.is_done = "", None, False
        self.status, self.headers = 0, {}
        self.thread = threading.Thread(target=self._read, args=(cluster, body or SLOW), daemon=True)
        self.thread.start()

    def _read(self, cluster, body):
        response = cluster.request("POST", "/v1/completions", body)
        self.status, self.headers = response.status, dict(response.getheaders())
        if response.status != 200:
            self.error = json.loads(response.read())["error"]
        while response.status == 200 and (line := response.readline()):
            if not line.startswith(b"data: "):
                continue
            if line.strip() == b"data: [DONE]":
                self.is_done = True
                break
            event = json.loads(line[6:])
            self.error = event.get("error")
            self.text += "".join(choice["text"] for choice in event.get("choices", []))
            self.first.set()
        self.first.set()

    def join(self):
        self.thread.join(60)
        assert not self.thread.is_alive(), "the stream never ended"


def check_full_queue(tessera: str):
    with RunningCluster(tessera, *FLAGS, "--max-running-requests", "1", "--max-waiting-requests", "1") as cluster:
        streams = [Stream(cluster)]
        streams[0].first.wait(60)
        streams += [Stream(cluster) for _ in range(5)]
        for stream in streams:
            stream.join()
        refused = [stream for stream in streams if stream.status == 429]
        assert len(refused) == 4, [stream.status for stream in streams]
        for stream in refused:
            assert stream.error["code"] == "queue_full" and int(stream.headers["Retry-After"]) >= 1
        assert all(stream.is_done for stream in streams if stream.status == 200)
        assert cluster.metric('tessera_requests_rejected_total{reason="queue_full"}') == 4


def check_disconnect(cluster: RunningCluster):
    """Who leaves gives back pages and slot at once."""
    response = cluster.request("POST", "/v1/completions", SLOW)
    response.readline()
    response.close()
    deadline = time.monotonic() + 5
    while cluster.metric('tessera_requests_running{replica="0"}') != 0 or (
            cluster.metric('tessera_kv_pages{replica="0",state="active"}') != 0):
        assert time.monotonic() < deadline, "the request runs on without its client"
    assert cluster.metric('tessera_requests_total{outcome="cancelled"}') == 1


def check_drain(tessera: str):
    """Every accepted request ends as if nothing had happened; new ones are turned away."""
    with RunningCluster(tessera, *FLAGS) as cluster:
        check_disconnect(cluster)
        alone = Stream(cluster)
        alone.join()
        streams = [Stream(cluster) for _ in range(4)]
        for stream in streams:
            stream.first.wait(60)
        cluster.terminate()
        while cluster.request("GET", "/health/ready").status != 503:
            pass
        late = cluster.request("POST", "/v1/completions", SLOW)
        assert late.status == 503, late.status
        assert json.loads(late.read())["error"]["code"] == "draining" and late.getheader("Retry-After")
        assert any(not stream.is_done for stream in streams), "they ended before the signal came"
        assert cluster.wait() == 0
        for stream in streams:
            stream.join()
            assert stream.is_done and stream.error is None, stream.error
            assert stream.text == alone.text


def check_end_of_patience(tessera: str):
    """What does not end within the drain time is told so."""
    with RunningCluster(tessera, *FLAGS, "--drain-timeout", "100ms") as cluster:
        stream = Stream(cluster, SLOW | {"max_tokens": 300})
        stream.first.wait(60)
        cluster.terminate()
        assert cluster.wait() == 0
        stream.join()
        assert not stream.is_done and stream.error["code"] == "draining", stream.error


def main():
    check_full_queue(sys.argv[1])
    check_drain(sys.argv[1])
    check_end_of_patience(sys.argv[1])


main()
