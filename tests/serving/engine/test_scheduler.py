import gc
import random
import threading
import weakref

import pytest
import torch

from tests.modeling.test_generate import prompts
from tuneward.errors import ModelError, ServingError
from tuneward.modeling.generate import Decoder, generate
from tuneward.serving.engine.scheduler import End, Failure


def expected(model, chat, prompt, max_tokens=20):
    (ids,) = generate(model, [prompt], max_tokens=max_tokens, stop_ids=chat.stop_ids)
    return chat.decode(ids)


def test_answers_are_those_of_each_request_alone(start, asked, model, chat):
    scheduler = start(max_rows=3)
    requests = [asked(prompt) for prompt in prompts()]
    for request in requests:
        scheduler.submit(request.job)
    for request, prompt in zip(requests, prompts(), strict=True):
        end = request.end()
        assert isinstance(end, End)
        assert (request.text, end.prompt_tokens) == (expected(model, chat, prompt), len(prompt))
    assert scheduler.figures == {"running": 0, "waiting": 0, "cache_bytes": 0}


@pytest.mark.parametrize("seed", range(4))
def test_cancelling_disturbs_no_neighbour(start, asked, model, chat, seed):
    draw = random.Random(seed)
    scheduler = start(max_rows=4)
    requests = [asked(prompt, max_tokens=30) for prompt in prompts() * 2]
    for request in requests:
        scheduler.submit(request.job)
    gone = draw.sample(requests, 9)
    for request in gone:
        if draw.random() < 0.5:
            request.begun.wait(5)
        scheduler.cancel(request.job)
    for number, request in enumerate(requests):
        if request not in gone:
            request.end()
            assert request.text == expected(model, chat, prompts()[number % len(prompts())], 30)
    assert scheduler.figures["cache_bytes"] == 0 or scheduler.figures["running"]


def test_first_come_first_served(start, asked):
    scheduler = start(max_rows=1)
    order, lock = [], threading.Lock()
    requests = [asked(prompt, max_tokens=3) for prompt in prompts()]
    for number, request in enumerate(requests):

        def tell(event, number=number, before=request.job.tell):
            if isinstance(event, End):
                with lock:
                    order.append(number)
            before(event)

        request.job.tell = tell
        scheduler.submit(request.job)
    for request in requests:
        request.end()
    assert order == sorted(order)


def test_a_small_cache_makes_the_youngest_step_back_and_changes_no_answer(start, asked, model, chat):
    size = Decoder(model).bytes_for(64)
    scheduler = start(cache_bytes=3 * size)
    asked_for = prompts(2, [60, 58, 61, 50])
    requests = [asked(prompt, max_tokens=60) for prompt in asked_for]
    for request in requests:
        scheduler.submit(request.job)
    for request, prompt in zip(requests, asked_for, strict=True):
        request.end()
        assert request.text == expected(model, chat, prompt, 60)


