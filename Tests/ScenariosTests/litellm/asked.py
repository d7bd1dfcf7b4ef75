"""What the hook asks and tells, without a proxy and without Turnpike. LiteLLMHookTests+Asked.swift runs it beside the
hook."""

import asyncio
import http.server
import logging
import threading

import litellm
import turnpike_hook
from litellm.proxy import proxy_server
from litellm.proxy._types import UserAPIKeyAuth
from litellm.proxy.shutdown.graceful_shutdown_manager import GracefulShutdownManager
from turnpike_hook import ProxyException, _PROXY_TurnpikeHook

THINKING = {"thinking": {"type": "enabled", "budget_tokens": 10_000}}
EFFORT = {"reasoning_effort": "high"}
CALLS = [
    ("claude", "acompletion", {}),
    ("claude", "acompletion", EFFORT),
    ("claude", "anthropic_messages", THINKING),
    ("claude", "aresponses", {"reasoning": {"effort": "medium"}}),
    ("claude", "acompletion", {**EFFORT, "max_tokens": 9_000, "n": 2}),
    ("gpt", "acompletion", EFFORT),
    ("thoughtful", "acompletion", {}),
    ("azure", "acompletion", {}),
    ("azure", "aresponses", {}),
    ("azure", "acompletion", {"max_tokens": 5}),
    ("old-azure", "acompletion", {}),
]
RATE = {"key": "all", "measure": "tokens", "rate": {"limit": 7, "period_seconds": 60}}
WINDOW = {"key": "cap", "limit": "123", "remaining": "45", "window": {"kind": "month"}}
REFUSALS = [
    {"reason": "rate_limited", "limits": [{**RATE, "operator_only": True}], "retry_after": 9},
    {"reason": "budget_exceeded", "limits": [{**WINDOW, "operator_only": True}, {**RATE, "operator_only": False}], "retry_after": 99},
    {"reason": "budget_exceeded", "limits": [WINDOW]},
]


def deployment(name, model, **params):
    return {"model_name": name, "litellm_params": {"model": model, "api_key": "unused", **params}}


azure = {"api_base": "https://azure.example"}
proxy_server.llm_router = litellm.Router(
    model_list=[
        deployment("claude", "anthropic/claude-sonnet-4-5"),
        deployment("gpt", "openai/gpt-4o"),
        deployment("thoughtful", "anthropic/claude-sonnet-4-5", **THINKING),
        deployment("azure", "azure/ours", **azure),
        deployment("old-azure", "azure/theirs", **azure, api_version="2024-02-01"),
        deployment("same", "openai/gpt-4o"),
        deployment("same", "openai/gpt-4o"),
        deployment("mixed", "openai/gpt-4o"),
        deployment("mixed", "azure/ours", **azure),
    ]
)
key = UserAPIKeyAuth(api_key="unused", team_id="acme")
turnpike_hook.logger.propagate = False


class Told(logging.Handler):
    def emit(self, record):
        print("told:", record.getMessage())


class Asked(_PROXY_TurnpikeHook):
    """Admits everything, keeps the last question, and reports nothing."""

    async def _decision(self, body):
        self.body = body
        return {"allowed": True, "max_output_tokens": body["data"]["output_tokens"]}

    async def _settle(self, event):
        pass

    async def ask(self, call_type="acompletion", **data):
        return await self.async_pre_call_hook(key, None, {"messages": [], **data}, call_type)


class Turnpike(http.server.BaseHTTPRequestHandler):
    """Refuses the key two times."""

    statuses = [401, 403, 200]

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.statuses.pop(0))
        self.send_header("Content-Length", "0")
        self.end_headers()


async def bound():
    hook = Asked(good)
    for model, call_type, members in CALLS:
        data = await hook.ask(call_type, model=model, **members)
        name = next(name for name in turnpike_hook.BOUNDS if name in data)
        asked, least = hook.body["data"]["output_tokens"], hook.body["min_output_tokens"]
        print(f"{model}: {name} {data[name]}, asked {asked}, at least {least}")


def refuse():
    for decision in REFUSALS:
        told = turnpike_hook.denial(decision)
        print(f"{told.code} {told.type} {told.headers.get('Retry-After')}: {told.message}")


def name():
    """What is no text, or none that Turnpike takes, names nobody, and the next does."""
    key = UserAPIKeyAuth(user_id="u", metadata={"turnpike_user": {"a": 1}})
    for names, written in ("metadata,user_id", None), ("request,user_id", "\x01"), ("request,user_id", 7):
        found = turnpike_hook.first_label(names.split(","), turnpike_hook.USERS, key, {"user": written})
        print("user:", found)


async def hold():
    for seconds in ({}, {"TURNPIKE_RESERVATION_SECONDS": "7200"}):
        hook = Asked({**good, **seconds})
        await hook.ask(model="gpt")
        print("held for:", hook.body.get("ttl_seconds"))


async def go_on():
    """Of the responses that were answered, the two newest are known."""
    turnpike_hook.KNOWN_CONTEXTS = 2
    hook = Asked({**good, "TURNPIKE_CONTINUED_TOKENS": "500"})
    names = ("resp_1", "resp_2", "resp_3")
    for tokens, name in enumerate(names, 10):
        data = await hook.ask("aresponses", model="gpt")
        call = hook._find(data)
        call.saw({"id": name, "object": "response", "usage": {"input_tokens": tokens, "output_tokens": 1}})
        await hook.async_log_success_event(data, None, None, None)
        while hook.closing:
            await asyncio.sleep(0.01)
    for given in (*({"previous_response_id": name} for name in names), {"conversation": {"id": "conv_1"}}):
        await hook.ask("aresponses", model="gpt", **given)
        print("continues:", hook.body["data"]["input_tokens"])


async def outlast_fault():
    server = http.server.HTTPServer(("127.0.0.1", 0), Turnpike)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hook = _PROXY_TurnpikeHook({**good, "TURNPIKE_URL": f"http://127.0.0.1:{server.server_port}"})
    await hook._settle({"id": "1", "data": {}})
    print("statuses left:", Turnpike.statuses)


async def tell():
    turnpike_hook.logger.addHandler(Told())
    hook = Asked(good)
    for model in ("same", "mixed", "mixed"):
        await hook.ask(model=model)


async def end():
    turnpike_hook.SHUTDOWN_SECONDS = 0.1
    hook = Asked(good)
    hook._find(await hook.ask(model="gpt")).reservation = "reservation_1"
    await GracefulShutdownManager.wait_for_drain()


async def main():
    await bound()
    refuse()
    name()
    await hold()
    await go_on()
    await outlast_fault()
    await tell()
    await end()


asyncio.run(main())
