"""Signatures as Standard Webhooks has them, https://www.standardwebhooks.com: any of its libraries verifies them."""

import base64
import hashlib
import hmac
import secrets

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """A secret in the form that Standard Webhooks gives it: `whsec_`, then 256 random bits in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(secret: str, message_id: str, timestamp_s: int, body: str) -> dict[str, str]:
    """The three headers of a message.

    Args:
        secret: of new_secret.
        message_id: the same at every try, so that a receiver knows what it has had.
        timestamp_s: of this try, seconds since 1970; receivers refuse what is minutes old.
        body: exactly as it is sent, in UTF-8.
    """
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp_s}.{body}".encode()
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": f"v1,{signature}",
    }
