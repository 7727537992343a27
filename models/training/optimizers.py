"""Keras optimizers and learning rate schedules of a recipe."""

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
    """Learning rate schedule with a linear warm-up.

    Args:
        schedule: Schedule after the warm-up.
        rate: Learning rate at the end of the warm-up.
        steps: Steps of the warm-up.
    """

    def __init__(self, schedule: schedules.LearningRateSchedule, rate: float, steps: int) -> None:
        self.schedule, self.rate, self.steps = schedule, rate, steps

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step."""
        step = ops.cast(step, "float32")
        rising = self.rate * (step + 1) / max(1, self.steps)
        return ops.where(step < self.steps, rising, self.schedule(ops.maximum(step - self.steps, 0.0)))

    def get_config(self) -> dict[str, Any]:
        """Return the config from which the schedule is rebuilt."""
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "rate": self.rate, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WarmUp:
        """Build the schedule from its config."""
        return cls(**{**config, "schedule": keras.saving.deserialize_keras_object(config["schedule"])})


def make_schedule(recipe: Recipe) -> WarmUp:
    """Build the learning rate schedule of a recipe, over all of its steps."""
    after = SCHEDULES[recipe.schedule](recipe.learning_rate, recipe.total_steps - recipe.warm_up)
    return WarmUp(after, recipe.learning_rate, recipe.warm_up)


def make_optimizer(recipe: Recipe, variables: list[Any], step: int) -> keras.optimizers.Optimizer:
    """Build the optimizer of a recipe, to start or resume at a step.

    Args:
        recipe: Hyperparameters.
        variables: Variables to optimize.
        step: Steps already taken; the schedule continues from there, moments are reset.
    """
    own = {"momentum": MOMENTUM} if recipe.optimizer == "sgd" else {}
    averaged = {} if recipe.ema is None else {"use_ema": True, "ema_momentum": recipe.ema}
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
        # Keras initializes averages to their variables only in step 0, and to zeros in any later one.
        average.assign(variable)
    return optimizer


def averages(optimizer: keras.optimizers.Optimizer, variables: list[Any]) -> list[tuple[Any, Any]]:
    """Return pairs of a moving average and its variable; empty if no averages are kept."""
    moving_averages = getattr(optimizer, "_model_variables_moving_average", [])
    return list(zip(moving_averages, variables, strict=True)) if optimizer.use_ema else []
