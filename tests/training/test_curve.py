import math
import xml.etree.ElementTree as ET

import pytest

from tuneward.training.curve import Curve, Point, draw, read_curve


def point(step, loss=1.0):
    return Point(step, loss, 1e-3, 0.5, step * 100, step * 1.5)


def test_a_resumed_curve_is_cut_at_the_checkpoint(tmp_path):
    file = tmp_path / "curve.jsonl"
    curve = Curve(file, upto=0)
    for step in range(1, 6):
        curve.add(point(step, loss=6.0 - step))
    with file.open("a") as handle:
        handle.write('{"step": 6, "lo')
    assert [p.step for p in read_curve(file)] == [1, 2, 3, 4, 5]
    again = Curve(file, upto=3)
    again.add(point(4, loss=9.0))
    assert [(p.step, p.loss) for p in read_curve(file)] == [(1, 5.0), (2, 4.0), (3, 3.0), (4, 9.0)]


def test_what_a_power_cut_left_of_a_line_is_left_out(tmp_path):
    path = tmp_path / "curve.jsonl"
    Curve(path, upto=0).add(point(1))
    path.write_bytes(path.read_bytes() + b'{"step": 2, \xff\xfe')
    assert [found.step for found in read_curve(path)] == [1]


def test_last_loss_is_the_mean_of_the_last_tenth(tmp_path):
    curve = Curve(tmp_path / "curve.jsonl", upto=0)
    assert math.isnan(curve.last_loss())
    for step in range(1, 21):
        curve.add(point(step, loss=float(step)))
    assert curve.last_loss() == 19.5


@pytest.mark.parametrize(
    "losses", [[], [2.0], [2.0, 2.0], [5.0, 0.001], [1e-7, 2e-7], [3.0 / (n + 1) for n in range(500)]]
)
def test_the_picture_is_whole_and_inside_its_frame(losses):
    picture = draw([point(step + 1, loss) for step, loss in enumerate(losses)], title="a <b> & c")
    root = ET.fromstring(picture)
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    _, _, width, height = (float(v) for v in root.attrib["viewBox"].split())
    lines = [node for node in root.iter() if node.tag.endswith("polyline")]
    assert len(lines) == (2 if losses else 0)
    for line in lines:
        for pair in line.attrib["points"].split():
            x, y = (float(v) for v in pair.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


HELD = [(0, 3.2), (3, 2.0), (6, 2.4)]


def test_the_held_out_loss_is_a_second_line_with_its_best_marked():
    points = [point(step, 3.0 - step / 4) for step in range(1, 7)]
    root = ET.fromstring(draw(points, title="Training loss", validation=HELD, best=3))
    lines = [node for node in root.iter() if node.tag.endswith("polyline")]
    assert len(lines) == 3
    assert len(lines[2].attrib["points"].split()) == 3
    rings = [n for n in root.iter() if n.tag.endswith("circle") and n.attrib["fill"] == "none"]
    assert len(rings) == 1
    assert f"{rings[0].attrib['cx']},{rings[0].attrib['cy']}" == lines[2].attrib["points"].split()[1]
    assert "held out, best after step 3" in [node.text for node in root.iter()]
    for node in root.iter():
        if node.tag.endswith("circle"):
            assert 0 < float(node.attrib["cx"]) < 720
            assert 0 < float(node.attrib["cy"]) < 320
    assert "held out" not in draw(points, title="Training loss")
    boxes = [box(node) for node in root.iter() if node.tag.endswith("text")]
    assert all(
        one[2] <= two[0] or two[2] <= one[0] or one[3] <= two[1] or two[3] <= one[1]
        for number, one in enumerate(boxes)
        for two in boxes[number + 1 :]
    )


@pytest.mark.parametrize(
    "losses", [[], [2.0], [1234.5, 1200.0], [5.0, 0.001], [1e-7, 2e-7], [3.0 / (n + 1) for n in range(500)]]
)
def test_no_two_texts_of_the_picture_overlap(losses):
    root = ET.fromstring(draw([point(step + 1, loss) for step, loss in enumerate(losses)], title="Training loss"))
    boxes = [(node.text, box(node)) for node in root.iter() if node.tag.endswith("text")]
    for number, (text, (left, top, right, bottom)) in enumerate(boxes):
        assert min(left, top) >= 0, text
        for other, (their_left, their_top, their_right, their_bottom) in boxes[number + 1 :]:
            apart = right <= their_left or their_right <= left or bottom <= their_top or their_bottom <= top
            assert apart, f"{text!r} lies over {other!r}"


def box(node):
    """Left, top, right and bottom of a text, for letters 0.62 as wide as high (a wide sans-serif)."""
    size = float(node.attrib.get("font-size", 12))
    x, y, width = float(node.attrib["x"]), float(node.attrib["y"]), 0.62 * size * len(node.text)
    start = {"start": 0.0, "middle": width / 2, "end": width}[node.attrib.get("text-anchor", "start")]
    left, top, right, bottom = x - start, y - 0.8 * size, x - start + width, y + 0.2 * size
    if "rotate(-90" in node.attrib.get("transform", ""):  # about its own anchor
        return x + (top - y), y - (right - x), x + (bottom - y), y - (left - x)
    return left, top, right, bottom
