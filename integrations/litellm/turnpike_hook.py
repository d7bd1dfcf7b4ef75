"""Turnpike for LiteLLM's proxy: every call asks before it is made, and reports what it used.

Put this file beside the proxy's config.yaml and name it there:

    litellm_settings:
      callbacks: ["turnpike_hook.turnpike"]

It replaces the callback "openmeter", which would report every call a second time. Settings are environment variables:

    TURNPIKE_URL                 where Turnpike listens, https://turnpike.example
    TURNPIKE_API_KEY             a key with the scopes admissions:write and events:write
    TURNPIKE_SUBJECT             what names the tenant, the first that is there; see SUBJECTS. "request" trusts
                                 clients to say who they are: metadata.turnpike_subject or user of the request;
                                 "metadata" and "key_alias" trust whoever owns a key
    TURNPIKE_USER                what names the user, the first that is there; user_id. See USERS; "request" trusts
                                 clients with it: user of the request, or metadata.user_id of a message
    TURNPIKE_ON_FAILURE          closed (default): 503 when Turnpike can't be asked; open: calls are made and reported
    TURNPIKE_TIMEOUT_SECONDS     how long it may take to answer, 2
    TURNPIKE_EVENT_TYPE          the type of calls and events, llm.completion
    TURNPIKE_SOURCE              their source, litellm
    TURNPIKE_OUTPUT_TOKENS       the bound of a call that names none, 4096, beside what it may think
    TURNPIKE_MIN_OUTPUT_TOKENS   a call with room for fewer output tokens is refused, 64
    TURNPIKE_CONTINUED_TOKENS    as how many tokens what a response continues counts where it isn't known here, 8192
    TURNPIKE_RESERVATION_SECONDS how long a call may take before what it holds expires, up to 86400; unset: as the
                                 service has it
    TURNPIKE_UNCOUNTED_CALLS     refused (default): what reaches models and can't be counted is refused (pass-through
                                 endpoints, generateContent, interactions, realtime, tools that LiteLLM runs by
                                 itself); passed: it is made, unasked and unreported
    TURNPIKE_SERVICE_TIERS       refused (default): clients can't choose a service tier or a speed, which have prices of
                                 their own, while a call is settled as one of its model; passed: they can
"""

import asyncio
import functools
import json
import logging
import os
import re
import time
import uuid
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone

import httpx
import litellm
from litellm.constants import ADVISOR_NATIVE_PROVIDERS, DEFAULT_IMAGE_TOKEN_COUNT
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import ProxyException
from litellm.proxy.hooks.responses_id_security import ResponsesIDSecurity
from litellm.proxy.shutdown.graceful_shutdown_manager import GracefulShutdownManager
from litellm.responses.utils import ResponsesAPIRequestUtils
from litellm.types.llms.anthropic import ANTHROPIC_ADVISOR_TOOL_TYPE
from litellm.utils import (
    ProviderConfigManager,
    get_non_default_completion_params,
    get_optional_params,
    huggingface_tokenizer_kind,
)

logger = logging.getLogger("turnpike")

