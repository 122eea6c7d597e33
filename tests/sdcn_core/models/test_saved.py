import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from sdcn_core.errors import BadInput
from sdcn_core.models import saved, vgg16
from sdcn_core.models.saved import load_model
from tests.sdcn_core.export.saved_models import CLASSES, experiment_of, write_model


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.pt", experiment_of())


def rewritten(path: Path, **changes: object) -> Path:
    """The file with some of its parts replaced; None takes a part out."""
    content = torch.load(path, weights_only=True) | changes
    torch.save({name: value for name, value in content.items() if value is not None}, path)
    return path


def test_a_model_comes_back_with_its_weights_its_experiment_and_its_classes(model_file: Path) -> None:
    model = load_model(model_file)
    assert model.classes == CLASSES
    assert model.experiment == experiment_of()
    for name, tensor in torch.load(model_file, weights_only=True)["weights"].items():
        assert torch.equal(model.network.state_dict()[name], tensor)


def test_a_loaded_model_is_ready_to_detect_and_not_to_learn(model_file: Path) -> None:
    network = load_model(model_file).network
    assert not any(part.training for part in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_pretrained_weights_that_the_experiment_names_are_not_looked_for(model_file: Path) -> None:
    experiment = experiment_of("squeezenet1_1")
    write_model(model_file, experiment)
    named = experiment.with_overrides({"model.backbone.weights": {"path": "nowhere.npz"}})
    rewritten(model_file, experiment=named.model_dump(mode="json"))
    assert load_model(model_file).experiment == named


def test_a_model_sees_pixels_as_the_weights_that_it_started_from(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vgg16, "BLOCKS", ((2, 2), (2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2)))
    write_model(model_file, experiment_of("vgg16_d8").with_overrides({"model.backbone.convention": "fast_rcnn"}))
    pixels = load_model(model_file).network.backbone.pixels
    assert pixels.mean.flatten().tolist() == pytest.approx([122.7717, 115.9465, 102.9801])


def test_loading_leaves_torchs_random_numbers_alone(model_file: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_model(model_file)
    assert torch.equal(torch.rand(3), expected)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"model .*none\.pt cannot be read \(No such file"):
        load_model(tmp_path / "none.pt")


@pytest.mark.parametrize("kept", [0, 10, 1000, -200])
def test_a_file_that_is_cut_off_is_refused(model_file: Path, kept: int) -> None:
    model_file.write_bytes(model_file.read_bytes()[:kept])
    with pytest.raises(BadInput, match="no archive of torch's, or is cut off"):
        load_model(model_file)


def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "touched",)

    torch.save({"experiment": Evil(), "classes": [], "weights": {}}, tmp_path / "model.pt", pickle_module=pickle)
    with pytest.raises(BadInput, match="cannot be read without running code"):
        load_model(tmp_path / "model.pt")
    assert not (tmp_path / "touched").exists()


def test_a_foreign_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(BadInput, match="cannot be used"):
        load_model(tmp_path / "model.pt")


def test_an_archive_that_unpacks_to_too_much_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "MAX_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", bytes(100_000))
    with pytest.raises(BadInput, match="unpacks to 100000 bytes, more than the 10000"):
        load_model(tmp_path / "model.pt")


@pytest.mark.parametrize("part", ["experiment", "classes", "weights"])
def test_a_file_without_one_of_its_parts_is_refused(model_file: Path, part: str) -> None:
    with pytest.raises(BadInput, match="it lacks the experiment, the classes or the weights"):
        load_model(rewritten(model_file, **{part: None}))


@pytest.mark.parametrize("classes", [[], ["cat", "cat"], [1, 2], "cats"])
def test_classes_that_are_no_names_are_refused(model_file: Path, classes: object) -> None:
    with pytest.raises(BadInput, match="not a list of different names"):
        load_model(rewritten(model_file, classes=classes))


def test_weights_of_another_network_are_refused_by_the_first_name_that_does_not_fit(model_file: Path) -> None:
    other = experiment_of().with_overrides({"model.detection.hidden": 8000})
    with pytest.raises(BadInput, match=r"detection\.features\.fc6\.bias is \(32,\) instead of \(8000,\)"):
        load_model(rewritten(model_file, experiment=other.model_dump(mode="json")))


def test_an_experiment_of_another_version_is_refused_with_the_field(model_file: Path) -> None:
    experiment = experiment_of().model_dump(mode="json") | {"colour": "green"}
    with pytest.raises(BadInput, match=r"does not know its experiment \(colour: "):
        load_model(rewritten(model_file, experiment=experiment))


def test_weights_that_are_not_finite_are_refused(model_file: Path) -> None:
    weights = torch.load(model_file, weights_only=True)["weights"]
    weights["detection.features.fc7.bias"][0] = float("nan")
    with pytest.raises(BadInput, match=r"'detection\.features\.fc7\.bias' holds numbers that are not finite"):
        load_model(rewritten(model_file, weights=weights))


def test_the_sum_names_the_file_not_its_place(model_file: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(model_file, tmp_path / "other.pt"))
    assert load_model(copy).sha256 == load_model(model_file).sha256
