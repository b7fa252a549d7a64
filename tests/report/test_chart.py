from itertools import combinations

from training.pictures.chart import BOTTOM, COLOURS, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axes


def test_labels_stay_inside_the_frame_and_do_not_overlap():
    axes = Axes("", "", "", (0, 1), (0, 1))
    for label, y in (("a long label", 0.5), ("another long label", 0.51), ("at the corner", 0.0)):
        axes.label(1, y, label)
    axes.uprights([(0.3, "FMR 10 %"), (0.32, "FMR 1 %")])
    axes.line([(0, 0.5), (1, 0.5)], COLOURS[0])  # added after the labels
    axes.picture()
    assert len(axes.taken) == 5
    for left, top, right, bottom in axes.taken:
        assert left > LEFT and right < WIDTH - RIGHT and top > TOP and bottom < HEIGHT - BOTTOM
        assert not any(left < x < right and top < y < bottom for x, y in axes.inked)
    for one, other in combinations(axes.taken, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_empty_bins_leave_no_ink():
    axes = Axes("", "", "", (0, 4), (0, 1))
    axes.bars([0, 1, 2, 3, 4], [0.5, 0, 0, 0.5], COLOURS[0])
    empty = axes.at(1, 0)[0], axes.at(3, 0)[0]
    assert not any(empty[0] < x < empty[1] for x, _ in axes.inked)
