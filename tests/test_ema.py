"""Which weights of a checkpoint `--ema` picks."""

import argparse
import json

import numpy as np
import pytest
from small import small

from tunable.backends.model import WeightsModel
from tunable.commands.shared import add_ema, opened
from tunable.errors import CheckpointError
from tunable.specs.networks import ResNetSpec
from tunable.specs.recipe import parse
from tunable.weights import storage
from tunable.weights.run_state import STATE_FORMAT

NETWORK = {"name": "resnet", "channels": 4, "blocks": 1}


def asked(path, *words):
    parser = argparse.ArgumentParser()
    add_ema(parser)
    return argparse.Namespace(model=path, backend=None, device="cpu", mode=None, **vars(parser.parse_args(words)))


@pytest.fixture
def checkpoint(make_recipe, tmp_path):
    """A checkpoint whose averages are half of its weights, and the weights."""
    recipe = parse({**make_recipe().to_dict(), "network": NETWORK, "optimizer": {"kind": "adam", "average": 0.9}})
    model = small(ResNetSpec(**NETWORK), p=recipe.num_objectives)
    weights = model.backend.parameters(model.network)
    tensors = {f"weights.{name}": value for name, value in weights.items()}
    tensors |= {f"state.average.{name}": value / 2 for name, value in weights.items()}
    path = tmp_path / "step-00000004.safetensors"
    metadata = {"format": STATE_FORMAT, "step": "4", "recipe": json.dumps(recipe.to_dict())}
    storage.save_tensors(path, tensors, metadata)
    return path, weights


@pytest.mark.parametrize(("words", "part"), [((), 0.5), (("--ema", "average"), 0.5), (("--ema", "last"), 1)])
def test_a_checkpoint_has_two_sets(words, part, checkpoint):
    path, weights = checkpoint
    model = opened(asked(path, *words))
    assert isinstance(model, WeightsModel)
    found = model.backend.parameters(model.network)
    assert found.keys() == weights.keys() and model.header.step == 4
    for name, value in weights.items():
        np.testing.assert_array_equal(found[name], part * value)


def test_other_files_have_one(tmp_path, refused):
    path = tmp_path / "model.safetensors"
    small(ResNetSpec(**NETWORK)).save(path)
    with refused(CheckpointError, "model.safetensors has one set of weights", "model_last.safetensors"):
        opened(asked(path, "--ema", "last"))
