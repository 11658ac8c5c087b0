import json
from pathlib import Path

from gpu_report import report


def test_page_of_a_day(tmp_path: Path) -> None:
    rate = {"median": 2000.0, "slowest": 1900.0, "fastest": 2100.0}
    results = {"commit": "abc", "versions": {}, "cores": 2, "device": "cpu", "epoch": {"ours_images_per_second": rate}}
    (tmp_path / "epoch_512").mkdir()
    (tmp_path / "epoch_512" / "benchmark.json").write_text(json.dumps(results))
    (tmp_path / "epoch_512" / "benchmark.md").write_text("| numbers |\n")
    (tmp_path / "machine.log").write_text("a machine\n")
    (tmp_path / "stages.tsv").write_text("epoch_512\t0\t12\tbenchmark.py\ncompiled\t124\t60\tpytest\nddp\t1\t3\ttrain.py\n")
    page = report(tmp_path)
    assert "There was no GPU" in page
    assert "| epoch_512 | well | 12 |" in page
    assert "| compiled | **at its time limit** | 60 |" in page
    assert "| ddp | **1** | 3 |" in page
    assert "| 512 | 2,000 | 100,000 | 10.71 |" in page  # 7 × 90 × 122,415 faces
    assert "| numbers |" in page
