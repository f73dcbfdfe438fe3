"""Decoding: Tuneward's batched decoder against transformers' ``generate`` with PEFT, one base with one LoRA adapter.

Both decode greedily the same prompts to the same length in the same process, turn by turn, because a shared machine's
speed drifts by half within minutes: only the ratio of interleaved turns counts. Prints the ratio last.

    python -m benchmarks.decode --base FOLDER [--answers 25] [--rounds 2] [--whole 200]
"""

import argparse
import random
import resource
import statistics
import tempfile
import time
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tuneward.modeling.adapter_bank import AdapterBank
from tuneward.modeling.adapter_files import AdapterWeights, load_adapter, save_adapter
from tuneward.modeling.base_model import DTYPES, best_precision, load_base
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.generate import generate
from tuneward.modeling.targets import find_targets


def random_adapter(model, *, rank=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pairs = {}
    for path, layer in find_targets(model, AdapterConfig()):
        a = torch.randn(rank, layer.in_features, generator=generator) / layer.in_features**0.5
        b = torch.randn(layer.out_features, rank, generator=generator) * 0.002
        pairs[path] = (a, b)
    return AdapterWeights(rank, 2.0 * rank, pairs)


def random_prompts(count, vocabulary, *, shortest=150, longest=250, seed=0):
    draw = random.Random(seed)
    return [[draw.randrange(100, vocabulary) for _ in range(draw.randint(shortest, longest))] for _ in range(count)]


def theirs(model, prompts, tokens):
    longest = max(map(len, prompts))
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            pad_token_id=0,
        )
    return out[:, longest:].tolist()


def timed(work):
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--answers", type=int, default=25, help="answers per turn, one batch for generate")
    parser.add_argument("--tokens", type=int, default=60, help="tokens per answer")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--whole", type=int, default=200, help="answers of the last turn, ours alone; 0 for none")
    options = parser.parse_args()

    precision = best_precision()
    ours = load_base(options.base, precision=precision)
    plain = AutoModelForCausalLM.from_pretrained(options.base, dtype=DTYPES[precision])
    with tempfile.TemporaryDirectory() as folder:
        save_adapter(random_adapter(ours), Path(folder), base_name="base")
        tuned = PeftModel.from_pretrained(plain, folder).eval()
        weights = load_adapter(Path(folder))
    bank = AdapterBank(ours)
    adapter = bank.load(weights)
    # the same end for both: no token ends an answer early
    tuned.generation_config.eos_token_id = None

    def run(prompts):
        return generate(ours, prompts, max_tokens=options.tokens, bank=bank, adapters=[adapter] * len(prompts))

    vocabulary = ours.config.vocab_size
    warm = random_prompts(2, vocabulary, seed=99)
    run(warm)
    theirs(tuned, warm, 2)
    ratios = []
    for turn in range(options.rounds):
        prompts = random_prompts(options.answers, vocabulary, seed=turn)
        mine, mine_seconds = timed(lambda prompts=prompts: run(prompts))
        other, other_seconds = timed(lambda prompts=prompts: theirs(tuned, prompts, options.tokens))
        same = sum(a[:8] == b[:8] for a, b in zip(mine, other, strict=True))
        ratios.append(other_seconds / mine_seconds)
        print(
            f"round {turn}: tuneward {mine_seconds:.1f} s, transformers+peft {other_seconds:.1f} s for "
            f"{options.answers} answers of {options.tokens} tokens; first 8 tokens alike in {same}",
            flush=True,
        )
    if options.whole:
        prompts = random_prompts(options.whole, vocabulary, seed=1000)
        _, seconds = timed(lambda: run(prompts))
        read, written = sum(map(len, prompts)), options.whole * options.tokens
        print(f"tuneward alone: {options.whole} answers in {seconds:.1f} s ({read} tokens read, {written} written)")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{precision}, {torch.get_num_threads()} threads, peak memory of all together {peak:.1f} GiB")
    print(f"ratio transformers+peft / tuneward: {statistics.median(ratios):.1f}")


if __name__ == "__main__":
    main()
