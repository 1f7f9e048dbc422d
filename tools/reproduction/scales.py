"""The two sizes of experiments: what all methods of a table share, so that they are compared on equal terms."""

from dataclasses import dataclass

from reproduction.steps import Step, train


@dataclass(frozen=True)
class Scale:
    """What all methods share: the network's size, the steps, the learning rate, and the recipe's other settings.

    Attributes:
        channels: of the residual network.
        blocks: of it, in all.
        steps: of a training.
        learning_rate: of the optimizer.
        settings: overrides of every recipe.
        device: which trains; None: the best one.
    """

    channels: int
    blocks: int
    steps: int
    learning_rate: float
    settings: tuple[str, ...]
    device: str | None = None

    def trained(
        self, recipe: str, seed: int, *settings: str, steps: float = 1, blocks: int | None = None, rate: float = 1
    ) -> Step:
        """A training of a recipe at this scale.

        Args:
            recipe: that ships.
            seed: of the run.
            settings: overrides, which count more than those of the scale.
            steps: the share of the scale's steps that it has.
            blocks: of the network; None: all.
            rate: the share of the scale's learning rate.
        """
        network = (f"network.channels={self.channels}", f"network.blocks={blocks or self.blocks}")
        budget = (f"steps={round(steps * self.steps)}", f"optimizer.learning_rate={rate * self.learning_rate:g}")
        every = (*network, *self.settings, *budget, f"seed={seed}", *settings)
        return train(recipe, *{one.partition("=")[0]: one for one in every}.values())


SCALES = {
    "mini": Scale(
        channels=32,
        blocks=4,
        steps=1500,
        learning_rate=1e-3,
        settings=("data.train=${TUNABLE_DATA}/BSD432", "data.batch=8", "checkpoint={every: 750, keep: 1}"),
        device="cpu",
    ),
    "paper": Scale(
        channels=64,
        blocks=16,
        steps=500_000,
        learning_rate=1e-4,
        settings=(
            "data.train=${DIV2K}/DIV2K_train_HR",
            "data.patch=64",
            "data.batch=16",
            "data.workers=4",
            "schedule={kind: constant}",
            "checkpoint={every: 5000, keep: 3}",
        ),
    ),
}
