"""A provider as a LiteLLM proxy calls it, that does what the last message or its first part says: upstream.py PORT

"answer": uses every output token that the call may; "drip": streams a word at a time until the caller hangs up;
"broken": answers 500; "flaky": 500 for every other call; "late": like that, and the others take longer than the hook
waits for a report; "filtered": gpt-4o's answer is cut by a filter; "torn": a stream that calls a tool and ends with
an error; "silent": says the same in a stream and without one, and nothing of what it used. GET /bounds: by how many
output tokens the calls so far were bounded.

Of chat completions it can do all of this, of text completions "answer" and "silent", of responses "answer", "silent"
and "torn", of Anthropic's messages "answer" and "silent" without a stream, and "torn". What it embeds is told nothing
and has no bound. A call that may think as much as its bound or more is answered 400.
"""

import collections
import json
import sys
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

INPUT_TOKENS = 1_000
LATE_SECONDS = 7
BOUNDS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
SAID = "word word word word word"
TOOL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "word"}'}}
SILENT = [{"content": SAID}, {"reasoning_content": SAID}, {"tool_calls": [TOOL]}]
bounds = []
calls = collections.Counter()


class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.answer(200, bounds)

    def do_POST(self):
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/embeddings"):
            return self.answer(200, embedding())
        told = text_of(next(call[name] for name in ("input", "messages", "prompt") if name in call))
        calls[told] += 1
        bounds.append(next(call[name] for name in BOUNDS if call.get(name)))
        if told == "broken" or (told in ("flaky", "late") and calls[told] % 2):
            return self.answer(500, {"error": {"message": "out of order", "type": "server_error"}})
        if (call.get("thinking") or {}).get("budget_tokens", 0) >= bounds[-1]:
            return self.answer(400, {"error": {"message": "no room for an answer", "type": "invalid_request_error"}})
        if told == "late":
            time.sleep(LATE_SECONDS)
        used = None if told == "silent" else bounds[-1] * call.get("n", 1)
        form = next(form for name, form in FORMS.items() if self.path.endswith(name))
        said = form(told, used, call)
        self.answer(200, said) if isinstance(said, dict) else self.stream(said)

    def stream(self, events):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for event in events:
                name = f"event: {event['type']}\n" if "type" in event else ""
                self.wfile.write(f"{name}data: {json.dumps(event)}\n\n".encode())
                self.wfile.flush()
                time.sleep(0.05)
            self.wfile.write(b"data: [DONE]\n\n")
        except (BrokenPipeError, ConnectionResetError):
            pass

    def answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def text_of(said):
    """Of several messages what the last says, of several parts the first."""
    if isinstance(said, str):
        return said
    if isinstance(said, list):
        return text_of(said[-1] if "content" in said[-1] else said[0])
    return text_of(said.get("content") or said["text"])


def embedding():
    vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
    usage = {"prompt_tokens": INPUT_TOKENS, "total_tokens": INPUT_TOKENS}
    return {"object": "list", "model": "gpt-4o", "data": [vector], "usage": usage}


def chat(told, used, call):
    if call.get("stream"):
        return {"torn": torn_chat(), "silent": silent_chat()}.get(told) or counted_chat(told, used)
    said = {name: value for part in SILENT for name, value in part.items()} if told == "silent" else {"content": SAID}
    reason = "content_filter" if told == "filtered" and call["model"] == "gpt-4o" else "length"
    choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", **said}}
    return {**chat_head("chat.completion"), "choices": [choice], **(chat_usage(used) if used else {})}


def counted_chat(told, used):
    for _ in range(600 if told == "drip" else 5):
        yield chat_chunk({"content": "word "}, None)
    yield chat_chunk({}, "stop")
    yield {**chat_head("chat.completion.chunk"), "choices": [], **chat_usage(used)}


def silent_chat():
    for delta in SILENT:
        yield chat_chunk(delta, None)
    yield chat_chunk({}, "tool_calls")


def torn_chat():
    function = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}
    yield chat_chunk({"role": "assistant", "tool_calls": [function]}, None)
    for _ in range(5):
        yield chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"word", '}}]}, None)
    yield {"error": {"message": "out of order", "type": "server_error", "code": 500}}


def text(told, used, call):
    head = chat_head("text_completion")
    whole = {**head, "choices": [{"index": 0, "text": SAID, "finish_reason": "length"}]}
    if not call.get("stream"):
        return {**whole, **(chat_usage(used) if used else {})}
    counts = used and call.get("stream_options", {}).get("include_usage")
    return [whole, {**head, "choices": [], **chat_usage(used)}] if counts else [whole]


def message(told, used, call):
    if told == "torn":
        return torn_message()
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5"}
    usage = {"usage": {"input_tokens": INPUT_TOKENS, "output_tokens": used}} if used else {}
    return {**head, "content": [{"type": "text", "text": SAID}], "stop_reason": "end_turn", **usage}


def torn_message():
    usage = {"input_tokens": INPUT_TOKENS, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": []}
    yield {"type": "message_start", "message": {**message, "usage": usage}}
    tool = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    yield {"type": "content_block_start", "index": 0, "content_block": tool}
    for _ in range(5):
        delta = {"type": "input_json_delta", "partial_json": '"word", '}
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "error", "error": {"type": "overloaded_error", "message": "out of order"}}


def torn_response():
    yield {"type": "response.created", "sequence_number": 0, "response": response_of("in_progress", [], None)}
    for number in range(5):
        place = {"item_id": "fc_1", "output_index": 0, "sequence_number": number + 1}
        yield {"type": "response.function_call_arguments.delta", **place, "delta": '"word", '}
    yield {"type": "error", "sequence_number": 6, "code": "server_error", "message": "out of order", "param": None}


def silent_response():
    yield {"type": "response.created", "sequence_number": 0, "response": response_of("in_progress", [], None)}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "sequence_number": 1}
    yield {"type": "response.output_text.delta", **place, "delta": SAID}
    yield {"type": "response.completed", "sequence_number": 2, "response": response_of("completed", [SAID], None)}


def response(told, used, call):
    if call.get("stream"):
        return torn_response() if told == "torn" else silent_response()
    return response_of("completed", [SAID], used, f"resp_{uuid.uuid4().hex}")


def response_of(status, said, used, name="resp_1"):
    message = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"}
    parts = [{"type": "output_text", "text": part, "annotations": []} for part in said]
    usage = used and {"input_tokens": INPUT_TOKENS, "output_tokens": used, "total_tokens": INPUT_TOKENS + used}
    head = {"id": name, "object": "response", "created_at": 1, "model": "gpt-4o", "status": status}
    tools = {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}
    return {**head, **tools, "output": [{**message, "content": parts}] if said else [], "usage": usage}


def chat_chunk(delta, reason):
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {**chat_head("chat.completion.chunk"), "choices": [choice]}


def chat_head(kind):
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "gpt-4o"}


def chat_usage(used):
    usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": used, "total_tokens": INPUT_TOKENS + used}
    return {"usage": {**usage, "prompt_tokens_details": {"cached_tokens": 600}}}


FORMS = {"/chat/completions": chat, "/completions": text, "/messages": message, "/responses": response}
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Provider).serve_forever()
