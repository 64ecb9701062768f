from ffcore.run.environment import cpu_model


def test_the_model_of_the_processor_is_read_from_the_table_of_linux(tmp_path):
    table = tmp_path / "cpuinfo"
    table.write_text(
        "processor\t: 0\nmodel name\t: Some  CPU @ 2 GHz\n\nprocessor\t: 1\nmodel name\t: Other\n"
    )
    assert cpu_model(table) == "Some CPU @ 2 GHz"
    assert "Some CPU" not in cpu_model(tmp_path / "missing")
