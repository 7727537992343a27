"""Describe the plan and the result of a training as text."""

from __future__ import annotations

from pathlib import Path

from terraseam.models.bundle.card import Card
from terraseam.pipeline.training.data import count_objects
from terraseam.pipeline.training.plan import TrainPlan
from terraseam.pipeline.units import count, format_gsd, format_pixels, listed
from terraseam.tiles.vectors.read import listed_reasons


def describe_training(plan: TrainPlan) -> str:
    """Return a description of a planned training, one line per setting."""
    recipe, options, chips = plan.recipe, plan.options, plan.options.chips
    pixels = sum(
        raster.info.georef.height * raster.info.georef.width * (raster.gsd / plan.gsd) ** 2
        for raster in plan.train
    )
    encoder = f" on {plan.row.encoder}" if plan.row.encoder else ""
    lines = [
        f"rasters     {count(len(plan.train), 'raster')}, {format_pixels(round(pixels))} at {format_gsd(plan.gsd)}",
        f"labels      {_labels(plan)}",
        f"validation  {count(len(plan.validation.views), 'chip')} of {_validated(plan)}",
        f"bands       {', '.join(plan.band_names)}{'' if options.band_names else ' by default; --band-names renames them'}",
        f"network     {plan.row.architecture}{encoder}",
        f"start       {_start(plan)}",
        f"training    {count(recipe.epochs, 'epoch')} of {count(recipe.steps, 'step')} of "
        f"{count(recipe.batch, 'chip')} of {chips.chip} px; {recipe.optimizer}, "
        f"rate {recipe.learning_rate:g}, {recipe.schedule}",
        f"bundle      {options.output}; state, logs and pictures in {options.work_folder}",
    ]
    return "\n".join(lines)


def notes(plan: TrainPlan) -> list[str]:
    """Return notes for the user before the training starts."""
    findings = plan.findings
    sentences = list(findings.notes)
    if findings.mended:
        sentences.append(f"{count(findings.mended, 'invalid polygon')} repaired")
    if findings.left_out:
        sentences.append(f"features skipped: {listed_reasons(findings.left_out)}")
    if findings.unnamed:
        sentences.append(
            f"{count(findings.unnamed, 'polygon')} without a class: the area they cover is ignored"
        )
    if findings.others:
        names = ", ".join(f"{name} ({number})" for name, number in findings.others.most_common(5))
        sentences.append(f"polygons of classes that were not named count as {plan.classes.names[0]}: {names}")
    return [*sentences, *(f"skipped: {sentence}" for sentence in findings.skipped)]


def describe_training_result(plan: TrainPlan, card: Card) -> str:
    """Return a description of the result, and how to use it."""
    reached = card.metrics["validation"]
    figures = [
        f"{name.removeprefix('iou_')} IoU {value:.3f}"
        for name, value in reached.items()
        if name.startswith("iou_")
    ]
    if len(figures) > 1:
        figures.insert(0, f"mean IoU {reached['mean_iou']:.3f}")
    figures = figures or [
        f"{name} {reached[name]:.3f}" for name in ("f1", "precision", "recall") if name in reached
    ]
    output = Path(plan.options.output)
    size = sum(file.stat().st_size for file in output.iterdir())
    return "\n".join(
        [
            "",
            f"best epoch {card.training['best epoch']} of {card.training['epochs']}: {', '.join(figures)}",
            f"{output}: {size / 1e6:.1f} MB, GSD {format_gsd(plan.gsd)}",
            f"use it: terraseam segment RASTER --model {output} --output out",
        ]
    )


def _labels(plan: TrainPlan) -> str:
    names = plan.classes.names
    named = [f"{number:,} {name}" for name, number in count_objects(plan).items()]
    return f"{', '.join(named)}; the rest is {names[0]}" if named else f"label rasters of {', '.join(names)}"


def _start(plan: TrainPlan) -> str:
    """Return a description of the initial weights."""
    options = plan.options
    first = [f"encoder of {options.encoder_weights}"] if options.encoder_weights else []
    first += [f"{options.initial_bundle} where layers match"] if options.initial_bundle else []
    if first:
        return f"{', then '.join(first)}; random weights for the rest"
    hint = (
        "; pass --encoder-weights imagenet or --initial-bundle BUNDLE for pretrained weights"
        if plan.row.encoder
        else ""
    )
    return f"random weights{hint or '; pass --initial-bundle BUNDLE for pretrained weights'}"


def _validated(plan: TrainPlan) -> str:
    names = sorted({plan.validation.scenes[site].name for site, _ in plan.validation.views})
    apart = "" if plan.options.truths.val_images else f", held out by {plan.options.chips.split}"
    return f"{listed(names, 4)}{apart}"
