"""Turnpike for LiteLLM's proxy: every call asks before it is made, and reports what it used.

Put this file beside the proxy's config.yaml and name it there:

    litellm_settings:
      callbacks: ["turnpike_hook.turnpike"]

It replaces the callback "openmeter", which would report every call a second time. Settings are environment variables:

    TURNPIKE_URL                 where Turnpike listens, https://turnpike.example
    TURNPIKE_API_KEY             a key with the scopes admissions:write and events:write
    TURNPIKE_SUBJECT             what names the tenant, the first that is there; see SUBJECTS. "request" trusts
                                 clients to say who they are: metadata.turnpike_subject or user of the request
    TURNPIKE_ON_FAILURE          closed (default): 503 when Turnpike can't be asked; open: the call is made, and reported
    TURNPIKE_TIMEOUT_SECONDS     how long it may take to answer, 2
    TURNPIKE_EVENT_TYPE          the type of calls and events, llm.completion
    TURNPIKE_SOURCE              their source, litellm
    TURNPIKE_OUTPUT_TOKENS       the bound of a call that names none, 4096
    TURNPIKE_MIN_OUTPUT_TOKENS   a call with room for fewer output tokens is refused, 64
"""

import asyncio
import json
import logging
import os
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timezone

import httpx
import litellm
from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger

logger = logging.getLogger("turnpike")

# From the credential that LiteLLM has authenticated, but for the last.
SUBJECTS = {
    "metadata": lambda key, data: _metadata(key, "turnpike_subject"),
    "team_alias": lambda key, data: key.team_alias,
    "team_id": lambda key, data: key.team_id,
    "org_alias": lambda key, data: key.organization_alias,
    "org_id": lambda key, data: key.org_id,
    "user_id": lambda key, data: key.user_id,
    "key_alias": lambda key, data: key.key_alias,
    "request": lambda key, data: (data.get("metadata") or {}).get("turnpike_subject") or data.get("user"),
}
# By which field a call bounds its output; calls of other types are neither asked for nor reported.
OUTPUT_BOUNDS = {
    "completion": "max_tokens",
    "acompletion": "max_tokens",
    "text_completion": "max_tokens",
    "atext_completion": "max_tokens",
    "anthropic_messages": "max_tokens",
    "responses": "max_output_tokens",
    "aresponses": "max_output_tokens",
    "embedding": None,
    "aembedding": None,
}
CALL = "turnpike_call"
# How long LiteLLM may take to report a call that has ended.
GRACE_SECONDS = 5
# A call that takes longer than this is reported by nobody; its reservation has expired.
FORGOTTEN_AFTER_SECONDS = 86_400
DELIVERY_ATTEMPTS = 7


def _metadata(key, name):
    return (key.metadata or {}).get(name) or (key.team_metadata or {}).get(name)


@dataclass
class Call:
    """A call on its way. Its id is made here: LiteLLM's own may be chosen by the client."""

    subject: str
    # What the call and its event have in common.
    data: dict
    input_tokens: int
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    reservation: str | None = None
    began: float = field(default_factory=time.monotonic)
    # What of a stream has been sent.
    streamed: list = field(default_factory=list)

    def saw(self, chunk):
        for choice in getattr(chunk, "choices", None) or []:
            delta = getattr(choice, "delta", None)
            for name in ("reasoning_content", "content"):
                text = getattr(delta, name, None)
                if isinstance(text, str):
                    self.streamed.append(text)
            text = getattr(choice, "text", None)
            if isinstance(text, str):
                self.streamed.append(text)


