"""Training recipe: hyperparameters, validated before anything starts.

Keras is not imported here: plans and error messages need the recipe long before a network.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

LOSSES = ("cross_entropy", "dice", "focal")
OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "poly")
BORDER = "border"
RECORDED_AS = {"learning_rate": "rate", "ema": "average"}
"""Names of fields of a recipe in training states and cards, where these differ."""


class RecipeError(ValueError):
    """An invalid recipe; every reason is on its own line."""


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a loss.

    Attributes:
        name: One of `LOSSES`.
        weight: Its weight, more than 0.
        border: Whether narrow gaps between objects are weighted more, by the border weights of the chips.
    """

    name: str
    weight: float = 1.0
    border: bool = False


def parse_loss(text: str) -> tuple[Term, ...]:
    """Parse the text of a loss: terms joined by ``+``, each optionally with a factor before and ``:border`` after it.

    Args:
        text: Such as ``cross_entropy+dice``, ``0.5*focal+dice`` or ``cross_entropy:border``.

    Raises:
        RecipeError: If a term is not one of `LOSSES`, is repeated, or its factor is not a number above 0.
    """
    terms = tuple(_parse_term(part.strip(), text) for part in text.split("+"))
    names = [term.name for term in terms]
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(f"the loss {text!r} names {name} more than once; give it one factor")
    return terms


