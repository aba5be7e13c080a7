import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_connected")]


def test_a_worker_has_the_package_and_the_standard_library_under_one_name():
    import ray

    @ray.remote
    def of_a_worker():
        import platform
        import platform.tune

        return list(platform.__path__), platform.system(), platform.python_version()

    import platform

    assert ray.get(of_a_worker.remote()) == (list(platform.__path__), platform.system(), platform.python_version())


def test_the_resources_are_those_of_the_nodes():
    from platform import runtime

    cpus, gpus = runtime.resources()
    assert cpus > 0
    assert gpus >= 0
