"""What the hook asks and tells, without a proxy and without Turnpike. LiteLLMHookTests+Asked.swift runs it beside the
hook."""

import asyncio
import http.server
import logging
import threading
import time

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


def trust():
    """Who owns a key writes what is in its metadata, not what is in its team's."""
    key = UserAPIKeyAuth(metadata={"turnpike_subject": "theirs"}, team_metadata={"turnpike_subject": "ours"})
    alone = UserAPIKeyAuth(metadata={"turnpike_subject": "theirs"})
    for name in ("metadata", "team_metadata"):
        print("subjects:", *(turnpike_hook.SUBJECTS[name](owned, {}) for owned in (key, alone)))


async def count():
    """No tokenizer is loaded from elsewhere, and a count that takes too long is one of bytes."""
    counts, seen = litellm.token_counter, []

    def counted(model, **given):
        seen.append(model)
        time.sleep(1 if model == "slow" else 0)
        return counts(model=model, **given)

    litellm.token_counter = counted
    await turnpike_hook.count_in_time(turnpike_hook.count_text, "groq/llama-3.3-70b", "word " * 8)
    turnpike_hook.COUNTING_SECONDS = 0.1
    print("bytes:", await turnpike_hook.count_in_time(turnpike_hook.count_text, "slow", "word " * 8), seen)
    turnpike_hook.COUNTING_SECONDS = 5
    litellm.token_counter = counts


def label():
    for name in ("bedrock/invoke/anthropic.claude-3", "bedrock/converse/us.anthropic.claude-3", "openai/responses/o3"):
        print("label:", *turnpike_hook.deployment_of({"model": name}).values())


async def choose():
    for setting in ({}, {"TURNPIKE_SERVICE_TIERS": "passed"}):
        hook = Asked({**good, **setting})
        for members in ({"service_tier": "auto"}, {"service_tier": "priority"}, {"speed": "fast"}):
            try:
                await hook.ask(model="gpt", proxy_server_request={"body": members})
                print("tier taken:", *members.values())
            except ProxyException as told:
                print(told.message)


async def allow():
    """What has members of any name may have any, and a model is looked up with its route."""
    free = ({"labels": {"route": "x"}}, {"documents": [{"model": "x"}]}, {"requestMetadata": {"model": "x"}})
    for members in free:
        await Asked(good).ask(model="gpt", proxy_server_request={"body": members}, **members)
    route = {"model": "bedrock/claude_platform/claude-sonnet-4-20250514"}
    print("allowed:", len(free), turnpike_hook.thinking_tokens({"reasoning_effort": "high"}, route))


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


async def count_streams():
    """A provider is asked what a stream uses, and believed where LiteLLM reports less."""
    hook = Asked(good)
    data = await hook.ask(model="gpt")
    attempt = {**data, "model": "openai/gpt-4o", "stream": True}
    print("asked for:", (await hook.async_pre_call_deployment_hook(attempt, "acompletion"))["stream_options"])
    call = hook._find(data)
    end = {"choices": [{"delta": {}}], "usage": {"prompt_tokens": 10, "completion_tokens": 900}}
    call.saw(end)
    print("hidden:", call.hides_usage, turnpike_hook.only_counts(end))
    report = {"prompt_tokens": 10, "completion_tokens": 1}
    await hook.async_log_success_event({**data, "standard_logging_object": report}, None, None, None)
    while hook.closing:
        await asyncio.sleep(0.01)
    print("settled:", call.event["data"]["output_tokens"])


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


async def drop():
    """What is one too many to wait is told with all that it takes to send it again."""
    turnpike_hook.WAITING_DELIVERIES = 0
    await Asked(good)._deliver("/events", {"id": "2"})
    turnpike_hook.WAITING_DELIVERIES = 10_000


async def end():
    turnpike_hook.SHUTDOWN_SECONDS = 0.1
    hook = Asked(good)
    hook._find(await hook.ask(model="gpt")).reservation = "reservation_1"
    await GracefulShutdownManager.wait_for_drain()


async def main():
    await bound()
    refuse()
    name()
    trust()
    await count()
    label()
    await choose()
    await allow()
    await hold()
    await go_on()
    await count_streams()
    await outlast_fault()
    await tell()
    await drop()
    await end()


asyncio.run(main())
