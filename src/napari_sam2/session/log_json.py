"""The log as JSON. The image of a stack is left out: a saved session is of one image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_sam2.inference.prompts import MaskPrompt
from napari_sam2.session import strict
from napari_sam2.session.log import (
    AddObject,
    ChangeObject,
    Choose,
    MergeObjects,
    Paint,
    RemoveMask,
    RemoveObject,
    Reopen,
    Run,
    SetPrompts,
    SplitObject,
)
from napari_sam2.session.pass_request import PassRequest
from napari_sam2.session.prompt_json import read_prompt, write_prompt
from napari_sam2.session.values import ModelChoice, StackKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam2.inference.channels import Channel
    from napari_sam2.session.log import Command


def write_command(command: Command, channels: Sequence[Channel] = ()) -> dict[str, Any]:
    """A command as JSON; a run has the numbers of its channels among all of the log's."""
    match command:
        case AddObject(object_id, name):
            return {"do": "add object", "object": object_id, "name": name}
        case ChangeObject(object_id, name, visible):
            return {"do": "change object", "object": object_id, "name": name, "visible": visible}
        case RemoveObject(object_id):
            return {"do": "remove object", "object": object_id}
        case MergeObjects(object_id, other):
            return {"do": "merge objects", "object": object_id, "other": other}
        case SplitObject(stack, object_id, frame, part):
            at = _write_place(stack, object_id, frame)
            return {"do": "split object", **at, "part": part}
        case SetPrompts(stack, object_id, frame, prompts):
            at = _write_place(stack, object_id, frame)
            return {"do": "set prompts", **at, "prompts": [write_prompt(each) for each in prompts]}
        case Paint(stack, object_id, frame, mask):
            at = _write_place(stack, object_id, frame)
            return {"do": "paint", **at, "mask": write_prompt(mask)}
        case Choose(stack, object_id, frame, index):
            return {"do": "choose", **_write_place(stack, object_id, frame), "index": index}
        case RemoveMask(stack, object_id, frame):
            return {"do": "remove mask", **_write_place(stack, object_id, frame)}
        case Reopen():
            return {"do": "reopen"}
        case Run(channels=seen):
            return {
                "do": "run",
                "stack": write_stack(command.stack),
                "model": command.model.name,
                "device": command.model.device,
                "precision": command.model.precision,
                "image_size": command.model.image_size,
                "contrast_limits": _write_pair(command.contrast_limits),
                "frames": list(command.frames),
                "pass": None if command.request is None else _write_pass(command.request),
                "results": command.results,
                "outcome": command.outcome,
                # left out where there are none, as in sessions from before there were any
                **({"channels": [channels.index(each) for each in seen]} if seen else {}),
                **({"view": list(command.view)} if command.view else {}),
            }


def read_command(value: Any, image: str, channels: Sequence[Channel] = ()) -> Command:
    """A command of JSON, on an image; a FormatError says what is wrong."""
    kind = value.get("do") if isinstance(value, dict) else None
    if kind == "add object":
        found = strict.record(value, "do", "object", "name")
        return AddObject(strict.label(found["object"]), strict.text(found["name"]))
    if kind == "change object":
        found = strict.record(value, "do", "object", "name", "visible")
        return ChangeObject(
            strict.label(found["object"]), strict.text(found["name"]), strict.flag(found["visible"])
        )
    if kind == "remove object":
        return RemoveObject(strict.label(strict.record(value, "do", "object")["object"]))
    if kind == "merge objects":
        found = strict.record(value, "do", "object", "other")
        return MergeObjects(strict.label(found["object"]), strict.label(found["other"]))
    if kind == "split object":
        found = strict.record(value, "do", "stack", "object", "frame", "part")
        return SplitObject(*_place(found, image), strict.label(found["part"]))
    if kind == "set prompts":
        found = strict.record(value, "do", "stack", "object", "frame", "prompts")
        return SetPrompts(*_place(found, image), strict.listing(found["prompts"], read_prompt))
    if kind == "paint":
        found = strict.record(value, "do", "stack", "object", "frame", "mask")
        mask = read_prompt(found["mask"])
        if not isinstance(mask, MaskPrompt) or not mask.crop.size:
            raise strict.FormatError("what was painted should be a mask")
        return Paint(*_place(found, image), mask)
    if kind == "choose":
        found = strict.record(value, "do", "stack", "object", "frame", "index")
        return Choose(*_place(found, image), strict.optional(found["index"], strict.integer))
    if kind == "remove mask":
        return RemoveMask(*_place(strict.record(value, "do", "stack", "object", "frame"), image))
    if kind == "reopen":
        strict.record(value, "do")
        return Reopen()
    if kind == "run":
        return _read_run(value, image, channels)
    raise strict.FormatError(f"there should be a command, not {value!r:.60}")