class TurnpikeHook(CustomLogger):
    def __init__(self, environment=os.environ):
        super().__init__()
        missing = [name for name in ("TURNPIKE_URL", "TURNPIKE_API_KEY") if not environment.get(name)]
        if missing:
            raise ValueError("turnpike_hook: missing in the environment: " + ", ".join(missing))
        self.url = environment["TURNPIKE_URL"].rstrip("/") + "/api/v1"
        self.key = environment["TURNPIKE_API_KEY"]
        default_subjects = "metadata,team_alias,team_id,org_id,user_id"
        self.subjects = environment.get("TURNPIKE_SUBJECT", default_subjects).replace(" ", "").split(",")
        unknown = [name for name in self.subjects if name not in SUBJECTS]
        if unknown:
            raise ValueError(f"turnpike_hook: TURNPIKE_SUBJECT: {unknown} is not among {list(SUBJECTS)}")
        on_failure = environment.get("TURNPIKE_ON_FAILURE", "closed")
        if on_failure not in ("open", "closed"):
            raise ValueError("turnpike_hook: TURNPIKE_ON_FAILURE must be open or closed")
        self.fails_open = on_failure == "open"
        self.timeout = float(environment.get("TURNPIKE_TIMEOUT_SECONDS", "2"))
        self.type = environment.get("TURNPIKE_EVENT_TYPE", "llm.completion")
        self.source = environment.get("TURNPIKE_SOURCE", "litellm")
        self.output_tokens = int(environment.get("TURNPIKE_OUTPUT_TOKENS", "4096"))
        self.least_output_tokens = int(environment.get("TURNPIKE_MIN_OUTPUT_TOKENS", "64"))
        self.client = None
        self.open = OrderedDict()
        self.tasks = set()

    # Before the call

    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        if call_type not in OUTPUT_BOUNDS:
            return None
        subject = next(filter(None, (SUBJECTS[name](user_api_key_dict, data) for name in self.subjects)), None)
        if not subject:
            raise refusal(403, "no_subject", "nothing names the tenant; looked at " + ", ".join(self.subjects))
        model, provider = deployment(data.get("model") or "")
        attributes = {"model": model, "provider": provider, "user": data.get("user")}
        for name in ("feature", "cost_center"):
            attributes[name] = _metadata(user_api_key_dict, "turnpike_" + name)
        tokens = await asyncio.to_thread(count_input, model, data)
        call = Call(str(subject), {name: value for name, value in attributes.items() if value}, tokens)
        await self._reserve(call, data, call_type)
        self._remember(call)
        name = "litellm_metadata" if "litellm_metadata" in data else "metadata"
        data[name] = {**(data.get(name) or {}), CALL: call.id}
        return data

    async def _reserve(self, call, data, call_type):
        """Asks, and lowers the output bound of the call to what was admitted."""
        body = {"id": call.id, "source": self.source, "type": self.type, "subject": call.subject}
        body["data"] = {**call.data, "input_tokens": call.input_tokens}
        bound = OUTPUT_BOUNDS[call_type]
        choices = positive(data, "n", 1)
        if bound and data.get("max_completion_tokens") is not None:
            bound = "max_completion_tokens"
        if bound:
            asked = positive(data, bound, self.output_tokens) * choices
            body["data"]["output_tokens"] = asked
            body["min_output_tokens"] = max(1, min(asked, self.least_output_tokens * choices))
        try:
            answer = await self._post("/admissions", body)
            answer.raise_for_status()
            decision = answer.json()
            allowed = decision["allowed"]
        except (httpx.HTTPError, ValueError, KeyError) as error:
            told = getattr(getattr(error, "response", None), "text", "") or repr(error)
            logger.error("turnpike: no decision on a call of %s: %s", call.subject, told)
            if self.fails_open:
                return
            told = "the limits of this call can't be asked now; try again"
            raise refusal(503, "limits_unavailable", told, 1) from error
        if not allowed:
            raise denial(decision)
        call.reservation = (decision.get("reservation") or {}).get("id")
        admitted = decision.get("max_output_tokens")
        if bound and admitted is not None:
            data[bound] = max(1, int(admitted) // choices)

    # After the call: the first of these that knows settles or releases it.

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        call = self._take(self._find(kwargs.get("litellm_params") or {}) or self._find(kwargs))
        if call is None:
            return
        usage = usage_of(kwargs.get("standard_logging_object") or {})
        if kwargs.get("cache_hit") or not (usage.get("input_tokens") or usage.get("output_tokens")):
            self._in_background(self._release(call))
        else:
            self._in_background(self._settle(call, usage))

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        # The router may try the call again, and then it succeeds.
        call = self._find(kwargs.get("litellm_params") or {}) or self._find(kwargs)
        self._in_background(self._close_unreported(call))

    async def async_post_call_failure_hook(
        self, request_data, original_exception, user_api_key_dict, traceback_str=None
    ):
        self._in_background(self._close_unreported(self._find(request_data), after=0))

    async def async_post_call_streaming_iterator_hook(self, user_api_key_dict, response, request_data):
        call = self._find(request_data)
        try:
            async for chunk in response:
                if call is not None:
                    call.saw(chunk)
                yield chunk
        finally:
            # Also when the client has gone.
            self._in_background(self._close_unreported(call))

    async def _close_unreported(self, call, after=GRACE_SECONDS):
        """Of what was streamed to a client that left, or of a stream that broke, the tokens are counted here."""
        await asyncio.sleep(after)
        call = self._take(call)
        if call is None:
            return
        if not call.streamed:
            return await self._release(call)
        text = "".join(call.streamed)
        output = await asyncio.to_thread(litellm.token_counter, model=call.data.get("model", ""), text=text)
        await self._settle(call, {"input_tokens": call.input_tokens, "output_tokens": output})

    async def _settle(self, call, usage):
        event = {"id": call.id, "source": self.source, "type": self.type, "subject": call.subject}
        event["time"] = datetime.now(timezone.utc).isoformat()
        if call.reservation:
            event["reservationid"] = call.reservation
        event["data"] = {**call.data, **usage}
        await self._deliver("/events", event)

    async def _release(self, call):
        if call.reservation:
            await self._deliver(f"/admissions/{call.reservation}/release", {})

    async def _deliver(self, path, body):
        """Repeats until it is taken: Turnpike counts an event once however often it comes."""
        for attempt in range(DELIVERY_ATTEMPTS):
            if attempt:
                await asyncio.sleep(0.5 * 2 ** (attempt - 1))
            try:
                answer = await self._post(path, body)
            except httpx.HTTPError as error:
                told = repr(error)
                continue
            if answer.is_success:
                return
            told = answer.text
            if answer.status_code < 500 and answer.status_code not in (408, 429):
                break
        logger.error("turnpike: not delivered: POST %s %s: %s", path, json.dumps(body), told)

    async def _post(self, path, body):
        if self.client is None:
            headers = {"Authorization": f"Bearer {self.key}"}
            self.client = httpx.AsyncClient(headers=headers, timeout=self.timeout)
        return await self.client.post(self.url + path, json=body)

    # Calls on their way

    def _remember(self, call):
        self.open[call.id] = call
        while next(iter(self.open.values())).began < time.monotonic() - FORGOTTEN_AFTER_SECONDS:
            self.open.popitem(last=False)

    def _find(self, holder):
        for name in ("metadata", "litellm_metadata"):
            identifier = (holder.get(name) or {}).get(CALL)
            if identifier in self.open:
                return self.open[identifier]
        return None

    def _take(self, call):
        return self.open.pop(call.id, None) if call is not None else None

    def _in_background(self, work):
        """Not awaited: the caller's time is bounded, and it may be cancelled."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def deployment(name):
    """The provider's model behind a model group of the proxy; of several, the first."""
    from litellm.proxy import proxy_server

    if proxy_server.llm_router is not None:
        group = proxy_server.llm_router.get_model_list(model_name=name) or []
        name = group[0]["litellm_params"]["model"] if group else name
    try:
        model, provider, *_ = litellm.get_llm_provider(name)
        return model, provider
    except Exception:
        return name, None


def count_input(model, data):
    """An estimate; what the provider counts is settled afterwards."""
    parts = [data.get(name) for name in ("prompt", "input", "instructions", "system")]
    text = "\n".join(part if isinstance(part, str) else json.dumps(part, default=str) for part in parts if part)
    tokens = litellm.token_counter(model=model, text=text) if text else 0
    if data.get("messages"):
        tokens += litellm.token_counter(
            model=model, messages=data["messages"], tools=data.get("tools"), use_default_image_token_count=True
        )
    return tokens


def positive(data, name, default):
    value = data.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or value < 1:
        raise refusal(400, "invalid_request", f"{name} must be a positive integer")
    return value


def usage_of(report):
    """Totals with their parts, none of which is larger than its total."""
    details = (report.get("metadata") or {}).get("usage_object") or {}
    of_input = details.get("prompt_tokens_details") or {}
    of_output = details.get("completion_tokens_details") or {}
    total_input = int(report.get("prompt_tokens") or 0)
    total_output = int(report.get("completion_tokens") or 0)
    cached = min(total_input, of_input.get("cached_tokens") or details.get("cache_read_input_tokens") or 0)
    written = min(total_input - cached, details.get("cache_creation_input_tokens") or 0)
    usage = {
        "provider": report.get("custom_llm_provider"),
        "model": (report.get("model") or "").removeprefix(f"{report.get('custom_llm_provider')}/"),
        "input_tokens": total_input,
        "cached_input_tokens": cached,
        "cache_write_tokens": written,
        "output_tokens": total_output,
        "reasoning_tokens": min(total_output, of_output.get("reasoning_tokens") or 0),
        "cost": report.get("response_cost"),
        "request_id": report.get("id"),
    }
    return {name: value for name, value in usage.items() if value}


def denial(decision):
    reason = decision.get("reason") or "refused"
    told = "the call was refused: " + reason.replace("_", " ")
    for limit in decision.get("limits") or []:
        window, rate = limit.get("window"), limit.get("rate")
        if rate:
            told += f"; {limit['key']} allows {rate['limit']} {limit['measure']} in {rate['period_seconds']} s"
        elif window:
            period = window["kind"].replace("_", " ")
            told += f"; {limit['key']} has {limit['remaining']} of {limit['limit']} left in this {period}"
    retry = decision.get("retry_after")
    if retry is not None:
        told += f"; try again in {retry} s"
    return refusal(429 if reason == "rate_limited" else 403, reason, told, retry)


def refusal(status, code, message, retry_after=None):
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else None
    return HTTPException(status, {"error": f"Turnpike: {message}", "code": code}, headers)


turnpike = TurnpikeHook()
