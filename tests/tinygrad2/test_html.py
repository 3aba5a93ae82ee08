"""What shows itself in a notebook: read as HTML by the standard library, beside the numbers and the texts it is made of."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from tinygrad2 import Tensor, gradcheck, nn, study
from tinygrad2.html import MATRICES, ROWS, SIDE, heat_map, table

HOSTILE = "<script>alert('&amp;')</script>"


class Page(HTMLParser):
    """The texts of the cells by row, the styles of the cells, and all tags."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.styles, self.tags, self.text = [], [], [], ""
        self.open = []
        self.srcdoc = None
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.styles.append(dict(attrs).get("style") or "")
        self.srcdoc = dict(attrs).get("srcdoc", self.srcdoc)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.mark.parametrize(
    "array",
    [np.array(2.5), np.array([1, -2, 3]), np.array([[True, False]]), np.array([[0.5, -1.25], [3.0, 0.0]], np.float32)],
    ids=["0-d", "integers", "booleans", "float32"],
)
def test_a_small_tensor_shows_every_entry_its_shape_and_its_dtype(array):
    page = Page(Tensor(array)._repr_html_())
    assert [[json.loads(x.lower()) for x in row] for row in page.rows] == np.atleast_2d(array).tolist()
    assert f"Tensor {array.shape} {array.dtype}" in page.text


def test_colours_have_the_sign_and_the_size_of_the_entry():
    styles = Page(heat_map(np.array([4.0, 2.0, -4.0, 0.0])))
    strong, half, negative, zero = (style.split("rgba(")[-1].rstrip(")").split(",") for style in styles.styles)
    assert strong[:3] == half[:3] != negative[:3]
    assert float(strong[3]) == pytest.approx(2 * float(half[3]), abs=0.011)
    assert strong[3] == negative[3]
    assert zero == [""]


def test_what_is_not_finite_is_marked_and_counted_and_does_not_bleach_the_rest():
    page = Page(heat_map(np.array([1.0, np.nan, np.inf])))
    assert page.rows == [["1", "nan", "inf"]]
    assert "2 not finite" in page.text
    assert page.styles[0] == Page(heat_map(np.array([1.0, 0.5]))).styles[0]
    assert page.styles[1] == page.styles[2] != page.styles[0]


def test_a_large_tensor_shows_a_corner_and_its_extremes_in_few_bytes():
    array = np.arange(7 * 300 * 400, dtype=np.float32).reshape(7, 300, 400)
    array[6, 299, 399] = -5  # outside of the corner
    html = heat_map(array)
    page = Page(html)
    assert len(html) < 100_000
    assert len(page.rows) == MATRICES * (SIDE + 1)
    assert page.rows[0] == [f"{x:.4g}" for x in array[0, 0, :SIDE]] + ["…"]
    assert page.rows[SIDE + 2][0] == f"{array[1, 1, 0]:.4g}"
    assert "least -5" in page.text
    assert f"largest {array.max():.4g}" in page.text
    assert f"mean {array.mean(dtype=np.float64):.4g}" in page.text


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 2, 2), (2, 0, 3)])
def test_a_tensor_without_entries_has_a_title(shape):
    assert str(shape) in Page(Tensor(np.zeros(shape))._repr_html_()).text


@pytest.mark.parametrize("dtype", ["float16", "longdouble", "int8", "uint64", "complex64", "timedelta64[s]"])
def test_any_dtype_is_shown(dtype):
    least = np.iinfo(dtype).min if np.dtype(dtype).kind in "iu" else 1
    page = Page(heat_map(np.array([least, 3], dtype)))
    assert len(page.rows[0]) == 2


def test_texts_are_escaped_and_long_tables_cut():
    html = table((HOSTILE, "n"), [(HOSTILE, "1")] * (ROWS + 5), HOSTILE, HOSTILE)
    page = Page(html)
    assert page.rows[0][0] == page.rows[1][0] == HOSTILE
    assert page.text.count(HOSTILE) == 3 + ROWS
    assert "script" not in page.tags
    assert page.rows[-1] == ["… and 5 rows more"]


def test_the_table_of_a_module_has_every_parameter_and_their_sum():
    model = nn.Linear(3, 2, rng=np.random.default_rng(0))
    page = Page(model._repr_html_())
    assert page.rows[1:] == [["weight", "3 × 2", "6"], ["bias", "2", "2"]]
    assert "Linear: 8 parameters" in page.text


def test_a_check_a_split_and_a_ledger_show_what_their_text_says():
    x = Tensor([[0.5, -1.0]], requires_grad=True)
    with study.record():
        loss = (x * np.tanh(x)).sum()
    wrong = gradcheck(np.tanh, [np.array([0.3])], vjp=lambda g, x: (g * (1 - np.tanh(x)),))
    undecidable = gradcheck(lambda x: x * np.random.default_rng().normal(), [np.array([0.3])], vjp=lambda g, x: (g,))
    for shown, text in (
        (wrong, str(wrong)),
        (undecidable, str(undecidable)),
        (study.split(loss, x), study.split(loss, x).table()),
        (study.ledger(loss), study.ledger(loss).table()),
    ):
        page = Page(shown._repr_html_())
        for row in page.rows:
            assert all(cell.strip() in text for cell in row)
        cells = " ".join([page.text, *(cell for row in page.rows for cell in row)])
        assert all(word in cells for word in text.split())


def test_the_lab_and_a_drawing_are_pages_of_their_own(tmp_path):
    x = Tensor([0.5, -1.0], requires_grad=True)
    with study.record():
        loss = (x * x).sum()
    shown = study.lab(loss)
    size = study.lab(loss, tmp_path / "lab.html")
    assert shown == size == len((tmp_path / "lab.html").read_bytes())
    page = Page(shown._repr_html_())
    assert page.tags == ["iframe"]
    assert page.srcdoc.encode() == (tmp_path / "lab.html").read_bytes()
    drawing = study.draw(loss)
    assert Page(drawing._repr_html_()).srcdoc.endswith(drawing.svg)
