"""``python -m napari_sam2.training FOLDER`` trains ``nano``, or goes on where it stopped.

``python -m napari_sam2.training FOLDER --export FILE`` writes the weights so far.
"""

from argparse import ArgumentParser
from pathlib import Path

from napari_sam2.training.config import NANO_RUN
from napari_sam2.training.trainer import Trainer

if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m napari_sam2.training")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs/nano"))
    parser.add_argument("--export", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    trainer = Trainer(NANO_RUN, arguments.folder)
    if arguments.export:
        trainer.export(arguments.export)
    else:
        trainer.run()