def test_tokens_and_reason_are_counted(start, asked, model, chat):
    scheduler = start()
    (full,) = generate(model, [prompts()[2]], max_tokens=20)
    request = asked(prompts()[2], max_tokens=7)
    scheduler.submit(request.job)
    assert request.end() == End("length", 17, 7)
    words = chat.decode(full)
    stop = words[len(words) // 2 :][:3]
    request = asked(prompts()[2], stop=(stop,))
    scheduler.submit(request.job)
    assert request.end().reason == "stop"
    assert request.text == words[: words.index(stop)]


def test_adapters_come_and_go_while_others_answer(start, asked, weights, model, chat):
    scheduler = start()
    long = asked(prompts()[3], max_tokens=200)
    scheduler.submit(long.job)
    scheduler.load("one", weights(1)).result(30)
    scheduler.load("two", weights(2)).result(30)
    assert scheduler.adapters == ["one", "two"]
    tuned = [asked(prompts()[3], name) for name in ("one", "two")]
    for request in tuned:
        scheduler.submit(request.job)
    texts = {request.end() and request.text for request in tuned}
    scheduler.unload("one").result(30)
    assert scheduler.adapters == ["two"]
    long.end()
    texts.add(long.text[: max(map(len, texts))])
    assert long.text == expected(model, chat, prompts()[3], 200)
    assert len(texts) == 3


def test_unloading_waits_for_answers_under_way_and_then_frees(start, asked, weights):
    scheduler = start(max_rows=1)
    scheduler.load("one", weights(1)).result(30)
    tensors = [weakref.ref(t) for t in next(iter(scheduler._held.values())).adapter.pairs.popitem()[1]]
    requests = [asked(prompts()[4], "one", max_tokens=60) for _ in range(2)]
    for request in requests:
        scheduler.submit(request.job)
    gone = scheduler.unload("one")
    late = asked(prompts()[4], "one")
    scheduler.submit(late.job)
    assert isinstance(late.end(), Failure)
    assert not gone.done() or all(request.events for request in requests)
    gone.result(60)
    assert all(isinstance(request.end(), End) for request in requests)
    gc.collect()
    assert not any(ref() is not None for ref in tensors)
    assert scheduler.adapters == []


def test_refusals(start, asked, weights):
    scheduler = start()
    scheduler.load("one", weights(1)).result(30)
    with pytest.raises(ServingError, match="TW-SERV-009"):
        scheduler.load("one", weights(2)).result(30)
    with pytest.raises(ServingError, match="TW-SERV-005"):
        scheduler.unload("none").result(30)
    wrong = weights(1)
    wrong.pairs["model.layers.7.mlp.up_proj"] = next(iter(wrong.pairs.values()))
    with pytest.raises(ModelError, match="TW-BASE-036"):
        scheduler.load("wrong", wrong).result(30)
    assert scheduler.adapters == ["one"]


def test_a_failure_in_the_model_fails_who_was_there_and_nobody_after(start, asked, model, chat, monkeypatch):
    scheduler = start()
    forward, calls = model.forward, []

    def failing(**arguments):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return forward(**arguments)

    monkeypatch.setattr(model, "forward", failing)
    there = asked(prompts()[2])
    scheduler.submit(there.job)
    failure = there.end()
    assert isinstance(failure, Failure)
    assert failure.error.faults[0].code == "TW-SERV-010"
    after = asked(prompts()[2])
    scheduler.submit(after.job)
    after.end()
    assert after.text == expected(model, chat, prompts()[2])


@pytest.mark.parametrize("error", [RuntimeError("no memory"), MemoryError()])
def test_an_adapter_that_cannot_be_laid_in_ends_nobody_elses_answer(start, asked, weights, bank, monkeypatch, error):
    scheduler = start()

    def failing(adapter):
        raise error

    monkeypatch.setattr(bank, "load", failing)
    with pytest.raises(type(error)):
        scheduler.load("one", weights(1)).result(30)
    request = asked(prompts()[2])
    scheduler.submit(request.job)
    assert isinstance(request.end(), End)
    assert scheduler.adapters == []


def test_an_asker_that_is_gone_ends_nobody_elses_answer(start, asked, weights):
    scheduler = start(max_rows=1)
    scheduler.load("one", weights(1)).result(30)
    request = asked(prompts()[2], "one", max_tokens=100)
    scheduler.submit(request.job)
    request.begun.wait(30)
    pending = scheduler.unload("one")
    pending.cancel()  # as an HTTP handler that is cancelled does
    assert isinstance(request.end(), End)
    after = asked(prompts()[2])
    scheduler.submit(after.job)
    assert isinstance(after.end(), End)


def test_log_probabilities_equal_the_models_own(start, asked, model, base_folder):
    from transformers import AutoModelForCausalLM

    scheduler = start()
    request = asked(prompts()[2], max_tokens=5, top_logprobs=3)
    scheduler.submit(request.job)
    request.end()
    tokens = [token for event in request.events[:-1] for token in event.tokens]
    theirs = AutoModelForCausalLM.from_pretrained(base_folder)
    ids = prompts()[2] + [token.id for token in tokens]
    logprobs = torch.log_softmax(theirs(torch.tensor([ids])).logits[0].detach(), dim=-1)
    for place, token in enumerate(tokens, start=len(prompts()[2]) - 1):
        assert token.logprob == pytest.approx(float(logprobs[place, token.id]), abs=1e-4)
        values, likeliest = logprobs[place].topk(3)
        assert [other.id for other in token.top] == likeliest.tolist()
        assert [other.logprob for other in token.top] == pytest.approx(values.tolist(), abs=1e-4)
