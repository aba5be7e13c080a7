import sys
from importlib.metadata import version

from platform.tracking import environment
from platform.tracking.environment import environment_tags


def test_tags_name_code_libraries_and_machine(monkeypatch):
    outputs = {"rev-parse": "abc123", "status": " M file", "--query-gpu=name": "GPU A\nGPU B"}
    monkeypatch.setattr(environment, "_output", lambda *c: next(v for k, v in outputs.items() if k in c))
    tags = environment_tags()
    assert tags["git.commit"] == "abc123"
    assert tags["git.dirty"] == "true"
    assert tags["gpu"] == "GPU A, GPU B"
    assert tags["torch"] == version("torch")
    assert tags["python"] == sys.version.split()[0]
    assert int(tags["cpus"]) > 0
    assert all(tags.values())


def test_what_cannot_be_found_has_no_tag(monkeypatch):
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    assert not {"git.commit", "git.dirty", "gpu"} & environment_tags().keys()
    assert "machine" in environment_tags()


def test_a_program_that_fails_gives_nothing():
    assert environment._output(sys.executable, "-c", "print('half'); raise SystemExit(1)") == ""
