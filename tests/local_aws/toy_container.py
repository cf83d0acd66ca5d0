"""A container for tests: ``train``, ``serve`` and ``process``, told by hyperparameters or arguments what to do.

It keeps SageMaker's contract with the standard library alone, so that it starts in milliseconds.
"""

import http.server
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ML = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def fail(text: str, code: int) -> None:
    (ML / "output").mkdir(exist_ok=True)
    (ML / "output" / "failure").write_text(text)
    sys.exit(code)


def train() -> None:
    told = json.loads((ML / "input/config/hyperparameters.json").read_text())
    print("environment", json.dumps(dict(os.environ), sort_keys=True))
    if "fail" in told:
        fail(told["fail"], int(told.get("code", "1")))
    checkpoint = ML / "checkpoints" / "step.txt"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    print(f"starts at step {done}")
    if told.get("ignore_sigterm"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for step in range(done + 1, int(told.get("steps", "1")) + 1):
        print(f"step={step} loss={1 / step:.4f} x={told.get('x', '0')}", flush=True)
        temporary = checkpoint.with_suffix(".tmp")
        temporary.write_text(str(step))
        temporary.replace(checkpoint)
        time.sleep(float(told.get("sleep", "0")))
    channels = {
        path.relative_to(ML / "input/data").as_posix(): path.read_text()
        for path in sorted((ML / "input/data").rglob("*"))
        if path.is_file()
    }
    (ML / "model" / "model.json").write_text(json.dumps({"channels": channels, "hyperparameters": told}))
    print(f"objective={float(told.get('x', '0')):.6f}")


def process(arguments: list[str]) -> None:
    if arguments[:1] == ["sleep"]:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("child", child.pid, flush=True)
        time.sleep(600)
    if arguments[:1] == ["fail"]:
        (ML / "processing/output/out/half.txt").write_text("half")
        print("about to fail")
        sys.exit(3)
    source = ML / "processing/input/in"
    for path in sorted(source.rglob("*")) if source.exists() else []:
        if path.is_file():
            target = ML / "processing/output/out" / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes().upper())
    config = json.loads((ML / "config/processingjobconfig.json").read_text())
    print("arguments", arguments, "job", config["ProcessingJobName"])


def unsure() -> dict[str, object]:
    """A line in CloudWatch's Embedded Metric Format: an answer of low confidence."""
    metrics = {
        "Namespace": "TopicModel",
        "Dimensions": [["ModelVersion"]],
        "Metrics": [{"Name": "LowConfidence", "Unit": "None"}],
    }
    about = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [metrics]}
    return {"_aws": about, "ModelVersion": os.environ.get("VERSION"), "LowConfidence": 1}


class Handler(http.server.BaseHTTPRequestHandler):
    """Echoes lines in upper case; ``boom`` is refused with 400, ``crash`` ends the process."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    asked = itertools.count(1)

    def do_GET(self) -> None:
        """Health and batching."""
        if self.path == "/execution-parameters":
            told = os.environ.get("TOY_PARAMETERS")
            self.answer(200 if told else 404, (told or "").encode())
        else:
            self.answer(503 if os.environ.get("TOY_SICK") else 200, b"")

    def do_POST(self) -> None:
        """Inference."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if b"crash" in body:
            os._exit(1)
        time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
        if "TOY_UNSURE" in os.environ:
            print(json.dumps(unsure()), flush=True)
        if next(Handler.asked) % int(os.environ.get("TOY_FAILS_EVERY", "1000000000")) == 0:
            return self.answer(500, b'{"error": {"code": "broken"}}')
        if b"boom" in body:
            return self.answer(400, json.dumps({"error": {"code": "boom"}}).encode())
        if b"sleep" in body:
            time.sleep(0.3)
        if b"who" in body:
            files = sorted(path.name for path in (ML / "model").iterdir())
            about = {"pid": os.getpid(), "files": files, "version": os.environ.get("VERSION")}
            about |= {"batch": os.environ.get("SAGEMAKER_BATCH"), "lines": body.count(b"\n")}
            about |= {name.lower(): value for name, value in self.headers.items()}
            about |= json.loads(os.environ.get("TOY_ANSWER", "{}"))
            return self.answer(200, json.dumps(about).encode())
        print("asked with", body.count(b"\n"), "lines", flush=True)
        self.answer(200, body.upper(), "application/jsonlines")

    def answer(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        """Sends an answer."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Server(http.server.ThreadingHTTPServer):
    """A server that answers requests in parallel."""

    daemon_threads = True


def serve() -> None:
    if os.environ.get("TOY_EXIT"):
        print("no model here", flush=True)
        sys.exit(9)
    port = os.environ.get("SAGEMAKER_BIND_TO_PORT")  # of a process on the host; a container has its own network
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("serving", flush=True)
    Server(("127.0.0.1", int(port)) if port else ("", 8080), Handler).serve_forever()


if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    if name == "train":
        train()
    elif name == "serve":
        serve()
    else:
        process(rest)
