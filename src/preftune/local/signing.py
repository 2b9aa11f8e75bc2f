"""Addresses of the storage that need no key: signed for one method and path, and good for an hour."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode

from preftune.local import limits
from preftune.local.refusal import Refused
from preftune.local.store import Store


class Signer:
    """Signs with a secret of the data folder, so an address outlives a restart of the server."""

    def __init__(self, store: Store) -> None:
        if store.note("secret") is None:
            store.set_note("secret", secrets.token_hex(32))
        self._secret = bytes.fromhex(store.note("secret"))

    def signed(self, method: str, path: str) -> str:
        """Return a path with the query that opens it."""
        expires = int(time.time()) + limits.SIGNED_FOR
        return f"{path}?{urlencode({'expires': expires, 'signature': self._signature(method, path, str(expires))})}"

    def check(self, method: str, path: str, query: Mapping[str, str]) -> None:
        """Raise Refused unless the query opens this path for this method now."""
        expires = query.get("expires", "")
        given = query.get("signature", "").encode()
        if not hmac.compare_digest(given, self._signature(method, path, expires).encode()):
            raise Refused("the signature of the storage address is not valid", param="signature", status=403)
        if time.time() > int(expires):
            ended = datetime.fromtimestamp(int(expires), UTC).isoformat()
            raise Refused(f"the storage address expired at {ended}; ask for a new one", param="expires", status=403)

    def _signature(self, method: str, path: str, expires: str) -> str:
        message = f"{method}\n{path}\n{expires}".encode("utf-8", "replace")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()
