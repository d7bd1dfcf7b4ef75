"""Gets tokens with Authlib by each method, verifies them with PyJWT by the JWKS, and goes on until the signing key has
changed. Arguments: where the service listens, its issuer, an API key with identity:write and audit:read."""

import os
import sys
import time

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # The service listens on loopback, without TLS.

import jwt
import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey, RSAKey

BASE, ISSUER, API_KEY = sys.argv[1:4]
TOKEN_URL = f"{BASE}/oauth/token"
# Keeps the keys it has read, and reads them again for a token that names another: at once, because the ten minutes that
# a new key is published before it signs have no time to pass here.
KEYS = jwt.PyJWKClient(f"{BASE}/.well-known/jwks.json", cooldown_duration=0)


def made(**members):
    body = {"name": "interop", "scopes": ["audit:read"], **members}
    answer = requests.post(f"{BASE}/api/v1/clients", json=body, headers={"X-Api-Key": API_KEY}, timeout=10)
    answer.raise_for_status()
    return answer.json()


def with_secret(method):
    client = made(token_endpoint_auth_method=method)
    return OAuth2Session(client["client_id"], client["client_secret"], token_endpoint_auth_method=method)


def with_key(key, algorithm):
    jwks = {"keys": [{**key.as_dict(private=False), "kid": "own", "alg": algorithm}]}
    client = made(token_endpoint_auth_method="private_key_jwt", jwks=jwks)
    session = OAuth2Session(client["client_id"], key, token_endpoint_auth_method="private_key_jwt")
    # The audience is the issuer, which Authlib takes in the place of its default, the URL of the endpoint.
    session.register_client_auth_method(PrivateKeyJWT(ISSUER, headers={"kid": "own"}, alg=algorithm))
    return session


def verified(session):
    """The header of a fresh token, whose signature and claims are good and which opens the API."""
    token = session.fetch_token(TOKEN_URL, grant_type="client_credentials", scope="audit:read")
    assert token["token_type"] == "Bearer" and token["scope"] == "audit:read", token
    text = token["access_token"]
    header = jwt.get_unverified_header(text)
    assert header["typ"] == "at+jwt", header
    claims = jwt.decode(
        text,
        KEYS.get_signing_key_from_jwt(text).key,
        algorithms=["ES256", "RS256"],
        audience=ISSUER,
        issuer=ISSUER,
        options={"require": ["exp", "iat", "jti", "sub", "client_id"]},
    )
    assert claims["client_id"] == claims["sub"] == session.client_id, claims
    log = requests.get(f"{BASE}/api/v1/audit-log", headers={"Authorization": f"Bearer {text}"}, timeout=10)
    assert log.status_code == 200, log.text
    introspected = session.introspect_token(f"{BASE}/oauth/introspect", token=text).json()
    assert introspected["active"] and introspected["jti"] == claims["jti"], introspected
    return header, text


sessions = [
    with_secret("client_secret_basic"),
    with_secret("client_secret_post"),
    with_key(ECKey.generate_key("P-256"), "ES256"),
    with_key(RSAKey.generate_key(2048), "RS256"),
]
metadata = requests.get(f"{BASE}/.well-known/oauth-authorization-server", timeout=10).json()
assert metadata["issuer"] == ISSUER, metadata
headers = [verified(session)[0] for session in sessions]
first = headers[0]["kid"]
assert all(header["kid"] == first for header in headers), headers
_, old = verified(sessions[0])
print("READY", flush=True)

deadline = time.monotonic() + 60
while (header := verified(sessions[0])[0])["kid"] == first:
    assert time.monotonic() < deadline, "the key has not changed"
    time.sleep(0.2)
for session in sessions:
    assert verified(session)[0]["kid"] == header["kid"]
# What the old key has signed is good for as long as it lives.
jwt.decode(old, KEYS.get_signing_key_from_jwt(old).key, algorithms=["ES256"], audience=ISSUER, issuer=ISSUER)

sessions[0].revoke_token(f"{BASE}/oauth/revoke", token=old).raise_for_status()
gone = requests.get(f"{BASE}/api/v1/audit-log", headers={"Authorization": f"Bearer {old}"}, timeout=10)
assert gone.status_code == 401, gone.text
print(f"{headers[0]['alg']} then {header['alg']}")
