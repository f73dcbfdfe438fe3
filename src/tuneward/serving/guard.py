"""Guard: what is done about findings in prompts before the engine reads them, and in answers before they leave.

Place on the road: inside ``workflows/answer``, with the inspector that reads rows at ``prepare``. A text that was
looked at comes back with counts by kind; the counts may be logged, the text never is. Knows neither HTTP nor the log.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tuneward.domain.finding import Finding
from tuneward.domain.record import Message
from tuneward.inspection.inspector import Inspector
from tuneward.inspection.redaction import decide, redact
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

    Law: nothing of a span that is redacted is in the text that goes on; each message is looked at by itself.

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
            return self._pass(prompt, self._prompts, counts), _seen(counts)
        messages = tuple(
            replace(message, content=self._pass(message.content, self._prompts, counts)) for message in prompt
        )
        return messages, _seen(counts)

    def answer(self, text: str) -> tuple[str, Seen]:
        """The whole answer as it may leave, and what was found."""
        counts: Counter[tuple[str, str]] = Counter()
        return self._pass(text, self._answers, counts), _seen(counts)

    def _pass(self, text: str, actions: Mapping[str, str], counts: Counter[tuple[str, str]]) -> str:
        findings: list[Finding] = self._inspector.inspect(text)
        for finding in findings:
            action = decide(finding.kind, actions)
            if action != "allow":
                counts[action, finding.kind] += 1
        return redact(text, findings, actions)


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
