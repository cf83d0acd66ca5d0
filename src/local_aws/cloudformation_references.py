"""Dynamic references: ``{{resolve:ssm:…}}`` and ``{{resolve:secretsmanager:…}}``, resolved when a provider is called.

A stack keeps them as written, so its state holds no secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from local_aws.cloudformation_providers import ResourceError

_DYNAMIC = re.compile(r"\{\{resolve:(ssm|ssm-secure|secretsmanager):([^}]+)\}\}")


def resolved(value: Any, client: Callable[[str], Any]) -> Any:
    """Properties with their dynamic references resolved: for the provider, never for the stack's own state.

    Raises:
        ResourceError: a reference leads nowhere.
    """
    if isinstance(value, dict):
        return {name: resolved(one, client) for name, one in value.items()}
    if isinstance(value, list):
        return [resolved(one, client) for one in value]
    if not isinstance(value, str) or "{{resolve:" not in value:
        return value
    return _DYNAMIC.sub(lambda found: _value(found[1], found[2], client), value)


def _value(service: str, reference: str, client: Callable[[str], Any]) -> str:
    """The value of a dynamic reference, what stands behind ``resolve:<service>:``.

    Raises:
        ResourceError: there is none.
    """
    try:
        if service.startswith("ssm"):
            answer = client("ssm").get_parameter(Name=reference, WithDecryption=service == "ssm-secure")
            return str(answer["Parameter"]["Value"])
        secret, _, rest = reference.partition(":SecretString")
        _, key, stage, version = ([*rest.split(":"), "", "", ""])[:4]
        asked = {"VersionStage": stage, "VersionId": version}
        secret_string = client("secretsmanager").get_secret_value(
            SecretId=secret, **{name: value for name, value in asked.items() if value}
        )["SecretString"]
        return str(json.loads(secret_string)[key] if key else secret_string)
    except (ClientError, KeyError, ValueError) as error:
        raise ResourceError(
            f"Could not resolve the dynamic reference {{{{resolve:{service}:{reference}}}}}: {error}"
        ) from error
