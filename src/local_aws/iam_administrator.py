"""The administrator of a local AWS that enforces IAM: who the user's own commands are.

Without moto, so that a command that only needs the keys starts fast.
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Mapping
from pathlib import Path

from local_aws.config import Credentials, LocalAwsError

ADMINISTRATOR = "local-administrator"
CREDENTIALS_FILE = "administrator.json"
"""In the state folder, readable by its owner alone."""


def new_credentials(prefix: str, *, with_token: bool = False) -> Credentials:
    """Random keys, as AWS's look: 20 and 40 characters."""
    letters = string.ascii_uppercase + "234567"
    key = prefix + "".join(secrets.choice(letters) for _ in range(16))
    return Credentials(key, secrets.token_urlsafe(30), secrets.token_urlsafe(48) if with_token else None)


def ensure_administrator(root: Path) -> Credentials:
    """The administrator's keys, made at the first start that enforces IAM and kept in the state folder."""
    path = root / CREDENTIALS_FILE
    if not path.exists():
        made = new_credentials("AKIA")
        path.touch(mode=0o600)
        path.write_text(json.dumps({"access_key_id": made.access_key_id, "secret_access_key": made.secret_access_key}))
    return administrator_credentials(root)


def administrator_credentials(root: Path) -> Credentials:
    """The administrator's keys of a state folder.

    Raises:
        LocalAwsError: the file is damaged, or not there.
    """
    path = root / CREDENTIALS_FILE
    try:
        written: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return Credentials(written["access_key_id"], written["secret_access_key"], None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LocalAwsError(
            f"{path} does not hold the administrator's keys ({error}); delete it and start the local AWS again"
        ) from error