# From the credential that LiteLLM has authenticated, but for the last.
SUBJECTS = {
    "metadata": lambda key, data: _metadata(key, "turnpike_subject"),
    "team_metadata": lambda key, data: (key.team_metadata or {}).get("turnpike_subject"),
    "team_alias": lambda key, data: key.team_alias,
    "team_id": lambda key, data: key.team_id,
    "org_alias": lambda key, data: key.organization_alias,
    "org_id": lambda key, data: key.org_id,
    "user_id": lambda key, data: key.user_id,
    "key_alias": lambda key, data: key.key_alias,
    "request": lambda key, data: member(data, "metadata", "turnpike_subject") or data.get("user"),
}
# From the credential, too, but for the last, and for the last but one where LiteLLM takes that from the request.
USERS = {
    "metadata": lambda key, data: _metadata(key, "turnpike_user"),
    "user_id": lambda key, data: key.user_id,
    "user_email": lambda key, data: key.user_email,
    "key_alias": lambda key, data: key.key_alias,
    "end_user_id": lambda key, data: key.end_user_id,
    "request": lambda key, data: data.get("user") or member(data, "metadata", "user_id"),
}
TEXT_COMPLETIONS = ("text_completion", "atext_completion")
COMPLETIONS = (*TEXT_COMPLETIONS, "completion", "acompletion")
RESPONSES = ("responses", "aresponses")
# By which members a call of each type bounds its output; calls of other types are neither asked for nor reported.
OWN_BOUNDS = {
    "completion": ("max_tokens", "max_completion_tokens"),
    "acompletion": ("max_tokens", "max_completion_tokens"),
    **{call_type: ("max_tokens",) for call_type in TEXT_COMPLETIONS},
    "anthropic_messages": ("max_tokens",),
    **{call_type: ("max_output_tokens",) for call_type in RESPONSES},
    "embedding": (),
    "aembedding": (),
}
# Any of them may be what a provider obeys: LiteLLM makes calls of one type of another, and passes unknown members on.
BOUNDS = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_new_tokens",
    "max_tokens_to_sample",
    "max_gen_len",
    "max_length",
    "maxTokens",
    "maxOutputTokens",
    "maxTokenCount",
    "num_predict",
    "n_predict",
)
# By which Azure takes it of all chat models, also of those that think, since this version of its API.
AZURE_BOUND = "max_completion_tokens"
AZURE_BOUND_SINCE = "2024-09"
# How many answers a call gets, each of which may be as long as its bound: of several, the largest.
CHOICES = ("n", "best_of", "candidate_count", "candidateCount", "num_return_sequences", "num_generations")
# What a model reads beside messages and tools.
INPUTS = ("prompt", "input", "instructions", "system")
# Tokenizers that LiteLLM would load from Hugging Face, at every count anew where it can't; its own takes their place.
DOWNLOADED = ("cohere", "llama2", "llama3")
# A count that takes longer is one of bytes, and so is each one while as many hang as are made at a time.
COUNTING_SECONDS = 5
COUNTERS = ThreadPoolExecutor(4, "turnpike-count")
# What is no text, by the type of a part or the member that has it: each counts as much as LiteLLM takes an image for.
MEDIA = (
    "image",
    "image_url",
    "image_base64",
    "input_image",
    "image_generation_call",
    "computer_screenshot",
    "audio",
    "input_audio",
    "video",
    "video_url",
    "input_video",
    "file",
    "input_file",
    "redacted_thinking",
    "encrypted_content",
)
MEDIA_TYPES = (*MEDIA, "base64", "url")
INLINE_MEDIA = re.compile(r"data:[^,]{0,200};base64,[A-Za-z0-9+/=_-]*")
# Members of parts that a model doesn't read.
UNREAD = (
    "type",
    "id",
    "call_id",
    "tool_call_id",
    "tool_use_id",
    "role",
    "status",
    "cache_control",
    "signature",
    "annotations",
    "logprobs",
)
# What Turnpike takes.
LARGEST_COUNT = 10**15
LONGEST_SECONDS = 86_400
LABEL_BYTES = 256
SUBJECT_BYTES = 512
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# What of an event is left where Turnpike does not take all of it.
ESSENTIAL = (
    "provider",
    "model",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
)
CALL = "turnpike_call"
# By which LiteLLM marks calls that it makes on its own behalf for another one: of a classifier, of a silent model.
INNER_MARKS = ("internal_call_origin", "is_silent_experiment")
# By which it runs the code that a model writes, of a skill in its database.
RUNS_CODE = "_litellm_code_execution_enabled"
# Where a call's metadata are: LiteLLM's own are the first where there are both, and the second are the client's then.
METADATA = ("litellm_metadata", "metadata")
# Calls of these types pass unasked and unreported: but for batches and assistants they use no tokens of models that are
# asked for. All others may, and LiteLLM says neither what bounds them nor what they used in a form known here.
PASSING = frozenset(
    """
    image_generation aimage_generation aimage_edit
    aspeech transcription atranscription
    avideo_generation avideo_list avideo_status avideo_content avideo_remix avideo_edit avideo_extension
    avideo_create_character avideo_get_character
    moderation amoderation rerank arerank aocr asearch
    acreate_file afile_retrieve afile_content afile_delete
    acreate_batch aretrieve_batch alist_batches acancel_batch
    acreate_fine_tuning_job aretrieve_fine_tuning_job alist_fine_tuning_jobs acancel_fine_tuning_job
    aget_assistants acreate_assistants adelete_assistant acreate_thread aget_thread a_add_message aget_messages
    arun_thread arun_thread_stream
    aget_responses alist_input_items acancel_responses adelete_responses
    aget_interaction acancel_interaction adelete_interaction
    acreate_agent aget_agent alist_agents alist_agent_versions adelete_agent
    acreate_eval aget_eval alist_evals aupdate_eval acancel_eval adelete_eval
    aget_run alist_runs acancel_run adelete_run
    avector_store_create avector_store_retrieve avector_store_list avector_store_update avector_store_delete
    avector_store_file_create avector_store_file_retrieve avector_store_file_list avector_store_file_content
    avector_store_file_update avector_store_file_delete
    acreate_container aretrieve_container alist_containers adelete_container
    aupload_container_file aretrieve_container_file alist_container_files adelete_container_file
    aretrieve_container_file_content
    acreate_skill aget_skill alist_skills adelete_skill
    list_mcp_tools call_mcp_tool
    """.split()
)
# What LiteLLM tells of a request, in every call that it makes for it, and the mark of one that the hook has seen.
REQUEST = "proxy_server_request"
# A client's settings of the router for its call.
OVERRIDE = "router_settings_override"
ASKED = "turnpike_asked"
# What LiteLLM tells of a stream or of a response depends on them.
REPORTING = ("stream", "stream_options", "background")
# By which a provider would call another model than is asked for: of Bedrock and OpenRouter.
OTHER_MODELS = ("model_id", "models", "route", "plugins")
# By which LiteLLM passes an answer on as a fault, which it does not report as an answer.
VALIDATION = ("enable_json_schema_validation", "enforce_validation")
# With some providers LiteLLM writes a call's unknown members over what it knows of the call and reports then.
REPORTED = (
    "combined_usage_object",
    "litellm_params",
    "optional_params",
    "additional_args",
    "model_call_details",
    "standard_logging_object",
    "original_response",
    "complete_streaming_response",
    "async_complete_streaming_response",
    "response_cost",
    "cache_hit",
    "call_type",
    "log_event_type",
)
# By which another model would be called than is asked for, or be reported as one of another provider, or answers that
# nobody reports would be had, be it by many attempts.
DETOURS = (
    "fallbacks",
    "context_window_fallbacks",
    "content_policy_fallbacks",
    "specific_deployment",
    "custom_llm_provider",
    # Of Azure.
    "deployment_id",
    "azure",
    "num_retries",
    "max_retries",
    *OTHER_MODELS,
    *VALIDATION,
)
# By which a client has its answer for another price than the model's, and what of them is the usual one.
TIERS = ("service_tier", "serviceTier", "performanceConfig", "speed")
USUAL_TIERS = (None, "auto", "default", "standard", "standard_only", "on_demand")
# By which LiteLLM finds the way to a model, before its name.
ROUTES = {
    "bedrock": (
        "invoke/",
        "converse/",
        "converse_like/",
        "async_invoke/",
        "claude_platform/",
        "openai/",
        "mantle/",
        "chat_completions/",
    ),
    "openai": ("responses/",),
    "azure": ("responses/", "o_series/", "gpt5_series/"),
}
# In the objects of a call, which LiteLLM or a provider would take for members of the call.
INNER_MODELS = ("model", *OTHER_MODELS)
# Members that LiteLLM knows and looks into.
FORMATS = ("response_format", "text", "text_format", "output_format", "output_config")
# What has members of any name.
FREE_FORM = (*FORMATS, "labels", "requestMetadata", "documents", "data_sources")
# The request has not arrived.
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# By this Turnpike refuses a wrong credential, once it has refused several, and one that it doesn't know yet where others
# of the same address were wrong.
MAYBE_WRONG = "too_many_authentication_failures"
# What has been used is reported once the credential is right, where that is mended soon.
WRONG_CREDENTIAL = (401, 403)
# How long LiteLLM may take to report a call that has ended.
GRACE_SECONDS = 5
# A call that takes longer than this is reported by nobody; its reservation has expired.
FORGOTTEN_AFTER_SECONDS = LONGEST_SECONDS
DELIVERY_ATTEMPTS = 7
# How long the end of the process waits for calls to end and deliveries to be made.
SHUTDOWN_SECONDS = 10
# Nobody waits for a delivery, so that it may take longer than an answer on a call, and wait for a connection.
DELIVERY_SECONDS = 10
# Of how many responses and conversations it is known how long they are.
KNOWN_CONTEXTS = 10_000
# A question waits for no other one's connection.
QUESTIONS = httpx.Limits(max_connections=1_000, max_keepalive_connections=100)
DELIVERIES = httpx.Limits(max_connections=100, max_keepalive_connections=20)
# So many deliveries are made or wait; while a Turnpike hangs each has a call's end in it. What else ends is in the log.
WAITING_DELIVERIES = 10_000
# So many questions whose answers were lost are asked again at a time, and so many wait for that. What else may be held
# expires: in an outage every call is one of them, and events are worth more.
ASKED_AGAIN = 20
WAITING_TO_BE_ASKED_AGAIN = 1_000


def _metadata(key, name):
    """The team's first: who owns a key can write its metadata."""
    return (key.team_metadata or {}).get(name) or (key.metadata or {}).get(name)


def chosen_setting(environment, name, default, other):
    text = environment.get(name, default)
    if text not in (default, other):
        raise ValueError(f"turnpike_hook: {name} must be {default} or {other}, not {text!r}")
    return text


def names_setting(environment, name, default, known):
    names = environment.get(name, default).replace(" ", "").split(",")
    unknown = [given for given in names if given not in known]
    if unknown:
        raise ValueError(f"turnpike_hook: {name}: {unknown} is not among {list(known)}")
    return names


def first_named(names, known, key, data):
    return next(filter(None, (known[name](key, data) for name in names)), None)


def first_label(names, known, key, data):
    """The first that is a text as Turnpike takes it, or a number: clients write some."""
    found = (known[name](key, data) for name in names)
    texts = (str(value) if type(value) is int else value for value in found)
    return next(filter(None, (labels(label=text).get("label") for text in texts)), None)


