"""The sources of the notebooks, and what is made of them. That they run is `make notebooks`, which runs this too."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("jupytext")
pytest.importorskip("nbclient")

HERE = Path(__file__).parents[1] / "docs" / "notebooks"
SOURCES = sorted(HERE.glob("[0-9]*.py"))


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("notebooks_build", HERE / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_chinese(text):
    return any("\u4e00" <= c <= "\u9fff" for c in text)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_both_editions_have_the_same_code_and_each_its_language(build, path):
    text = path.read_text("utf-8")
    en, zh = (build.edition(text, language).cells for language in build.LANGUAGES)
    assert len(en) == len(zh) > 6
    for one, other in zip(en, zh, strict=True):
        assert one.cell_type == other.cell_type
        if one.cell_type == "code":
            assert one.source == other.source
        else:
            assert not is_chinese(one.source)
            assert is_chinese(other.source)
            assert one.source.count("\n#") == other.source.count("\n#")  # the same headings
            assert one.source.count("\n1. ") == other.source.count("\n1. ")
    assert any("## Try it" in cell.source for cell in en)
    assert any("## 试一试" in cell.source for cell in zh)


EN, ZH = '# %% [markdown] lang="en"\n# Hello\n', '# %% [markdown] lang="zh"\n# 你好\n'


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (EN + "# %%\n1 + 1\n", "has no twin.*Hello"),
        (ZH + EN, "has no twin"),
        (EN + EN + ZH, "has no twin"),
        (EN + ZH + "# %% [markdown]\n# Bare\n", "has no twin"),
        (EN + ZH + "# %%\nprint('你好')\n", "plain ASCII.*print"),
    ],
)
def test_a_source_that_lacks_a_twin_or_has_chinese_in_its_code_is_refused(build, source, message):
    with pytest.raises(ValueError, match=message):
        build.edition(source, "en")


def test_a_cell_that_fails_is_told(build, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "OUT", tmp_path)
    path = tmp_path / "11_fails.py"
    path.write_text(EN + ZH + "# %%\n1 / 0\n", encoding="utf-8")
    assert "ZeroDivisionError" in build.made(path, "zh", True)
    assert (tmp_path / "11_fails.zh.ipynb").exists()
    path.write_text(EN + ZH + "# %%\n1 / 1\n", encoding="utf-8")
    assert build.made(path, "en", True) == ""
