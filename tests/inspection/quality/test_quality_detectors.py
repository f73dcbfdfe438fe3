"""Detectors of quality: what each must find, near misses that it must not, and the worst input."""

import pytest

from tests.growth import LINEAR, slowdown_of_text
from tuneward.inspection.quality.detectors import DETECTORS, MOST_CHARACTERS, issues_of
from tuneward.inspection.quality.issue import Issue, quality, suggestion
from tuneward.inspection.quality.language import guess

SENTENCE = "The claim was paid in full last week. The customer has been told by letter. "

FOUND = {
    "assistant_phrase": [
        "As an AI language model, I cannot visit the branch.",
        "I’m just an AI, so I have no opinion on that.",
        "Als KI-Sprachmodell kann ich dazu nichts sagen.",
        "Ich bin nur eine künstliche Intelligenz.",
        "In quanto modello linguistico, non posso rispondere.",
        "En tant qu'intelligence artificielle, je ne peux pas répondre.",
        "Como modelo de lenguaje, no tengo acceso a eso.",
        "Being an AI, I have no personal experience with it.",
        "Please note that I am a virtual assistant.",
        "Da ich eine KI bin, kann ich nicht anrufen.",
    ],
    "placeholder": [
        "Dear {customer_name}, your claim is settled.",
        "Dear {{ name }}, your claim is settled.",
        "Dear [Your Name], thank you.",
        "Dear <insert name here>, thank you.",
        "Lorem ipsum dolor sit amet, consectetur.",
        "Hello %(name)s, welcome.",
        "The amount is TODO: ask accounting.",
        "Dear Mr ___, thank you.",
    ],
    "broken_json": [
        '{"a": 1, "b": ',
        '{"a": 1,}',
        '```json\n{"a": "x}\n```',
        "[{'a': 1}, {\"b\" 2}]",
        '{a": 1}',
        "{a: 1}",
    ],
    "truncated": [
        SENTENCE + "The next step is that the",
        SENTENCE + "Please send the following papers,",
        SENTENCE + "The papers were sent by post together with",
        SENTENCE + "We will call you when the papers have arr",
        SENTENCE + "Here is the code:\n```python\nprint(1)\n",
    ],
    "repetition": [
        "the same thing again " * 20,
        "no " * 40,
        SENTENCE + "It is friendly. " + "friendly . " * 12,
        SENTENCE + "####\n5 " * 6,
        SENTENCE + ". " * 20,
        "\n".join(["This line of the answer stands here often."] * 8 + ["Another line that is different."]),
        "This went well and then it said aaaaaaaaaaaaaaaaaaaaaa",
    ],
    "toxicity": [
        "You are an idiot.",
        "Du bist ein Arschloch!",
        "Sei uno stronzo.",
        "Quel connard.",
        "Eres un gilipollas.",
        "What a bunch of halfwits, you dipshit.",
        "So ein Volltrottel.",
    ],
}
MISSED = {
    "assistant_phrase": ["As an aid to the adjuster, I add the photos.", "As a KI member he paid.", "Sono a Roma."],
    "placeholder": [
        "The set {1, 2, 3} is finite.",
        '{"name": "x", "date": null}',
        "```python\nf'{name}'\n```",
        "See [the terms](https://example.org) and [1].",
        "def greet(name): return f'{name}'",
        "the method __init__ and snake___case",
    ],
    "broken_json": ['{"a": [1, 2], "b": {}}', "{name} is missing", "[1] Smith 2020, p. 4", "```json\n{}\n```", "plain"],
    "truncated": [
        SENTENCE,
        SENTENCE + "Kind regards\nAda Lovelace",
        SENTENCE + "Three things:\n- one\n- two\n- three and more",
        "motor, high",
        SENTENCE + 'He said "yes"',
        '{"a": 1, "b": "and the',
        SENTENCE + "(see the annex)",
        SENTENCE + "Read it all at https://example.org/claims/and/the",
    ],
    "repetition": [
        SENTENCE,
        "ha ha ha",
        SENTENCE + "no no no no no",
        SENTENCE + "and so on . . .",
        "=" * 80,
        "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |",
    ],
    "toxicity": [
        "Scunthorpe and Essex.",
        "The class assessed the bass.",
        "A classic cockpit.",
        "Va con brio.",
        "Un retard de deux jours.",
        "Das Abo.",
    ],
}


def kinds(text):
    return {issue.kind for issue in issues_of(text)}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in FOUND.items() for text in texts])
def test_a_fault_is_found(kind, text):
    assert kind in kinds(text)


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in MISSED.items() for text in texts])
def test_a_near_miss_is_not(kind, text):
    assert kind not in kinds(text)


def test_every_detector_is_tested_both_ways():
    assert set(FOUND) == set(MISSED) == set(DETECTORS)


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "as an ",
        "as an a",
        "{",
        "{a_",
        "{{ a",
        "[insert ",
        "<your ",
        "x ",
        "(",
        "```",
        '{"a":',
        "¿",
        "i am ",
        "\n",
        "1=1 ",
    ],
)
def test_the_worst_takes_no_longer_than_its_length(piece):
    assert slowdown_of_text(issues_of, piece, characters=20_000) < LINEAR
    assert slowdown_of_text(guess, piece, characters=20_000) < LINEAR


def test_a_text_beyond_the_bound_is_judged_by_its_ends():
    middle = SENTENCE * (MOST_CHARACTERS // len(SENTENCE) + 1)
    assert "assistant_phrase" not in kinds(middle + "As an AI language model, I cannot say. " + middle)
    assert "assistant_phrase" in kinds(middle + middle + "As an AI language model, I cannot say.")


def test_a_passage_is_not_asked_for_what_only_an_answer_owes():
    text = SENTENCE + "As an AI language model I say that the"
    assert {issue.kind for issue in issues_of(text, document=True)} == set()
    assert kinds(text) == {"assistant_phrase", "truncated"}


def test_the_score_falls_by_the_worst_of_each_kind():
    issues = [Issue("a", "x", 0.5, "look"), Issue("a", "y", 0.2, "repair"), Issue("b", "z", 0.4, "look")]
    assert quality(issues) == pytest.approx(0.3)
    assert suggestion(issues) == "repair"
    assert (quality([]), suggestion([])) == (1.0, None)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The customer has not yet been told about it.", "en"),
        ("Der Kunde hat die Rechnung noch nicht bezahlt.", "de"),
        ("Il cliente non ha ancora pagato la fattura di maggio.", "it"),
        ("Le client n'a pas encore payé la facture qui est arrivée.", "fr"),
        ("El cliente todavía no ha pagado la factura de mayo.", "es"),
        ("OK", "unknown"),
        ("", "unknown"),
        ("客户还没有付款。", "unknown"),
        ("Klient nie zapłacił jeszcze rachunku.", "unknown"),
    ],
)
def test_the_language_is_guessed_or_left_open(text, language):
    assert guess(text) == language
