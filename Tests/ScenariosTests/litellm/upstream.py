"""A provider as a LiteLLM proxy calls it, that does what the last message says: upstream.py PORT

"answer": uses every output token that the call may; "drip": streams a word at a time until the caller hangs up;
"broken": answers 500; "flaky": 500 for every other call; "late": answers after a while. GET /bounds: the max_tokens of
the calls so far.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

INPUT_TOKENS = 1_000
bounds = []


class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.answer(200, bounds)

    def do_POST(self):
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        told = call["messages"][-1]["content"]
        bounds.append(call.get("max_tokens") or call.get("max_completion_tokens"))
        if told == "broken" or (told == "flaky" and len(bounds) % 2):
            return self.answer(500, {"error": {"message": "out of order", "type": "server_error"}})
        if told == "late":
            time.sleep(2)
        used = bounds[-1] * call.get("n", 1)
        usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": used, "total_tokens": INPUT_TOKENS + used}
        usage["prompt_tokens_details"] = {"cached_tokens": 600}
        if call.get("stream"):
            return self.stream(told, usage)
        choice = {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "Hello."}}
        self.answer(200, {**self.head("chat.completion"), "choices": [choice], "usage": usage})

    def head(self, kind):
        return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "gpt-4o"}

    def stream(self, told, usage):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for _ in range(600 if told == "drip" else 5):
                self.chunk({"content": "word "}, None)
                time.sleep(0.05)
            self.chunk({}, "stop")
            self.event({**self.head("chat.completion.chunk"), "choices": [], "usage": usage})
            self.wfile.write(b"data: [DONE]\n\n")
        except (BrokenPipeError, ConnectionResetError):
            pass

    def chunk(self, delta, reason):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        self.event({**self.head("chat.completion.chunk"), "choices": [choice]})

    def event(self, body):
        self.wfile.write(b"data: " + json.dumps(body).encode() + b"\n\n")
        self.wfile.flush()

    def answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Provider).serve_forever()
