"""Every exception of preftune.

PreftuneError
├── DataError (ValueError)          a preference file is unfit; `.findings`
├── ConfigError (ValueError)        what pydantic cannot say on the user's own line
├── LocalServerError                the local server cannot start: port taken, folder in use or of another version
├── APIError                        `.method` `.path`
│   ├── APIConnectionError          no answer: network, TLS
│   │   └── APITimeoutError
│   ├── APIStatusError              `.status` `.body` `.request_id` `.retry_after`
│   │   ├── BadRequestError 400 · AuthenticationError 401 · PermissionDeniedError 403 · NotFoundError 404
│   │   └── ConflictError 409 · UnprocessableEntityError 422 · RateLimitError 429 · InternalServerError 5xx
│   └── APIResponseValidationError  a 2xx that does not read as its model
├── FileProcessingError             the server refused an uploaded file; `.report`
├── IntegrityError                  a download that does not match what was promised
└── JobFailedError                  a job waited for ended in error, user_error or cancelled; `.job` `.events`

Rules of this file: plain values only, so that an error can be raised, pickled and read anywhere; a message is one
sentence, `where: what was expected, what was found; what to do`; no message ever holds a key.
"""

TYPE_CHECKING = False  # importing typing costs more than this whole file
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


class PreftuneError(Exception):
    """Everything preftune raises on purpose."""

    def __reduce__(self) -> "tuple[Any, ...]":
        """Pickle by value: an exception's own way calls the class again, without the keywords that ours require."""
        return _rebuilt, (type(self), self.args), self.__dict__


class DataError(PreftuneError, ValueError):
    """A preference file is unfit; `findings` holds every reason, not only the first."""

    def __init__(self, message: str, findings: "Sequence[Any]" = ()) -> None:
        super().__init__(message)
        self.findings = list(findings)


class ConfigError(PreftuneError, ValueError):
    """A configuration file, an argument or an environment variable is unfit."""


class LocalServerError(PreftuneError):
    """The local server cannot start: the port is taken, the folder is in use or of another version."""


class APIError(PreftuneError):
    """A call to the API did not succeed."""

    ambiguous = False  # true where the request may have taken effect although no answer says so
    retry_hint: "bool | None" = None  # the server's own word on retrying, which beats every rule
    retry_after: "float | None" = None  # seconds the server asked to wait

    def __init__(self, message: str, *, method: str, path: str) -> None:
        super().__init__(message)
        self.method, self.path = method, path


class APIConnectionError(APIError):
    """No answer came: the network, the name, TLS."""

    def __init__(self, message: str, *, method: str, path: str, ambiguous: bool = False) -> None:
        super().__init__(message, method=method, path=path)
        self.ambiguous = ambiguous


class APITimeoutError(APIConnectionError):
    """No answer came in time."""


class APIStatusError(APIError):
    """The server answered with a status that is not a success."""

    def __init__(
        self,
        message: str,
        *,
        method: str,
        path: str,
        status: int,
        body: object = None,
        request_id: "str | None" = None,
        retry_after: "float | None" = None,
        retry_hint: "bool | None" = None,
    ) -> None:
        super().__init__(message, method=method, path=path)
        self.status, self.body, self.request_id = status, body, request_id
        self.retry_after, self.retry_hint = retry_after, retry_hint
        self.ambiguous = status >= 500 or status == 408  # noqa: PLR2004 - the server may have acted before it failed


class BadRequestError(APIStatusError):
    """400: the request is malformed."""


class AuthenticationError(APIStatusError):
    """401: the key is missing or wrong."""


class PermissionDeniedError(APIStatusError):
    """403: the key may not do this."""


class NotFoundError(APIStatusError):
    """404: there is no such thing."""


class ConflictError(APIStatusError):
    """409: it exists already, or it changed meanwhile."""


class UnprocessableEntityError(APIStatusError):
    """422: well-formed, but refused."""


class RateLimitError(APIStatusError):
    """429: too many requests."""


class InternalServerError(APIStatusError):
    """5xx: the server failed."""


class APIResponseValidationError(APIError):
    """A 2xx whose body does not read as what it should be."""


class FileProcessingError(PreftuneError):
    """The server refused an uploaded file; `report` holds its validation report."""

    def __init__(self, message: str, report: object = None) -> None:
        super().__init__(message)
        self.report = report


class IntegrityError(PreftuneError):
    """A download does not match what was promised."""


class JobFailedError(PreftuneError):
    """A job that was waited for ended in error, user_error or cancelled."""

    def __init__(self, message: str, *, job: "Any" = None, events: "Sequence[Any]" = ()) -> None:
        super().__init__(message)
        self.job, self.events = job, list(events)


class ConfigWarning(UserWarning):
    """A configuration that is legal, and that its author probably does not want."""


_BY_STATUS: "Mapping[int, type[APIStatusError]]" = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}

_ADVICE: "Mapping[int, str]" = {
    **dict.fromkeys((301, 302, 303, 307, 308), "the API sends its callers elsewhere; is base_url its own address?"),
    401: "check PREFTUNE_API_KEY (or TOGETHER_API_KEY)",
    402: "the account's spending limit is reached; raise it in the provider's settings",
    403: "this key has no right to it; ask for another",
    429: "slow down, or raise max_retries",
}


def _rebuilt(kind: "type[PreftuneError]", arguments: "tuple[Any, ...]") -> PreftuneError:
    """Return an unpickled error, before its attributes are set."""
    return kind.__new__(kind, *arguments)


def status_class(status: int) -> "type[APIStatusError]":
    """Return the exception class for an HTTP status."""
    if status >= 500:  # noqa: PLR2004
        return InternalServerError
    return _BY_STATUS.get(status, APIStatusError)


def status_message(method: str, path: str, status: int, body: object) -> str:
    """Return the one sentence for a refused request: the server's own words, then what to do."""
    advice = _ADVICE.get(status)
    if status == 404 and path.startswith("/fine-tunes/ft-"):  # noqa: PLR2004
        advice = "list yours with client.fine_tuning.list()"
    if status == 404 and path.startswith("/files/"):  # noqa: PLR2004
        advice = "list yours with client.files.list()"
    return f"{method} {path}: {status}, {_reason(body)}" + (f"; {advice}" if advice else "")


def _reason(body: object) -> str:
    """Return what an error body says: the envelope's message, a flat message, or its first characters."""
    if isinstance(body, dict):
        inner = body.get("error", body)
        if isinstance(inner, dict) and inner.get("message"):
            return str(inner["message"])
        if isinstance(inner, str):
            return inner
    text = " ".join(str(body).split()) if body not in (None, "", b"") else ""
    return text[:200] or "no reason given"
