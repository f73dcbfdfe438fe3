r"""The one tree of errors.

Place on the road: everywhere. Every error of ours carries one or more :class:`Fault`; each has a stable code, says
what is wrong, where, and what cures it. ``cli`` maps the classes to exit codes once, ``web`` maps them to HTTP once.
This file does not know who raises what; it only knows the codes (``CODES``), which ``docs/errors.md`` documents.

A fault never quotes a data subject's text: rows are named by file and line or by record id.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        code: a key of ``CODES``, stable across releases.
        message: what is wrong, with the offending value where that is no personal data.
        place: ``file:line``, a setting such as ``training.epochs``, or an id; empty when there is no better place.
        cure: what the reader can do about it.
    """

    code: str
    message: str
    place: str = ""
    cure: str = ""

    def __post_init__(self) -> None:
        assert self.code in CODES, f"{self.code} is not in errors.CODES"

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        cure = f"\n    cure: {self.cure}" if self.cure else ""
        return f"[{self.code}] {where}{self.message}{cure}"

    def to_json(self) -> dict[str, str]:
        """The fault as the ``--json`` output and the gateway's console show it."""
        return {"code": self.code, "message": self.message, "place": self.place, "cure": self.cure}


class TunewardError(Exception):
    """Root of the tree; holds all faults found, never only the first.

    Args:
        faults: one fault, or several (must not be empty).
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, faults: Fault | Iterable[Fault]) -> None:
        self.faults: tuple[Fault, ...] = (faults,) if isinstance(faults, Fault) else tuple(faults)
        assert self.faults, "an error needs at least one fault"
        super().__init__("\n".join(str(f) for f in self.faults))

    def to_json(self) -> dict[str, Any]:
        """The documented error object of ``--json``."""
        return {"error": {"kind": type(self).__name__, "faults": [f.to_json() for f in self.faults]}}


class ConfigError(TunewardError):
    """``tuneward.yaml``, an option or an environment variable is wrong."""

    exit_code = 2


class DataError(TunewardError):
    """Training or test data cannot be used as they are."""

    exit_code = 3


class ModelError(TunewardError):
    """A base model cannot be pulled, is damaged, or may not be used so."""

    exit_code = 4


class TrainingError(TunewardError):
    """A run cannot start or had to stop."""

    exit_code = 5


class EvaluationError(TunewardError):
    """An evaluation cannot be made, or its gate says no."""

    exit_code = 6


class GovernanceError(TunewardError):
    """A role, policy or approval forbids the action."""

    exit_code = 7


class ProofError(TunewardError):
    """A digest, signature, log or link of the chain does not check out."""

    exit_code = 8


class ServingError(TunewardError):
    """The engine or gateway cannot start or cannot answer."""

    exit_code = 9


class StorageError(TunewardError):
    """The site's database or artefact store cannot be read or written."""

    exit_code = 10


class MachineError(TunewardError):
    """The machine lacks something (a package, memory, a device)."""

    exit_code = 11


