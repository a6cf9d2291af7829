import shutil

from orthotrace.analysis.figures.chosen import NAMES


def test_figures_of_an_earlier_analysis_without_numbers_now_go(analyze, study, analysed, tmp_path):
    shutil.copytree(analysed, tmp_path / "out")
    (tmp_path / "out" / "figures" / "mine.png").write_bytes(b"kept")
    found = {path.stem for path in (tmp_path / "out" / "figures").glob("[!.]*")}
    assert found == {*NAMES, "drift", *(f"images-{one}" for one in ("finetune", "gpm", "hlop")), "mine"}
    # One network at one layer: no pair, and no plane.
    assert (
        analyze(f"runs={study}", "out=out", "where.method=gpm", "where.seed=0", "layers=[head]", "formats=[png]").code
        == 0
    )
    found = {path.stem for path in (tmp_path / "out" / "figures").glob("[!.]*")}
    assert found == {"accuracy", "capacity", "clustering", "images-gpm", "matrices", "rdms", "tradeoff", "mine"}
    # None are asked for: those of before would be of other numbers.
    assert analyze(f"runs={study}", "out=out", "where.method=hlop", "formats=[]").code == 0
    assert [path.name for path in (tmp_path / "out" / "figures").glob("[!.]*")] == ["mine.png"]
    assert "<figure" not in (page := (tmp_path / "out" / "report.html").read_text()) and "Figures" not in page
    shutil.rmtree(tmp_path / "out")
