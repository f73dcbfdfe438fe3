import json
import logging
import subprocess
import sys
from pathlib import Path

import anyio

from tuneward.web.middleware import Envelope
from tuneward.web.openai_requests import _IGNORED, _UNSUPPORTED, ChatRequest, CompletionRequest


def test_the_web_process_loads_no_torch():
    code = (
        "import sys, tuneward.web.app, tuneward.workflows.gateway;"
        "print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_crash_tells_the_client_nothing_and_the_log_no_message(caplog):
    async def broken(scope, receive, send):
        raise ValueError("Zebedee's text")

    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.disconnect"}

    with caplog.at_level(logging.ERROR):
        anyio.run(Envelope(broken), {"type": "http", "method": "GET", "path": "/"}, receive, send)
    assert sent[0]["status"] == 500
    assert set(json.loads(sent[1]["body"])["error"]) == {"message", "type", "param", "code"}
    assert "Zebedee" not in caplog.text
    assert b"Zebedee" not in sent[1]["body"]
    assert "ValueError" in caplog.text
    assert "test_app.py" in caplog.text


def test_the_page_names_every_request_field():
    page = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text()
    fields = {*ChatRequest.model_fields, *CompletionRequest.model_fields, *_UNSUPPORTED, *_IGNORED}
    assert [field for field in sorted(fields) if f"`{field}`" not in page and f"`{field}." not in page] == []
