"""Secrets of webhooks and what is signed with them: Standard Webhooks, version 1.

https://www.standardwebhooks.com, so that receivers need no code of ours. The id is the same at each
attempt, so that a repeat can be dropped; the timestamp is the attempt's, so that a replay can be told.
"""

import base64
import hashlib
import hmac

from django.utils.crypto import salted_hmac

PREFIX = "whsec_"


def secret_of(salt: str) -> str:
    """Return the secret of a webhook: of 256 bits, made of its salt and the site's SECRET_KEY."""
    key = salted_hmac("notifications.webhook", salt, algorithm="sha256").digest()
    return PREFIX + base64.b64encode(key).decode()


def digest_of(secret: str) -> str:
    """Return by what a secret is known again."""
    return hashlib.sha256(secret.encode()).hexdigest()


def headers(secret: str, *, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return what tells a receiver that a body is ours and how old it is."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
