"""What the hook does without a proxy. LiteLLMHookTests.swift runs it beside the hook, with an address and a key.

Between it and Turnpike may stand a server that hands questions and answers on, and loses those that it is told to.
"""

import asyncio
import collections
import threading
import typing
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import turnpike_hook
from litellm.proxy.route_llm_request import RouteType
from turnpike_hook import DELIVERIES, OWN_BOUNDS, ProxyException, _PROXY_TurnpikeHook

address, key = sys.argv[1:]
WRONG_KEY = key[:-8] + 8 * "a"
# With these answers the question has not been decided, nor handed on.
UNDECIDED = (408, 429)
# Of types that no route has, and of some that have a second name.
OTHER_TYPES = ("pass_through_endpoint", "image_generation", "transcription", "moderation", "rerank", "list_mcp_tools")
turnpike_hook.GRACE_SECONDS = 0
turnpike_hook.logger.disabled = True


class Between(BaseHTTPRequestHandler):
    says = None
    asked = collections.Counter()
    # Events that nobody answers until the end.
    hanging = []
    ended = threading.Event()

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/events"):
            self.hanging.append(body)
            self.ended.wait()
            return self.answer(200, b"{}")
        is_lost = self.path.endswith("/admissions") and self.says is not None and not self.asked[body]
        self.asked[body] += 1
        content = b"{}" if is_lost and self.says in UNDECIDED else self.forward(body)
        self.answer(self.says if is_lost else 200, content)

    def forward(self, body):
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type")}
        request = urllib.request.Request(address + self.path, body, headers, method="POST")
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1_000

    def handle_error(self, *_):
        """Who hung may find nobody there any more."""


def hook_with(**settings):
    return _PROXY_TurnpikeHook({**good, "TURNPIKE_API_KEY": key, **settings})


async def close(hook):
    await hook.questions.aclose()
    await hook.deliveries.aclose()


async def refuse_uncounted():
    hook = hook_with()
    refused = []
    for call_type in (*typing.get_args(RouteType), *OTHER_TYPES):
        try:
            if call_type not in OWN_BOUNDS and await hook.async_pre_call_hook(None, None, {}, call_type) is not None:
                print("changed:", call_type)
        except ProxyException as refusal:
            refused.append(call_type if refusal.code == "400" else f"{call_type} {refusal.code}")
    print("refused:", *sorted(refused))
    await close(hook)


async def ask(hook, subject):
    """What a client is told, and the question."""
    body = {"id": str(uuid.uuid4()), "source": "litellm", "type": "llm.completion", "subject": subject}
    body["data"] = {"provider": "openai", "model": "gpt-4o", "output_tokens": 10}
    try:
        decision = await hook._decision(body)
        return ("let pass" if decision is None else "allowed"), body
    except ProxyException as refusal:
        return f"{refusal.code} {refusal.type}", body


async def refuse_wrong_key():
    for setting in ("closed", "open"):
        hook = hook_with(TURNPIKE_URL=address, TURNPIKE_API_KEY=WRONG_KEY, TURNPIKE_ON_FAILURE=setting)
        told = [(await ask(hook, "acme"))[0] for _ in range(3)]
        print(f"{setting}: {told[-1]}")
        await close(hook)


async def give_back(between):
    hook = hook_with(TURNPIKE_URL=between, TURNPIKE_TIMEOUT_SECONDS="20")
    for status in (500, 502, 503, 504, *UNDECIDED):
        Between.says = status
        told, body = await ask(hook, "acme")
        await asyncio.gather(*hook.tasks)
        times = next(count for asked, count in Between.asked.items() if body["id"].encode() in asked)
        print(f"{status}: {told}, asked {times}")
    Between.says = None
    await close(hook)


async def hang(between):
    """Deliveries that nobody answers, more than there are connections for them, and longer than a question waits."""
    turnpike_hook.DELIVERY_SECONDS = 90
    hook = hook_with(TURNPIKE_URL=between, TURNPIKE_TIMEOUT_SECONDS="30")
    begun, post = [], hook.deliveries.post

    def beginning(*given, **named):
        begun.append(given)
        return post(*given, **named)

    hook.deliveries.post = beginning
    for _ in range(2 * DELIVERIES.max_connections):
        hook._in_background(hook._deliver("/events", {}))
    while len(Between.hanging) < DELIVERIES.max_connections:
        await asyncio.sleep(0.01)
    # None of the others waits for a connection.
    print("hanging:", (await ask(hook, "globex"))[0], len(begun) - DELIVERIES.max_connections)
    Between.ended.set()
    await asyncio.gather(*hook.tasks)
    await close(hook)


async def main():
    server = Server(("127.0.0.1", 0), Between)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    between = f"http://127.0.0.1:{server.server_port}"
    await refuse_uncounted()
    await refuse_wrong_key()
    await give_back(between)
    await hang(between)


asyncio.run(main())
