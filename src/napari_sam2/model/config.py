"""Sizes of the networks, as frozen values, and the table of the published variants.

The numbers are those of the SAM 2 paper (arXiv 2408.00714) and its published configurations.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar


@dataclass(frozen=True)
class HieraConfig:
    """Shape of the hierarchical image encoder; tuples have one entry a stage.

    Attributes
    ----------
    width : int
        Channels of the first stage; each further stage doubles them.
    heads : int
        Attention heads of the first stage; each further stage doubles them.
    depths : tuple of int
        Blocks in each stage.
    global_blocks : tuple of int
        Indices, over all stages, of the blocks that attend to the whole image.
    windows : tuple of int
        Side of the attention windows of each stage, in tokens.
    background : tuple of int
        (height, width) of the learned position embedding that is stretched over the image.
    """

    width: int
    heads: int
    depths: tuple[int, ...]
    global_blocks: tuple[int, ...]
    windows: tuple[int, ...]
    background: tuple[int, int]

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage, fine to coarse."""
        return tuple(self.width * 2**stage for stage in range(len(self.depths)))


@dataclass(frozen=True)
class VitConfig:
    """Shape of SAM 1's image encoder.

    Attributes
    ----------
    width, depth, heads : int
        Channels, blocks, and attention heads of each block.
    global_blocks : tuple of int
        Indices of the blocks that attend to the whole image.
    """

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]


@dataclass(frozen=True)
class Sam1Config:
    """Shape of a SAM 1 model.

    Attributes
    ----------
    name : str
        Short name, such as ``"sam_vit_b"``.
    vit : VitConfig
        The image encoder.
    image_size : int
        Side of the square input in pixels; the image's longest side is resized to it.
    trained_size : int
        Side that the position embeddings were learned at.
    width : int
        Channels of the image embedding, prompts and tokens.
    decoder_feedforward : int
        Hidden width of the decoder's feed-forward parts.
    """

    name: str
    vit: VitConfig
    image_size: int = 1024
    trained_size: int = 1024
    width: int = 256
    decoder_feedforward: int = 2048
    family: ClassVar[str] = "sam1"

    def with_image_size(self, image_size: int) -> Sam1Config:
        """The same weights for another input size, a multiple of 32 pixels."""
        return replace(self, image_size=_checked_size(image_size))


@dataclass(frozen=True)
class Sam2Config:
    """Shape of a whole SAM 2 model.

    Attributes
    ----------
    name : str
        Short name, such as ``"sam2.1_tiny"``.
    hiera : HieraConfig
        The image encoder.
    image_size : int
        Side of the square input in pixels, a multiple of 32.
    width : int
        Channels of the image embedding, prompts and tokens.
    memory_width : int
        Channels of a memory.
    memory_layers : int
        Layers of the memory attention.
    memory_feedforward, decoder_feedforward : int
        Hidden width of the feed-forward parts.
    memories : int
        Spatial memories that a frame attends to, its conditioning frames counted as one.
    pointers : int
        One more than the object pointers of preceding frames that a frame attends to at most.
    version : str
        ``"2.0"`` or ``"2.1"``; the latter adds a learned embedding for absent objects and a
        temporal encoding of object pointers.
    """

    name: str
    hiera: HieraConfig
    image_size: int = 1024
    width: int = 256
    memory_width: int = 64
    memory_layers: int = 4
    memory_feedforward: int = 2048
    decoder_feedforward: int = 2048
    memories: int = 7
    pointers: int = 16
    version: str = "2.1"
    family: ClassVar[str] = "sam2"

    def with_image_size(self, image_size: int) -> Sam2Config:
        """The same weights for another input size, a multiple of 32 pixels."""
        return replace(self, image_size=_checked_size(image_size))


def _checked_size(image_size: int) -> int:
    if image_size < 64 or image_size % 32:
        raise ValueError(
            f"image_size is {image_size}, but it must be a multiple of 32, 64 at least; "
            "512 is several times as fast as 1024."
        )
    return image_size


HIERA = {
    "tiny": HieraConfig(96, 1, (1, 2, 7, 2), (5, 7, 9), (8, 4, 14, 7), (7, 7)),
    "small": HieraConfig(96, 1, (1, 2, 11, 2), (7, 10, 13), (8, 4, 14, 7), (7, 7)),
    "base_plus": HieraConfig(112, 2, (2, 3, 16, 3), (12, 16, 20), (8, 4, 14, 7), (14, 14)),
    "large": HieraConfig(144, 2, (2, 6, 36, 4), (23, 33, 43), (8, 4, 16, 8), (7, 7)),
}

NANO = Sam2Config(
    name="nano",
    hiera=HieraConfig(48, 1, (1, 2, 5, 1), (5, 7, 8), (8, 4, 16, 8), (7, 7)),
    image_size=512,
    width=128,
    memory_layers=2,
    memory_feedforward=256,
    decoder_feedforward=512,
)

VARIANTS = {
    config.name: config
    for config in (
        *(
            Sam2Config(
                name=f"sam{version}_{size}".replace("2.0", "2"), hiera=hiera, version=version
            )
            for version in ("2.0", "2.1")
            for size, hiera in HIERA.items()
        ),
        NANO,
    )
}

SAM1_VARIANTS = {
    config.name: config
    for config in (
        Sam1Config("sam_vit_b", VitConfig(768, 12, 12, (2, 5, 8, 11))),
        Sam1Config("sam_vit_l", VitConfig(1024, 24, 16, (5, 11, 17, 23))),
        Sam1Config("sam_vit_h", VitConfig(1280, 32, 16, (7, 15, 23, 31))),
    )
}
