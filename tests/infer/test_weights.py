"""Weights survive the file bit for bit, and a broken file is said to be broken."""

import hashlib

import pytest
import torch

from cohortseg.errors import StudyError
from cohortseg.infer.networks import build_network
from cohortseg.infer.weights import load_network, read_metadata, save_weights, weights_digest

ARGUMENTS = {"dims": 3, "in_channels": 1, "out_channels": 2, "features": [2, 4], "strides": [[1, 1, 1], [1, 2, 2]]}
METADATA = {"architecture": "unet", "arguments": ARGUMENTS, "patch": [3, 4, 8], "classes": ["tumour"], "mean_hu": -40.5}


@pytest.fixture
def network():
    return build_network("unet", ARGUMENTS, seed=3)


def test_what_is_written_is_read_bit_for_bit(network, tmp_path):
    save_weights(tmp_path / "w.safetensors", network, METADATA)
    loaded, metadata = load_network(tmp_path / "w.safetensors", torch.device("cpu"))
    assert metadata == METADATA
    assert not loaded.training
    assert loaded.state_dict().keys() == network.state_dict().keys()
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in loaded.state_dict().items())
    image = torch.randn(1, 1, 3, 4, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded(image), network.eval()(image))


def test_the_same_weights_give_the_same_bytes(network, tmp_path):
    one = save_weights(tmp_path / "one", network, METADATA)
    two = save_weights(tmp_path / "two", network, dict(reversed(METADATA.items())))
    assert one == two == hashlib.sha256((tmp_path / "one").read_bytes()).hexdigest() == weights_digest(tmp_path / "two")


def test_other_weights_have_another_digest(network, tmp_path):
    one = save_weights(tmp_path / "one", network, METADATA)
    with torch.no_grad():
        network.head.bias[0] += 1e-3
    assert save_weights(tmp_path / "two", network, METADATA) != one
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_metadata_are_read_without_the_weights(network, tmp_path):
    save_weights(tmp_path / "w", network, METADATA)
    assert read_metadata(tmp_path / "w") == METADATA


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_cut_file_is_refused_without_its_path(network, tmp_path, keep):
    path = tmp_path / "secret-name"
    save_weights(path, network, METADATA)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StudyError) as raised:
        load_network(path, torch.device("cpu"))
    assert "secret" not in str(raised.value)


def test_a_file_of_another_program_is_refused(tmp_path):
    import safetensors.torch

    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "w")
    with pytest.raises(StudyError):
        load_network(tmp_path / "w", torch.device("cpu"))


def test_weights_of_another_architecture_are_refused(network, tmp_path):
    save_weights(tmp_path / "w", network, {**METADATA, "arguments": {**ARGUMENTS, "features": [2, 8]}})
    with pytest.raises(StudyError, match="do not fit"):
        load_network(tmp_path / "w", torch.device("cpu"))
