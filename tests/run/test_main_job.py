"""The job that the README promises."""


def test_digits_ff_gets_at_least_95_percent_right(quick):
    run = quick("digits/ff", **{"trainer.max_epochs": 20, "data.batch_size": 25, "network.0.units": 500})
    assert run.results["test"]["accuracy"] >= 0.95
