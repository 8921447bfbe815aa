"""A whole cluster, started the way a person starts it, for tests of the programs that talk to it."""
import http.client
import json
import pathlib
import re
import signal
import subprocess
import threading

MODEL = pathlib.Path(__file__).parents[3] / "deploy/models/tiny-sdar"
PATIENCE_S = 60


class RunningCluster:
    """`tessera serve` of the bundled model at a free port, ready when entered."""

    def __init__(self, tessera: str, *flags: str):
        # As its parent ends, however it ends, so does the server.
        self.command = ["setpriv", "--pdeathsig", "TERM", tessera, "serve", str(MODEL), "--port", "0"]
        self.command += ["--threads-per-rank", "1", *flags]
        self.log: list[str] = []
        self.port = 0
        self.exit_code: int | None = None

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.is_ready = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if not self.is_ready.wait(PATIENCE_S) or not self.port:
            self.stop()
            raise AssertionError("the cluster did not become ready:\n" + "".join(self.log))
        return self

    def __exit__(self, kind, value, traceback):
        self.stop()
        if kind is not None:
            print("".join(self.log))

    def _read(self):
        for line in self.process.stdout:
            self.log.append(line)
            found = re.search(r"serving on http://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found.group(1))
            if " is ready after " in line:
                self.is_ready.set()
        self.is_ready.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def terminate(self):
        """Asks the server to end, as an operator does."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        self.exit_code = self.process.wait(PATIENCE_S)
        self.reader.join(PATIENCE_S)
        return self.exit_code

    def stop(self):
        if self.exit_code is None:
            self.terminate()
            self.wait()

    def request(self, method: str, path: str, body=None) -> http.client.HTTPResponse:
        """The response with its head read, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        connection.request(method, path, None if body is None else json.dumps(body),
                           {"Content-Type": "application/json"})
        return connection.getresponse()

    def get(self, path: str) -> str:
        response = self.request("GET", path)
        text = response.read().decode()
        assert response.status == 200, f"{path}: {response.status} {text}"
        return text

    def post(self, path: str, body) -> dict:
        response = self.request("POST", path, body)
        text = response.read().decode()
        assert response.status == 200, f"{path}: {response.status} {text}"
        return json.loads(text)

    def metric(self, line_start: str) -> float:
        """Value of the first line of /metrics that begins so."""
        for line in self.get("/metrics").splitlines():
            if line.startswith(line_start):
                return float(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no metric begins with {line_start}")
