"""Keys as LiteLLM would have them: sk-<team>-key is a key of the team, sk-<team>.<user>-key of one of its users."""

from litellm.proxy._types import UserAPIKeyAuth


async def authenticate(request, api_key):
    team, _, user = api_key.removeprefix("sk-").removesuffix("-key").partition(".")
    return UserAPIKeyAuth(api_key=api_key, team_id=team, team_alias=team, user_id=user or None)
