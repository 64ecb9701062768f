"""A server as a black box: batches as HTTP requests.

    POST url    {"rows": [[…], …]}  →  {"rows": [[…], …]}         format json
    POST url    a frame  →  a frame                              format frame, see `ffcore_blackbox.frames`

R rows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from ffcore.errors import RunError, first_line
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
        self._session: Any = None

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
        import requests

        if self._session is None:
            self._session = requests.Session()
        until = time.monotonic() + self.timeout
        headers = {"Content-Type": kind, **self.headers}
        parts, size = [], 0
        try:
            with self._session.post(
                *(self.url, body),
                headers=headers,
                timeout=self.timeout,
                stream=True,
                allow_redirects=False,
            ) as reply:
                if reply.is_redirect:
                    where = reply.headers.get("Location", "?")
                    raise RunError(f"{self.url}: it redirects to {where}; name the server itself")
                if reply.status_code != 200:
                    raise RunError(f"{self.url}: status {reply.status_code} {reply.reason}")
                for part in reply.iter_content(_CHUNK):
                    parts.append(part)
                    size += len(part)
                    if size > self.largest:
                        raise RunError(f"{self.url}: the answer has more than {self.largest:,} bytes")
                    if time.monotonic() > until:
                        raise RunError(f"{self.url}: has not answered within {self.timeout:g} s")
        except requests.Timeout as error:
            raise RunError(f"{self.url}: has not answered within {self.timeout:g} s") from error
        except requests.RequestException as error:
            raise RunError(f"{self.url}: {first_line(error)[:200]}") from error
        return b"".join(parts)

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies, without the connection."""
        return {**self.__dict__, "_session": None}
