"""What other libraries log of our requests, without its secrets: presigned addresses carry theirs in the query."""

from __future__ import annotations

import logging
import re

_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks")
_HEADER = re.compile(r"""\(b(['"])([\w-]+)\1, b(?:'[^']*'|"[^"]*")\)""")  # of an answer, which may echo the key
_QUERY = re.compile(r"\?[^\s'\"]+")  # also of an address without a host, as a Location may be


class WithoutQueries(logging.Filter):
    """Cuts the query off every address in a record, and the value off every header."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, and let it pass."""
        record.msg, record.args = _HEADER.sub(r"(\2, …)", _QUERY.sub("?…", record.getMessage())), ()
        return True


def install() -> None:
    """Put the filter on the loggers that say addresses; a filter on a parent would miss its children."""
    cutting = WithoutQueries()
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(cutting)
