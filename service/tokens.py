"""Secrets that the service gives out: how they look, and what is kept of them.

sdcn_<id>_<secret>: the prefix lets scanners and the log's blotting recognise one, the id says which, and the secret is
256 random bits.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

SECRET_BYTES: Final = 32
TOKEN: Final = re.compile(r"\bsdcn_([0-9a-f]{12})_([A-Za-z0-9_\-]{43})")
"""43 characters are 32 bytes in base64url"""


@dataclass(frozen=True)
class Token:
    """One that was just made, or that came with a request."""

    token_id: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls) -> "Token":
        return cls(secrets.token_hex(6), secrets.token_urlsafe(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> "Token | None":
        """The token that the text is; None: it is none of ours."""
        found = TOKEN.fullmatch(text)
        return None if found is None else cls(found[1], found[2])

    @property
    def text(self) -> str:
        """As it is given out, this once."""
        return f"sdcn_{self.token_id}_{self.secret}"

    @property
    def digest(self) -> str:
        """What is kept: SHA-256 in hexadecimal. Of 256 random bits no dictionary leads back to the secret."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def has(self, digest: str) -> bool:
        """Whether the digest is its own, in a time that does not tell how far they agree."""
        return hmac.compare_digest(self.digest, digest)
