"""Settings of serving: where the gateway listens and what one answer may cost.

Place on the road: ``serving:`` in ``tuneward.yaml``, read by ``workflows/gateway``. Knows nothing of deployments.
"""

from typing import Literal

from pydantic import Field, model_validator

from tuneward.configuration import Section

#: Hosts that only this machine can reach.
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class ServingConfig(Section):
    """How the gateway and its engine run."""

    alias: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The model name that clients use; the project's name when left out."""

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address that the gateway listens on."""

    allow_remote: bool = False
    """Must be true before the gateway listens on an address that other machines can reach."""

    port: int = Field(default=8321, ge=0, le=65535)
    """Port of the gateway; 0 takes a free one."""

    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Number format of the engine; ``auto`` is the one that evaluation uses on the same machine."""

    max_rows: int = Field(default=64, ge=1, le=1024)
    """Most answers that the engine decodes at the same time; further ones wait."""

    max_tokens: int = Field(default=1024, ge=1)
    """Most tokens of one answer; also what a client gets that names no limit of its own."""

    temperature: float = Field(default=0.0, ge=0.0, le=2.0, allow_inf_nan=False)
    """Used where the client names none. 0 is greedy decoding, the one that was evaluated."""

    max_body_bytes: int = Field(default=2_000_000, ge=1_000)
    """Largest request body."""

    request_timeout_seconds: float = Field(default=600.0, gt=0, allow_inf_nan=False)
    """Longest time for one answer, waiting in the queue included."""

    @model_validator(mode="after")
    def _stays_at_home(self) -> "ServingConfig":
        if self.host not in LOOPBACK and not self.allow_remote:
            raise ValueError(
                f"host {self.host} can be reached from other machines; set allow_remote: true if that is meant"
            )
        return self
