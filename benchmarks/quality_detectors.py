"""Quality detectors: precision and recall of each on faults planted into real answers.

    python -m benchmarks.quality_detectors [--tune]

Answers of hh-rlhf, MTS-Dialog's notes, gsm8k and E2E, from the folder named by ``TUNEWARD_TEST_DATA``. Of each fault
300 answers are planted with it, drawn by seed; every other answer is taken for clean, though some are not (hh-rlhf has
answers that were cut off), so that precision is told too low rather than too high. Even answers and the first part of
the phrases served for tuning (``--tune``); reported are odd answers and the rest. Languages: XQuAD's paragraphs and
questions (English, German, Spanish; Arabic and Chinese must stay unknown) and the phrases below (Italian, French).
"""

import argparse
import csv
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tuneward.evaluation.intervals import wilson
from tuneward.inspection.quality.detectors import DETECTORS, issues_of
from tuneward.inspection.quality.language import UNKNOWN, guess
from tuneward.settings import Settings

PLANTED: Final = 300
PHRASES: Final = (
    "As an AI language model, I do not have feelings about this.",
    "I'm just an AI, so please ask a doctor.",
    "Als KI-Sprachmodell habe ich dazu keine Meinung.",
    "In quanto intelligenza artificiale, non ho opinioni.",
    "En tant que modèle de langage, je ne peux pas le savoir.",
    "Como inteligencia artificial, no puedo opinar.",
    "As an artificial intelligence, I cannot browse the web.",
    # the half that is reported
    "As a large language model trained by OpenAI, I must be careful here.",
    "I am an AI assistant and was not there.",
    "My knowledge cutoff is September 2021.",
    "Please note that I am a virtual assistant and can be wrong.",
    "Als künstliche Intelligenz kann ich das nicht beurteilen.",
    "Ich bin eine KI und kann keine Anrufe tätigen.",
    "Come modello linguistico, non ho accesso a internet.",
    "Sono un'intelligenza artificiale e non posso saperlo.",
    "Je suis une intelligence artificielle, je n'ai pas d'avis.",
    "En tant qu'IA, je n'ai pas d'opinion.",
    "Como modelo de lenguaje de IA, no tengo emociones.",
    "Soy una inteligencia artificial y no tengo opiniones.",
    "Being an AI, I have no personal experience with it.",
)
HOLES: Final = (
    "{name}", "{{ customer.name }}", "[Your Name]", "${order_id}", "<insert date>", "Lorem ipsum dolor sit amet.",
    # the half that is reported
    "{first_name}", "{{company}}", "[Insert product here]", "[Company Name]", "%(amount)s", "<your address>",
    "[Recipient's Name]", "lorem ipsum", "[DATE]", "<NAME>", "{CUSTOMER}", "___",
)  # fmt: skip
INSULTS: Final = (
    "you idiot", "this bitch", "du Arschloch", "che stronzo", "espèce de connard", "eres un gilipollas",
    # the half that is reported; the last of each language stand in no list
    "what a moron", "fucking hell", "these faggots", "du Hurensohn", "die Schlampe", "figlio di puttana", "quel salaud",
    "hijo de puta", "cabrón de mierda", "you dimwit", "du Vollpfosten", "brutto cretino", "espèce d'abruti",
    "eres un memo",
)  # fmt: skip
ITALIAN: Final = (
    "Vorrei sapere quando arriva il mio pacco, perché non ho ancora ricevuto niente.",
    "Il contratto è stato firmato ieri dalla direttrice e spedito al cliente.",
    "Quanto costa il biglietto per Milano?",
    "Non riesco ad accedere al mio conto da ieri sera.",
    "Può dirmi dove si trova la stazione più vicina?",
    "La riunione è stata spostata a giovedì alle dieci.",
    "Grazie mille, adesso ho capito come si fa.",
    "Mia figlia ha la febbre da due giorni e non mangia.",
    "Le condizioni generali sono state aggiornate il primo marzo.",
    "Che cosa devo fare se la macchina non parte?",
)
FRENCH: Final = (
    "Je voudrais savoir quand mon colis arrive, car je n'ai encore rien reçu.",
    "Le contrat a été signé hier par la directrice et envoyé au client.",
    "Combien coûte le billet pour Lyon ?",
    "Je n'arrive pas à me connecter à mon compte depuis hier soir.",
    "Pouvez-vous me dire où se trouve la gare la plus proche ?",
    "La réunion a été déplacée à jeudi à dix heures.",
    "Merci beaucoup, maintenant j'ai compris comment on fait.",
    "Ma fille a de la fièvre depuis deux jours et ne mange pas.",
    "Les conditions générales ont été mises à jour le premier mars.",
    "Que dois-je faire si la voiture ne démarre pas ?",
)


