"""A server as a black box: batches as HTTP requests.

    POST url    {"rows": [[…], …]}  →  {"rows": [[…], …]}         format json
    POST url    a frame  →  a frame                              format frame, see `ffcore_blackbox.frames`

R rows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field
from torch import Tensor

from ffcore.errors import RunError, first_line, typed
from ffcore.interfaces import BlackBox
from ffcore.options import Count, Seconds
from ffcore_blackbox import frames
from ffcore_blackbox.arrays import array

_CHUNK = 1 << 16


class Http(BlackBox):
    """A server that answers each batch. A redirect, a status other than 200 and a slow answer are errors.

    Args:
        url: where batches are posted, http:// or https://.
        format: "json": lists of numbers, for any server; "frame": binary, exact and faster.
        timeout: seconds for the whole answer.
        rows: maximum number of rows of one request; None: any number.
        largest: maximum size of an answer in bytes.
        headers: further headers, such as a token.
    """

    examples = ({"url": "http://127.0.0.1:8080/"},)

    def __init__(
        self,
        url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")],
        format: Literal["json", "frame"] = "json",
        timeout: Seconds = 30.0,
        rows: Count | None = 1000,
        largest: Count = 100_000_000,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.url, self.format, self.timeout, self.limit = url, format, timeout, rows
        self.largest, self.headers = largest, dict(headers or {})
        if urlsplit(url).hostname is None:
            raise ValueError(f"url: {url!r} names no server")

    def forward(self, x: Tensor) -> np.ndarray[Any, Any]:
        """(R, *shape) → (R, *shape')."""
        rows = array(x)
        if self.format == "frame":
            body, kind = frames.encoded(rows), "application/octet-stream"
        else:
            body, kind = json.dumps({"rows": rows.tolist()}).encode(), "application/json"
        answer = self._posted(body, kind)
        try:
            return self._read(answer)
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.url}: the answer cannot be read: {first_line(error)}") from error

    def _read(self, answer: bytes) -> np.ndarray[Any, Any]:
        if self.format == "json":
            return np.asarray(json.loads(answer)["rows"], dtype=np.float32)
        if frames.size(answer) != len(answer):
            raise ValueError(f"{len(answer)} bytes, but its frame has {frames.size(answer)}")
        return frames.decoded(answer)

    def _posted(self, body: bytes, kind: str) -> bytes:
        address = urlsplit(self.url)
        assert address.hostname is not None, "checked in the constructor"
        connect = HTTPSConnection if address.scheme == "https" else HTTPConnection
        connection = connect(address.hostname, address.port, timeout=self.timeout)
        path = (address.path or "/") + (f"?{address.query}" if address.query else "")
        until = time.monotonic() + self.timeout
        try:
            connection.connect()
            socket: Any = connection.sock  # of an answer that ends the connection, it would be forgotten
            connection.request("POST", path, body, {"Content-Type": kind, **self.headers})
            socket.settimeout(_left(until))
            reply = connection.getresponse()
            if 300 <= reply.status < 400:
                where = reply.getheader("Location", "?")
                raise RunError(f"{self.url}: it redirects to {where}; name the server itself")
            if reply.status != 200:
                raise RunError(f"{self.url}: status {reply.status} {reply.reason}")
            answer = bytearray()
            while part := reply.read1(_CHUNK):
                answer += part
                if len(answer) > self.largest:
                    raise RunError(f"{self.url}: the answer has more than {self.largest:,} bytes")
                socket.settimeout(_left(until))
        except TimeoutError as error:
            raise RunError(f"{self.url}: has not answered within {self.timeout:g} s") from error
        except (OSError, HTTPException) as error:
            raise RunError(f"{self.url}: {typed(error, 200)}") from error
        finally:
            connection.close()
        return bytes(answer)


def _left(until: float) -> float:
    """Return the seconds that are left; raises TimeoutError if there are none."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
