"""An images server on loopback, which answers well or wrongly as it is told."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image


def png(prompt: str, seed: int, pixels: int) -> bytes:
    """Return a picture that follows from prompt and seed: squares of a quarter of its side, in colours by chance."""
    rng = np.random.default_rng(list(hashlib.sha256(f"{prompt} {seed}".encode()).digest()))
    squares = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    file = io.BytesIO()
    squares.resize((pixels, pixels), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


@contextmanager
def serving(answer: str = "well") -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the address of a server, and the requests that it got."""
    asked: list[dict[str, Any]] = []
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "test-engine/1.2", ""

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self.reply(200, json.dumps({"data": [] if answer == "no model" else [{"id": "tiny-model"}]}).encode())

        def do_POST(self) -> None:
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append({**wanted, "key": self.headers.get("Authorization")})
            pixels = int(wanted["size"].split("x")[0])
            picture = png(wanted["prompt"], wanted["seed"], pixels // 2 if answer == "small" else pixels)
            if answer == "slow":
                stop.wait(5.0)
            if answer == "half" or (answer == "half later" and len(asked) > 2):
                picture = picture[: len(picture) // 2]
            text = "no base64!" if answer == "letters" else base64.b64encode(picture).decode()
            body = json.dumps({"data": [{"url": "x"} if answer == "no picture" else {"b64_json": text}]}).encode()
            if answer == "refuses":
                self.reply(400, b'{"error": {"message": "unknown model"}}')
            elif answer == "cut":
                self.reply(200, body[:-10], len(body))
            else:
                self.reply(200, b"<html>" if answer == "no json" else body)

        def reply(self, status: int, body: bytes, length: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
        thread.join()
