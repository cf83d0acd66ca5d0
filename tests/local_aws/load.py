"""Load on an endpoint, from a process of its own: ``python load.py <url> <endpoint> <requests a second>``.

It asks until it gets a line on its standard input, then prints a JSON line a request: when it was sent (seconds since
the epoch), the HTTP status (0 where the connection failed), how long it took, and the version that answered.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from typing import Any
from urllib.parse import urlsplit

THREADS = 8
SCOPE = "AWS4-HMAC-SHA256 Credential=load/20260101/us-east-1/sagemaker/aws4_request, SignedHeaders=host, Signature=0"


def ask(connection: http.client.HTTPConnection, path: str) -> dict[str, Any]:
    """One request, and what came of it."""
    sent = time.time()
    try:
        connection.request("POST", path, b"who", {"Content-Type": "application/json", "Authorization": SCOPE})
        response = connection.getresponse()
        body, status = response.read(), response.status
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        body, status = repr(error).encode(), 0
    version = json.loads(body).get("version") if status == 200 else body.decode(errors="replace")[:300]
    return {"sent": sent, "status": status, "seconds": time.time() - sent, "version": version}


def work(address: str, path: str, pause: float, stop: threading.Event, answers: list[dict[str, Any]]) -> None:
    """Asks at a steady pace until it is told to stop."""
    connection = http.client.HTTPConnection(address, timeout=90)
    due = time.monotonic()
    while not stop.is_set():
        answers.append(ask(connection, path))
        due += pause
        if (left := due - time.monotonic()) > 0:
            stop.wait(left)
        else:
            due = time.monotonic()


def main() -> None:
    """Run until a line comes in."""
    url, endpoint, rate = sys.argv[1:]
    stop, answers = threading.Event(), list[dict[str, Any]]()
    arguments = (urlsplit(url).netloc, f"/endpoints/{endpoint}/invocations", THREADS / float(rate), stop, answers)
    threads = [threading.Thread(target=work, args=arguments) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    stop.set()
    for thread in threads:
        thread.join()
    for answer in sorted(answers, key=lambda answer: answer["sent"]):
        print(json.dumps(answer))


if __name__ == "__main__":
    main()
