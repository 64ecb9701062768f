from ffcore.recipe.tree import Tree, merge


def test_merging_keeps_both_sides_and_the_origin_of_each_value():
    base = Tree(
        {"a": {"b": 1, "c": [1]}},
        {(): "f:1", ("a",): "f:1", ("a", "b"): "f:2", ("a", "c"): "f:3", ("a", "c", 0): "f:3"},
    )
    over = Tree({"a": {"c": []}}, {(): "g:1", ("a",): "g:1", ("a", "c"): "g:2"})
    both = merge(base, over)
    assert both.data == {"a": {"b": 1, "c": []}}
    assert base.data == {"a": {"b": 1, "c": [1]}}
    assert (both.origin(("a", "b")), both.origin(("a", "c", 0))) == ("f:2", "g:2")
