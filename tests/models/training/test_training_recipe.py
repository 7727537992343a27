"""Recipes are checked before anything starts, and say all that is wrong with them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from places import ROOT

from terraseam.models.training.recipe import Recipe, RecipeError, Term, parse_loss


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("dice", (Term("dice"),)),
        ("cross_entropy+dice", (Term("cross_entropy"), Term("dice"))),
        (" 0.5 * focal + 2*dice ", (Term("focal", 0.5), Term("dice", 2.0))),
        ("cross_entropy:border", (Term("cross_entropy", 1.0, True),)),
        ("1e-1*cross_entropy:border+dice", (Term("cross_entropy", 0.1, True), Term("dice"))),
    ],
)
def test_losses_are_read_from_text(text, terms):
    assert parse_loss(text) == terms


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the unknown term ''"),
        ("jaccard", "the unknown term 'jaccard'; terms are cross_entropy, dice, focal"),
        ("dice+", "the unknown term ''"),
        ("dice:border", "only cross_entropy can weigh borders"),
        ("cross_entropy:edge", "only border may follow a colon"),
        ("x*dice", "the factor 'x'; factors are numbers above 0"),
        ("0*dice", "the factor '0'"),
        ("nan*dice", "the factor 'nan'"),
        ("dice+2*dice", "names dice more than once"),
    ],
)
def test_a_loss_that_cannot_be_says_why(text, words):
    with pytest.raises(RecipeError) as told:
        parse_loss(text)
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("epochs", 0, "epochs must be 1 or more, got 0"),
        ("steps", 0, "steps of an epoch must be 1 or more, got 0"),
        ("batch", 0, "batch must be 1 chip or more"),
        ("learning_rate", 0.0, "rate must be more than 0"),
        ("learning_rate", float("nan"), "rate must be more than 0, got nan"),
        ("schedule", "step", "schedule must be one of constant, cosine, poly, got 'step'"),
        ("warm_up", -1, "warm_up must be 0 steps or more"),
        ("warm_up", 3000, "as long as the whole training"),
        ("optimizer", "lion", "optimizer must be one of adam, adamw, sgd, got 'lion'"),
        ("weight_decay", -0.1, "weight_decay must be 0 or more"),
        ("loss", "hinge", "the unknown term 'hinge'"),
        ("class_weights", (1.0, -1.0), "class_weights must be numbers of 0 or more"),
        ("class_weights", (0.0, 0.0), "one of them above 0"),
        ("freeze_epochs", -1, "freeze_epochs must be 0 or more"),
        ("norm_momentum", 1.0, "norm_momentum must be 0 or more and less than 1"),
        ("patience", 0, "patience must be 1 epoch or more"),
        ("seed", -1, "seed must be 0 or more"),
        ("clip", 0.0, "clip must be more than 0"),
        ("ema", 1.0, "average must be more than 0 and less than 1"),
        ("workers", 0, "workers must be 1 thread or more"),
    ],
)
def test_a_recipe_that_cannot_be_followed_says_why(field, value, words):
    with pytest.raises(RecipeError) as told:
        Recipe(**{field: value})
    assert words in str(told.value)


def test_a_recipe_tells_all_reasons_at_once():
    with pytest.raises(RecipeError) as told:
        Recipe(epochs=0, learning_rate=-1.0, loss="hinge")
    assert len(str(told.value).splitlines()) == 3


def test_borders_are_wanted_where_a_term_weighs_them():
    assert Recipe(loss="dice+cross_entropy:border").wants_borders
    assert not Recipe(loss="dice+cross_entropy").wants_borders


def test_recipes_need_no_keras():
    code = "import sys, terraseam.models.training.recipe; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"keras", "tensorflow", "jax"} & set(done.stdout.split())
