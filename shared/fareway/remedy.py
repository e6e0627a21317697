"""A failure -> what a person does about it."""

from __future__ import annotations

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
)

from fareway.errors import ProviderError

#: Who may not: as the services name it.
_FORBIDDEN = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403", "Forbidden"}
_UNKNOWN = {"ResourceNotFoundException", "NoSuchBucket", "NoSuchKey", "404", "NotFound"}
_EXPIRED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_CREDENTIALS = "sign in: 'aws configure', or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret"
_NETWORK = "look at the network, at AWS_REGION, and at AWS_ENDPOINT_URL if it is set"


def aws_remedy(error: Exception, variable: str, needs: str) -> str:
    """What to do about a call to AWS that failed.

    Args:
        variable: the setting that names what was asked for.
        needs: the IAM actions that the call takes.
    """
    if isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
        return _CREDENTIALS
    if isinstance(error, NoRegionError):
        return "set AWS_REGION to the stack's region"
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError | ReadTimeoutError):
        return _NETWORK
    if not isinstance(error, ClientError):
        return _NETWORK if isinstance(error, BotoCoreError) else f"look at {variable}"
    code = str(error.response["Error"].get("Code", ""))
    if code in _FORBIDDEN:
        return f"the credentials may not do this: allow {needs}"
    if code in _UNKNOWN:
        return f"this account and region have none: set {variable} to what the stack's outputs say"
    if code in _EXPIRED:
        return f"AWS does not take these credentials: {_CREDENTIALS}"
    return f"AWS says {code}: look at {variable}"


def upstream_remedy(error: ProviderError, aggregator: str, model: str) -> str:
    """What to do about a call to an aggregator that failed.

    Args:
        model: its name at the aggregator.
    """
    key = f"{aggregator.upper()}_API_KEY, or {aggregator} in the upstream secret"
    if error.rejected is not None:
        return f"it refuses the request: is {model} still its name for the model in policy.toml?"
    by_status = {
        401: f"it does not take the key: renew {key}",
        402: f"the account has no credit: top it up at {aggregator}",
        403: f"the key may not use {model}: allow it at {aggregator}, or renew {key}",
        404: f"it knows no {model}: mend the model's id in policy.toml",
        429: "it limits the rate: try again in a minute, or raise the limit there",
    }
    if error.upstream_status in by_status:
        return by_status[error.upstream_status]
    if error.kind == "unreachable":
        return (
            f"nothing answers there: look at the network, and at base_url in policy.toml or "
            f"FAREWAY_{aggregator.upper()}_BASE_URL"
        )
    return f"it fails ({error.kind}): see its status page; requests go to the next candidate"
