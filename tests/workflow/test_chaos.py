import pytest
from chaos import Chaos, judge, main


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_results_survive_five_kills(capsys):
    assert main(["--kills", "5", "--seed", "1", "--epochs", "2"]) == 0
    output = capsys.readouterr().out
    assert "5 kills, 0 losses" in output
    assert "no difference" in output


def test_chaos_check_detects_losses(tmp_path):
    runs = [Chaos(tmp_path / name) for name in ("undisturbed", "killed")]
    for run in runs:
        (run.folder / "results/shards/d").mkdir(parents=True)
        (run.folder / "results/shards/d/train-0.h5").write_bytes(b"same")
    assert judge(*reversed(runs), log=lambda words: None) == 0
    (runs[1].folder / "results/shards/d/.0123456789ab.partial-train-1.h5").write_bytes(b"half")
    (runs[1].folder / "results/shards/d/train-0.h5").write_bytes(b"other")
    runs[1].rewritten = 3
    assert judge(*reversed(runs), log=lambda words: None) == 5