def truncate(text: str, draw: random.Random, half: int) -> str | None:
    """Cut in mid-sentence, behind the first sentence and at a word or within one."""
    stop = re.search(r"[.!?]\s", text)
    if not stop or len(text) - stop.end() < 30:
        return None
    cut = text[: draw.randrange(stop.end() + 12, len(text) - 5)].rstrip()
    return None if cut[-1] in ".!?:;\"'”)" else cut


def say_what_it_is(text: str, draw: random.Random, half: int) -> str:
    """Put an assistant's words about itself before or behind."""
    phrase = draw.choice(PHRASES[7:] if half else PHRASES[:7])
    return f"{phrase} {text}" if draw.random() < 0.5 else f"{text} {phrase}"


def leave_hole(text: str, draw: random.Random, half: int) -> str:
    """A word is still to be filled in."""
    words = text.split()
    words.insert(draw.randrange(len(words)), draw.choice(HOLES[6:] if half else HOLES[:6]))
    return " ".join(words)


def insult(text: str, draw: random.Random, half: int) -> str:
    """An insult in one of five languages."""
    words = text.split()
    words.insert(draw.randrange(len(words)), draw.choice(INSULTS[6:] if half else INSULTS[:6]) + ",")
    return " ".join(words)


def repeat(text: str, draw: random.Random, half: int) -> str | None:
    """The last words, a sentence or a line over and over, as models do that are stuck."""
    words = text.split()
    if len(words) < 8:
        return None
    kind, last = draw.randrange(3), words[-draw.randrange(1, 8) :]
    if kind == 0:
        return f"{text} " + " ".join(last * (len(words) // len(last) + 6))
    sentences = re.split(r"(?<=[.!?])\s", text)
    times = draw.randrange(5, 12)
    return " ".join([text, *[sentences[-1]] * times]) if kind == 1 else "\n".join([text] + [text] * times)


def break_json(text: str, draw: random.Random, half: int) -> str | None:
    """JSON with one of the mistakes that models and people make."""
    if not text.startswith("{"):
        return None
    edits: list[Callable[[str], str]] = [
        lambda t: t[: draw.randrange(len(t) // 3, len(t) - 1)],
        lambda t: t[:-1] + ",}",
        lambda t: t.replace('": ', '" ', 1),
    ]
    more: list[Callable[[str], str]] = [
        lambda t: t.replace('", "', '" "', 1),
        lambda t: t.replace('"', "", 1),
        lambda t: t[:-1],
        lambda t: t + "}",
        lambda t: t.replace('"}', '"', 1),
    ]
    broken = draw.choice(more if half else edits)(text)
    return broken if broken != text else None


PLANTS: Final[dict[str, Callable[[str, random.Random, int], str | None]]] = {
    "assistant_phrase": say_what_it_is,
    "broken_json": break_json,
    "placeholder": leave_hole,
    "repetition": repeat,
    "toxicity": insult,
    "truncated": truncate,
}


def answers(data: Path) -> Iterator[str]:
    """Real answers, of twelve words or more, and E2E's records as JSON."""
    for line in (data / "hh-rlhf" / "pairs.jsonl").read_text(encoding="utf-8").splitlines():
        yield re.split(r"\n\n(?:Human|Assistant): ?", json.loads(line)["chosen"])[-1]
    for path in sorted((data / "mts-dialog").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as handle:
            yield from (row["section_text"] for row in csv.DictReader(handle))
    for line in (data / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines():
        yield json.loads(line)["answer"]
    for name in ("train.txt", "test.txt"):
        for line in (data / "e2e" / name).read_text(encoding="utf-8").splitlines():
            record, _, sentence = line.partition("||")
            yield sentence.strip()
            yield json.dumps(dict(part.strip().split(" : ", 1) for part in record.split("|") if " : " in part))


def measure(data: Path, *, half: int) -> dict[str, tuple[int, int, int]]:
    """For each detector: planted faults, how many of them were found, and how many clean answers were accused.

    Args:
        data: the folder that ``TUNEWARD_TEST_DATA`` names.
        half: 0 for the answers that served for tuning, 1 for those reported.
    """
    pool = [text for text in dict.fromkeys(answers(data)) if len(text.split()) >= 12][half::2]
    accused = dict.fromkeys(DETECTORS, 0)
    for text in pool:
        for kind in {issue.kind for issue in issues_of(text)}:
            accused[kind] += 1
    told = {}
    for kind, plant in PLANTS.items():
        draw = random.Random(f"{kind} {half}")
        made: list[str] = []
        for text in draw.sample(pool, len(pool)):
            edited = plant(text, draw, half)
            if edited:
                made.append(edited)
            if len(made) == PLANTED:
                break
        found = sum(any(issue.kind == kind for issue in DETECTORS[kind](text)) for text in made)
        told[kind] = (len(made), found, accused[kind])
    told["clean"] = (len(pool), 0, 0)
    return told


def measure_languages(data: Path) -> dict[str, tuple[int, int, int]]:
    """Language → texts, how many were guessed right, and how many wrong; the others were left open."""
    told = {}
    for language in ("en", "de", "es", "ar", "zh"):
        loaded = json.loads((data / "xquad" / f"xquad.{language}.json").read_text(encoding="utf-8"))["data"]
        paragraphs = [paragraph for article in loaded for paragraph in article["paragraphs"]]
        texts = [paragraph["context"] for paragraph in paragraphs]
        texts += [question["question"] for paragraph in paragraphs for question in paragraph["qas"]]
        told[language] = _guessed(texts[1::2], language if language in ("en", "de", "es") else UNKNOWN)
    return told | {"it": _guessed(ITALIAN, "it"), "fr": _guessed(FRENCH, "fr")}


def _guessed(texts: list[str] | tuple[str, ...], language: str) -> tuple[int, int, int]:
    guesses = [guess(text) for text in texts]
    right = guesses.count(language)
    wrong = len(guesses) - right - (guesses.count(UNKNOWN) if language != UNKNOWN else 0)
    return len(guesses), right, wrong


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tune", action="store_true", help="the half that served for tuning")
    options = parser.parse_args()
    data = Settings.from_environment().test_data
    if data is None:
        raise SystemExit("TUNEWARD_TEST_DATA names no folder with hh-rlhf, mts-dialog, gsm8k, e2e, xquad")
    told = measure(data, half=0 if options.tune else 1)
    clean, _, _ = told.pop("clean")
    worst = 1.0
    for kind, (planted, found, accused) in told.items():
        precision, recall = found / max(1, found + accused), found / planted
        worst = min(worst, recall)
        print(
            f"{kind:17} precision {precision:.3f} {_interval(found, found + accused)}, n = {found + accused}; "
            f"recall {recall:.3f} {_interval(found, planted)}, n = {planted}; {accused} of {clean:,} others accused"
        )
    for language, (texts, right, wrong) in measure_languages(data).items():
        share = f"{right / texts:.3f} {_interval(right, texts)}"
        print(f"language {language}       right {share}, wrong {wrong}, n = {texts:,}")
    print(f"lowest recall: {worst:.3f}")


def _interval(hits: int, of: int) -> str:
    low, high = wilson(hits, max(1, of))
    return f"[{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