#: Every code with its one-line meaning. The middle part names the room. Codes are never reused.
CODES: dict[str, str] = {
    # configuration ----------------------------------------------------------------------------------------------
    "TW-CONF-001": "tuneward.yaml was not found",
    "TW-CONF-002": "tuneward.yaml is not valid YAML or not UTF-8",
    "TW-CONF-003": "unknown setting",
    "TW-CONF-004": "a setting has a wrong type or value",
    "TW-CONF-005": "a required setting is missing",
    "TW-CONF-006": "the same setting is given twice",
    "TW-CONF-007": "a command's option is wrong",
    # base models (pull, catalogue, licences, chat template) -----------------------------------------------------
    "TW-BASE-001": "no base model is known by that name",
    "TW-BASE-002": "the network or a file server could not be reached",
    "TW-BASE-003": "the revision or model does not exist at the hub, or the hub refuses it",
    "TW-BASE-004": "the bytes are not the expected ones",
    "TW-BASE-005": "a model file is damaged or is no model file",
    "TW-BASE-006": "a file of the base model is missing",
    "TW-BASE-007": "weights do not match the model's configuration",
    "TW-BASE-008": "the tokenizer and the model's vocabulary do not match",
    "TW-BASE-009": "a file type that is not taken over",
    "TW-BASE-010": "the architecture or GGUF flavour is not supported",
    "TW-BASE-011": "the disk could not be written",
    "TW-BASE-020": "the base has no usable tokenizer",
    "TW-BASE-021": "the base has no chat template",
    "TW-BASE-022": "the chat template cannot be rendered",
    "TW-BASE-023": "the chat template changes or hides a message",
    "TW-BASE-024": "the chat template ends an answer with no token that generation can stop at",
    "TW-BASE-025": "the tokenizer cannot give a text back as it was",
    "TW-BASE-026": "an example has no answer to train",
    "TW-BASE-027": "tools, or calls to them, cannot be written down by the chat template",
    "TW-BASE-040": "the licence of the base model is unknown",
    "TW-BASE-041": "the licence of the base model forbids the declared use",
    "TW-BASE-045": "an architecture has no form that scores answers",
    # base model, adapter, attention (modeling) --------------------------------------------------------------------
    "TW-BASE-030": "the base model's folder cannot be loaded",
    "TW-BASE-031": "an architecture does not pass the layout to its attention",
    "TW-BASE-032": "an architecture's attention or output head does what Tuneward does not compute",
    "TW-BASE-033": "adapter targets match no linear layer",
    "TW-BASE-034": "the adapter's rank exceeds a layer's size",
    "TW-BASE-035": "an adapter's files cannot be read",
    "TW-BASE-036": "an adapter does not fit the base model",
    "TW-BASE-037": "packed documents see one another, or differ from the same documents alone",
    "TW-BASE-038": "an adapter target is the output head",
    "TW-BASE-039": "an update cannot be merged into a quantised weight",
    "TW-BASE-061": "a GGUF file cannot hold this model or its tokenizer",
    # training -----------------------------------------------------------------------------------------------------
    "TW-TRAIN-001": "the prepared rows cannot be read",
    "TW-TRAIN-002": "there are no rows to train on",
    "TW-TRAIN-003": "a row has no trained token",
    "TW-TRAIN-004": "a row is longer than the model's context",
    "TW-TRAIN-005": "tokenizer and model disagree about the vocabulary",
    "TW-TRAIN-006": "the run does not fit into memory",
    "TW-TRAIN-007": "the loss or a gradient is no finite number",
    "TW-TRAIN-008": "a checkpoint belongs to another run",
    "TW-TRAIN-009": "a checkpoint cannot be written",
    "TW-TRAIN-010": "the training process was called wrongly",
    "TW-TRAIN-011": "every checkpoint is damaged",
    "TW-TRAIN-012": "training ended for a reason that Tuneward does not know",
    "TW-TRAIN-013": "a training setting has no effect with the chosen method or loss",
    "TW-TRAIN-040": "there is no interrupted run to go on with",
    "TW-TRAIN-041": "holding rows out leaves none to train on",
    "TW-TRAIN-042": "sample answers cannot be made while several processes hold the model in parts",
    "TW-TRAIN-043": "the optimizer does not work on this device",
    "TW-TRAIN-044": "the model's layers cannot be computed again one by one",
    # engine -------------------------------------------------------------------------------------------------------
    "TW-SERV-001": "the base names no longest context",
    "TW-SERV-002": "the engine's port cannot be bound",
    "TW-SERV-003": "the engine's key is missing or too short",
    "TW-SERV-004": "a request's field is unknown, wrong or not supported",
    "TW-SERV-005": "no model of that name is loaded",
    "TW-SERV-006": "prompt and answer do not fit into the context",
    "TW-SERV-008": "the engine may not read that adapter folder",
    "TW-SERV-009": "an adapter's name is taken",
    "TW-SERV-010": "the engine failed while it answered",
    # evaluation -------------------------------------------------------------------------------------------------
    "TW-EVAL-001": "the answer's schema cannot be read",
    "TW-EVAL-002": "the answer's schema is not a usable JSON Schema",
    "TW-EVAL-003": "the answer's schema refers to something that is not in the file",
    "TW-EVAL-004": "a setting names a field that the answer's schema does not have",
    "TW-EVAL-005": "there is no test item to evaluate on",
    "TW-EVAL-006": "a test item's reference answer is itself wrong",
    "TW-EVAL-007": "answers and items do not pair up",
    "TW-EVAL-008": "an evaluation's files cannot be read",
    "TW-EVAL-010": "the gate says no",
    # registry ---------------------------------------------------------------------------------------------------
    "TW-REG-001": "the AIBOM refers to something that it does not hold",
    "TW-REG-002": "the nouns of a version do not belong together",
    "TW-REG-003": "a version's paper is missing",
    "TW-REG-010": "an exported copy does not say what its adapter says",
    "TW-REG-011": "there is nothing to export, or nothing to check an export on",
    "TW-REG-012": "the target folder of an export is not empty",
    "TW-REG-013": "the export process ended without a result",
    "TW-PROOF-020": "a signed statement is damaged",
    "TW-PROOF-021": "a signed statement has another payload type",
    "TW-PROOF-022": "a statement is signed with another key",
    "TW-PROOF-023": "a statement's signature does not match",
    "TW-PROOF-024": "a signed payload is no canonical statement of a kind that this version knows",
    "TW-PROOF-025": "the signed statement and the records disagree",
    "TW-PROOF-026": "a version's paper is not the one that was signed",
    "TW-PROOF-027": "the registered version and its signed statement disagree",
    # serving: gateway, engine process, client, canary -------------------------------------------------------------
    "TW-SERV-030": "the gateway would listen on an address that other machines can reach",
    "TW-SERV-031": "the gateway's port cannot be opened",
    "TW-SERV-032": "the engine did not start",
    "TW-SERV-033": "the engine ended by itself",
    "TW-SERV-034": "the engine does not answer, or broke off an answer",
    "TW-SERV-035": "the engine refused the request",
    "TW-SERV-036": "prompt and answer do not fit into the model's context",
    "TW-SERV-037": "an adapter cannot be loaded into the engine",
    "TW-SERV-038": "the adapter does not change its base",
    "TW-SERV-039": "the adapter does not behave as it did at its evaluation",
    "TW-SERV-040": "there is no active deployment to serve",
    "TW-SERV-041": "the API key is missing, wrong or revoked",
    "TW-SERV-042": "no such model",
    "TW-SERV-043": "the request body is not a JSON object",
    "TW-SERV-044": "a field of the request is wrong or missing",
    "TW-SERV-045": "a field of the request is not supported",
    "TW-SERV-046": "the request body is too large",
    "TW-SERV-047": "no such route",
    "TW-SERV-048": "the audit log cannot be written, so there is no answer",
    "TW-SERV-049": "the answer took too long",
    "TW-SERV-050": "the gateway did not start or stopped by itself",
    "TW-SERV-051": "the request body did not arrive in time",
    "TW-SERV-052": "the engine computes in another precision than the one that was evaluated",
    "TW-SERV-053": "the engine keeps its base in another form than the one that was evaluated",
    "TW-SERV-054": "the model gives no answers and is not served",
    # storage: site, database, artefacts -------------------------------------------------------------------------
    "TW-STOR-001": "no site was found",
    "TW-STOR-002": "a site is already there",
    "TW-STOR-003": "the site is damaged, or was made by another version",
    "TW-STOR-004": "the database was made by a newer version",
    "TW-STOR-005": "another process works on this site",
    "TW-STOR-006": "the database cannot be read or written",
    "TW-STOR-007": "the disk is full",
    "TW-STOR-008": "a row contradicts the rows that are there",
    "TW-STOR-009": "an artefact is not in the store",
    "TW-STOR-010": "not a digest",
    "TW-STOR-011": "a file or folder cannot become an artefact",
    "TW-STOR-012": "a file or folder of the site cannot be read or written",
    "TW-STOR-013": "a value cannot be stored",
    # governance: keys, policies, members, approvals ---------------------------------------------------------------
    "TW-GOV-001": "whoever acts is not a member of the site",
    "TW-GOV-002": "the role may not do this under the policy",
    "TW-GOV-003": "there is no such policy",
    "TW-GOV-004": "there is no such approval request",
    "TW-GOV-005": "the request is decided already",
    "TW-GOV-006": "the policy wants a second person",
    "TW-GOV-007": "an approval request or its decision is incomplete",
    "TW-GOV-008": "the same thing was requested already",
    "TW-GOV-009": "a member cannot be added",
    "TW-GOV-010": "the site's keys are missing",
    "TW-GOV-011": "the site's keys can be read by others",
    "TW-GOV-012": "the site's keys are damaged",
    "TW-GOV-013": "the site has keys already",
    "TW-GOV-014": "there is no such API key, or it is revoked",
    "TW-GOV-015": "the policy says nothing about this action",
    "TW-GOV-016": "the public key for outsiders is not the one of the signing key",
    # proof: artefacts and log -------------------------------------------------------------------------------------
    "TW-PROOF-001": "an artefact's bytes are not the ones that its digest names",
    "TW-PROOF-002": "an event was changed after it was written",
    "TW-PROOF-003": "an event is missing from the log",
    "TW-PROOF-004": "the log does not lead to the root of a signed checkpoint",
    "TW-PROOF-005": "the log is shorter than a signed checkpoint says",
    "TW-PROOF-006": "a checkpoint is not well formed, or not signed by the site's key",
    "TW-PROOF-007": "two checkpoints of one size contradict each other",
    "TW-PROOF-008": "a governed row is not the one that the log committed",
    "TW-PROOF-009": "a governed row stands in no event of the log",
    # workflows: what a step misses from the steps before it -------------------------------------------------------
    "TW-BASE-050": "the project's base is not in the site",
    "TW-DATA-090": "there is no current dataset",
    "TW-GOV-090": "no granted approval covers the run",
    "TW-TRAIN-020": "the training process ended without a result",
    "TW-TRAIN-021": "there is no finished run of the current inputs",
    "TW-TRAIN-030": "what training should begin with is not known",
    "TW-TRAIN-031": "training cannot begin with that adapter",
    "TW-EVAL-009": "the current run was not evaluated",
    "TW-PROOF-010": "there is nothing to verify yet",
    "TW-PROOF-011": "what should be verified is not known",
    "TW-PROOF-012": "a link of the chain does not hold",
    "TW-PROOF-013": "there is no version of the current run",
    "TW-SERV-062": "no gateway answers",
    "TW-STOR-014": "a row is missing",
    "TW-STOR-015": "the site can only be read",
    "TW-ENV-001": "an example was not installed",
    "TW-ENV-002": "an error inside Tuneward",
    "TW-ENV-003": "an example's script failed",
    "TW-ENV-004": "the device that is asked for is not there",
    "TW-ENV-005": "an optional package that a setting needs is not installed",
    "TW-ENV-006": "more processes are asked for than there are devices",
    # data -------------------------------------------------------------------------------------------------------
    "TW-DATA-001": "a data file is missing",
    "TW-DATA-002": "a data file is empty",
    "TW-DATA-003": "a path leads out of the project's folder",
    "TW-DATA-004": "this kind of file is not read",
    "TW-DATA-005": "a data file cannot be opened",
    "TW-DATA-006": "text is not UTF-8",
    "TW-DATA-007": "text holds NUL bytes",
    "TW-DATA-008": "a line is not complete, valid JSON",
    "TW-DATA-009": "a line of JSONL is not an object",
    "TW-DATA-010": "a CSV row has more or fewer fields than the header",
    "TW-DATA-011": "a CSV header names a column twice or not at all",
    "TW-DATA-012": "the quoting of a CSV file is broken",
    "TW-DATA-013": "a file is not Parquet, or damaged",
    "TW-DATA-014": "a line or field is too large",
    "TW-DATA-015": "a column that is needed is missing",
    "TW-DATA-016": "a value has the wrong type",
    "TW-DATA-017": "the turns of a conversation are out of order",
    "TW-DATA-018": "an answer is empty",
    "TW-DATA-019": "a prompt is empty",
    "TW-DATA-020": "no usable row is left",
    "TW-DATA-021": "a row is longer than the context",
    "TW-DATA-022": "a row has nothing to learn: every label is masked",
    "TW-DATA-023": "the chat template cannot render a row",
    "TW-DATA-024": "a row holds what the policy blocks",
    "TW-DATA-025": "a training row also stands in the test set",
    "TW-DATA-026": "the same file stands under train and test",
    "TW-DATA-027": "more context is asked for than the base has",
    "TW-DATA-028": "the prepared dataset cannot be written",
    "TW-DATA-029": "more faults than are listed",
    "TW-DATA-030": "a test row's answer cannot be a reference",
    "TW-DATA-031": "an empty message",
    "TW-DATA-032": "rows are of another kind than the method learns from",
    "TW-DATA-033": "the two answers of a pair are equal",
    "TW-DATA-034": "the two answers of a pair answer different prompts",
    "TW-DATA-035": "a margin is no finite number",
    "TW-DATA-036": "a label is neither true nor false",
    "TW-DATA-037": "all labels are the same",
    "TW-DATA-038": "tools, or calls to them, are not well formed",
    "TW-DATA-039": "a document holds no text",
    "TW-DATA-040": "a document is too large, or unpacks beyond reason",
    "TW-DATA-041": "a package that reads this kind of document is not installed",
    "TW-DATA-042": "a document is damaged or encrypted",
}
