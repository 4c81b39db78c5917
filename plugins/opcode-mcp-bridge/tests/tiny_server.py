"""A server on stdin and stdout, without the SDK: well-behaved by default, and as hostile as its tools and flags are asked to
be. Everything it receives is written to the file named by `RECORD`, a line each; `TOOLS` names a file with other tools."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

FLAGS = set(sys.argv[1:])
OBJECT = {"type": "object"}
TOOLS = [
    {"name": "echo", "description": "Say it again", "annotations": {"readOnlyHint": True},
     "inputSchema": {"type": "object", "required": ["text"], "additionalProperties": False,
                     "properties": {"text": {"type": "string", "maxLength": 20_000_000}, "times": {"type": "integer"}}}},
    {"name": "add", "description": "Add two numbers", "outputSchema": {"type": "object", "properties": {"sum": {}}},
     "inputSchema": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                     "required": ["a", "b"]}},
    *({"name": name, "inputSchema": OBJECT} for name in (
        "fail", "rpc_error", "rendezvous", "big", "crash", "hang", "env", "spawn", "noise", "flood_stderr", "retool",
        "ask", "deafen", "raw", "say", "mute", "ping_flood")),
]  # fmt: skip
state = {"tools": TOOLS, "waiting": [], "asked": {}, "muted": False}
lock = threading.Lock()


def send(message):
    with lock:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def answer(id, result):
    send({"jsonrpc": "2.0", "id": id, "result": result})


def text(id, value):
    answer(id, {"content": [{"type": "text", "text": value}]})


def record(message):
    if os.environ.get("RECORD"):
        with Path(os.environ["RECORD"]).open("a") as file:
            file.write(json.dumps(message) + "\n")


def call(id, name, given):
    if name == "echo":
        text(id, given["text"] * given.get("times", 1))
    elif name == "add":
        answer(id, {"content": [], "structuredContent": {"sum": given["a"] + given["b"]}, "_meta": {"by": "tiny"}})
    elif name == "fail":
        answer(id, {"isError": True, "content": [{"type": "text", "text": given.get("text", "no")}]})
    elif name == "rpc_error":
        send({"jsonrpc": "2.0", "id": id, "error": {"code": given["code"], "message": given.get("message", "refused")}})
    elif name == "rendezvous":
        state["waiting"].append((id, given["tag"]))
        if len(state["waiting"]) >= given["size"]:
            waiting, state["waiting"] = state["waiting"], []
            for other, tag in reversed(waiting):
                text(other, tag)
    elif name == "big":
        text(id, "x" * given["size"])
    elif name == "crash":
        sys.stderr.write(given.get("words", "tiny has had enough") + "\n")
        sys.stderr.flush()
        os._exit(3)
    elif name == "env":
        text(id, json.dumps(dict(os.environ)))
    elif name == "spawn":
        child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        text(id, str(child.pid))
    elif name == "noise":
        sys.stdout.write('Listening on everything...\n\n[1, 2, 3]\n{"jsonrpc": "2.0"}\n{"half": \n\x00\xff\n')
        sys.stdout.flush()
        for wrong in (id + 1000, "nobody", -1, None):
            send({"jsonrpc": "2.0", "id": wrong, "result": {"content": [{"type": "text", "text": "wrong"}]}})
        send({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": id, "progress": 1}})
        send({"jsonrpc": "2.0", "method": "notifications/unheard_of"})
        whole = (
            json.dumps({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": "right"}]}}) + "\n"
        )
        for part in (whole[:7], whole[7:30], whole[30:]):
            sys.stdout.write(part)
            sys.stdout.flush()
    elif name == "flood_stderr":
        for number in range(given["lines"]):
            sys.stderr.write(f"line {number} {given.get('words', '')}\n")
        sys.stderr.flush()
        text(id, "flooded")
    elif name == "retool":
        state["tools"] = given["tools"]
        send({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        text(id, "changed")
    elif name == "ask":
        state["asked"][f"q{id}"] = id
        send({"jsonrpc": "2.0", "id": f"q{id}", "method": given["method"], "params": given.get("params", {})})
    elif name == "raw":
        sys.stdout.write(given["line"].replace("@ID@", str(id)) + "\n")
        sys.stdout.flush()
    elif name == "say":
        send({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": given["text"]}})
        text(id, "said")
    elif name == "mute":
        state["muted"] = True
        text(id, "muted")
    elif name == "ping_flood":
        for number in range(given["count"]):
            send({"jsonrpc": "2.0", "id": f"f{number}", "method": "ping"})
        text(id, "flooded")
    elif name == "deafen":
        text(id, "deaf")
        threading.Event().wait()
    elif name != "hang":
        send({"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": f"Unknown tool: {name}"}})


def handle(message):
    record(message)
    method, id = message.get("method"), message.get("id")
    if method is None:
        waiting = state["asked"].pop(id, None)
        if waiting is not None:
            text(waiting, json.dumps({key: message[key] for key in ("result", "error") if key in message}))
    elif method == "initialize" and "--refuse" in FLAGS:
        send({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": os.environ["WORDS"]}})
    elif method == "initialize" and "--silent" not in FLAGS:
        answer(
            id,
            {
                "protocolVersion": "1999-01-01" if "--ancient" in FLAGS else message["params"]["protocolVersion"],
                "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": "tiny", "version": "1"},
            },
        )
    elif method == "tools/list":
        tools, size = state["tools"], 3 if "--pages" in FLAGS else len(state["tools"]) or 1
        if "--heavy" in FLAGS:
            begin = int((message.get("params") or {}).get("cursor", 0))
            answer(id, {"tools": [{"name": f"t{begin}", "description": "x" * 4_000_000}], "nextCursor": str(begin + 1)})
            return
        if "--endless" in FLAGS:
            answer(id, {"tools": tools[:1], "nextCursor": "again"})
            return
        begin = int((message.get("params") or {}).get("cursor", 0))
        more = {"nextCursor": str(begin + size)} if begin + size < len(tools) else {}
        answer(id, {"tools": tools[begin : begin + size], **more})
    elif method == "ping" and "--no-ping" in FLAGS:
        send({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "Method not found"}})
    elif method == "ping" and not state["muted"]:
        answer(id, {})
    elif method == "tools/call":
        call(id, message["params"]["name"], message["params"].get("arguments", {}))


def main():
    if os.environ.get("PIDS"):
        with Path(os.environ["PIDS"]).open("a") as file:
            file.write(f"{os.getpid()}\n")
    if os.environ.get("TOOLS"):
        state["tools"] = json.loads(Path(os.environ["TOOLS"]).read_text())
    if "--stubborn" in FLAGS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "--die" in FLAGS:
        sys.stderr.write("cannot start today\n")
        sys.exit(7)
    for line in sys.stdin:
        handle(json.loads(line))
    if "--stubborn" in FLAGS:
        threading.Event().wait()


if __name__ == "__main__":
    main()
