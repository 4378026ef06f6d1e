"""What the README shows, works."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.skipif(sys.platform == "win32", reason="releases are made on Linux")
def test_a_released_readme_leads_back_to_the_repository():
    command = [README.parent / ".ci" / "absolute-links", "us/napari-sam2", "v1.2.3"]
    text = README.read_text()
    released = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    links = dict(
        zip(*(re.findall(r"\]\(([^)]+)\)", each) for each in (text, released.stdout)), strict=True)
    )
    host = "https://github.com/us/napari-sam2"
    assert links["docs/window.png"] == f"{host}/raw/v1.2.3/docs/window.png"
    assert links["docs/keys.md"] == f"{host}/blob/v1.2.3/docs/keys.md"
    for before, after in links.items():
        assert after == before if before.startswith("https:") else after.endswith("/" + before)
