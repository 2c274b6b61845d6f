"""The web page, run by headless Chromium."""

from __future__ import annotations

import asyncio
import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer.cli import main
from edgeinfer.codegen.linker import find_web_linker

aiohttp = pytest.importorskip("aiohttp")

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "multistyle26" / "multistyle26.edge"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed"),
    pytest.mark.skipif(find_web_linker() is None, reason="no linker for WebAssembly: install lld"),
]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Iterator[str]:
    """The address of the page with its bundle."""
    folder = tmp_path_factory.mktemp("web") / "web"
    shutil.copytree(ROOT / "examples" / "web", folder, ignore=shutil.ignore_patterns("bundle"))
    shape = "image=1x3x256x256"
    arguments = ["--target", "wasm32+simd128", "--shape", shape, "-o", str(folder / "bundle")]
    assert main(["export", str(MODEL), *arguments]) == 0
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


async def evaluate(address: str, expression: str) -> Any:
    """The value of a JavaScript expression in a page, by the DevTools protocol."""
    async with aiohttp.ClientSession() as client, client.ws_connect(address, max_msg_size=0) as socket:
        parameters = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        await socket.send_json({"id": 1, "method": "Runtime.evaluate", "params": parameters})
        while True:
            message = await socket.receive_json(timeout=60)
            if message.get("id") == 1:
                return message["result"]["result"]["value"]


async def page_address(port: str) -> str:
    async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/json/list") as response:
        pages = [row for row in json.loads(await response.text()) if row["type"] == "page"]
        return str(pages[0]["webSocketDebuggerUrl"])


def test_page_restyles_at_video_rate(page, tmp_path):
    command = [
        BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
        f"--user-data-dir={tmp_path / 'profile'}", page,
    ]  # fmt: skip
    browser = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert browser.stderr is not None
        listening = (re.search(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/", line) for line in browser.stderr)
        port = next(match for match in listening if match)[1]
        rate, before, after = asyncio.run(watch(port))
    finally:
        browser.terminate()
        browser.wait()
    image = np.array(before, np.float32).reshape(256, 256, 4)[:, :, :3].transpose(2, 0, 1)[None] / np.float32(255)
    with edgeinfer.load(MODEL, threads=2) as session:
        wanted = session(np.ascontiguousarray(image), np.eye(26, dtype=np.float32)[19])[0]
    shown = np.array(after, np.float32).reshape(256, 256, 4)[:, :, :3].transpose(2, 0, 1)
    assert np.abs(shown - np.clip(wanted, 0, 1) * 255).max() <= 1.01
    assert rate >= 10


async def watch(port: str) -> tuple[float, list[int], list[int]]:
    """Frames a second once they are steady, and the pixels of both canvases of one frame."""
    address = await page_address(port)
    rate = 0.0
    for _ in range(60):
        await asyncio.sleep(0.5)
        status = await evaluate(address, "document.getElementById('status')?.textContent ?? ''")
        found = re.match(r"([\d.]+) frames/s", status)
        rate = float(found[1]) if found else 0.0
        if rate >= 10:
            break
    pixels = "Array.from(document.getElementById('{}').getContext('2d').getImageData(0, 0, 256, 256).data)"
    both = await evaluate(address, f"[{pixels.format('before')}, {pixels.format('after')}]")
    return rate, *both
