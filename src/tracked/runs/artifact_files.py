"""List, compare and remove files of artifacts, wherever they are: on a disk, in an object store, behind a server."""

import hashlib
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlparse

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path

from tracked.runs.connection import is_permanent_error
from tracked.runs.outbox import with_retries

SECONDS = 20.0  # of retries
CUT_UPLOAD = ".artifact.uploading."  # how MLflow begins the name of a file that it is copying


def list_sizes(uri: str, folder: str = "") -> dict[str, int]:
    """List the files below a folder of artifacts, with their sizes; empty if there is no such folder.

    Raises:
        RunFailed: if they cannot be listed.
    """
    sizes: dict[str, int] = {}
    waiting = [folder]
    while waiting:
        for one in _list(uri, waiting.pop()):
            if one.is_dir:
                waiting.append(one.path)
            else:
                sizes[one.path] = one.file_size or 0
    return sizes


def list_folders(uri: str, folder: str = "") -> list[str]:
    """List the folders directly below one, by their paths.

    Raises:
        RunFailed: if they cannot be listed.
    """
    return [one.path for one in _list(uri, folder) if one.is_dir]


def list_names(uri: str, folder: str = "") -> list[str]:
    """List the names of the files and folders directly below one.

    Raises:
        RunFailed: if they cannot be listed.
    """
    return [one.path.rpartition("/")[2] for one in _list(uri, folder)]


def _list(uri: str, folder: str) -> list[mlflow.entities.FileInfo]:
    call = partial(_list_once, uri, folder)
    return with_retries(f"listing {uri}", call, _is_final, SECONDS)


def _list_once(uri: str, folder: str) -> list[mlflow.entities.FileInfo]:
    try:
        return get_artifact_repository(uri).list_artifacts(folder or None) or []
    except (FileNotFoundError, NotADirectoryError):
        return []
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return []
        raise


def delete(uri: str, path: str) -> None:
    """Remove a file or a folder of artifacts; one that is missing is no error.

    Raises:
        RunFailed: if it cannot be removed.
    """
    with_retries(f"removing {uri}/{path}".rstrip("/"), partial(_delete_once, uri, path), _is_final, SECONDS)


def _delete_once(uri: str, path: str) -> None:
    try:
        get_artifact_repository(uri).delete_artifacts(path or None)
    except FileNotFoundError:
        return
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def _is_final(error: Exception) -> bool:
    """Whether a server, or a disk, will refuse however often it is asked."""
    return is_permanent_error(error) or isinstance(error, PermissionError)


def remove_cut_uploads(uri: str) -> None:
    """Remove what kills have left of files that MLflow was copying into a run's artifacts, where these are on a disk.

    Elsewhere a file is there as a whole or not at all. Nobody else may log to the run meanwhile.
    """
    if urlparse(uri).scheme not in ("", "file"):
        return
    for path in Path(local_file_uri_to_path(uri)).rglob(f"{CUT_UPLOAD}*"):
        with suppress(OSError):  # it only takes up room
            path.unlink()


def digest(uri: str, path: str) -> str:
    """Compute the SHA-256 of an artifact; empty if there is none.

    Raises:
        RunFailed: if it cannot be read.
    """
    folder, _, name = path.rpartition("/")
    if name not in list_names(uri, folder):
        return ""
    with tempfile.TemporaryDirectory(prefix="tidy-") as here:
        read = partial(get_artifact_repository(uri).download_artifacts, path, here)
        return digest_file(Path(with_retries(f"reading {path}", read, _is_final, SECONDS)))


def digest_file(path: Path) -> str:
    """Compute the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def delete_model(model_id: str) -> None:
    """Delete a stored model's record; nobody can register the model after that.

    Raises:
        RunFailed: if the store keeps failing.
    """

    def attempt() -> None:
        try:
            mlflow.MlflowClient().delete_logged_model(model_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise

    with_retries(f"deleting model {model_id}", attempt, _is_final, SECONDS)