def positive_setting(environment, name, default, kind, largest=LARGEST_COUNT):
    text = environment.get(name, default)
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not 0 < value <= largest:
        told = ("integer" if kind is int else "number") + (f" up to {largest}" if largest < LARGEST_COUNT else "")
        raise ValueError(f"turnpike_hook: {name} must be a positive {told}, not {text!r}")
    return value


def member(value, *names):
    """A member of a member of what may be an object or a dictionary; None where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    return value


@dataclass
class Call:
    """A call on its way. Its id is made here: LiteLLM's own may be chosen by the client."""

    subject: str
    # What the call and its event have in common.
    labels: dict
    # The provider and its model: of the admission, and then of the last attempt.
    deployment: dict
    input_tokens: int
    # LiteLLM's; none of a call on its own behalf.
    type: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    reservation: str | None = None
    # What is reported of it, once that is known.
    event: dict | None = None
    # Whether LiteLLM's cache has answered it.
    is_free: bool = False
    # The conversation that a response is part of, and the response, as its provider calls them.
    conversation: str | None = None
    response: str | None = None
    # By how many tokens each answer is bounded at most, where it is.
    room: int | None = None
    began: float = field(default_factory=time.monotonic)
    # Whether parts of its answer are being passed on.
    streams: bool = False
    # Whether only the hook has asked for the usage at the end of its stream.
    hides_usage: bool = False
    # Whether there has been an answer, or a part of one.
    answered: bool = False
    # What the provider has counted in its answer, and what it has said since it did.
    usage: Counter = field(default_factory=Counter)
    said: list = field(default_factory=list)
    # The output tokens with which a message begins: a guess, made before there is any output.
    guess: int = 0
    # The beginning of a line.
    unread: bytes = b""
    # Later attempts at it, each made after another one was answered, and reported as a call of its own.
    later: list = field(default_factory=list)
    # Whether it is one of these.
    follows: bool = False
    # What LiteLLM knows of the attempt.
    details: dict = field(default_factory=dict)

    @property
    def latest(self):
        return self.later[-1] if self.later else self

    def begins(self, kwargs):
        """An attempt, of which LiteLLM knows no answer yet."""
        self.details = getattr(kwargs.get("litellm_logging_obj"), "model_call_details", None) or {}
        self.details["original_response"] = None

    def saw_rejected(self):
        """Takes an answer that LiteLLM has rejected: nothing else tells of it, but of the first."""
        if self.answered:
            return
        answer = event_in(b"data:" + str(self.details.get("original_response")).encode(errors="replace"))
        if counts_in(usage_in(answer))["output_tokens"]:
            self.saw({**answer, "usage": usage_in(answer)})

    def saw_invalid(self, error):
        """Takes an answer that is not as its schema says, of any API, out of the fault that LiteLLM makes of it."""
        self.saw_rejected()
        if not self.answered and isinstance(error, litellm.JSONSchemaValidationError):
            self.saw({"choices": [{"text": error.raw_response}]})

    def saw(self, answer):
        """Takes an answer or the next part of one, whichever API's it is."""
        for event in self._events(answer):
            if member(event, "type") in ("ping", "error"):
                continue
            self.answered = True
            if self.type in RESPONSES:
                self.response = member(event, "response", "id") or member(event, "id") or self.response
            if output_of(event):
                # The last event of a stream says all of it once more.
                self.said.clear()
            self.said.extend(text for text in texts_in(event) if isinstance(text, str))
            counts = counts_in(usage_in(event))
            if counts["output_tokens"]:
                self.said.clear()
            beginning = counts_in(member(event, "message", "usage"))
            self.guess += beginning.pop("output_tokens")
            # Each is a total.
            self.usage |= counts | beginning

    def _events(self, part):
        """Messages come as bytes, which are parted anywhere."""
        if not isinstance(part, (bytes, bytearray, str)):
            return [part]
        self.unread += part.encode() if isinstance(part, str) else part
        *lines, self.unread = self.unread.split(b"\n")
        return [event for event in map(event_in, lines) if event is not None]

    def counted_by(self, model):
        """What was used, as far as can be told without LiteLLM."""
        said = "".join(self.said)
        usage = Counter(self.usage)
        usage["input_tokens"] = usage["input_tokens"] or self.input_tokens
        usage["output_tokens"] += count_text(model, said)
        return parts_and_totals(usage)


