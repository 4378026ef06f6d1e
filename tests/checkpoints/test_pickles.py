"""Files of `torch.save`: what is taken from them, and what is refused under which name."""

from __future__ import annotations

import io
import os
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch

from napari_sam2.checkpoints.errors import CheckpointError
from napari_sam2.checkpoints.pickles import read_pickle

WEIGHTS = {"a.weight": torch.arange(3.0)}


def read(path, content, **how):
    torch.save(content, path, **how)
    return read_pickle(path)


class Evil:
    def __reduce__(self):
        return os.system, ("echo harm > harmed",)


def zipped(path):
    torch.save({"model": Evil()}, path)


def zipped_newer(path):
    torch.save({"model": Evil()}, path, pickle_protocol=4)


def of_the_older_format(path):
    torch.save({"model": Evil()}, path, _use_new_zipfile_serialization=False)


def raw(protocol):
    return lambda path: path.write_bytes(pickle.dumps({"model": Evil()}, protocol))


def beside_numpy(path):
    torch.save({"metric": np.float64(1), "model": WEIGHTS, "more": Evil()}, path)


def within_numpy(path):
    torch.save({"metric": np.array([Evil()], dtype=object), "model": WEIGHTS}, path)


@pytest.mark.parametrize(
    "write",
    [
        zipped, zipped_newer, of_the_older_format, beside_numpy, within_numpy,
        *(raw(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
    ],
)  # fmt: skip
def test_a_pickle_that_runs_code_is_refused_and_named(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pt"
    write(path)
    named = f"{os.system.__module__}.system"  # posix, or nt
    with pytest.raises(CheckpointError, match=f"tensors: it asks for {named}\\.") as caught:
        read_pickle(path)
    message = str(caught.value)
    assert "was not opened" in message
    assert "damaged" not in message
    assert "weights_only" not in message  # as torch advises, to read it all the same
    assert not (tmp_path / "harmed").exists()


class Program(torch.nn.Module):
    def forward(self, x):
        return x + 1


def test_a_program_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(Program()), tmp_path / "program.pt")
    with pytest.raises(CheckpointError, match="is a TorchScript program") as caught:
        read_pickle(tmp_path / "program.pt")
    assert "weights_only" not in str(caught.value)


def test_tensors_in_a_pickle_that_torch_cannot_read_are_neither_code_nor_damage(tmp_path):
    path = tmp_path / "weights.pt"
    with pytest.raises(CheckpointError, match="cannot be read without the risk") as caught:
        read(path, WEIGHTS, pickle_protocol=4)
    assert "more than tensors" not in str(caught.value)
    assert "weights_only" not in str(caught.value)


def cut(keep):
    def write(path):
        torch.save({"model": {"a": torch.zeros(9000)}}, path)
        path.write_bytes(path.read_bytes()[:keep])

    return write


def cut_older(path):
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-4])


def rewritten(path, content, change):
    """Each part of the archive as `change` gives it back, left out where that is None."""
    whole = io.BytesIO()
    torch.save(content, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if (part := change(name, old.read(name))) is not None:
                new.writestr(name, part)


def without_a_tensor(path):
    rewritten(path, WEIGHTS, lambda name, part: None if "/data/" in name else part)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"GIF89a not weights"),
        lambda path: path.write_bytes(b"cell\nx\ny\n1.5"),
        lambda path: path.write_bytes(pickle.dumps(Evil())[:-5]),
        lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)),
        cut(100),
        cut(5000),
        cut(-1),
        cut_older,
        without_a_tensor,
    ],
)
def test_damage_is_named_as_such(tmp_path, write):
    path = tmp_path / "weights.pt"
    write(path)
    with pytest.raises(CheckpointError) as caught:
        read_pickle(path)
    assert str(caught.value) == (
        "weights.pt is not a checkpoint, or is damaged. Copy or download it again."
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "It holds a list"),
        ({}, "It holds a dict"),
        ({"model": {"a": 3}}, "It holds the keys 'model'"),
        ({0: torch.ones(2)}, "It holds the keys 0"),
        ({"a": torch.ones(2, dtype=torch.int64)}, "the keys 'a'"),
        ({"a": torch.ones(2, device="meta")}, "the keys 'a'"),
        ({"a": torch.eye(2).to_sparse()}, "the keys 'a'"),
    ],
)
def test_a_file_without_weights_says_what_it_holds(tmp_path, content, message):
    with pytest.raises(CheckpointError, match=f"holds no weights.*{message}"):
        read(tmp_path / "weights.pt", content)


def test_a_dictionary_that_holds_itself_is_no_trap(tmp_path):
    content = {"epoch": 3}
    content["model"] = content["ema"] = content
    with pytest.raises(CheckpointError, match="holds no weights"):
        read(tmp_path / "weights.pt", content)
    deep = {"ema": content}
    for _ in range(300):
        deep = {"model": deep}
    content["state_dict"] = WEIGHTS
    (group,) = read(tmp_path / "weights.pt", deep)
    assert group.keys() == WEIGHTS.keys()


@pytest.mark.parametrize(
    "beside",
    [
        {"best_metric": np.float64(0.5), "current_metric": np.float32(0.25)},
        {"train_time": np.arange(3), "done": np.bool_(True), "kind": np.dtype("float32")},
        {"names": np.array(["a", None], dtype=object), "fields": np.zeros(2, "i4,f8")},
        {"optimizer": {"state": {0: {"step": torch.tensor(3.0)}}}, "epoch": 3},
        {1: 2, None: "x", (1, 2): [3]},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_stands_beside_the_weights_is_left_aside(tmp_path, beside, zipped):
    allowed = set(torch.serialization.get_safe_globals())  # listed in any order
    path = tmp_path / "weights.pt"
    wrapped, flat = (
        read(path, content, _use_new_zipfile_serialization=zipped)
        for content in ({"model_state": WEIGHTS, **beside}, {**WEIGHTS, **beside})
    )
    for (group,) in (wrapped, flat):
        assert group.keys() == WEIGHTS.keys()
        assert torch.equal(group["a.weight"], WEIGHTS["a.weight"])
    # for this file only
    assert set(torch.serialization.get_safe_globals()) == allowed


@pytest.mark.parametrize("core", ["core", "_core"])
def test_numbers_of_numpy_1_and_2_are_left_aside(tmp_path, core):
    """As they are named in the pickles of either, whichever is installed."""
    name = b"numpy.%s.multiarray" % core.encode()

    def renamed(_, part):
        return re.sub(rb"numpy\._?core\.multiarray", name, part)

    path = tmp_path / "weights.pt"
    rewritten(path, {"model": WEIGHTS, "metric": np.float64(1), "a": np.ones(2)}, renamed)
    assert name in path.read_bytes()
    (group,) = read_pickle(path)
    assert torch.equal(group["a.weight"], WEIGHTS["a.weight"])


def test_several_groups_are_given_in_order(tmp_path):
    content = {"ema": {"b": torch.ones(1)}, "model": {"a": torch.ones(1)}, "lr": torch.ones(1)}
    assert [list(group) for group in read(tmp_path / "w.pt", content)] == [["lr"], ["a"], ["b"]]
