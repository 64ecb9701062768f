import pytest
import torch
from click.testing import CliRunner

import ffcore
from ffcore.errors import UserError
from ffcore.tasks import TokenClassification
from ffcore.tasks.generation import continued
from ffcore_sequence.command import command
from ffcore_sequence.text import text_of, tokens_of

SHORT = {"trainer.max_epochs": 1, "trainer.threads": 1, "data.stride": 64}


def successor(x):
    """Scores of a network that is certain of the next number, modulo 7."""
    return 100 * torch.nn.functional.one_hot((x + 1) % 7, 7).float()


def test_continuations_follow_the_scores_also_beyond_the_length_of_a_sample():
    made = continued(successor, torch.tensor([[3], [5]]), count=9, length=4)
    assert made.tolist() == [[3, 4, 5, 6, 0, 1, 2, 3, 4, 5], [5, 6, 0, 1, 2, 3, 4, 5, 6, 0]]


def test_continuations_are_drawn_by_their_probability():
    scores = torch.tensor([0.0, 2.0]).expand(2000, 3, 2)
    drawn = continued(lambda x: scores, torch.zeros(2000, 1).long(), count=1, length=3, temperature=2.0)
    share = float(drawn[:, 1].float().mean())
    assert abs(share - torch.sigmoid(torch.tensor(1.0))) < 0.03


def test_a_task_shows_continuations_of_next_tokens_only():
    x = torch.arange(40).view(2, 20) % 7
    task = TokenClassification(7)
    made = task.shown(successor, x, (x + 1) % 7)
    assert made["continued/tokens"].shape == (2, 216)
    assert not task.shown(successor, x, x)  # the same token, not the next one


def test_text_and_tokens_are_inverse():
    assert text_of(tokens_of("abba", ["a", "b"]), ["a", "b"]) == "abba"
    numbered = [str(k) for k in range(256)]
    assert text_of(tokens_of("ä!", numbered), numbered) == "ä!"
    with pytest.raises(UserError, match="'c' is not in the vocabulary of the run: 'ab'"):
        tokens_of("abc", ["a", "b"])


def test_a_run_shows_samples_of_text_and_continues_a_prompt(tmp_path):
    run = ffcore.train("text/characters-local", run_dir=tmp_path / "run", **SHORT)
    report = (run.path / "report.md").read_text()
    assert "## Samples" in report
    first, again, other = (
        CliRunner().invoke(command, [str(run.path), "The people", "--tokens", "30", "--seed", seed]).output
        for seed in ("1", "1", "2")
    )
    assert first == again != other
    assert first.startswith("The people")
    assert len(first) == len("The people") + 30 + 1


def test_other_runs_are_refused(tmp_path):
    run = ffcore.train("digits/ff", run_dir=tmp_path / "run", **{"trainer.max_epochs": 1}, report=False)
    error = CliRunner().invoke(command, [str(run.path), "a"]).exception
    assert "is no language model" in str(error)
