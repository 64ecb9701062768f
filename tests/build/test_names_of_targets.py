import ffcore


def test_a_body_given_by_a_target_is_named_after_its_class():
    net = ffcore.from_recipe(
        "digits/ff",
        shape=(12,),
        classes=3,
        network=[{"kind": "torch.nn:Linear", "in_features": 12, "out_features": 5}],
        algorithm={"labels": "overlay"},
    )
    assert [block.name for block in net.blocks] == ["linear1"]
