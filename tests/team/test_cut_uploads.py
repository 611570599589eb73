"""A proxy before a team's server that cuts uploads: large files go to S3 directly, by MLflow's settings."""

import mlflow
import pytest

from helpers.proxy import Proxy
from helpers.runs import last_run
from helpers.team import TeamStack
from helpers.trainings import Trainings
from tracked.console.errors import RunFailed

pytestmark = [pytest.mark.slow, pytest.mark.needs("Team")]
LIMIT = 10_000  # bytes: rows.parquet, checkpoint and model are larger


def test_cut_uploads_are_completed_in_parts_that_pass_the_proxy_by(
    stack: TeamStack, ann: str, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(stack.uri, max_body=LIMIT) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
        mlflow.set_tracking_uri(proxy.uri)
        with pytest.raises(RunFailed, match=r"missing in run [0-9a-f]{32}: rows.parquet; best.keras"):
            trainings.train()
        run = last_run()
        monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
        monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", str(LIMIT))
        trainings.resume(f"--resume={run.info.run_id}")
        trainings.assert_same_run(run)
        assert max(len(request.body) for request in proxy.seen) <= LIMIT