def _parse_term(part: str, text: str) -> Term:
    factor, _, rest = part.rpartition("*")
    name, colon, option = (piece.strip() for piece in rest.partition(":"))
    if name not in LOSSES:
        raise RecipeError(
            f"the loss {text!r} has the unknown term {name!r}; terms are {', '.join(LOSSES)}, joined by +"
        )
    if colon and option != BORDER:
        raise RecipeError(f"the loss {text!r} has {name}:{option}; only {BORDER} may follow a colon")
    if colon and name != "cross_entropy":
        raise RecipeError(f"the loss {text!r} has {name}:{BORDER}; only cross_entropy can weigh borders")
    try:
        weight = float(factor) if factor else 1.0
    except ValueError:
        weight = math.nan
    if not (0 < weight < math.inf):
        raise RecipeError(f"the loss {text!r} has the factor {factor!r}; factors are numbers above 0")
    return Term(name, weight, bool(colon))


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hyperparameters of training.

    Attributes:
        epochs: Maximum number of epochs; each ends with a validation.
        steps: Steps per epoch, one batch each.
        batch: Chips per batch.
        learning_rate: Peak learning rate.
        schedule: Rate schedule: ``constant``, ``cosine`` (to 0) or ``poly`` (to 0, power 0.9, as in DeepLab).
        warm_up: Steps in which the learning rate rises to `learning_rate`.
        optimizer: ``adam``, ``adamw`` or ``sgd`` (momentum 0.9).
        weight_decay: Decoupled weight decay of kernels per step, times the rate; biases and norms are exempt.
        loss: Text that `parse_loss` reads; ignored by detectors, which have their own losses.
        class_weights: Weight of each class in the loss, None for 1.
        freeze_epochs: Epochs in which the encoder is frozen.
        freeze_norm: Whether the encoder's batch normalization is frozen throughout.
        norm_momentum: Momentum of trainable batch normalization, None for the network's own. Encoders come with
            0.99, with which statistics are still half the initial ones after 70 steps.
        patience: Epochs without improvement after which training stops, None for never.
        seed: Seed of all random numbers.
        clip: Global norm to which gradients are clipped, None for no clipping.
        ema: Momentum of an exponential moving average of the weights, which is validated and kept; None for none.
        workers: Threads that build batches; they do not affect results.
    """

    epochs: int = 30
    steps: int = 100
    batch: int = 8
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warm_up: int = 0
    optimizer: str = "adam"
    weight_decay: float = 0.0
    loss: str = "cross_entropy+dice"
    class_weights: tuple[float, ...] | None = None
    freeze_epochs: int = 0
    freeze_norm: bool = False
    norm_momentum: float | None = 0.9
    patience: int | None = None
    seed: int = 0
    clip: float | None = None
    ema: float | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        reasons = [
            reason.format(value=getattr(self, name)) for name, good, reason in CHECKS if not good(self)
        ]
        try:
            parse_loss(self.loss)
        except RecipeError as error:
            reasons.append(str(error))
        if reasons:
            raise RecipeError("\n".join(reasons))

    @property
    def terms(self) -> tuple[Term, ...]:
        """Terms of the loss."""
        return parse_loss(self.loss)

    @property
    def wants_borders(self) -> bool:
        """Whether the loss uses border weights."""
        return any(term.border for term in self.terms)

    @property
    def total_steps(self) -> int:
        """Steps of all epochs."""
        return self.epochs * self.steps

    def record(self) -> dict[str, Any]:
        """Return the fields by the names that training states and cards have for them."""
        return {RECORDED_AS.get(name, name): value for name, value in asdict(self).items()}


def _whole(name: str, least: int) -> Callable[[Recipe], bool]:
    return lambda recipe: isinstance(getattr(recipe, name), int) and getattr(recipe, name) >= least


def _number(name: str, good: Callable[[float], bool], *, optional: bool = False) -> Callable[[Recipe], bool]:
    def check(recipe: Recipe) -> bool:
        value = getattr(recipe, name)
        return optional if value is None else math.isfinite(value) and good(value)

    return check


CHECKS: tuple[tuple[str, Callable[[Recipe], bool], str], ...] = (
    ("epochs", _whole("epochs", 1), "epochs must be 1 or more, got {value}"),
    ("steps", _whole("steps", 1), "steps of an epoch must be 1 or more, got {value}"),
    ("batch", _whole("batch", 1), "batch must be 1 chip or more, got {value}"),
    (
        "learning_rate",
        _number("learning_rate", lambda rate: rate > 0),
        "rate must be more than 0, got {value}",
    ),
    (
        "schedule",
        lambda recipe: recipe.schedule in SCHEDULES,
        f"schedule must be one of {', '.join(SCHEDULES)}, got {{value!r}}",
    ),
    ("warm_up", _whole("warm_up", 0), "warm_up must be 0 steps or more, got {value}"),
    (
        "warm_up",
        lambda recipe: recipe.warm_up < max(1, recipe.epochs * recipe.steps),
        "warm_up of {value} steps is as long as the whole training; make it shorter",
    ),
    (
        "optimizer",
        lambda recipe: recipe.optimizer in OPTIMIZERS,
        f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {{value!r}}",
    ),
    (
        "weight_decay",
        _number("weight_decay", lambda decay: decay >= 0),
        "weight_decay must be 0 or more, got {value}",
    ),
    (
        "class_weights",
        lambda recipe: recipe.class_weights is None or _weigh(recipe.class_weights),
        "class_weights must be numbers of 0 or more, one of them above 0, got {value}",
    ),
    ("freeze_epochs", _whole("freeze_epochs", 0), "freeze_epochs must be 0 or more, got {value}"),
    (
        "norm_momentum",
        _number("norm_momentum", lambda momentum: 0 <= momentum < 1, optional=True),
        "norm_momentum must be 0 or more and less than 1, got {value}",
    ),
    (
        "patience",
        lambda recipe: recipe.patience is None or recipe.patience >= 1,
        "patience must be 1 epoch or more, got {value}",
    ),
    ("seed", _whole("seed", 0), "seed must be 0 or more, got {value}"),
    ("clip", _number("clip", lambda clip: clip > 0, optional=True), "clip must be more than 0, got {value}"),
    (
        "ema",
        _number("ema", lambda ema: 0 < ema < 1, optional=True),
        "average must be more than 0 and less than 1, got {value}",
    ),
    ("workers", _whole("workers", 1), "workers must be 1 thread or more, got {value}"),
)
"""Field, validity check, and error message."""


def _weigh(weights: tuple[float, ...]) -> bool:
    return all(0 <= weight < math.inf for weight in weights) and any(weight > 0 for weight in weights)


FREE = ("workers",)
"""Fields of a recipe that do not affect results."""
