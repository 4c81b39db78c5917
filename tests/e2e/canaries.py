"""Canaries: secrets that must turn up nowhere, the spellings they are looked for in, and a server that sings them back."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, quote_plus, unquote

_PEM_LINES = [f"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7Canary{n:02}+/VJ" for n in range(12)]

#: Every kind of secret that gave somebody trouble once.
CANARIES = {
    "PLAIN": "canary-7Hx2mQ9vTz",
    "ODD": "ca\"na'ry\\n/w\u00f6rd+4&2=%41?#$x {y}",
    "NUMBER": "8675309421123",
    "PEM": "\n".join(["-----BEGIN PRIVATE KEY-----", *_PEM_LINES, "-----END PRIVATE KEY-----", ""]),
    "LONG": "eyJhbGciOiJSUzI1NiJ9." + "".join(f"cAnArY{n:03}_-" for n in range(40)),
    "TRICK": "${{secrets.PLAIN}} <b>\U0001f424</b>\tsong",
    "PIN": "Kv7q",
}

#: What is shorter may be there by chance.
_SHORTEST = 8


@cache
def spellings(value: str) -> dict[str, list[bytes]]:
    """Return what to look for, by encoding. Written apart from what hides them, so that both cannot be wrong alike."""
    raw = value.encode()
    ascii_json, utf8_json = json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]
    found = {
        "as it is": [value, *(line for line in value.splitlines() if len(line) >= 20 and not line.startswith("-"))],
        "base64": _inside(raw, base64.b64encode),
        "base64, URL-safe": _inside(raw, base64.urlsafe_b64encode),
        "percent": [quote(value, safe=""), quote(value), quote(quote(value, safe=""), safe="")],
        "percent, form": [quote_plus(value)],
        "percent, all": ["".join(f"%{byte:02X}" for byte in raw), "".join(f"%{byte:02x}" for byte in raw)],
        "hexadecimal": [raw.hex(), raw.hex().upper()],
        "JSON": [ascii_json, utf8_json],
        "JSON, numbered": ["".join(f"\\u{ord(char):04x}" for char in value if ord(char) < 0x10000)],
        "JSON in JSON": [json.dumps(ascii_json)[1:-1], json.dumps(utf8_json, ensure_ascii=False)[1:-1]],
        "repr": [repr(value)[1:-1], ascii(value)[1:-1], repr(raw)[2:-1]],
    }
    return {
        name: [needle.encode() for needle in dict.fromkeys(needles) if len(needle) >= min(_SHORTEST, len(value))]
        for name, needles in found.items()
    }


def _inside(raw: bytes, encode: Any) -> list[str]:
    """Return what base64 makes of some bytes whatever stands around them, at each of the three offsets."""
    cores = []
    for offset in range(3):
        one, two = (encode(fill * offset + raw + fill * 3).decode() for fill in (b"\0", b"\xff"))
        same = [n for n, (a, b) in enumerate(zip(one, two, strict=True)) if a == b]
        cores.append(one[same[0] : same[-1] + 1])
    return [core for core in (*cores, encode(raw).decode().rstrip("=")) if len(core) >= _SHORTEST]


def hits(places: Mapping[str, bytes]) -> list[str]:
    """Return where a canary was found, and in which spelling; also across line breaks."""
    found = []
    for place, content in places.items():
        joined = content.replace(b"\\n", b"").replace(b"\n", b"").replace(b"\r", b"")
        for name, value in CANARIES.items():
            for encoding, needles in spellings(value).items():
                for needle in needles:
                    if needle in content or (len(needle) > 16 and needle in joined):
                        at = content.find(needle)
                        found.append(f"{name} as {encoding} in {place}: {content[max(0, at - 60) : at + 40]!r}")
    return found


class Echo(ThreadingHTTPServer):
    """Answers with all that it was sent, in several encodings; `heard` is what really arrived."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.heard: list[str] = []

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    server: Echo

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8", "replace")
        path, _, query = self.path.partition("?")
        headers = dict(self.headers.items())
        said = "\n".join([unquote(path), unquote(query.replace("+", " ")), body, *headers.values()])
        self.server.heard.append(said)
        if path == "/away":
            self._answer(302, b"", {"Location": f"/echo?back={query}", "X-Said": query[:200]})
            return
        raw = said.encode()
        echo = {
            "path": self.path, "headers": headers, "body": body, "repr": repr(said), "again": json.dumps(said),
            "base64": base64.b64encode(raw).decode(), "wrapped": base64.encodebytes(b"=" + raw).decode(),
            "urlsafe": base64.urlsafe_b64encode(b"==" + raw).decode(), "hex": raw.hex(), "url": quote(said, safe=""),
            "form": quote_plus(said), "numbered": "".join(f"\\u{ord(char):04x}" for char in said if ord(char) < 0x10000),
            said[:300]: "a key", "number": [int(word) for word in said.split() if word.isdecimal() and len(word) < 19],
        }  # fmt: skip
        status = 418 if path == "/refuse" else 200
        self._answer(status, json.dumps(echo).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@contextmanager
def echo_server() -> Iterator[Echo]:
    """Run an echo server for as long as the block lasts."""
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
