"""An example of a program for the black boxes `process` and `http`: returns the sign of each number.

    python -m ffcore_blackbox.server           answers frames on its standard input
    python -m ffcore_blackbox.server 8080      answers HTTP requests to http://127.0.0.1:8080/

Copy it and change `answer`. It does not depend on ffcore.
"""

from __future__ import annotations

import json
import struct
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np


def answer(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return one row for each row, here the sign of each number minus the row's mean."""
    means = rows.mean(axis=tuple(range(1, rows.ndim)), keepdims=True)
    signs: np.ndarray[Any, Any] = np.sign(rows - means)
    return signs


class Handler(BaseHTTPRequestHandler):
    """Answers POST requests: ``{"rows": [[…], …]}`` as JSON, or a frame, with the same form."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer one batch."""
        kind, body = self.headers["Content-Type"], self.rfile.read(int(self.headers["Content-Length"]))
        if kind == "application/json":
            made = json.dumps({"rows": answer(np.asarray(json.loads(body)["rows"])).tolist()}).encode()
        else:
            made = encoded(answer(decoded(body)))
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(made)))
        self.end_headers()
        self.wfile.write(made)

    def log_message(self, format: str, *args: Any) -> None:
        """Write no line for each request."""


def http_server(port: int = 0) -> ThreadingHTTPServer:
    """Return a server on this machine that has not been started; port 0 is any free one."""
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    return server


def encoded(rows: np.ndarray[Any, Any]) -> bytes:
    """Return the frame of an array."""
    made = np.ascontiguousarray(rows, dtype="<f4")
    return struct.pack(f"<4sI{made.ndim}Q", b"FFB1", made.ndim, *made.shape) + made.tobytes()


def decoded(frame: bytes) -> np.ndarray[Any, Any]:
    """Return the array of a frame."""
    magic, dimensions = struct.unpack_from("<4sI", frame)
    assert magic == b"FFB1"
    shape = struct.unpack_from(f"<{dimensions}Q", frame, 8)
    return np.frombuffer(frame, dtype="<f4", offset=8 + 8 * dimensions).reshape(shape)


def answer_frames() -> None:
    """Answer every frame, until the input ends."""
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(8):
        (dimensions,) = struct.unpack_from("<I", head, 4)
        sides = source.read(8 * dimensions)
        size = 4 * int(np.prod(struct.unpack(f"<{dimensions}Q", sides)))
        target.write(encoded(answer(decoded(head + sides + source.read(size)))))
        target.flush()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        http_server(int(sys.argv[1])).serve_forever()
    answer_frames()
