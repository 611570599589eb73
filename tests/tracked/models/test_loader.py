"""Files of a downloaded model: a model that holds anything but known data files is refused before it is loaded."""

import importlib.metadata
import platform
from pathlib import Path

import mlflow
import pytest
from mlflow.models import Model

from tracked.console.errors import UserError
from tracked.models import loader, requirements
from tracked.runs.registry import StoredModel

from diabetes import Diabetes  # isort: skip  # its folder is on the path since verbs is imported

SAVED_MODEL = [
    "conda.yaml", "python_env.yaml", "requirements.txt", "input_example.json", "serving_input_example.json",
    "registered_model_meta", "extra_files/best.keras", "tf2model/saved_model.pb", "tf2model/fingerprint.pb",
    "tf2model/variables/variables.index", "tf2model/variables/variables.data-00000-of-00001",
    "tf2model/assets/words.txt",
]  # fmt: skip


def download(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str, content: str = "") -> loader.DownloadedModel:
    """Download a model whose folder holds these files beside MLmodel."""
    model = Model()
    model.add_flavor("python_function", loader_module="mlflow.tensorflow")
    model.save(str(folder / "MLmodel"))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", lambda *_, **__: str(folder))
    return loader.download(Diabetes(), StoredModel("models:/m/1", "m", "1", "", ""), folder)


def test_download_of_a_saved_model_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert download(tmp_path, monkeypatch, *SAVED_MODEL).path == tmp_path


@pytest.mark.parametrize("module", ["keras", "tensorflow.keras", "keras._tf_keras.keras"])
def test_download_of_a_keras_model_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    files = ["data/keras_module.txt", "data/model.keras", "data/save_format.txt"]
    assert download(tmp_path, monkeypatch, *files, content=module).path == tmp_path


@pytest.mark.parametrize("module", ["antigravity", "antigravity.keras", "keras.antigravity", "keras\nantigravity"])
def test_download_of_a_model_that_names_another_module_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    with pytest.raises(UserError, match=r"holds data/keras_module\.txt, which may run code when loaded; allowed: "):
        download(tmp_path, monkeypatch, "data/keras_module.txt", content=module)


@pytest.mark.parametrize(
    "name",
    ["data/model.h5", "data/model.hdf5", "custom_objects.cloudpickle", "weights.pkl", "weights.PKL", "helper.py",
     "helper.pyw", "helper.pyd", "helper.so.1", "helper.zip", "weights.pt", "weights.npy", "pickle", "x.data-1-of-1"],
)  # fmt: skip
def test_download_of_a_model_with_an_unknown_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with pytest.raises(UserError, match=f"^model: 'models:/m/1' holds {name}, which may run code when loaded; allowed"):
        download(tmp_path, monkeypatch, *SAVED_MODEL, name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("keras=={keras}\nnumpy>=1\nmlflow==3.*\n-r other.txt\nkeras==2 ; python_version < '3'\n\n# keras==2.9", ""),
        ("Keras=={keras}.0\nscikit_learn>1 # keras==2.9\n\x1b[31mkeras==2.9\nkeras==2.9\x1b[31m", ""),
        ("keras==2.9\nmlflow[extras]=={mlflow}", "keras==2.9 (here {keras})"),
        ("keras == 2.9\nno-such-package[one]==1.0 ", "keras==2.9 (here {keras}), no-such-package==1.0 (here none)"),
        ("keras<3,>=2\nno-such-package", "keras<3,>=2 (here {keras}), no-such-package (here none)"),
    ],
)
def test_download_of_a_model_that_needs_other_packages_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    versions = {name: importlib.metadata.version(name) for name in ("keras", "mlflow")}
    download(tmp_path, monkeypatch, "requirements.txt", content=content.format(**versions))
    line = f"m version 1 needs {said.format(**versions)}: its answers may differ\n" if said else ""
    assert capsys.readouterr().err == line


def test_requirements_that_are_no_text_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_bytes(b"\xff\xfe\nno-such-package\n")
    assert requirements.find_other_packages(tmp_path, "") == ["no-such-package (here none)"]


@pytest.mark.parametrize(
    ("python", "said"), [("", []), ("{0}.{1}.99", []), ("{0}.9.1", ["Python {0}.9.1 (here {here})"])]
)
def test_another_python_is_found_by_its_first_two_numbers(tmp_path: Path, python: str, said: list[str]) -> None:
    here = platform.python_version()
    numbers = here.split(".")
    expected = [line.format(*numbers, here=here) for line in said]
    assert requirements.find_other_packages(tmp_path, python.format(*numbers)) == expected
