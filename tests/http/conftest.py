"""A running service for the tests in this folder: the embedded data with svd, gbdt, bmf and clusters."""

import pytest

from service import API_KEY, JWT_SECRET, Service, make_files


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Paths: dataset, models {name: path}, clusters, key, secret."""
    return make_files(tmp_path_factory.mktemp("serve"))


@pytest.fixture(scope="session")
def service(files, tmp_path_factory):
    """One service for all tests that do not change how it runs; with a store, an API key and a JWT secret."""
    with Service(files, store=tmp_path_factory.mktemp("store") / "live.db") as running:
        yield running


@pytest.fixture(scope="session")
def admin():
    """Headers of a request that may do everything."""
    return {"X-API-Key": API_KEY}


@pytest.fixture
def start(files, tmp_path):
    """start("--rate-limit", 5, ...) -> a Service of its own, stopped after the test."""
    running = []

    def run(*args, **kwargs):
        running.append(Service(files, *args, **kwargs).__enter__())
        return running[-1]

    yield run
    for one in running:
        one.stop()


__all__ = ["API_KEY", "JWT_SECRET"]
