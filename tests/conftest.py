"""The order of the files: the slow ones first, so that no worker is left with one of them at the end (test.sh runs
pytest -n JOBS --dist loadscope --no-loadscope-reorder). Within a file nothing changes."""

SLOW = ("test_schemathesis", "test_trees", "test_interchange", "test_factors", "test_tree_models", "test_gen", "test_cluster",
        "test_similar", "test_page")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: SLOW.index(item.path.stem) if item.path.stem in SLOW else len(SLOW))
