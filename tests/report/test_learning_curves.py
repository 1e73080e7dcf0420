import pytest

from pipeline.core.errors import TrainingError
from pipeline.report.curves import plot_curves
from pipeline.report.recipes import CurvesRecipe


def test_curves_are_reproducible_and_need_all_columns(tmp_path):
    history = tmp_path / "history.csv"
    history.write_text(
        "epoch,train_loss,lr,val_loss,val_dice,val_mae,val_max_f\n1,0.5,0.1,0.6,0.2,,\n2,0.4,0.1,,,,\n3,0.3,0.1,0.5,0.4,,\n"
    )
    recipe = CurvesRecipe(note="synthetic data")
    plot_curves(recipe, experiment="e", history=history, output=tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"
    again = tmp_path / "again.png"
    plot_curves(recipe, experiment="e", history=history, output=again)
    assert again.read_bytes() == (tmp_path / "c.png").read_bytes()

    history.write_text("epoch,lr\n1,0.5\n")
    with pytest.raises(TrainingError, match=r"history\.csv[\s\S]*without train_loss, val_loss"):
        plot_curves(recipe, experiment="e", history=history, output=tmp_path / "c.png")
