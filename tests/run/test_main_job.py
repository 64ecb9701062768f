"""The accuracy that the README gives."""


def test_digits_ff_has_at_least_95_percent_accuracy(quick):
    run = quick("digits/ff", **{"trainer.max_epochs": 20, "data.batch_size": 25, "network.0.units": 500})
    assert run.results["test"]["accuracy"] >= 0.95
