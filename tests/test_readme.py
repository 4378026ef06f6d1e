"""What the README shows, works."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_python_example_finds_the_nucleus():
    from napari_sam2.inference.masks import intersection_over_union
    from napari_sam2.sample_data import generated_zstack

    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict = {}
    exec(compile(example, str(README), "exec"), names)
    truth = generated_zstack()[1][0]
    nucleus = truth[32, 136, 196]
    assert nucleus > 0
    assert intersection_over_union(names["labels"] == 1, truth == nucleus) > 0.5


def test_what_it_links_to_is_there():
    links = re.findall(r"\]\((?!http)([^)]+)\)", README.read_text())
    assert links
    for link in links:
        assert (README.parent / link).exists(), link
