"""Every registered component passes its checks."""

import atexit
import threading

import pytest

from ffcore.testing import cases
from ffcore_blackbox.server import http_server

SERVER = http_server()
atexit.register(SERVER.server_close)  # a worker may only collect these tests
URL = f"http://127.0.0.1:{SERVER.server_address[1]}/"


@pytest.fixture(scope="module", autouse=True)
def server():
    """A server for the box `http`."""
    thread = threading.Thread(target=SERVER.serve_forever, daemon=True)
    thread.start()
    yield
    SERVER.shutdown()
    SERVER.server_close()
    thread.join()


@pytest.mark.parametrize("case", cases(examples={("blackbox", "http"): [{"url": URL}]}), ids=str)
def test_conformance(case):
    case.run()