def write_stack(stack: StackKey) -> dict[str, Any]:
    """A stack as JSON, without its image."""
    return {
        "plane_axes": list(stack.plane_axes),
        "frame_axis": stack.frame_axis,
        "fixed": [list(each) for each in stack.fixed],
    }


def read_stack(value: Any, image: str) -> StackKey:
    """A stack of JSON, of an image; a FormatError says what is wrong."""
    found = strict.record(value, "plane_axes", "frame_axis", "fixed")
    return StackKey(
        image,
        strict.pair(found["plane_axes"], strict.integer),
        strict.optional(found["frame_axis"], strict.integer),
        strict.listing(found["fixed"], lambda each: strict.pair(each, strict.integer)),
    )


def _read_run(value: Any, image: str, channels: Sequence[Channel]) -> Run:
    names = "do stack contrast_limits frames pass results outcome".split()
    names += [name for name in ("channels", "view") if name in value]
    found = strict.record(value, *names, "model", "device", "precision", "image_size")
    name, device, precision = (strict.text(found[n]) for n in ("model", "device", "precision"))
    image_size = strict.optional(found["image_size"], strict.label)
    return Run(
        read_stack(found["stack"], image),
        ModelChoice(name, device, precision, image_size),
        strict.optional(found["contrast_limits"], lambda each: strict.pair(each, strict.number)),
        strict.pair(found["frames"], strict.integer),
        strict.optional(found["pass"], _read_pass),
        strict.integer(found["results"]),
        strict.one_of(found["outcome"], ("done", "cancelled", "failed")),
        strict.listing(
            found.get("channels", []),
            lambda each: strict.one_at(channels, each),
        ),
        _read_view(found["view"]) if "view" in found else None,
    )


def _read_view(value: Any) -> tuple[float, float, float, float]:
    row_min, col_min, row_max, col_max = strict.listing(value, strict.number, 4)
    return row_min, col_min, row_max, col_max


def _write_pass(request: PassRequest) -> dict[str, Any]:
    return {
        "direction": request.direction,
        "limits": _write_pair(request.limits),
        "stop_when_absent": request.stop_when_absent,
        "objects": None if request.objects is None else list(request.objects),
    }


def _read_pass(value: Any) -> PassRequest:
    found = strict.record(value, "direction", "limits", "stop_when_absent", "objects")
    return PassRequest(
        strict.one_of(found["direction"], ("both", "forward", "backward")),
        strict.optional(found["limits"], lambda each: strict.pair(each, strict.integer)),
        strict.optional(found["stop_when_absent"], strict.label),
        strict.optional(found["objects"], lambda each: strict.listing(each, strict.label)),
    )


def _write_place(stack: StackKey, object_id: int, frame: int) -> dict[str, Any]:
    return {"stack": write_stack(stack), "object": object_id, "frame": frame}


def _place(found: dict[str, Any], image: str) -> tuple[StackKey, int, int]:
    stack = read_stack(found["stack"], image)
    return stack, strict.label(found["object"]), strict.integer(found["frame"])


def _write_pair(pair: tuple[float, float] | tuple[int, int] | None) -> list[float] | None:
    return None if pair is None else list(pair)
