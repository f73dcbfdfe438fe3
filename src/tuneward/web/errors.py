"""Errors over HTTP: our one tree mapped to statuses and to OpenAI's error object, once.

Place on the road: the last thing between a refusal and a client. Clients retry 408, 409, 429 and everything from 500
on unless ``x-should-retry`` says no; a refusal must not come back three times and be logged three times.
"""

import json
import logging
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from tuneward.errors import Fault, GovernanceError, ProofError, ServingError, TunewardError

_log = logging.getLogger("tuneward.gateway")

#: Code of the first fault → (status, OpenAI's type, OpenAI's code where clients know one).
_BY_CODE: dict[str, tuple[int, str, str | None]] = {
    "TW-SERV-035": (400, "invalid_request_error", None),
    "TW-SERV-036": (400, "invalid_request_error", "context_length_exceeded"),
    "TW-SERV-041": (401, "authentication_error", "invalid_api_key"),
    "TW-SERV-042": (404, "invalid_request_error", "model_not_found"),
    "TW-SERV-043": (400, "invalid_request_error", None),
    "TW-SERV-044": (400, "invalid_request_error", None),
    "TW-SERV-045": (400, "invalid_request_error", "unsupported_parameter"),
    "TW-SERV-046": (413, "invalid_request_error", None),
    "TW-SERV-047": (404, "invalid_request_error", None),
    "TW-SERV-049": (504, "server_error", None),
    "TW-SERV-051": (408, "invalid_request_error", None),
    "TW-SERV-056": (400, "invalid_request_error", "content_filter"),
}
_BY_CLASS: tuple[tuple[type[TunewardError], tuple[int, str, str | None]], ...] = (
    (GovernanceError, (403, "permission_error", None)),
    (ProofError, (503, "server_error", None)),
    (ServingError, (503, "server_error", None)),
)
_OTHERWISE = (503, "server_error", None)

#: Statuses that a client may try again with hope: the engine or the log may be back in a moment.
_WORTH_A_RETRY = frozenset({503})
#: Of these, what no waiting mends.
_LASTING = frozenset({"TW-SERV-055"})


@dataclass(frozen=True)
class HttpError:
    """A refusal as it goes out."""

    status: int
    message: str
    type: str
    param: str | None
    code: str | None

    def to_json(self) -> dict[str, Any]:
        """OpenAI's error object; ``code`` is a string or null, never a number."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """The whole response."""
        hopeful = self.status in _WORTH_A_RETRY and self.code not in _LASTING
        headers = {} if hopeful else {"x-should-retry": "false"}
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return Response(
            json.dumps(self.to_json()), status_code=self.status, headers=headers, media_type="application/json"
        )


def http_error(error: TunewardError) -> HttpError:
    """Map an error of ours.

    The caller's own faults are all told, the first names status and field. Of ours the caller learns no place and no
    cure (they name files of the site): those go to the gateway's log.
    """
    first = error.faults[0]
    by_class = next((entry for kind, entry in _BY_CLASS if isinstance(error, kind)), _OTHERWISE)
    status, kind, code = _BY_CODE.get(first.code, by_class)
    if status < 500 and first.code in _BY_CODE:
        message = "; ".join(_sentence(fault) for fault in error.faults)
        param = (first.place or None) if status != 401 else None
        return HttpError(status, message, kind, param, code or first.code)
    _log.error("answered %d: %s", status, error)
    codes = ", ".join(dict.fromkeys(fault.code for fault in error.faults))
    what = first.message if isinstance(error, ServingError) and not first.place else "this cannot be answered now"
    return HttpError(status, f"{what}; the gateway's operator finds more in its log [{codes}]", kind, None, first.code)


def internal_error() -> HttpError:
    """A programmer's error: the client learns nothing but that it happened."""
    return HttpError(500, "the gateway failed; its operator finds the place in the log", "server_error", None, None)


def no_route(method: str, path: str) -> HttpError:
    """Every path that is not on the list."""
    return http_error(
        ServingError(
            Fault("TW-SERV-047", f"{method} {path[:200]} is not served here", cure="see docs/gateway.md for the routes")
        )
    )


def _sentence(fault: Fault) -> str:
    where = f"{fault.place}: " if fault.place else ""
    cure = f" ({fault.cure})" if fault.cure else ""
    return f"{where}{fault.message}{cure} [{fault.code}]"
