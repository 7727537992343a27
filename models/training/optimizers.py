"""Keras' optimizers and schedules, as recipes name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops
from keras.optimizers import schedules

from terraseam.models.training.recipe import Recipe

MOMENTUM = 0.9
POWER = 0.9
"""Exponent of the poly schedule, as in PSPNet (https://arxiv.org/abs/1612.01105, section 5.1)."""
FREE_OF_DECAY = ("bias", "gamma", "beta")

OPTIMIZERS: Mapping[str, Callable[..., keras.optimizers.Optimizer]] = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "sgd": keras.optimizers.SGD,
}
SCHEDULES: Mapping[str, Callable[[float, int], Any]] = {
    "constant": lambda rate, steps: schedules.PolynomialDecay(rate, steps, end_learning_rate=rate),
    "cosine": schedules.CosineDecay,
    "poly": lambda rate, steps: schedules.PolynomialDecay(rate, steps, end_learning_rate=0.0, power=POWER),
}


@keras.saving.register_keras_serializable("terraseam")
class WarmUp(schedules.LearningRateSchedule):
    """A schedule that begins with a rise to its first rate.

    Args:
        schedule: What follows.
        rate: Its first rate.
        steps: Steps of the rise.
    """

    def __init__(self, schedule: schedules.LearningRateSchedule, rate: float, steps: int) -> None:
        self.schedule, self.rate, self.steps = schedule, rate, steps

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step."""
        step = ops.cast(step, "float32")
        rising = self.rate * (step + 1) / max(1, self.steps)
        return ops.where(step < self.steps, rising, self.schedule(ops.maximum(step - self.steps, 0.0)))

    def get_config(self) -> dict[str, Any]:
        """Return what the schedule is made of."""
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "rate": self.rate, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WarmUp:
        """Make the schedule of its config."""
        return cls(**{**config, "schedule": keras.saving.deserialize_keras_object(config["schedule"])})


def make_schedule(recipe: Recipe) -> WarmUp:
    """Make the schedule of a recipe, over all of its steps."""
    after = SCHEDULES[recipe.schedule](recipe.rate, recipe.total_steps - recipe.warm_up)
    return WarmUp(after, recipe.rate, recipe.warm_up)


def make_optimizer(recipe: Recipe, variables: list[Any], step: int) -> keras.optimizers.Optimizer:
    """Make the optimizer of a recipe, ready to go on from a step.

    Args:
        recipe: What it is.
        variables: What it changes.
        step: Steps that were taken before; rates go on from there, moments start anew.
    """
    own = {"momentum": MOMENTUM} if recipe.optimizer == "sgd" else {}
    averaged = {} if recipe.average is None else {"use_ema": True, "ema_momentum": recipe.average}
    optimizer = OPTIMIZERS[recipe.optimizer](
        learning_rate=make_schedule(recipe),
        weight_decay=recipe.weight_decay or None,
        global_clipnorm=recipe.clip,
        **own,
        **averaged,
    )
    optimizer.exclude_from_weight_decay(var_names=list(FREE_OF_DECAY))
    optimizer.build(variables)
    optimizer.iterations.assign(step)
    for average, variable in averages(optimizer, variables):
        # Keras starts averages at their variables in step 0 alone, and at zeros in any later one.
        average.assign(variable)
    return optimizer


def averages(optimizer: keras.optimizers.Optimizer, variables: list[Any]) -> list[tuple[Any, Any]]:
    """Return pairs of a moving average and its variable; none where no averages are kept."""
    kept = getattr(optimizer, "_model_variables_moving_average", [])
    return list(zip(kept, variables, strict=True)) if optimizer.use_ema else []
