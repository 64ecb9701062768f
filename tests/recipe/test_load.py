# ruff: noqa: E501 (tables of errors, one a line)
from pathlib import Path

import pytest

from ffcore.plugin import manager
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.load import dump, find, load, names, read, root

pytestmark = pytest.mark.usefixtures("fake")

LEAST = """\
name: x
data: {kind: images, root: here, batch_size: 7}
algorithm:
  kind: forward-forward
network:
  - {kind: dense, units: 3, repeat: 2}
block:
  goodness: {kind: sum-squares}
optimizer:
  kind: adam
  lr: 0.1
trainer: {max_epochs: 3}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def _write(text, name="r.yaml"):
        Path(name).write_text(text)
        return name

    return _write


def message(*args):
    with pytest.raises(RecipeError) as caught:
        load(*args)
    return str(caught.value)


def test_a_registered_recipe_is_found_by_name():
    assert "fake/ff" in names()
    assert find("fake/ff").name == "fake-ff.yaml"
    assert load("fake/ff").title == "A fake"


def test_packaged_recipes_are_found_by_their_path():
    for path in root().rglob("*.yaml"):
        assert find(path.relative_to(root()).with_suffix("").as_posix()) == path


def test_an_unknown_recipe_gives_the_nearest_name():
    assert "there is no recipe 'fake/fff'; did you mean 'fake/ff'?" in message("fake/fff")
    assert message("/tmp").endswith("no recipe '/tmp'; `ffcore ls` lists all; a path should end in .yaml")
    assert message("no.yaml") == "there is no recipe file 'no.yaml'"


def test_a_dump_loads_as_the_same_recipe(write):
    recipe = load("fake/ff")
    again = load(write(dump(recipe)))
    assert again == recipe
    assert dump(again) == dump(recipe)
    assert again.network[1].items[0].block.model_fields_set == {"handoff"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("sum-squares", "sum-sqares", "8  block.goodness.kind: 'sum-sqares' is not a goodness; did you mean 'sum-squares'?"),
        ("max_epochs", "max_epoch", "12  trainer.max_epoch: unknown key 'max_epoch'; did you mean 'max_epochs'?"),
        ("max_epochs: 3", "max_epochs: 0", "12  trainer.max_epochs: 0 should be greater than or equal to 1"),
        ("max_epochs: 3", "max_epochs: yes", "12  trainer.max_epochs: True should be a number"),
        ("max_epochs: 3", "gradient_clip_val: 3", "12  trainer.gradient_clip_val: unknown key 'gradient_clip_val'; here it is called 'clip'"),
        ("max_epochs: 3", "accelerator: gpus", "12  trainer.accelerator: 'gpus' is not an accelerator"),
        ("max_epochs: 3", "precision: 16-mixed", "12  trainer.precision: '16-mixed': fp16 needs a loss scaler per block, which ffcore does not have; use bf16-mixed"),
        ("batch_size", "batchsize", "2  data.batchsize: unknown key 'batchsize'; did you mean 'batch_size'?"),
        ("root", "roots", "2  data.roots: unknown key 'roots'; did you mean 'root'?"),
        ("batch_size: 7", "batch_size: 0", "2  data.batch_size: 0 should be greater than or equal to 1"),
        ("kind: images", "kind: image", "2  data.kind: 'image' is not a dataset; did you mean 'images'?"),
        ("units: 3", "units: 0", "6  network.0.units: 0 should be greater than or equal to 1"),
        ("units: 3, ", "", "6  network.0.units: is missing"),
        ("repeat", "repeats", "6  network.0.repeats: unknown key 'repeats'; did you mean 'repeat'?"),
        ("kind: dense", "kind: x", "6  network.0.kind: 'x' is not a body; known: blackbox, dense, model, residual"),
        ("kind: dense, ", "", "6  network.0.kind: should say which body; known: blackbox, dense, model, residual"),
        ("kind: dense, units: 3, repeat: 2", "kind: residual, item: []", "6  network.0.item: unknown key 'item'; did you mean 'items'?"),
        ("kind: adam", "kind: adm", "10  optimizer.kind: 'adm' is not an optimizer; did you mean 'adam'?"),
        ("  kind: adam\n", "", "9  optimizer.kind: should say which optimizer; known: adam, adamw, rmsprop, sgd"),
        ("lr: 0.1", "lr: -1", "11  optimizer.lr: -1 should be greater than or equal to 0"),
        ("lr: 0.1", "lr: .nan", "11  optimizer.lr: nan should be a finite number"),
        ("name: x\n", "", "1  name: is missing"),
        ("name: x", "nmae: x", "1  nmae: unknown key 'nmae'; did you mean 'name'?"),
        ("{kind: sum-squares}", "sum-sqares", "8  block.goodness: 'sum-sqares' is not a goodness; did you mean 'sum-squares'?"),
        ("  goodness:", "  objective: {kind: logistic, threshold: unit}\n  goodness:", "8  block.objective.threshold: 'unit' should be a valid number, unable to parse string as a number, or 'unit' should be 'units'; did you mean 'units'?"),
    ],
)  # fmt: skip
def test_an_error_has_the_place_the_value_and_what_would_be_right(write, old, new, expected):
    assert old in LEAST
    lines = message(write(LEAST.replace(old, new))).splitlines()
    assert any(line.startswith(f"r.yaml:{expected}") for line in lines), lines


def test_at_most_five_errors_are_shown(write):
    wrong = "".join(f"  wrong{i}: 1\n" for i in range(8))
    lines = message(write(LEAST.replace("optimizer:\n", "optimizer:\n" + wrong))).splitlines()
    assert len(lines) == 6
    assert lines[-1] == "and 3 more"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "r.yaml:3  key 'a' is given twice; first at r.yaml:1"),
        ("- 1\n", "r.yaml:1  a recipe is a mapping"),
        ("", "r.yaml:1  a recipe is a mapping"),
        ("a: [1\nb: 2\n", "r.yaml:2  broken YAML"),
        ("a: 1\n on: 2\n", "r.yaml:2  broken YAML"),
        ("name: x\non: 2\n", "r.yaml:2  key 'on' is not text"),
        ("a: &a\n  b: *a\n", "an alias inside its own anchor"),
        ("a: 1\n---\nb: 1\n", "broken YAML: but found another document"),
        ("a: \x00", "broken YAML"),
        ("a: !!timestamp foo\n", "'foo' is not a value of !!timestamp"),
        ("a: !!python/name:os.system\n", "'' is not a value of !!python/name:os.system"),
    ],
)
def test_an_invalid_file_raises_with_its_line(write, text, expected):
    assert expected in message(write(text))


def test_a_merge_key_is_resolved(write):
    write("base: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\n".replace("base", "a"))
    assert read(Path("r.yaml")).data["b"] == {"p": 1, "q": 3}


def test_an_exponent_without_a_dot_is_a_number(write):
    write("a: 1e-3\nb: -2E5\n")
    assert read(Path("r.yaml")).data == {"a": 1e-3, "b": -2e5}


class TestBase:
    def test_mappings_merge_and_the_rest_is_replaced(self, write):
        write(LEAST, "base.yaml")
        recipe = load(
            write("base: base.yaml\nname: y\ntrainer: {devices: 2}\nnetwork: [{kind: dense, units: 9}]\n")
        )
        assert (recipe.name, recipe.trainer.max_epochs, recipe.trainer.devices) == ("y", 3, 2)
        assert [item.body.options.units for item in recipe.network] == [9]

    def test_another_kind_removes_the_old_options_but_not_the_keys_beside_them(self, write):
        write(LEAST, "base.yaml")
        recipe = load(write("base: base.yaml\ndata: {kind: digits}\noptimizer: sgd\n"))
        assert (recipe.data.dataset.kind, recipe.data.batch_size) == ("digits", 7)
        assert (recipe.optimizer.kind, recipe.optimizer.options.lr) == ("sgd", 1e-3)

    def test_the_same_kind_keeps_them(self, write):
        write(LEAST, "base.yaml")
        recipe = load(write("base: base.yaml\noptimizer: {kind: adam, eps: 1}\n"))
        assert (recipe.optimizer.options.lr, recipe.optimizer.options.eps) == (0.1, 1)

    def test_options_go_onto_a_bare_kind(self, write):
        write(LEAST.replace("{kind: sum-squares}", "sum-squares") + "lr_schedule: cosine\n", "base.yaml")
        assert load(write("base: base.yaml\nlr_schedule: {final: 0.5}\n")).lr_schedule.options.final == 0.5

    def test_null_replaces(self, write):
        write(LEAST, "base.yaml")
        assert load(write("base: base.yaml\nblock: {goodness: null}\n")).block.goodness is None

    def test_a_packaged_or_registered_recipe_can_be_a_base(self, write):
        assert load(write("base: fake/ff\nname: mine\n")).network == load("fake/ff").network

    def test_descriptive_keys_of_the_base_are_not_inherited(self, write):
        write(LEAST + "title: old\npaper: {test_error: 1, source: there}\n", "base.yaml")
        recipe = load(write("base: base.yaml\n"))
        assert (recipe.name, recipe.title, recipe.paper) == ("r", "", None)

    def test_an_override_of_the_method_removes_the_paper(self, write):
        path = write(LEAST + "paper: {test_error: 1, source: there}\n")
        assert load(path, ["trainer.max_epochs=2"]).paper is not None
        assert load(path, ["network.0.units=3"]).paper is None

    def test_errors_name_the_file_that_the_value_came_from(self, write):
        write(LEAST.replace("lr: 0.1", "lr: -1"), "base.yaml")
        text = message(write("base: base.yaml\ntrainer:\n  devices: 0\n"))
        assert "base.yaml:11  optimizer.lr" in text
        assert "r.yaml:3  trainer.devices" in text

    def test_a_circular_base_raises(self, write):
        write("base: r.yaml\n", "other.yaml")
        assert "r.yaml → other.yaml → r.yaml" in message(write("base: other.yaml\n"))

    @pytest.mark.parametrize("base", ["3", "no/such", "no.yaml"])
    def test_a_missing_base_is_named_with_its_line(self, write, base):
        assert message(write(f"name: x\nbase: {base}\n")).startswith("r.yaml:2  base: ")


class TestOverrides:
    def test_values_are_yaml_and_lists_are_indexed(self, write):
        recipe = load(
            write(LEAST), ["network.0.units=100", "optimizer.lr=1e-3", "block.goodness=null", "title=a b"]
        )
        assert recipe.network[0].body.options.units == 100
        assert (recipe.optimizer.options.lr, recipe.block.goodness, recipe.title) == (1e-3, None, "a b")

    def test_mappings_on_the_way_are_made(self, write):
        assert load(write(LEAST), ["block.objective.kind=logistic"]).block.objective.kind == "logistic"

    def test_a_bare_kind_takes_options(self, write):
        assert (
            load(write(LEAST + "lr_schedule: cosine\n"), ["lr_schedule.final=0.5"]).lr_schedule.options.final
            == 0.5
        )

    @pytest.mark.parametrize("order", [1, -1])
    def test_another_kind_drops_the_old_options_but_not_other_overrides(self, write, order):
        overrides = ["optimizer.kind=sgd", "optimizer.momentum=0.9"][::order]
        optimizer = load(write(LEAST), overrides).optimizer
        assert (optimizer.kind, optimizer.options.momentum, optimizer.options.lr) == ("sgd", 0.9, 1e-3)

    def test_another_data_set_keeps_the_batch_size(self, write):
        data = load(write(LEAST), ["data.batches=fixed", "data.kind=digits"]).data
        assert (data.dataset.kind, data.batch_size, data.batches) == ("digits", 7, "fixed")

    def test_a_path_is_set_once(self, write):
        with pytest.raises(RecipeError, match=r"^seed: two overrides set it; leave one of them out"):
            load(write(LEAST), ["seed=2", "trainer.max_epochs=3", " seed=3"])

    @pytest.mark.parametrize(
        ("override", "expected"),
        [
            ("trainer.max_epoch=2", "override 'trainer.max_epoch=2'  trainer.max_epoch: unknown key 'max_epoch'; did"),
            ("trainr.max_epochs=2", "override 'trainr.max_epochs=2'  trainr: unknown key 'trainr'; did you mean"),
            ("data={kind: image}", "override 'data={kind: image}'  data.kind: 'image' is not a dataset"),
            ("network.4.units=2", "override 'network.4.units=2'  network is a list of 1; '4' is not an index"),
            ("network.x.units=2", "override 'network.x.units=2'  network is a list of 1; 'x' is not an index"),
            ("optimizer.lr.x=2", "override 'optimizer.lr.x=2'  optimizer.lr is 0.1, which has no key 'x'"),
            ("network.0=dense", "override 'network.0=dense'  network.0.units: is missing"),
            ("network.0=3", "override 'network.0=3'  network.0: 3 should be a mapping"),
            ("data=3", "override 'data=3'  data: 3 should be a mapping"),
            ("trainer=", "override 'trainer='  trainer: None should be a mapping"),
            ("algorithm=3", "override 'algorithm=3'  algorithm: 3 should be an algorithm"),
            ("optimizer.betas=[1e-1]", "override 'optimizer.betas=[1e-1]'  optimizer.betas.1: is missing"),
            ("network.0.block.goodness=x", "override 'network.0.block.goodness=x'  network.0.block.goodness: 'x' is not"),
            ("seed=[", "override 'seed=['  broken YAML"),
            ("seed", "'seed' is not an override; write path=value"),
            ("=3", "'=3' is not an override"),
            ("a..b=3", "'a..b=3' is not an override"),
        ],
    )  # fmt: skip
    def test_errors_name_the_override(self, write, override, expected):
        assert message(write(LEAST), [override]).startswith(expected)


def test_a_recipe_that_needs_a_broken_plugin_names_it(write):
    plugins = manager.Plugins()
    plugins.broken["bad"] = "ImportError: x"
    manager.use(plugins)
    assert "plugin 'bad' is broken: ImportError: x" in message(write(LEAST))


def test_an_override_that_a_later_one_would_undo_is_refused(write):
    name = write(LEAST)
    rate, whole = "optimizer.lr=0.5", "optimizer={kind: adam}"
    with pytest.raises(RecipeError, match=r"optimizer\.lr is lost.*give optimizer first"):
        load(name, [rate, whole])
    assert load(name, [whole, rate]).model_dump()["optimizer"]["lr"] == 0.5
