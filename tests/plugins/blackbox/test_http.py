"""A server as a black box: answers, and answers that are late, partial, wrong or elsewhere."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

from ffcore.errors import RunError
from ffcore.local import BoxStage
from ffcore_blackbox import frames
from ffcore_blackbox.http import Http
from ffcore_blackbox.server import http_server


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.headers["Content-Type"], self.headers.get("Authorization")))
        name = self.path.strip("/")
        if name == "redirect":
            self.send_response(302)
            self.send_header("Location", "http://elsewhere.example/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if name == "slow":
            time.sleep(0.6)
        if self.headers["Content-Type"] == "application/json":
            answer = json.dumps({"rows": [[2 * v for v in row] for row in json.loads(body)["rows"]]}).encode()
        else:
            answer = frames.encoded(2 * frames.decoded(body))
        answer = {
            "text": b"hello",
            "other": b'{"lines": []}',
            "fewer": b'{"rows": [[1.0, 2.0]]}',
            "ragged": b'{"rows": [[1.0], [1.0, 2.0]]}',
            "half": answer[: len(answer) // 2],
        }.get(name, answer)
        self.send_response(503 if name == "busy" else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if name == "drip":
            for byte in answer:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.1)
        else:
            self.wfile.write(answer[:9] if name == "broken" else answer)
            self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.seen, made.daemon_threads, made.block_on_close = [], True, False
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{made.server_address[1]}/"
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def rows():
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("format", ["json", "frame"])
def test_batches_are_posted_and_answers_read(server, format):
    box = Http(server.url, format, rows=2, headers={"Authorization": "Bearer x"})
    stage = BoxStage(box)
    assert torch.equal(stage(rows()), 2 * rows())
    kind = "application/json" if format == "json" else "application/octet-stream"
    assert server.seen[-3:] == [(kind, "Bearer x")] * 3  # two, two and one row


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("busy", {}, "status 503"),
        ("redirect", {}, "it redirects to http://elsewhere.example/"),
        ("slow", {"timeout": 0.2}, "has not answered within 0.2 s"),
        ("drip", {"timeout": 0.3}, "has not answered within 0.3 s"),
        ("text", {}, "the answer cannot be read"),
        ("other", {}, "the answer cannot be read: 'rows'"),
        ("ragged", {}, "the answer cannot be read"),
        ("fewer", {}, "for 5 rows; it should return one row for each"),
        ("broken", {}, "the answer cannot be read"),
        ("half", {"format": "frame"}, "the answer cannot be read: .* bytes, but its frame has"),
        ("text", {"format": "frame"}, "instead of a frame"),
        ("", {"largest": 10}, "the answer has more than 10 bytes"),
    ],
)
def test_a_wrong_answer_is_one_line(server, name, options, complaint):
    began = time.monotonic()
    with pytest.raises(RunError, match=complaint) as refused:
        BoxStage(Http(server.url + name, **options))(rows())
    assert "\n" not in str(refused.value)
    assert time.monotonic() - began < 2 + options.get("timeout", 30)


def test_a_server_that_does_not_run_is_named():
    with pytest.raises(RunError, match=r"http://127\.0\.0\.1:9/"):
        BoxStage(Http("http://127.0.0.1:9/", timeout=2.0))(rows())


def test_a_frame_is_decoded_as_it_was_encoded():
    numbers = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    frame = frames.encoded(numbers)
    assert frames.size(frame[:8]) == 8 + 3 * 8
    assert frames.size(frame) == len(frame)
    np.testing.assert_array_equal(frames.decoded(frame), numbers)


@pytest.mark.parametrize("format", ["json", "frame"])
def test_the_example_server_answers_both_formats(format):
    made = http_server()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    answer = BoxStage(Http(f"http://127.0.0.1:{made.server_address[1]}/", format))(rows())
    assert torch.equal(answer, (rows() - rows().mean(1, keepdim=True)).sign())
    made.shutdown()
    made.server_close()
    thread.join()
