"""What every network shares: its plain or tunable form, its parameter specs, its start."""

from typing import Any

import torch
from torch import nn

from torch_impl import ops
from torch_impl.layers import Composite, Norm, Tunable
from torch_impl.layers.kernel import TunableKernel
from torch_impl.layers.mixing import Mixing
from torch_impl.networks.prepared import Prepared, Tail, Trunk
from tunable.errors import OmegaError, TunableError
from tunable.forms import mixing_asked
from tunable.omega import check_tensor
from tunable.parameters.layouts import misfit, tunable_layers
from tunable.parameters.specs import ParameterSpec
from tunable.parameters.starts import Initial, starting_weights
from tunable.specs.arguments import ClassSignature, documentation, signature, validated
from tunable.specs.formulations import rank_fault
from tunable.specs.network_base import NetworkBase


class Network(Composite):
    """Base of the networks, called as network(x, omega) when tunable and as network(x) when plain.

    A subclass names its specification, whose fields are the keywords of its constructor, for example
    `class ResNet(Network, spec=ResNetSpec)`. It makes its layers in `build(spec)`, from the specification that these
    keywords amount to, and names them in `stages`, in the order of computation. `begin(x)`, `stage(place, features,
    omega)` for every stage and `end(x, features)` are what it computes.

    Attributes:
        stages: for each stage the names of its layers, or of the parts that hold them.
        trunk_stages: how many stages come before the first that has a tunable layer; all when plain.
        mix: where kernels are mixed, one of tunable.forms.MIXING; the environment variable TUNABLE_MIX sets it.
    """

    specification: type[NetworkBase]
    stages: list[list[str]]

    def __init_subclass__(cls, spec: type[NetworkBase] | None = None, **options) -> None:
        super().__init_subclass__(**options)
        if spec:
            cls.specification = spec
            cls.__signature__ = ClassSignature(signature(spec))
            cls.__doc__ = documentation(cls.__doc__ or "", spec)
        elif "__init__" in vars(cls):  # a constructor of its own, whose signature is Python's affair
            cls.__signature__ = ClassSignature(None)

    def __init__(self, *, num_objectives: int, **arguments) -> None:
        super().__init__(num_objectives)
        spec = validated(type(self).__name__, self.specification, arguments)
        fault = misfit(spec, num_objectives)  # pyright: ignore[reportArgumentType]
        if fault and spec.strategy:
            raise TunableError(f"{type(self).__name__}: {fault}")
        self.spec = spec
        self.build(spec)
        if not hasattr(self, "stages"):
            raise TunableError(f"{type(self).__name__} does not say what its stages are")
        chosen = tunable_layers(spec, num_objectives)  # pyright: ignore[reportArgumentType]
        if chosen is not None:
            self._keep_tunable(chosen)
        self.trunk_stages = self._before_tunable()
        ranks = [layer.rank for layer in self.modules() if isinstance(layer, TunableKernel)]
        fault = rank_fault(spec.rank, ranks)
        if fault:
            raise TunableError(f"{type(self).__name__}: {fault}")
        self.mix = mixing_asked()
        self._mixing = Mixing(layer for layer in self.modules() if isinstance(layer, Tunable))

    def forward(self, x: torch.Tensor, omega: torch.Tensor | None = None) -> torch.Tensor:
        """Run the network.

        Args:
            x: pictures (N, 3, H, W), 0 to 1.
            omega: (p,) for all pictures, (N, p) for one each, or a map (N, p, H, W) for one per pixel; None exactly
                when the network is plain.

        Returns:
            (N, 3, upscale H, upscale W), not clipped.

        Raises:
            OmegaError: for an omega that is missing, of another shape, or given to a plain network.
        """
        if (omega is not None) != bool(self.num_objectives):
            raise OmegaError(
                f"a tunable network wants omega ({self.num_objectives},)"
                if omega is None
                else "a plain network takes no omega"
            )
        if omega is not None and not torch.compiler.is_compiling():
            check_tensor(
                omega, self.num_objectives, len(x), size=self.pixels(x), without_maps=self.specification.without_maps
            )
        return self.finish(x, self.trunk_of(x), omega)

    def pixels(self, x: torch.Tensor) -> tuple[int, ...]:
        """Return the size of the maps that the network takes for pictures x, theirs; () where it takes none."""
        return () if self.specification.without_maps else tuple(x.shape[2:])

    def mixed_at(self, omega: torch.Tensor | None) -> Any:
        """Return what the layers take in omega's place: all their kernels, where they are mixed at once, else omega.

        Args:
            omega: (p,), (N, p), or a map, which every layer mixes for itself; None when plain.
        """
        if (
            omega is None
            or omega.ndim > 2
            or getattr(self, "_is_replica", False)
            or not ops.mixes_network(omega, self.mix)
        ):
            return omega
        return self._mixing.at(omega)

    def roles_of(self, name: str) -> tuple[str, str]:
        """Return the roles of weight and bias of an ordinary layer of this network, by its name; see ParameterSpec."""
        return "kernel", "bias"

    def _keep_tunable(self, chosen: frozenset[str]) -> None:
        """Put ordinary layers in place of all tunable ones but the chosen."""
        origin = torch.zeros(self.num_objectives)
        for name, layer in list(self.named_modules()):
            if isinstance(layer, Tunable) and name not in chosen:
                ops.put(self, name, layer.fold(origin))

    def _before_tunable(self) -> int:
        """How many stages come before the first that has a tunable layer."""
        tunable = [name + "." for name, layer in self.named_modules() if isinstance(layer, Tunable)]
        for place, names in enumerate(self.stages):
            if any(layer.startswith(name + ".") for name in names for layer in tunable):
                return place
        return len(self.stages)

    def build(self, spec: Any) -> None:
        """Make the layers, and name them in `stages`.

        Args:
            spec: what the keywords of the constructor amount to, an instance of the subclass's specification.

        Raises:
            TunableError: in this base, which has no layers.
        """
        raise TunableError(f"{type(self).__name__} does not say what its layers are")

    def prepare(self, x: torch.Tensor) -> Prepared:
        """Compute what does not depend on omega: the stages before the first one that has a tunable layer.

        Args:
            x: pictures (N, 3, H, W), 0 to 1.

        Returns:
            What restores these pictures at any omega by the other stages alone: `network.prepare(x).at(omega)`.

        Raises:
            TunableError: as `parts`.
        """
        return Prepared(self, x)

    def parts(self) -> tuple[Trunk, Tail]:
        """Return the network's trunk, trunk(x), and its tail, tail(x, omega, *features): the same at every call.

        Raises:
            TunableError: for a plain network, and for one whose first stage has a tunable layer.
        """
        if not self.num_objectives:
            raise TunableError("a plain network takes no omega: there is nothing to prepare for")
        if not self.trunk_stages:
            raise TunableError(
                f"there is nothing to prepare: this {type(self).__name__} is tunable from its first layers on "
                f"({', '.join(self.stages[0])}); `where`, such as {{last: 2}}, says which layers are"
            )
        if "_parts" not in vars(self):
            object.__setattr__(self, "_parts", (Trunk(self), Tail(self)))  # else they would be parts of the network
        return vars(self)["_parts"]

    def trunk_of(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the features of x (N, 3, H, W) that no omega changes."""
        features = self.begin(x)
        for place in range(self.trunk_stages):
            features = self.stage(place, features, None)
        return features

    def finish(self, x: torch.Tensor, features: tuple[torch.Tensor, ...], omega: torch.Tensor | None) -> torch.Tensor:
        """Return the output (N, 3, upscale H, upscale W) of x at omega, from the features that `trunk_of` returned."""
        settings = self.mixed_at(omega)
        for place in range(self.trunk_stages, len(self.stages)):
            features = self.stage(place, features, settings)
        return self.end(x, features)

    def begin(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the features before the first stage, of pictures x (N, 3, H, W).

        Raises:
            TunableError: in this base, which computes nothing.
        """
        raise TunableError(f"{type(self).__name__} does not say what it computes")

    def stage(
        self, place: int, features: tuple[torch.Tensor, ...], omega: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        """Compute one stage.

        Args:
            place: its index in `stages`.
            features: what the stage before returned: all that later stages want, the last of them the main path's.
            omega: (p,), (N, p), a map (N, p, H, W), or what `mixed_at` makes of it, already checked; None when plain,
                or where the stage has no tunable layer.

        Returns:
            The features behind the stage.

        Raises:
            TunableError: in this base, which computes nothing.
        """
        raise TunableError(f"{type(self).__name__} does not say what it computes")

    def end(self, x: torch.Tensor, features: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the output (N, 3, upscale H, upscale W) of what the last stage returned: affine in it, no layers.

        Raises:
            TunableError: in this base, which computes nothing.
        """
        raise TunableError(f"{type(self).__name__} does not say what it computes")


def parameter_specs(network: nn.Module) -> list[ParameterSpec]:
    """Return the spec of every parameter of a network of tunable and ordinary layers, in the network's order.

    The parameters of a Tunable, a Norm or a Composite have the roles that it names; those of the framework's ordinary
    convolutions and linear layers are kernels and biases.
    """
    specs = []
    for name, module in network.named_modules():
        prefix = name + "." if name else ""
        if isinstance(module, Tunable):
            specs += module.specs(prefix)
        elif isinstance(module, Norm | Composite):
            roles = module.roles()
            for local, value in module.named_parameters(recurse=False):
                specs.append(ParameterSpec(prefix + local, tuple(value.shape), *roles[local]))
        elif isinstance(module, ops.ORDINARY) and not _inside_tunable(network, name):
            fan_in = module.weight[0].numel()
            kernel, bias = network.roles_of(name) if isinstance(network, Network) else ("kernel", "bias")
            specs.append(ParameterSpec(prefix + "weight", tuple(module.weight.shape), kernel, fan_in))
            if module.bias is not None:
                specs.append(ParameterSpec(prefix + "bias", tuple(module.bias.shape), bias, fan_in))
    return specs


def initialise(network: nn.Module, seed: int, initial: Initial | None = None) -> None:
    """Give the whole network its starting weights, which are the same in both frameworks (tunable.parameters.starts).

    Args:
        network: the network, which is changed in place.
        seed: the seed of the draws.
        initial: how tunable layers start; None: the default.
    """
    drawn = starting_weights(parameter_specs(network), seed, initial)
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.copy_(torch.from_numpy(drawn[name]))


def _inside_tunable(network: nn.Module, name: str) -> bool:
    """Whether a module belongs to a tunable layer's phi."""
    parents = name.split(".")
    return any(isinstance(network.get_submodule(".".join(parents[:i])), Tunable) for i in range(len(parents)))
