# SPDX-License-Identifier: Apache-2.0
"""A real uvicorn on loopback, in a thread."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import uvicorn

from qpher_core.asgi.connections import Connection

__all__ = ["serving"]


@contextlib.contextmanager
def serving(app: Any, *, port: int = 0, **options: Any) -> Iterator[str]:
    """Serve an application and yield its base URL."""
    listener = socket.create_server(("127.0.0.1", port))
    options.setdefault("http", Connection)
    config = uvicorn.Config(app, log_config=None, proxy_headers=False, **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        if thread.is_alive():
            raise RuntimeError("the server did not stop")


def client(base: str, api_key: str | None = None) -> httpx.Client:
    """Return an HTTP client of the API."""
    headers = {} if api_key is None else {"x-api-key": api_key}
    return httpx.Client(base_url=f"{base}/api/v1", headers=headers, timeout=60)
