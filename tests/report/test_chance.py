from platform.report.chance import chance_of


def test_chance_is_one_in_as_many_as_there_are_classes():
    assert [chance_of(n) for n in (1, 3, 5)] == [
        "1 class, chance 100.0 %", "3 classes, chance 33.3 %", "5 classes, chance 20.0 %",
    ]  # fmt: skip
