"""Keys of teams as LiteLLM's database would have them: sk-<team>-key is a key of the team."""

from litellm.proxy._types import UserAPIKeyAuth


async def authenticate(request, api_key):
    team = api_key.removeprefix("sk-").removesuffix("-key")
    return UserAPIKeyAuth(api_key=api_key, team_id=team, team_alias=team)
