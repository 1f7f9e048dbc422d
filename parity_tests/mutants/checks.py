"""The checks that mutants must not pass: tests of the suite, called with small cases."""

import contextlib
import inspect
import io
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from parity_tests import (
    golden,
    strangers,
    test_certificate,
    test_control,
    test_export,
    test_golden,
    test_grid_objectives,
    test_layers,
    test_limits,
    test_make_tunable,
    test_maps,
    test_networks,
    test_objectives,
    test_optimizers,
    test_perceptual,
    test_retrofit,
    test_structure,
    test_threads,
    test_training,
)
from parity_tests.cases import CASES, CONVOLUTIONS, FORMULATED
from parity_tests.recipes import make_recipe, small_recipe, write_untrained
from tunable.specs.feature_network import LAYERS

sys.path.append(str(Path(__file__).parents[2] / "tests"))  # which is no package

import test_certificate_parts  # noqa: E402
import test_export as test_onnx  # noqa: E402
import test_patches  # noqa: E402
import test_tiling  # noqa: E402
from prepared import two_pictures  # noqa: E402


class Check(NamedTuple):
    """A test function and its arguments; what else it wants are fixtures, made here as conftest makes them.

    alone  the twin that it is run with; None: each
    """

    function: Callable
    arguments: dict[str, Any]
    alone: str | None = None

    def concerns(self, backend: str) -> bool:
        return self.alone in (None, backend)

    def run(self, twin) -> None:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            rng = np.random.default_rng(5)
            fixtures = {
                "twin": twin,
                twin.name: twin,
                "backend": twin.backend,
                "rng": rng,
                "arrays": partial(strangers.inputs, rng=rng),
                "make_recipe": make_recipe,
                "make_loss": partial(test_objectives.build_loss, twin, make_recipe),
                "folder": Path(folder),
            }
            missing = inspect.signature(self.function).parameters.keys() - self.arguments.keys()
            if "recipes" in missing:
                fixtures["recipes"] = test_perceptual.make_recipes(Path(folder))
            if "tmp_path" in missing:
                fixtures["tmp_path"] = Path(tempfile.mkdtemp(dir=folder))
            if "batches" in missing:
                fixtures["folder"] = Path(tempfile.mkdtemp(dir=folder))
                two_pictures(fixtures["folder"])
                fixtures["batches"] = test_patches.maker(make_recipe, fixtures["folder"])
            if "small_network" in missing:
                path, recipe = Path(folder) / "small.safetensors", small_recipe("affine")
                fixtures["small_network"] = lambda phi: write_untrained(path, recipe, twin.backend)
            if "without_recipe" in missing:
                path = Path(folder) / "without.safetensors"
                fixtures["without_recipe"] = test_certificate.write_without_recipe(path, twin.backend)
            with pytest.MonkeyPatch.context() as monkeypatch:
                fixtures["monkeypatch"] = monkeypatch
                self.function(**{name: fixtures[name] for name in missing}, **self.arguments)

    def __str__(self) -> str:
        values = ", ".join(map(str, self.arguments.values()))
        return self.function.__name__ + (f"[{values}]" if values else "")


def _check(function: Callable, **arguments) -> Check:
    return Check(function, arguments)


def _outputs(names, phi="affine", p=2) -> list[Check]:
    return [_check(test_layers.test_output, name=name, phi=phi, p=p) for name in names]


def _gradients(*names, phi="affine", label="per sample") -> list[Check]:
    return [_check(test_layers.test_gradients, name=name, phi=phi, label=label) for name in names]


def twelve_steps(twin, name: str) -> None:
    """As test_optimizers.test_fifty_steps, which remembers what it finds: nothing of a broken twin may stay."""
    moves, buffers, _, _, counted = test_optimizers.take_steps(twin, test_optimizers.SETTINGS[name], steps=12)
    limit = test_optimizers.OPTIMIZER
    assert counted == 12
    assert moves <= limit and buffers <= limit, f"moves {moves:.1e}, buffers {buffers:.1e}"


