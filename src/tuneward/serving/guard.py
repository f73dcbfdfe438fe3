"""Guard: what is done about findings in prompts before the engine reads them, and in answers before they leave.

Place on the road: inside ``workflows/answer``, with the inspector that reads rows at ``prepare``. A text that was
looked at comes back with counts by kind; the counts may be logged, the text never is. Knows neither HTTP nor the log.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tuneward.domain.finding import Finding
from tuneward.domain.record import Message
from tuneward.inspection.inspector import Inspector
from tuneward.inspection.redaction import decide, redact
from tuneward.inspection.repeats import with_repeats
from tuneward.serving.config import GuardConfig

Prompt = str | tuple[Message, ...]


@dataclass(frozen=True)
class Seen:
    """What was found in a prompt or an answer.

    Attributes:
        counts: action → kind → how many; what is allowed is not counted.
    """

    counts: Mapping[str, Mapping[str, int]]

    @property
    def blocked(self) -> tuple[str, ...]:
        """The kinds for which the text goes no further."""
        return tuple(sorted(self.counts.get("block", {})))


class Guard:
    """Looks at prompts and answers; safe to use from many threads.

    Law: nothing of a span that is redacted is in the text that goes on, there or where the same value stands again.
    Each message is looked at by itself, and a value found in one is a finding in all.

    Args:
        config: kind → action, for prompts and for answers.
        inspector: finds.
    """

    def __init__(self, config: GuardConfig, inspector: Inspector) -> None:
        self._inspector = inspector
        self._prompts = _with_rest(config.prompts)
        self._answers = _with_rest(config.answers)
        self.looks_at_prompts = bool(config.prompts)
        self.looks_at_answers = bool(config.answers)

    def prompt(self, prompt: Prompt) -> tuple[Prompt, Seen]:
        """The prompt as the engine may read it, and what was found."""
        counts: Counter[tuple[str, str]] = Counter()
        if isinstance(prompt, str):
            return self._pass([prompt], self._prompts, counts)[0], _seen(counts)
        texts = self._pass([message.content for message in prompt], self._prompts, counts)
        messages = tuple(replace(message, content=text) for message, text in zip(prompt, texts, strict=True))
        return messages, _seen(counts)

    def answer(self, text: str) -> tuple[str, Seen]:
        """The whole answer as it may leave, and what was found."""
        counts: Counter[tuple[str, str]] = Counter()
        return self._pass([text], self._answers, counts)[0], _seen(counts)

    def _pass(self, texts: Sequence[str], actions: Mapping[str, str], counts: Counter[tuple[str, str]]) -> list[str]:
        ruled = [
            [finding for finding in self._inspector.inspect(text) if decide(finding.kind, actions) != "allow"]
            for text in texts
        ]
        found: list[list[Finding]] = with_repeats(texts, ruled)
        counts.update((decide(finding.kind, actions), finding.kind) for in_text in found for finding in in_text)
        return [redact(text, in_text, actions) for text, in_text in zip(texts, found, strict=True)]


def make_guard(config: GuardConfig, inspector: Callable[[], Inspector]) -> Guard | None:
    """The guard that settings ask for, None where they ask for none; the inspector is made only where it is needed."""
    return Guard(config, inspector()) if config.prompts or config.answers else None


def _with_rest(actions: Mapping[str, str]) -> dict[str, str]:
    return {"*": "allow", **actions}


def _seen(counts: Counter[tuple[str, str]]) -> Seen:
    told: dict[str, dict[str, int]] = {}
    for (action, kind), number in sorted(counts.items()):
        told.setdefault(action, {})[kind] = number
    return Seen(told)
