import math
from collections import Counter

import pytest
import torch

from tuneward.serving.engine.sampler import Choice, Sampler, Sampling, choose

PROBABILITIES = torch.tensor([0.5, 0.3, 0.15, 0.05])
LOGITS = PROBABILITIES.log()


def draws(count=4000, **settings):
    sampler = Sampler(Sampling(max_tokens=1, seed=7, **settings))
    return Counter(choose(LOGITS[None], [sampler])[0].token for _ in range(count))


def test_greedy_takes_the_likeliest():
    assert draws(5, temperature=0.0) == {0: 5}


@pytest.mark.parametrize("temperature", [1e-3, 1e-45, 1e-300, 5e-324])
def test_the_smallest_temperature_takes_the_likeliest_token(temperature):
    assert draws(5, temperature=temperature) == {0: 5}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_the_temperature(temperature):
    expected = torch.softmax(LOGITS / temperature, dim=-1)
    found = draws(temperature=temperature)
    for token, probability in enumerate(expected.tolist()):
        spread = 4 * math.sqrt(probability * (1 - probability) / 4000)
        assert abs(found[token] / 4000 - probability) < spread


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    assert set(draws(temperature=1.0, top_p=0.5)) == {0}
    assert set(draws(temperature=1.0, top_p=0.51)) == {0, 1}
    assert set(draws(temperature=1.0, top_p=0.94)) == {0, 1, 2}


def test_a_seed_fixes_the_draws_whoever_stands_beside():
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    settings = Sampling(max_tokens=1, temperature=1.0, seed=11)

    def series(rows):
        samplers = [Sampler(Sampling(max_tokens=1, temperature=1.0)) for _ in range(rows)]
        samplers[0] = Sampler(settings)
        return [choose(logits[:rows], samplers)[0].token for _ in range(30)]

    assert series(1) == series(3)
    assert len(set(series(1))) > 5


def test_without_a_seed_draws_differ():
    logits = torch.zeros(1, 1000)
    tokens = {choose(logits, [Sampler(Sampling(max_tokens=1, temperature=1.0))])[0].token for _ in range(20)}
    assert len(tokens) > 10


def test_log_probabilities_are_the_models_before_temperature():
    (choice,) = choose(LOGITS[None], [Sampler(Sampling(max_tokens=1, temperature=0.0, top_logprobs=2))])
    assert choice.logprob == pytest.approx(math.log(0.5))
    assert [token for token, _ in choice.top] == [0, 1]
    assert [value for _, value in choice.top] == pytest.approx([math.log(0.5), math.log(0.3)])
    assert choose(LOGITS[None], [Sampler(Sampling(max_tokens=1))]) == [Choice(0)]


def test_a_row_of_no_numbers_is_named_and_its_neighbour_is_not():
    logits = torch.stack([LOGITS, LOGITS.clone().fill_(float("nan"))])
    assert choose(logits, [Sampler(Sampling(max_tokens=1))] * 2) == [Choice(0), None]
