"""Gateway and our own engine together, on a tiny random model."""

import httpx
import openai
import pytest
import torch

from tests.serving.served_site import ServedSite
from tests.tiny import make_tiny_base
from tuneward.modeling.adapter_files import AdapterWeights, save_adapter
from tuneward.serving.canary import NOISE_FLOOR, difference, faults, measure
from tuneward.serving.client import EngineClient
from tuneward.serving.config import ServingConfig
from tuneward.workflows.gateway import gateway


def adapter_folder(folder, scale: float):
    """LoRA on one projection of the tiny Llama; scale 0 leaves the base as it is."""
    generator = torch.Generator().manual_seed(7)
    a, b = torch.randn(4, 64, generator=generator), scale * torch.randn(64, 4, generator=generator)
    path = "model.layers.0.self_attn.q_proj"
    save_adapter(AdapterWeights(rank=4, alpha=8.0, pairs={path: (a, b)}), folder, base_name="tiny")
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    made = ServedSite.make(folder, base=make_tiny_base(folder / "tiny"))
    made.deploy("tuned", adapter=adapter_folder(folder / "tuned", 0.5))
    made.deploy("ignored", adapter=adapter_folder(folder / "ignored", 0.0))
    return made


@pytest.fixture(scope="module")
def running(served):
    config = ServingConfig(port=0, precision="fp32")
    with gateway(served.office, config, check=lambda *_: []) as running:
        yield running


def test_the_canary_tells_a_tuned_adapter_from_an_ignored_one(running):
    engine = running._engines[0]
    models = {route.deployment.alias: route.model for route in running.routes}
    with EngineClient(engine.url, engine.key) as client:
        base, again = measure(client, "base"), measure(client, "base")
        tuned, ignored = measure(client, models["tuned"]), measure(client, models["ignored"])
    assert difference(base, again) == 0.0
    assert difference(base, ignored) == 0.0
    assert difference(base, tuned) > 10 * NOISE_FLOOR
    assert faults(base=base, adapter=tuned, reference=tuned) == []
    assert [f.code for f in faults(base=base, adapter=ignored, reference=None)] == ["TW-SERV-038"]


def test_openais_client_gets_the_same_streamed_and_whole_and_it_is_logged(running, served):
    with httpx.Client(trust_env=False) as plain:
        client = openai.OpenAI(base_url=f"{running.url}/v1", api_key=served.key, http_client=plain)
        asked = {"model": "tuned", "messages": [{"role": "user", "content": "the end"}], "max_tokens": 12}
        whole = client.chat.completions.create(**asked)
        chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
        unlimited = client.chat.completions.create(**{**asked, "max_tokens": None})
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert streamed == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens > 0
    assert unlimited.usage.total_tokens <= 512  # the tiny model's context is under the gateway's own limit
    starts = [e.id for e in served.events("answer.start")]
    assert f"chatcmpl-{starts[0]}" == whole.id
    assert len(starts) == len(served.events("answer.finish")) == 3
