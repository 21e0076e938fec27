"""Reading ahead: every file in its order, errors in their places, and few images at a time."""

import threading

from covid_cnn.common.errors import ImageError
from covid_cnn.common.jobs import map_ahead
from covid_cnn.data import synthetic
from covid_cnn.images.reader import read_ahead


def test_every_file_comes_in_order_and_a_bad_one_as_its_error(tmp_path):
    files = [tmp_path / f"{size}.png" for size in range(64, 84)]
    for size, file in enumerate(files, start=64):
        synthetic.write_png(file, synthetic.draw_radiograph(0, False, size))
    files[7].write_text("no image")
    results = list(read_ahead(files, lambda radiograph: radiograph.pixels.shape[0]))
    assert isinstance(results[7], ImageError) and "71.png" in str(results[7])
    assert [result for i, result in enumerate(results) if i != 7] == [size for size in range(64, 84) if size != 71]


def test_few_images_are_held_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    synthetic.write_png(tmp_path / "x.png", synthetic.draw_radiograph(0, False, 64))
    lock, read = threading.Lock(), 0

    def count(_radiograph) -> None:
        nonlocal read
        with lock:
            read += 1

    results = read_ahead([tmp_path / "x.png"] * 50, count)
    for taken in range(1, 40):
        next(results)
        assert read <= taken + 5
    results.close()


def test_closing_drops_what_has_not_begun(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    begun, second, go_on = [], threading.Event(), threading.Event()

    def work(item: int) -> int:
        begun.append(item)
        if item == 1:
            second.set()
            go_on.wait()
        return item

    results = map_ahead(range(100), work)
    assert next(results) == 0
    second.wait()  # the only thread is at the second item now
    threading.Timer(0.2, go_on.set).start()
    results.close()
    assert begun == [0, 1]
