"""The parameters of an endpoint: those of every experiment, and the experiment's own."""

import ipaddress
import os
import re
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from tracked.console.errors import UserError
from tracked.console.executors import AUTO
from tracked.console.parameters import MAX_INT, Parameters, Text
from tracked.console.train_parameters import specialize
from tracked.console.verb_parameters import AnyModel
from tracked.experiment import Experiment

TOKEN = "SERVE_TOKEN"
TOKEN_FORM = re.compile(r"[!-~]{16,}")  # what a header can hold
HOST = r"([A-Za-z0-9_][\w.-]*|\[[0-9A-Fa-f:.]+\])"
HOSTS = "auto, or names of hosts separated by commas, without ports"


class ServeParameters(Parameters):
    """Serve a registered model over HTTP: {rows} are answered as requests for them come."""

    model: AnyModel = Field("models:/model@champion", description="The model that answers")
    host: Text = Field("127.0.0.1", description="Address to listen at; any but this machine's own needs SERVE_TOKEN",
        json_schema_extra={"allowed": "an address of this machine, such as 127.0.0.1, ::1 or 0.0.0.0"})  # fmt: skip
    port: int = Field(5050, ge=0, le=65535, description="Port to listen at; 0: a free one, which is printed")
    workers: int = Field(2, ge=1, le=256, description="Processes that score at the same time, a thread each")
    reload: int = Field(60, ge=0, le=MAX_INT, description="Seconds between two looks for another version under the "
        "alias; 0: on SIGHUP alone")  # fmt: skip
    max_body: int = Field(1_048_576, ge=1, le=1 << 30, description="Bytes of a request's body, also once unpacked")
    max_rows: int = Field(1000, ge=1, le=1_000_000, description="The {rows} of a request")
    max_length: int = Field(100_000, ge=1, le=MAX_INT, description="Characters of a value")
    max_waiting: int = Field(
        2000, ge=1, le=MAX_INT, description="The {rows} that may wait, max_rows or more; further ones are refused"
    )
    max_connections: int = Field(512, ge=1, le=MAX_INT, description="Connections; more are refused")
    receive_timeout: int = Field(10, ge=1, le=3600, description="Seconds in which a request must have arrived")
    timeout: int = Field(30, ge=1, le=3600, description="Seconds in which a request that has arrived is answered")
    drain: int = Field(30, ge=0, le=3600, description="Seconds to finish what is being answered, once asked to end")
    hosts: Annotated[str, StringConstraints(pattern=rf"^{HOST}(, *{HOST})*$")] = Field(
        AUTO, description="Further names that a request's Host may have, such as a proxy's, which need SERVE_TOKEN; "
        "auto: none, or any if host is another address", json_schema_extra={"allowed": HOSTS})  # fmt: skip

    @model_validator(mode="after")
    def _a_request_can_wait(self) -> Self:
        if self.max_waiting < self.max_rows:
            allowed = f"max_rows, {self.max_rows}, or more"
            raise ValueError(f"max_waiting: '{self.max_waiting}' is not allowed; allowed: {allowed}")
        return self

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the endpoint."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name may become another address
            return False


def make_serve_parameters(experiment: Experiment) -> type[Any]:
    """Make the parameters of an endpoint with an experiment's defaults and terms."""
    base = experiment.ServeParameters or ServeParameters
    model = (base.model_fields["model"].annotation, f"models:/{experiment.name}@champion")
    return specialize(base, experiment, {"model": model})


def read_token(parameters: ServeParameters) -> str:
    """Read the token that requests need from the environment; empty if they need none.

    Raises:
        UserError: if it is missing though other machines can reach the endpoint, or is one that can be guessed.
    """
    token = os.environ.get(TOKEN, "")
    if token and not TOKEN_FORM.fullmatch(token):
        raise UserError(f"{TOKEN}: its value is not allowed; allowed: 16 or more characters of ASCII without blanks")
    if not token and not parameters.is_local:
        raise UserError(
            f"host: {parameters.host!r} is not allowed without {TOKEN} in the environment, as other machines can reach "
            "it; allowed: 127.0.0.1, ::1, localhost, or a token of 16 or more characters"
        )
    if not token and parameters.hosts != AUTO:
        raise UserError(
            f"hosts: {parameters.hosts!r} is not allowed without {TOKEN} in the environment, as a proxy makes the "
            "endpoint reachable; allowed: auto, or a token of 16 or more characters"
        )
    return token
