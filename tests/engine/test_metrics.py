import torch

from ffcore.engine.metrics import Accuracy


def test_by_hand_over_two_batches():
    metric = Accuracy(sources=2, classes=3)
    # predictions of source 0, of source 1, combined; and the truth
    for first, second, combined, y in (([0, 1, 2], [0, 0, 0], [0, 1, 1], [0, 1, 2]), ([1], [2], [2], [2])):
        scores = torch.eye(3)[torch.tensor([first, second])]
        metric.update(scores, torch.eye(3)[torch.tensor(combined)], torch.tensor(y))
    metrics = metric.metrics()
    assert metrics["accuracy"] == 0.75
    assert metrics["per_source"] == [0.75, 0.5]
    assert metrics["confusion"] == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]  # rows are true classes


def test_without_samples_the_accuracy_is_zero():
    metric = Accuracy(sources=1, classes=2)
    metric.update(torch.zeros(1, 0, 2), torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))
    assert metric.metrics()["accuracy"] == 0
