"""Where the work of several workers is done: in processes of this machine, or on a Ray cluster."""

from typing import Annotated, Literal

from pydantic import Field

from tracked.console.cores import count_cores
from tracked.console.parameters import Text, refusal

AUTO = "auto"
Executor = Literal["processes", "ray"]
Address = Annotated[Text, Field(description="Address of a Ray cluster; auto: this machine",
    json_schema_extra={"allowed": "auto or an address such as ray://host:10001"})]  # fmt: skip


def check_workers(workers: int, executor: str, address: str) -> None:
    """Check that this machine has a core for each worker, and that only Ray is given an address.

    Raises:
        ValueError: if not.
    """
    if executor == "processes":
        cores = count_cores()
        if workers > cores:
            raise ValueError(refusal("workers", workers, f"at most {cores}, the cores of this machine"))
        if address != AUTO:
            raise ValueError(refusal("address", address, "auto with executor=processes"))