def _of_kind(*starts) -> list[str]:
    return [name for name, case in CASES.items() if case.kind.startswith(starts)]


def _alone(*checks: Check) -> list[Check]:
    """Of what both twins share: checked beside torch."""
    return [check._replace(alone="torch") for check in checks]


_PHI = ("affine", "base", "identity", "se")

# kind of mutant -> the checks that are there to see it
CHECKS: dict[str, list[Check]] = {
    "convolution": [
        *_outputs(name for name in CONVOLUTIONS if "transpose" not in CASES[name].kind),
        *_outputs(["grouped"], "base", 1),
        _check(test_layers.test_written_convolution),
        _check(test_layers.test_written_stride_and_dilation),
        *_gradients("grouped", "1x1"),
    ],
    "map": [
        *(_check(test_maps.test_layers, name=name, phi=phi, p=p) for name, phi, p in test_maps.LAYERS),
        _check(test_maps.test_what_mixes_the_whole_picture_takes_the_mean, name="channel attention"),
    ],
    "differences": [
        _check(test_limits.test_written_differences),
        *(_check(test_layers.test_output, name=name, phi=phi, p=p) for name, phi, p in FORMULATED),
    ],
    "transposed": _outputs(_of_kind("conv_transpose")),
    "linear": [*_outputs([*_of_kind("linear"), "attention"]), *_gradients("linear on rows")],
    "parameter": [
        *_outputs(_of_kind("parameter")),
        *(_check(test_layers.test_free_parameter_starts_at_its_value, value=value) for value in (0, 1)),
    ],
    "phi": [
        *(check for phi in _PHI for check in _outputs(["table"], phi, 3)),
        _check(test_layers.test_written_phi),
        _check(test_layers.test_written_squeeze_and_excitation),
        *(check for phi in _PHI for check in _gradients("table", phi=phi)),
    ],
    "norm": [
        *_outputs(["layer norm small variance", *_of_kind("layer_norm", "instance_norm")]),
        *_gradients("layer norm", "layer norm 2d", "instance norm"),
        _check(test_limits.test_folded_layer, name="layer norm small variance", phi="affine", p=2),
    ],
    "attention": [
        *_outputs(_of_kind("window_attention", "channel_attention", "simplified")),
        *_gradients("attention shifted", label="inside"),
    ],
    "network": [
        _check(test_networks.test_written_numbers),
        _check(test_structure.test_resnet_in_numpy, phi="affine"),
        *(_check(test_structure.test_parts_pass_every_option_on, p=p) for p in (0, 2)),
        _check(test_networks.test_per_sample_equals_one_by_one, phi="affine"),
        _check(test_networks.test_wrong_calls_are_refused),
    ],
    "other network": [
        *(_check(test_golden.test_equal_to_the_projects_own_outputs, name=name) for name in golden.NETWORKS),
        *(_check(test_limits.test_every_convolution_pads_alike, p=p, padding="reflect") for p in (0, 2)),
    ],
    "strategy": [
        *(_check(getattr(test_control, f"test_{name}_by_hand")) for name in ("dynet", "cfsnet", "cresmd", "adafm")),
        *(_check(test_control.test_outputs, name=name) for name in ("dynet", "cfsnet x3", "cresmd", "adafm")),
        *(_check(test_control.test_output_blend, name=name) for name in test_control.BLENDS),
    ],
    "objective": [
        *(
            _check(test_objectives.test_multi_loss, name=name, distance=distance, normalise="none", label="per sample")
            for name in ("rec + noise", "three", "blur before its noise")
            for distance in ("l1", "l2", "charbonnier", "fft")
        ),
        *(_check(test_objectives.test_mean_of_targets, name="three", label=label) for label in ("per sample", "small")),
        _check(test_objectives.test_mean_of_targets, name="residues", label="per sample"),
        _check(test_objectives.test_ms_ssim),
        _check(test_objectives.test_written_numbers),
        _check(test_objectives.test_built_by_hand),
        _check(test_objectives.test_parts_of_the_colour_space, spaces=("luma", "chroma"), distance="l1"),
    ],
    "judge": [
        _check(test_perceptual.test_relativistic_written_numbers),
        _check(test_perceptual.test_gram_written_numbers),
        _check(test_grid_objectives.test_grid_written_numbers),
        _check(test_grid_objectives.test_shrunk_written_numbers),
        *(
            _check(test_perceptual.test_features, network="vgg19", layer=layer, size=(37, 22))
            for layer in LAYERS["vgg19"].values()
        ),
        _check(test_perceptual.test_discriminator, scales=4),
        *(_check(test_perceptual.test_objectives, name=name) for name in ("gan", "units", "features", "layers")),
        _check(test_perceptual.test_the_discriminators_step),
        _check(test_perceptual.test_the_networks_step_leaves_the_discriminator),
    ],
    "multi-loss": [
        *(
            _check(test_objectives.test_multi_loss, name="lambdas", distance="l1", normalise=normalise, label=label)
            for normalise in ("none", "sum")
            for label in test_objectives.OMEGAS
        ),
        _check(test_objectives.test_loss_at_a_unit_vector_is_its_weighted_objective, i=1),
        _check(test_objectives.test_no_loss_at_zero),
        _check(test_objectives.test_built_by_hand),
        _check(test_objectives.test_mean_of_targets, name="parts", label="per sample"),
    ],
    "training": [
        *(_check(twelve_steps, name=name) for name in test_optimizers.SETTINGS),
        _check(test_structure.test_a_step_reports_the_loss, name="se, three objectives"),
        *(_check(test_optimizers.test_in_training, name=name) for name in ("adam", "sgd")),
        _check(test_training.test_gradients_move_nothing),
        _check(test_training.test_every_parameter_moves, name="base"),
        _check(test_training.test_an_unused_parameter_has_no_gradient),
        _check(test_training.check_resumed_run),
    ],
    "folding": [
        *(
            _check(test_limits.test_folded_layer, name=name, phi="affine", p=2)
            for name in (
                "grouped strided",
                "dilated",
                "reflected",
                "transposed output padding",
                "linear",
                "table",
                "layer norm",
                "attention shifted",
                "channel attention",
            )  # fmt: skip
        ),
        _check(test_limits.test_folded_network, phi="base"),
    ],
    "weights": [
        *(_check(test_structure.test_start, name=name) for name in test_structure.STARTS),
        _check(test_structure.test_trace),
        _check(test_layers.test_parameters, name="grouped", phi="se", p=3),
        _check(test_limits.test_every_parameter_of_a_network_gets_a_gradient, phi="affine"),
        _check(test_networks.test_written_numbers),
        _check(test_optimizers.test_in_training, name="adam"),
    ],
    "make_tunable": [
        *(
            _check(function, name="tied", phi=phi)
            for function in (
                test_make_tunable.test_every_omega_starts_as_the_given_network,
                test_make_tunable.test_what_is_learnt_is_the_sum_of_the_files_kernels,
            )
            for phi in ("base", "affine", "se")
        ),
        *(_check(test_make_tunable.test_differences_alone, rank=rank) for rank in (0, 1)),
        *(_check(test_retrofit.test_differences_start_at_nothing_and_learn, rank=rank) for rank in (0, 2)),
        *(_check(test_retrofit.test_phi_learns, phi=phi) for phi in ("affine", "se")),
        _check(test_make_tunable.test_what_becomes_tunable_can_be_said_by_name_class_and_predicate),
        _check(test_retrofit.test_a_kernel_that_is_kept_elsewhere, how="list"),
        _check(test_make_tunable.test_batch_norms_in_training_take_one_omega),
    ],
    "tuned files": [
        _check(test_make_tunable.test_folding_gives_the_given_class_back, name="tied"),
        *(
            _check(test_retrofit.test_a_fold_is_as_the_given_network_was, options={"phi": phi})
            for phi in ("base", "se")
        ),
        _check(test_retrofit.test_a_fold_takes_the_running_statistics),
        _check(test_retrofit.test_files_hold_every_bit),
        _check(test_retrofit.test_running_statistics_move),
        _check(test_make_tunable.test_differences_alone, rank=0),
    ],
    "tuned threads": [
        _check(test_threads.test_a_network_made_tunable, label="one"),
        _check(test_retrofit.test_a_wrapped_network_has_the_names_of_the_plain_one, name="DataParallel")._replace(
            alone="torch"
        ),
    ],
    "tiles": _alone(
        _check(test_tiling.test_scale),
        *(_check(test_tiling.test_a_halo_is_as_wide_as_the_reach, scale=2, size=size) for size in (None, (20, 26))),
        *(_check(test_tiling.test_a_halo_of_cells, scale=2, size=size) for size in (None, (32, 36))),
        *(
            _check(test_tiling.test_blending_leaves_no_seams, scale=4, tile=tile, size=size, shared=shared)
            for tile, size, shared in ((32, None, 16), (None, (32, 48), 8))
        ),
        _check(test_tiling.test_blended_pieces_lie_where_they_belong, height=33, width=47, tile=16, scale=2),
        _check(test_tiling.test_windows_lie_as_in_the_whole_picture),
        _check(test_tiling.test_a_size_blended, height=50, width=70, scale=2, multiple=8),
        _check(test_tiling.test_levels_are_restored_as_levels, halo=None, tile=16, dtype=np.uint8),
    ),
    "batches": _alone(
        _check(test_patches.test_a_batch_is_a_function_of_seed_and_index),
        _check(test_patches.test_batches_share_no_random_numbers),
        _check(test_patches.test_samples_of_a_batch_differ),
        _check(test_patches.test_stream_equals_direct, workers=3, processes=False),
        _check(test_patches.test_patches_are_turned_crops_of_the_pictures),
        _check(test_patches.test_a_patch_is_blurred_with_what_is_around_it),
        _check(test_patches.test_degradation),
        _check(test_patches.test_degradations_follow_the_recipes_order),
        _check(test_patches.test_omega_follows_the_sampler_and_p),
        _check(test_patches.test_an_annealed_sampler_knows_its_batch),
    ),
    "exports": _alone(
        _check(test_export.test_dni, phi="base"),
        _check(test_export.test_a_wrong_interpolation_is_not_kept),
        _check(test_onnx.test_constants_that_are_affine_in_omega),
        _check(test_export.test_other_numbers_of_objectives, p=3),
        _check(test_export.test_networks_that_pad_their_input, name="resnet x4", kind="folded"),
        _check(test_export.test_an_export_of_one_omega_for_all_is_not_kept),
    ),
    "certificate": _alone(
        *(
            _check(function)
            for function in (
                test_certificate_parts.test_optimizers_are_given_many_gradients,
                test_certificate_parts.test_optimizer_distances,
                test_certificate_parts.test_perturbed,
                test_certificate_parts.test_rmse,
                test_certificate_parts.test_rows_get_their_limits_in_the_end,
                test_certificate.test_a_row_that_is_not_finite_never_passes,
                test_certificate.test_an_empty_certificate_does_not_pass,
            )
        ),
        _check(test_certificate.test_weights_are_judged_to_the_bit),
        _check(test_certificate.test_every_picture_of_a_batch_is_judged),
        _check(test_certificate.test_an_output_that_stays_is_no_change, output=0.5),
        _check(test_certificate.test_every_pair_is_compared),
        _check(test_certificate.test_weights_that_stay_are_red),
        _check(test_certificate.test_training_is_judged_by_a_perturbation, drift=9e-5, passes=False),
    ),
}