class _PROXY_TurnpikeHook(CustomLogger):
    """With this name LiteLLM reports to it also the calls that their clients don't want logged ("no-log")."""

    def __init__(self, environment=os.environ):
        super().__init__()
        missing = [name for name in ("TURNPIKE_URL", "TURNPIKE_API_KEY") if not environment.get(name)]
        if missing:
            raise ValueError("turnpike_hook: missing in the environment: " + ", ".join(missing))
        url = environment["TURNPIKE_URL"]
        if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", url):
            told = "must be an address such as https://turnpike.example"
            raise ValueError(f"turnpike_hook: TURNPIKE_URL {told}, not {url!r}")
        self.url = url.rstrip("/") + "/api/v1"
        credential = {"Authorization": f"Bearer {environment['TURNPIKE_API_KEY']}"}
        # Two, so that deliveries that hang take no connection from a question.
        self.questions = httpx.AsyncClient(headers=credential, limits=QUESTIONS)
        self.deliveries = httpx.AsyncClient(headers=credential, limits=DELIVERIES)
        default_subjects = "metadata,team_alias,team_id,org_id,user_id"
        self.subjects = names_setting(environment, "TURNPIKE_SUBJECT", default_subjects, SUBJECTS)
        self.users = names_setting(environment, "TURNPIKE_USER", "user_id", USERS)
        self.fails_open = chosen_setting(environment, "TURNPIKE_ON_FAILURE", "closed", "open") == "open"
        self.timeout = positive_setting(environment, "TURNPIKE_TIMEOUT_SECONDS", "2", float)
        self.type = environment.get("TURNPIKE_EVENT_TYPE", "llm.completion")
        self.source = environment.get("TURNPIKE_SOURCE", "litellm")
        self.output_tokens = positive_setting(environment, "TURNPIKE_OUTPUT_TOKENS", "4096", int)
        self.least_output_tokens = positive_setting(environment, "TURNPIKE_MIN_OUTPUT_TOKENS", "64", int)
        self.continued_tokens = positive_setting(environment, "TURNPIKE_CONTINUED_TOKENS", "8192", int)
        # By the service's own name for its default.
        name, self.reservation_seconds = "TURNPIKE_RESERVATION_SECONDS", None
        if environment.get(name):
            self.reservation_seconds = positive_setting(environment, name, None, int, LONGEST_SECONDS)
        uncounted = chosen_setting(environment, "TURNPIKE_UNCOUNTED_CALLS", "refused", "passed")
        self.passes_uncounted = uncounted == "passed"
        tiers = chosen_setting(environment, "TURNPIKE_SERVICE_TIERS", "refused", "passed")
        self.passes_tiers = tiers == "passed"
        # Beyond the connections: whoever waits for one of httpx's costs all others time.
        self.delivering = asyncio.Semaphore(DELIVERIES.max_connections)
        self.undelivered = 0
        self.is_accepted = False
        self.asking_again = asyncio.Semaphore(ASKED_AGAIN)
        # Questions that wait to be asked again, by the ids of their calls.
        self.unheard = {}
        # Calls on their way, and those that have ended and whose end Turnpike does not know yet.
        self.open = OrderedDict()
        self.closing = {}
        # Calls whose requests have not ended, also where they have been reported.
        self.requests = {}
        self.contexts = OrderedDict()
        self.tasks = set()
        self._finish_at_shutdown()

    # Before the call

    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        if isinstance(data.get(REQUEST), dict):
            data[REQUEST][ASKED] = True
        if call_type not in OWN_BOUNDS:
            if call_type not in PASSING:
                self._refuse_uncounted(f"calls of the type {call_type}")
            return None
        refuse_several_models(data, call_type)
        refuse_detours(data)
        if not self.passes_tiers:
            refuse_tiers(data)
        if data.get("background"):
            # LiteLLM reports no usage of it.
            raise refusal(400, "invalid_request", "a response in the background can't be counted")
        subject = self._subject(user_api_key_dict, data)
        attributes = {"user": first_label(self.users, USERS, user_api_key_dict, data)}
        for name in ("feature", "cost_center"):
            attributes[name] = _metadata(user_api_key_dict, "turnpike_" + name)
        name, team = data.get("model") or "", user_api_key_dict.team_id
        first, *others = deployments_called(name, team)
        deployment = deployment_of(member(first, "litellm_params"))
        if others:
            tell_mixed(name, team)
        tokens = await count_in_time(count_input, deployment.get("model", ""), data)
        call = Call(subject, labels(**attributes), deployment, tokens, call_type)
        if call_type in RESPONSES:
            self._continue(call, data)
        await self._reserve(call, data, first)
        self._remember(call)
        request = asyncio.current_task()
        if request is not None:
            self.requests[call.id] = call
            request.add_done_callback(lambda _: self._ended(call))
        for name in METADATA:
            if isinstance(data.get(name), dict):
                # Only LiteLLM may say so of a call, and does so later.
                data[name] = {key: value for key, value in data[name].items() if key not in INNER_MARKS}
        name = "litellm_metadata" if "litellm_metadata" in data else "metadata"
        data[name] = {**(data.get(name) or {}), CALL: call.id}
        return data

    async def async_pre_call_deployment_hook(self, kwargs, call_type):
        """Of each attempt, as it goes to a provider."""
        call = self._find(kwargs)
        if call is None:
            if is_unasked(kwargs, call_type):
                self._refuse_uncounted("calls by this route")
            return None
        if await runs_tools(kwargs, call_type):
            told = "calls with tools that LiteLLM runs by itself, as it does MCP servers' with require_approval: never,"
            self._refuse_uncounted(told, "let tools require approval, or run them in the client")
        if is_inner(kwargs):
            return self._apart(kwargs, call)
        # A router may have set another bound since the call was admitted.
        bounds = {name: kwargs[name] for name in BOUNDS if isinstance(kwargs.get(name), int)}
        changes = {name: call.room for name, bound in bounds.items() if call.room and bound > call.room}
        # Where LiteLLM makes a call of another type of it, that has only a part of the deployment's name.
        if call_type == call.type:
            attempt = self._attempt(call)
            attempt.deployment = deployment_of(kwargs)
            attempt.begins(kwargs)
            if attempt is not call:
                changes |= marked(kwargs, call, attempt)
            # LiteLLM asks for the usage of streamed chat completions, too, and tells it where it likes.
            attempt.hides_usage = call_type in COMPLETIONS and lacks_usage(kwargs)
            if attempt.hides_usage:
                options = kwargs.get("stream_options")
                changes["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        return {**kwargs, **changes} if changes else None

    def _attempt(self, call):
        """The call, or another one where it has been answered.

        LiteLLM tries again what a content policy or a schema rejects, and reports one attempt at most.
        """
        before = call.latest
        before.saw_rejected()
        if not before.answered:
            return before
        if self._take(before) is not None:
            self._in_background(self._close(before))
        attempt = Call(call.subject, call.labels, {}, call.input_tokens, call.type, follows=True)
        call.later.append(attempt)
        self._remember(attempt)
        return attempt

    def _apart(self, kwargs, call):
        """What LiteLLM calls on its own behalf is no part of the call: it is reported as one of its own."""
        inner = Call(call.subject, call.labels, deployment_of(kwargs), 0)
        self._remember(inner)
        return {**kwargs, **marked(kwargs, call, inner)}

    def _refuse_uncounted(self, calls, instead="use chat completions, responses or messages"):
        if not self.passes_uncounted:
            raise refusal(400, "invalid_request", f"{calls} can't be counted; {instead}")

    def _subject(self, key, data):
        subject = first_named(self.subjects, SUBJECTS, key, data)
        if not subject:
            raise refusal(403, "no_subject", "nothing names the tenant; looked at " + ", ".join(self.subjects))
        if cleaned(str(subject), SUBJECT_BYTES) != str(subject):
            raise refusal(403, "invalid_subject", "what names the tenant is too long, or no plain text")
        return str(subject)

    def _continue(self, call, data):
        """Adds what the model reads of earlier responses, which only their provider has."""
        given = data.get("conversation")
        conversation = member(given, "id") if isinstance(given, dict) else given
        call.conversation = str(conversation) if conversation else None
        earlier = (original_id(data.get("previous_response_id")), call.conversation)
        call.input_tokens += sum(self.contexts.get(name, self.continued_tokens) for name in earlier if name)

    async def _reserve(self, call, data, first):
        """Asks, and lowers the output bounds of the call to what was admitted."""
        thought = thinking_tokens(data, member(first, "litellm_params"))
        body = {"id": call.id, "source": self.source, "type": self.type, "subject": call.subject}
        body["data"] = {**call.deployment, **call.labels, "input_tokens": call.input_tokens}
        if self.reservation_seconds is not None:
            body["ttl_seconds"] = self.reservation_seconds
        bounds = self._bounds(data, call.type, first, thought)
        choices = choices_of(data, call.type)
        if bounds:
            call.room = max(bounds.values())
            asked = call.room * choices
            if asked > LARGEST_COUNT:
                raise refusal(400, "invalid_request", f"a call can't be bounded by {asked} output tokens")
            body["data"]["output_tokens"] = asked
            # A provider refuses a call with no room for more than its thoughts.
            least = max(self.least_output_tokens, thought + 1)
            body["min_output_tokens"] = max(1, min(asked, least * choices))
        decision = await self._decision(body)
        if decision is None:
            return
        if not decision["allowed"]:
            raise denial(decision)
        call.reservation = member(decision, "reservation", "id")
        admitted = decision.get("max_output_tokens")
        if admitted is not None:
            call.room = min(call.room, max(1, int(admitted) // choices))
            data.update({name: min(bound, call.room) for name, bound in bounds.items()})

    def _bounds(self, data, call_type, first, thought):
        """What bounds the output of a call. What only a provider might obey doesn't replace the bound of its type."""
        own = OWN_BOUNDS[call_type]
        if not own:
            return {}
        hidden = hidden_bounds(data)
        if hidden:
            raise refusal(400, "invalid_request", f"{hidden[0]} can be given as a member of the call only")
        bounds = {name: positive(data, name) for name in BOUNDS if data.get(name) is not None}
        if bounds.keys().isdisjoint(own):
            name = AZURE_BOUND if AZURE_BOUND in own and takes_azure_bound(first) else own[0]
            bounds[name] = self.output_tokens + thought
        return bounds

    async def _decision(self, body):
        """None where Turnpike can't be asked and calls are made then."""
        try:
            answer = await self.questions.post(self.url + "/admissions", json=body, timeout=self.timeout)
            is_maybe_wrong = answer.status_code == 429 and member(content_of(answer), "code") == MAYBE_WRONG
            if answer.status_code < 500 and not is_maybe_wrong:
                self.is_accepted = answer.status_code != 401
            if not passes(answer.status_code) or (is_maybe_wrong and not self.is_accepted):
                return decision_in(answer)
            told, is_unheard = answer.text, answer.status_code >= 500
        except httpx.HTTPError as error:
            told, is_unheard = repr(error), not isinstance(error, UNSENT)
        except asyncio.CancelledError:
            self._in_background(self._give_back(body))
            raise
        if is_unheard:
            self._in_background(self._give_back(body))
        logger.error("turnpike: no decision on a call of %s: %s", body["subject"], told)
        if self.fails_open:
            return None
        raise refusal(503, "limits_unavailable", "the limits of this call can't be asked now; try again", 1)

    async def _give_back(self, body):
        """Of a question that may have been decided unheard. Asked again, it has the same reservation."""
        if len(self.unheard) >= WAITING_TO_BE_ASKED_AGAIN:
            return
        self.unheard[body["id"]] = body
        try:
            await asyncio.sleep(GRACE_SECONDS)
            async with self.asking_again:
                answer = await self._deliver("/admissions", body)
                reservation = member(content_of(answer), "reservation", "id") if answer is not None else None
                if reservation:
                    await self._deliver(f"/admissions/{reservation}/release", {})
        finally:
            del self.unheard[body["id"]]

    # After the call: the first that knows settles or releases it. What LiteLLM logs as a failure is one of an attempt.

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        call = self._find(kwargs.get("litellm_params")) or self._find(kwargs)
        # Attempts have one report, and may have it of an earlier one.
        if member(call, "follows") and not kwargs.get("stream") or self._take(call) is None:
            return
        usage = usage_of(kwargs.get("standard_logging_object"))
        output = usage.get("output_tokens", 0)
        call.is_free = bool(kwargs.get("cache_hit"))
        # Otherwise nothing was counted, or of a message that was cut off no more than its beginning, or less than the
        # provider has. Of an attempt after an answer the stream may say the sum of both.
        is_whole = call.follows or output >= call.usage["output_tokens"]
        is_counted = is_whole and (output > call.guess or not call.said)
        if not call.is_free and is_counted and (output or usage.get("input_tokens")):
            call.event = self._event(call, usage)
        self._in_background(self._close(call))

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        call = self._find(kwargs.get("litellm_params")) or self._find(kwargs)
        if call is not None:
            call.saw_invalid(kwargs.get("exception"))

    async def async_post_call_success_deployment_hook(self, request_data, response, call_type):
        # LiteLLM reports nothing of an answer that a guardrail rejects.
        call = self._find(request_data)
        if call is not None and not request_data.get("stream"):
            # Where LiteLLM has made a call of another type of it, there is an answer to each, which says the same.
            call.said.clear()
            call.saw(response)

    async def async_post_call_failure_hook(
        self, request_data, original_exception, user_api_key_dict, traceback_str=None
    ):
        call = self._find(request_data)
        if call is not None:
            call.latest.saw_invalid(original_exception)
        self._ended(call)

    async def async_post_call_streaming_iterator_hook(self, user_api_key_dict, response, request_data):
        call = self._find(request_data)
        if call is not None:
            call.streams = True
        try:
            async for chunk in response:
                if call is not None:
                    call.latest.saw(chunk)
                    if call.latest.hides_usage and only_counts(chunk):
                        continue
                yield chunk
        finally:
            # Also when the client has gone.
            if call is not None:
                call.streams = False
            self._ended(call)

    def _ended(self, call):
        """Waits for LiteLLM's report. Several tell of most ends, but of some only that the request's task is done."""
        if call is not None:
            self._in_background(self._close_unreported(call))

    async def _close_unreported(self, call):
        await asyncio.sleep(GRACE_SECONDS)
        if call.streams:
            return
        self.requests.pop(call.id, None)
        call.latest.saw_rejected()
        await asyncio.gather(*(self._close(each) for each in (call, *call.later) if self._take(each) is not None))

    async def _close(self, call):
        """Settles it, or releases what it holds. It stays among those that end until that is done or given up."""
        if call.event is None and call.answered and not call.is_free:
            call.event = self._event(call, await count_in_time(call.counted_by, call.deployment.get("model", "")))
        call.said, call.unread = [], b""
        if call.event is not None:
            await self._settle(call.event)
        elif call.reservation:
            await self._deliver(f"/admissions/{call.reservation}/release", {})
        self.closing.pop(call.id, None)

    def _event(self, call, usage):
        for name in filter(None, (original_id(call.response), call.conversation)):
            self.contexts[name] = usage.get("input_tokens", 0) + usage.get("output_tokens", 0)
            self.contexts.move_to_end(name)
            if len(self.contexts) > KNOWN_CONTEXTS:
                self.contexts.popitem(last=False)
        event = {"id": call.id, "source": self.source, "type": self.type, "subject": call.subject}
        event["time"] = datetime.now(timezone.utc).isoformat()
        if call.reservation:
            event["reservationid"] = call.reservation
        return {**event, "data": {**call.deployment, **call.labels, **usage}}

    async def _settle(self, event):
        answer = await self._deliver("/events", event)
        if answer is not None and answer.status_code == 400:
            event["data"] = {name: event["data"][name] for name in ESSENTIAL if name in event["data"]}
            await self._deliver("/events", event)

    async def _deliver(self, path, body):
        """Repeats until it is taken, which counts once, or is refused. Returns the last answer, if there was one."""
        if self.undelivered >= WAITING_DELIVERIES:
            tell_undelivered(path, body, f"{WAITING_DELIVERIES} others wait")
            return None
        self.undelivered += 1
        try:
            return await self._repeat(path, body)
        finally:
            self.undelivered -= 1

    async def _repeat(self, path, body):
        last = None
        timeout = httpx.Timeout(max(self.timeout, DELIVERY_SECONDS), pool=None)
        for attempt in range(DELIVERY_ATTEMPTS):
            if attempt:
                await asyncio.sleep(0.5 * 2 ** (attempt - 1))
            try:
                async with self.delivering:
                    answer = await self.deliveries.post(self.url + path, json=body, timeout=timeout)
            except httpx.HTTPError as error:
                told = repr(error)
                continue
            if answer.is_success:
                return answer
            last, told = answer, answer.text
            if not passes(answer.status_code) and answer.status_code not in WRONG_CREDENTIAL:
                break
        tell_undelivered(path, body, told)
        return last

    # Calls on their way

    def _remember(self, call):
        self.open[call.id] = call
        while next(iter(self.open.values())).began < time.monotonic() - FORGOTTEN_AFTER_SECONDS:
            self.open.popitem(last=False)

    def _find(self, holder):
        for name in METADATA:
            identifier = member(holder, name, CALL)
            call = isinstance(identifier, str) and (self.open.get(identifier) or self.requests.get(identifier))
            if call:
                return call
        return None

    def _take(self, call):
        if call is None or self.open.pop(call.id, None) is None:
            return None
        self.closing[call.id] = call
        # Prompts and answers are not kept while it waits to be told.
        call.details = {}
        return call

    def _in_background(self, work):
        """Not awaited: the caller's time is bounded, and it may be cancelled."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # The end of the process

    def _finish_at_shutdown(self):
        """LiteLLM calls no hook when it ends, and the server ends the process at once after it. So what waits is sent
        where LiteLLM, called by the server, has waited for its requests."""
        waits = GracefulShutdownManager.wait_for_drain

        async def waits_and_finishes(*given, **named):
            drained = await waits(*given, **named)
            await self._finish()
            return drained

        GracefulShutdownManager.wait_for_drain = waits_and_finishes

    def _unended(self):
        """Calls whose end Turnpike is to know and does not yet."""
        return [*self.closing.values(), *(call for call in self.open.values() if call.reservation or call.answered)]

    async def _finish(self):
        """Lets calls end and what waits be delivered, for a while, and says what was not."""
        ends = time.monotonic() + SHUTDOWN_SECONDS
        while (self._unended() or self.unheard) and time.monotonic() < ends:
            await asyncio.sleep(0.05)
        for call in self._unended():
            told = json.dumps(call.event) if call.event else f"the release of {call.reservation}"
            logger.error("turnpike: not delivered before the process ended: %s", told)
        for body in self.unheard.values():
            logger.error("turnpike: not given back before the process ended: %s", json.dumps(body))


def marked(kwargs, call, other):
    """The metadata of a call as those of another one."""
    names = [name for name in METADATA if member(kwargs, name, CALL) == call.id]
    return {name: {**kwargs[name], CALL: other.id} for name in names}


def is_inner(holder):
    return any(member(holder, name, mark) for name in METADATA for mark in INNER_MARKS)


def is_unasked(kwargs, call_type):
    """Whether it is made for a route by which LiteLLM calls no hook before. Relays say nothing of their requests."""
    request = kwargs.get(REQUEST)
    is_asked = not isinstance(request, dict) or ASKED in request
    return call_type == "allm_passthrough_route" or not (is_asked or call_type in PASSING)


def original_id(response):
    """The provider's own. LiteLLM writes into it which deployment it is of, and encrypts that for clients."""
    if not response:
        return None
    try:
        decrypted, *_ = ResponsesIDSecurity()._decrypt_response_id(response)
        return ResponsesAPIRequestUtils.decode_previous_response_id_to_original_previous_response_id(decrypted)
    except Exception:
        # What a client writes may be anything.
        return str(response)


async def runs_tools(kwargs, call_type):
    """Whether LiteLLM would run a tool of the call by itself and call the model again with what came of it.

    It does so as often as the model likes, with what nobody has asked for, and reports one of these calls at most.
    """
    tools = elements(kwargs, "tools")
    types = [member(tool, "type") for tool in tools]
    if any(member(kwargs, name, RUNS_CODE) for name in METADATA) or "mcp" in types and await runs_mcp(tools):
        return True
    if call_type == "anthropic_messages" and ANTHROPIC_ADVISOR_TOOL_TYPE in types:
        return deployment_of(kwargs).get("provider") not in ADVISOR_NATIVE_PROVIDERS
    return call_type == "aresponses" and "file_search" in types and not searches_itself(kwargs)


async def runs_mcp(tools):
    """Whether the proxy's own MCP servers are among the tools, and all of these may be run unasked."""
    from litellm.responses.mcp.litellm_proxy_mcp_handler import LiteLLM_Proxy_MCP_Handler as Gateway

    if not Gateway.should_use_litellm_mcp_gateway(tools=tools):
        return False
    own, _ = await Gateway.split_mcp_tools(tools)
    return Gateway.should_auto_execute_tools(own)


def searches_itself(kwargs):
    """Whether the provider of a response searches files, so that LiteLLM needn't."""
    model, provider = provider_model(kwargs)
    model = model or ""
    if kwargs.get("use_chat_completions_api") or model.startswith("chat_completions/"):
        return False
    config = ProviderConfigManager.get_provider_responses_api_config(provider or "", model, kwargs.get("api_base"))
    return config is not None and config.supports_native_file_search()


def deployments_called(name, team):
    """Those that the proxy calls by a name, as its router finds them; by an unknown one what is called so."""
    from litellm.proxy import proxy_server

    router, unknown = proxy_server.llm_router, [{"litellm_params": {"model": name}}]
    if router is None:
        return unknown
    if name not in router.model_names and router.has_model_id(name):
        return [router.get_deployment(name)]
    found = router.get_model_list(model_name=name, team_id=team) or [
        deployment for deployment in router.get_model_list() or [] if deployment["litellm_params"]["model"] == name
    ]
    return found or unknown


def provider_model(params):
    """A model with its route, as LiteLLM looks it up, and its provider."""
    name, given, address = (params.get(name) for name in ("model", "custom_llm_provider", "api_base"))
    try:
        model, provider, *_ = litellm.get_llm_provider(name, given, address)
    except Exception:
        model, provider = name, given
    return model, provider


def deployment_of(params):
    """The provider and its model, by what LiteLLM calls them with: what it reports differs by the type of the call."""
    model, provider = provider_model(params)
    routes = ROUTES.get(provider, ())
    route = next((route for route in routes if isinstance(model, str) and model.startswith(route)), "")
    return labels(provider=provider, model=model[len(route) :] if route else model)


@functools.lru_cache(maxsize=1_000)
def tell_mixed(name, team):
    """Once of each model group. Clients write the names of some."""
    asked, *others = (deployment_of(member(called, "litellm_params")) for called in deployments_called(name, team))
    different = [deployment for deployment in others if deployment != asked]
    if different:
        told = "the deployments of the model group %s differ: limits by provider or model are asked as of %s, not of %s"
        logger.warning(f"turnpike: {told}", name, asked, different[0])


def takes_azure_bound(first):
    """Whether a deployment is one of Azure's, of which any may be of a model that thinks, and refuse max_tokens.

    LiteLLM renames that where it knows the model by the deployment's name or by the setting base_model.
    """
    params = member(first, "litellm_params")
    if deployment_of(params).get("provider") != "azure":
        return False
    given = params.get("api_version") or litellm.api_version or os.environ.get("AZURE_API_VERSION")
    # Those without a date are newer.
    return (given or litellm.AZURE_DEFAULT_API_VERSION) >= AZURE_BOUND_SINCE


def thinking_tokens(data, params):
    """How many tokens of a call's output a provider may have it think: what is given, or what LiteLLM makes of it."""
    thinking, effort = (data.get(name) or params.get(name) for name in ("thinking", "reasoning_effort"))
    effort = member(data, "reasoning", "effort") or effort
    if not (thinking or effort):
        return 0
    try:
        model, provider = provider_model(params)
        given = {"thinking": thinking, "reasoning_effort": effort, "drop_params": True}
        sent = get_optional_params(model, custom_llm_provider=provider, **given)
    except Exception:
        # A call that LiteLLM can't make.
        return 0
    return max(count(sent.get("thinking"), "budget_tokens"), count(sent.get("thinkingConfig"), "thinkingBudget"))


def lacks_usage(kwargs):
    """Whether a stream would not say what it used, and can be asked to."""
    from litellm.proxy import proxy_server

    if not kwargs.get("stream") or member(kwargs, "stream_options", "include_usage"):
        return False
    # By it an operator says that servers don't take the option.
    if proxy_server.general_settings.get("always_include_stream_usage") is False:
        return False
    try:
        supported = litellm.get_supported_openai_params(*provider_model(kwargs))
    except Exception:
        return False
    return "stream_options" in (supported or ())


def refuse_several_models(data, call_type):
    """LiteLLM would make a whole call to each, and one is asked for.

    It parts the model of a chat completion at its commas, also where a model group is named so, but not where the call
    comes with an address or a credential. A list is refused by LiteLLM itself.
    """
    is_parted = call_type == "acompletion" and "api_base" not in data and "api_key" not in data
    if is_parted and "," in (data.get("model") or ""):
        told = "model must name one model, without a comma; make a call for each of several"
        raise refusal(400, "invalid_request", told)


def refuse_detours(data):
    """What the operator has configured is his to judge."""
    body = member(data, REQUEST, "body")
    # LiteLLM has written into it what header fields say.
    named = [name for given in (body, member(body, OVERRIDE)) for name in DETOURS if member(given, name)]
    # Nothing overwrites as much as something does.
    tops = [given for given in (body, member(body, "extra_body")) if isinstance(given, dict)]
    named += [name for given in tops for name in REPORTED if name in given]
    passed = passed_on(data)
    _, *inner = objects_in(passed)
    # What a schema says of a member with such a name is an object.
    _, *asking = objects_in({name: value for name, value in passed.items() if name not in FREE_FORM})
    within = [name for found in asking for name in INNER_MODELS if isinstance(found.get(name), (str, list))]
    formats = objects_in({name: member(body, name) for name in FORMATS})
    within += [name for found in (*inner, *formats) for name in VALIDATION if found.get(name) is True]
    named += [f"{name}, within a member," for name in within]
    if named:
        told = f"{named[0]} can't be given with a call, only in the proxy's configuration"
        raise refusal(400, "invalid_request", told)


def refuse_tiers(data):
    body = member(data, REQUEST, "body")
    for given in (body, member(body, "extra_body")):
        for name in TIERS:
            tier = member(given, name)
            if any(part not in USUAL_TIERS for part in (tier.values() if isinstance(tier, dict) else (tier,))):
                raise refusal(400, "invalid_request", f"{name} can't be chosen here, but for the usual one")


def passed_on(data):
    """What of a call LiteLLM and its provider may read that is no input, and the client's settings of the router."""
    read = (*INPUTS, "messages")
    members = {name: value for name, value in get_non_default_completion_params(data).items() if name not in read}
    # The client's; the operator may have others in their place.
    return {**members, OVERRIDE: member(data, REQUEST, "body", OVERRIDE)}


async def count_in_time(counts, model, *given):
    """Counts with the tokenizer of a model, or without one where that takes too long."""
    loop = asyncio.get_running_loop()
    try:
        return await asyncio.wait_for(loop.run_in_executor(COUNTERS, counts, model, *given), COUNTING_SECONDS)
    except asyncio.TimeoutError as fault:
        tell_uncounted(type(fault).__name__)
        return counts(None, *given)


def count_input(model, data):
    """An estimate, which makes no call fail; what the provider counts is settled afterwards."""
    tools = data.get("tools")
    counts = [
        (message, count_by_litellm(model, messages=[message], count_response_tokens=True))
        for message in elements(data, "messages")
    ]
    if tools or counts:
        counts.append((tools, count_by_litellm(model, messages=[], tools=tools)))
    uncounted = [part for part, tokens in counts if tokens is None]
    inputs = [data.get(name) for name in INPUTS]
    return sum(tokens or 0 for _, tokens in counts) + count_parts(model, uncounted + inputs)


def count_by_litellm(model, **counted):
    """None where it can't, or without a model."""
    if model is None:
        return None
    if huggingface_tokenizer_kind(model) in DOWNLOADED:
        model = ""
    try:
        return litellm.token_counter(model=model, use_default_image_token_count=True, **counted)
    except Exception as fault:
        tell_uncounted(type(fault).__name__)
        return None


@functools.cache
def tell_uncounted(fault):
    """Once of each kind; what the fault says may be what the client wrote."""
    logger.warning("turnpike: LiteLLM's counter can't count some input (%s); the hook estimates it", fault)


def count_parts(model, parts):
    """Of input in any form: its text, what is no text, and tokens that the client has made of it."""
    texts, tokens, waiting = [], 0, list(parts)
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, int):
            tokens += 1
        elif isinstance(part, str) and not INLINE_MEDIA.fullmatch(part):
            texts.append(part)
        elif isinstance(part, str) or member(part, "type") in MEDIA_TYPES:
            tokens += DEFAULT_IMAGE_TOKEN_COUNT
        elif isinstance(part, dict):
            tokens += DEFAULT_IMAGE_TOKEN_COUNT * sum(1 for name in MEDIA if part.get(name))
            waiting.extend(inner for name, inner in part.items() if name not in MEDIA + UNREAD)
    return tokens + count_text(model, "\n".join(texts))


def count_text(model, text):
    """Where LiteLLM can't, a token for every four bytes."""
    if not text:
        return 0
    counted = count_by_litellm(model, text=text)
    return -(-len(text.encode(errors="replace")) // 4) if counted is None else counted


def choices_of(data, call_type):
    """How many answers, each of which may be as long as the bound of the call."""
    choices = max(positive(data, name, 1) for name in CHOICES)
    if call_type in TEXT_COMPLETIONS:
        prompts = data.get("prompt")
        if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int):
            choices *= len(prompts)
    return choices


def hidden_bounds(data):
    """What LiteLLM or a provider would obey instead of the members by which the call is held."""
    call, *inner = objects_in(passed_on(data))
    names = (*BOUNDS, *CHOICES)
    dropped = [part for found in (call, *inner) for part in dropped_in(found) if part in (*names, *REPORTING)]
    reporting = [name for found in inner for name in REPORTING if is_reporting(name, found)]
    # What a schema says of a member with such a name is an object.
    bounds = [name for found in inner for name in names if not isinstance(found.get(name, {}), dict)]
    return dropped + reporting + bounds


def is_reporting(name, found):
    """Where it is set, were it to nothing. What a schema says of a member with such a name has a type."""
    value = found.get(name, "")
    if name == "stream_options":
        return name in found and member(value, "type") is None
    return not isinstance(value, (dict, str))


def dropped_in(found):
    """What LiteLLM would leave out of a call, of a path such as `.max_tokens` or `a[0].max_tokens` each part."""
    paths = elements(found, "additional_drop_params")
    return [part for path in paths if isinstance(path, str) for part in re.split(r"[.\[\]]", path)]


def objects_in(value):
    """It, and every object in it but those that bound only how much of the output is thought."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            waiting.extend(inner for name, inner in found.items() if name != "reasoning")
        elif isinstance(found, list):
            waiting.extend(found)


def positive(data, name, default=None):
    value = data.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or value < 1:
        raise refusal(400, "invalid_request", f"{name} must be a positive integer")
    return value


def tell_undelivered(path, body, told):
    """With all that it takes to send it again."""
    logger.error("turnpike: not delivered: POST %s %s: %s", path, json.dumps(body), told)


def labels(**values):
    """As Turnpike takes them. Clients write some, and one that is not taken would have the whole event refused."""
    texts = {name: cleaned(value, LABEL_BYTES) for name, value in values.items() if isinstance(value, str)}
    return {name: text for name, text in texts.items() if text}


def cleaned(text, size):
    """Without what is no character or a control character, and cut where a character ends."""
    return CONTROL_CHARACTERS.sub("", text).encode(errors="ignore")[:size].decode(errors="ignore")


def event_in(line):
    """The event in a line of a stream of events, if there is one."""
    try:
        return json.loads(line[5:]) if line.startswith(b"data:") else None
    except ValueError:
        return None


def texts_in(event):
    """What an answer or a part of one says, thinks and calls tools with; None among it."""
    for choice in elements(event, "choices"):
        said = member(choice, "delta") or member(choice, "message")
        thought = member(said, "reasoning_content") or member(said, "reasoning")
        yield from (member(choice, "text"), member(said, "content"), thought)
        for tool in elements(said, "tool_calls"):
            yield from (member(tool, "function", "name"), member(tool, "function", "arguments"))
    delta = member(event, "delta")
    yield from (delta, member(delta, "text"), member(delta, "thinking"), member(delta, "partial_json"))
    for item in (*output_of(event), *elements(event, "content")):
        yield from texts_of(item)


def texts_of(item):
    """Of what is whole in a response or a message."""
    for name in ("text", "refusal", "thinking", "name", "arguments"):
        yield member(item, name)
    given = member(item, "input")
    yield given if isinstance(given, str) else given and json.dumps(given, ensure_ascii=False, default=str)
    for part in (*elements(item, "summary"), *elements(item, "content")):
        yield from texts_of(part)


def output_of(event):
    """Of a response, also where that is the last event of a stream."""
    return elements(event, "output") or elements(member(event, "response"), "output")


def only_counts(chunk):
    """Whether a part of a completion has its usage and nothing else."""
    ends = any(member(choice, "finish_reason") for choice in elements(chunk, "choices"))
    return bool(member(chunk, "usage")) and not ends and not any(texts_in(chunk))


def elements(value, name):
    found = member(value, name)
    return found if isinstance(found, list) else []


def counts_in(usage):
    """Of a usage in the form of any API."""
    of_input = member(usage, "prompt_tokens_details") or member(usage, "input_tokens_details")
    of_output = member(usage, "completion_tokens_details") or member(usage, "output_tokens_details")
    read = count(usage, "cache_read_input_tokens")
    written = count(usage, "cache_creation_input_tokens")
    # Gemini counts them beside its output tokens.
    thought = count(usage, "thoughtsTokenCount")
    # Anthropic counts the tokens of its cache beside its input tokens.
    return Counter(
        input_tokens=first_count(usage, "prompt_tokens", "promptTokenCount")
        or first_count(usage, "input_tokens", "inputTokens") + read + written,
        cached_input_tokens=count(of_input, "cached_tokens") or read,
        cache_write_tokens=written or count(of_input, "cache_write_tokens") or count(of_input, "cache_creation_tokens"),
        output_tokens=first_count(usage, "completion_tokens", "output_tokens", "outputTokens")
        or count(usage, "candidatesTokenCount") + thought,
        reasoning_tokens=count(of_output, "reasoning_tokens") or thought,
    )


def first_count(usage, *names):
    return next(filter(None, (count(usage, name) for name in names)), 0)


def usage_in(answer):
    """Of any API."""
    return member(answer, "usage") or member(answer, "response", "usage") or member(answer, "usageMetadata")


def count(usage, name):
    value = member(usage, name)
    return value if isinstance(value, int) else 0


def usage_of(report):
    """What LiteLLM reports of a call."""
    usage = counts_in(member(report, "metadata", "usage_object"))
    usage["input_tokens"] = count(report, "prompt_tokens")
    usage["output_tokens"] = count(report, "completion_tokens")
    cost = member(report, "response_cost")
    return {
        **labels(request_id=member(report, "id")),
        **parts_and_totals(usage),
        **({"cost": cost} if cost and 0 < cost < float("inf") else {}),
    }


def parts_and_totals(usage):
    """Counts of which no part is larger than its total."""
    total_input, total_output = usage["input_tokens"], usage["output_tokens"]
    cached = min(total_input, usage["cached_input_tokens"])
    counts = {
        "input_tokens": total_input,
        "cached_input_tokens": cached,
        "cache_write_tokens": min(total_input - cached, usage["cache_write_tokens"]),
        "output_tokens": total_output,
        "reasoning_tokens": min(total_output, usage["reasoning_tokens"]),
    }
    return {name: value for name, value in counts.items() if value}


def passes(status):
    """Whether an answer is no decision, and may be another the next time."""
    return status >= 500 or status in (408, 429)


def content_of(answer):
    try:
        return answer.json()
    except ValueError:
        return None


def decision_in(answer):
    """Where there is none, the proxy's address, credential or settings are wrong, and asking again won't help."""
    told = content_of(answer)
    if answer.is_success and isinstance(member(told, "allowed"), bool):
        return told
    logger.error("turnpike: no decision, %s: %s", answer.status_code, answer.text)
    faults = [member(fault, "detail") for fault in elements(told, "errors")]
    reason = " ".join(filter(None, [member(told, "detail"), *faults])) or f"the answer was {answer.status_code}"
    # 403 says what the proxy's credential may not be used for. Its 401 is not the client's.
    raise refusal(403 if answer.status_code == 403 else 500, member(told, "code") or "no_decision", reason)


def denial(decision):
    reason, retry = decision.get("reason") or "refused", decision.get("retry_after")
    limits = decision.get("limits") or []
    # What all tenants together have left, or what providers charge, is none of a client's business, nor until when. When
    # a rate has room again is.
    own = [limit for limit in limits if not limit.get("operator_only")]
    if any(limit.get("operator_only") and not limit.get("rate") for limit in limits):
        reason, retry = "limit_exceeded", None
    told = ["the call was refused: " + reason.replace("_", " "), *filter(None, map(told_of, own))]
    if retry is not None:
        told.append(f"try again in {retry} s")
    return refusal(429 if reason == "rate_limited" and retry is not None else 403, reason, "; ".join(told), retry)


def told_of(limit):
    window, rate, unpriced = limit.get("window"), limit.get("rate"), limit.get("unpriced")
    if unpriced:
        lacking = [f"the feature {feature}" for feature in unpriced["features"]]
        if unpriced["model_call"]:
            lacking.append("the model")
        return f"{limit['key']} needs a price for " + " and ".join(lacking)
    if rate:
        return f"{limit['key']} allows {rate['limit']} {limit['measure']} in {rate['period_seconds']} s"
    if window:
        period = window["kind"].replace("_", " ")
        return f"{limit['key']} has {limit['remaining']} of {limit['limit']} left in this {period}"
    return None


def refusal(status, code, message, retry_after=None):
    """Not an HTTPException: from that LiteLLM takes no header fields into the answers to /v1/messages."""
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else None
    refused = ProxyException(f"Turnpike: {message}", code, None, status, headers)
    # From it LiteLLM's router knows that it need not try again, and that the deployment is well.
    refused.status_code = status
    return refused


turnpike = _PROXY_TurnpikeHook()
