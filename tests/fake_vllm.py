#!/usr/bin/env python3
"""What `ditto serve --engine vllm` needs of vLLM, as a program: its arguments, adapters, and a token stream.

A text is four tokens, three of which tell the rank of the adapter that wrote it. What was asked is noted in the file
that FAKE_VLLM_NOTES names.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

NOTES = Path(os.environ["FAKE_VLLM_NOTES"])
adapters = {}


def note(kind, what):
    with NOTES.open("a") as file:
        file.write(json.dumps([kind, what]) + "\n")


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def answer(self, status, content, kind="application/json"):
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.answer(200, "")

    def do_POST(self):
        content = json.loads(self.rfile.read(int(self.headers["content-length"])))
        note(self.path, content)
        if self.path == "/v1/load_lora_adapter":
            config = json.loads(Path(content["lora_path"], "adapter_config.json").read_text())
            adapters[content["lora_name"]] = config["r"]
            return self.answer(200, "loaded")
        if self.path == "/v1/unload_lora_adapter":
            return self.answer(200 if adapters.pop(content["lora_name"], None) else 404, "unloaded")
        if content["model"] != "base" and content["model"] not in adapters:
            return self.answer(404, {"error": {"message": f"no model {content['model']}"}})
        mark = 32 if content["model"] == "base" else 33 + adapters[content["model"]] % 50
        events = [
            {"choices": [{"token_ids": [token], "logprobs": {"token_logprobs": [-0.5]}, "finish_reason": finish}]}
            for token, finish in ((64, None), (mark, None), (mark, None), (mark, "length"))
        ]
        lines = [f"data: {json.dumps(event)}\n\n" for event in events]
        return self.answer(200, "".join([*lines, "data: [DONE]\n\n"]), "text/event-stream")


if os.environ.get("FAKE_VLLM_FAILS"):
    sys.exit("no memory")
note("start", [sys.argv[1:], {name: os.environ.get(name) for name in ("VLLM_NO_USAGE_STATS", "HF_HUB_OFFLINE")}])


class Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True

    def get_request(self):
        connection, _ = super().get_request()
        return connection, ("socket", 0)


Server(sys.argv[sys.argv.index("--uds") + 1], Handler).serve_forever()
