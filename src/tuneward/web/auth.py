"""Auth: from the ``Authorization`` header to the key's register entry.

Place on the road: the first line of every route but ``/health``. Knows the header, not how keys are kept.
"""

from starlette.requests import Request

from tuneward.domain.version import ApiKey
from tuneward.workflows.answer import Desk


async def caller(request: Request, desk: Desk) -> ApiKey:
    """Who calls.

    Raises:
        ServingError: ``TW-SERV-041`` (HTTP 401 in OpenAI's shape).
    """
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return await desk.caller(key.strip() if scheme.lower() == "bearer" else "")
