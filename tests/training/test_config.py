"""A run read from a TOML file."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from napari_sam2.training.config import (
    NANO_TOML,
    ModelConfig,
    TrainingConfig,
    load_config,
    load_data,
)
from napari_sam2.training.sources import DataSource
from napari_sam2.training.tables import ConfigError

GUIDE = Path(__file__).parents[2] / "docs" / "training.md"

SMALLEST = """
[[data]]
name = "cells"
images = "images"
labels = "labels"
"""

RECIPES = [f"nano_{name}.toml" for name in ("continued", "gpu", "parts", "outlines")]


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "cells.toml"
        path.write_text(text)
        return path

    return write


def test_a_few_lines_tune_nano(write):
    config = load_config(write(SMALLEST))
    assert (config.name, config.model.start, config.model.adapt) == ("cells", "nano", "all")
    assert [stage.name for stage in config.stages] == ["tuning"]
    assert config.stages[0].dense_weight == 0
    assert config.weights == {"cells": 1.0}
    assert config.folder.is_absolute()


def test_what_the_file_says(write):
    text = """
    name = "better"
    accumulate = 4
    [model]
    start = "sam2.1_tiny"
    adapt = "adapters"
    [[stages]]
    name = "first"
    steps = 10
    learning_rate = 1
    diameters = [5, 50.5]
    """
    config = load_config(write(text + SMALLEST + "validation = 'a*'"))
    (stage,) = config.stages
    assert (config.name, config.accumulate, config.model.rank) == ("better", 4, 8)
    assert (stage.learning_rate, stage.diameters) == (1.0, (5.0, 50.5))
    assert config.data[0].validation == ("a*",)
    assert load_config(write(SMALLEST + "validation = 0.2")).data[0].validation == 0.2


def test_the_run_of_nano():
    config = load_config(NANO_TOML)
    assert (config.name, config.model.start) == ("nano", "scratch")
    assert config.stages[0].name == "dense"
    assert config.calibrate_presence == "bbbc050"
    assert [source.name for source in load_data(NANO_TOML)] == [s.name for s in config.data]


@pytest.mark.parametrize("name", RECIPES)
def test_the_runs_that_nano_was_continued_by_have_the_same_data(name):
    first, then = load_config(NANO_TOML), load_config(NANO_TOML.with_name(name))
    assert (then.model.start, then.optimizer, then.stages[-1].size) == ("nano", "muon", 512)

    def split(config):
        return [replace(each, weight=1) for each in config.data if each.name != "generated"]

    assert split(then) == split(first)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = ", "is not TOML"),
        ("", r"\[\[data\]\] is missing"),
        ("sed = 1" + SMALLEST, "'sed' is not known. Known are stages"),
        ("folder = 'x'" + SMALLEST, "'folder' is not known"),
        (SMALLEST + "image = 'x'", r"data\[1\]: 'image' is not known"),
        ("seed = 'one'" + SMALLEST, "seed is 'one', but a whole number"),
        ("accumulate = true" + SMALLEST, "accumulate is True, but a whole number"),
        (SMALLEST + "validation = true", "but a number"),
        (SMALLEST + "axes = 3", r"data\[1\].axes is 3, but a text"),
        (SMALLEST + "[[stages]]\nname='a'\nsteps=1", r"stages\[1\]: 'learning_rate' is missing"),
        (SMALLEST + "[[stages]]\nname='a'\nsteps=0\nlearning_rate=1", "steps is 0"),
        (SMALLEST + "[[stages]]\nname='a'\nsteps=1\nlearning_rate=1\nsize=100", "multiple of 32"),
        (SMALLEST + "[[stages]]\nname='a'\nsteps=1\nlearning_rate=1\nwhole=128", "256 at least"),
        (
            SMALLEST + "[[stages]]\nname='a'\nsteps=1\nlearning_rate=1\ndiameters=[1]",
            "a list of 2, each of it a number",
        ),
        (
            SMALLEST + "[stages]\nname='a'",
            "stages is {'name': 'a'}, but a list, each of it a table",
        ),
        (SMALLEST + "[model]\nadapt='some'", "one of all, decoder, adapters"),
        (SMALLEST + "[model]\nstart='scratch'", r"\[\[stages\]\] is missing"),
        (SMALLEST + "[model]\nstart='scratch'\nvariant='huge'", "variant is 'huge'"),
        (
            SMALLEST
            + "[model]\nadapt='decoder'\n[[stages]]\nname='a'\nsteps=1\nlearning_rate=1\n"
            + "prompts=false",
            "'decoder' freezes it",
        ),
        (
            SMALLEST + "[model]\nadapt='memory'\n[[stages]]\nname='a'\nsteps=1\nlearning_rate=1",
            "video_share is 1",
        ),
        (SMALLEST + SMALLEST, "the same name"),
        (SMALLEST + "weight = 0", "weight above 0"),
        ("calibrate_presence = 'x'" + SMALLEST, "names no"),
        ("precision = 'float16'" + SMALLEST, "one of auto, float32, bfloat16"),
        ("optimizer = 'sgd'" + SMALLEST, "one of adamw, muon"),
    ],
)
def test_a_mistake_is_named_with_its_file(write, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(write(text))
    assert "cells.toml" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml")


def test_data_alone(write):
    with pytest.raises(ConfigError, match=r"no \[\[data\]\]"):
        load_data(write("x = 1"))
    assert load_data(write("x = 1" + SMALLEST))[0].images == "images"


@pytest.mark.parametrize("example", re.findall(r"```toml\n(.*?)```", GUIDE.read_text(), re.DOTALL))
def test_the_guide_s_examples_can_be_read(write, example):
    data = "" if "[[data]]" in example else SMALLEST
    assert load_config(write(example + data)).stages


def test_the_guide_names_every_key():
    text = GUIDE.read_text()
    for kind in (TrainingConfig, ModelConfig, DataSource):
        for item in fields(kind):
            assert f"`{item.name}`" in text or f"[[{item.name}]]" in text or item.name in (
                "folder", "model"
            ), item.name  # fmt: skip
