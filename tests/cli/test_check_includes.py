"""tests/check_includes.py finds what it is there to find."""
import pathlib
import subprocess
import sys

CHECK = pathlib.Path(__file__).parent.parent / "check_includes.py"


def check(root, files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return subprocess.run([sys.executable, CHECK, root], capture_output=True, text=True)


def test_good_tree(tmp_path):
    result = check(tmp_path, {
        "src/model/svd.c": '#include <math.h>\n#include "model/model.h"\n#include "backend/sgd_ops.h"\n',
        "src/cli/cmd_x.c": '#include <jansson.h>\n#include <reel/reel.h>\n#include "cli.h"\n',
        "src/backend/registry.c": '#include "backend/registry.h"\n#if REEL_WITH_CUDA\n#endif\n',
        "kernels/common/philox.h": "#ifdef __CUDACC__\n#endif\n",
    })
    assert result.returncode == 0, result.stdout


def test_findings(tmp_path):
    bad = {
        "src/core/a.c": '#include "data/dataset.h"\n',
        "src/data/b.c": '\n#include "model/model.h"\n',
        "src/model/c.c": '#include "backend/registry.h"\n',
        "src/model/d.c": '#include "kernels/cpu/sgd.h"\n',
        "kernels/cpu/e.c": '#include "data/ratings.h"\n',
        "src/cli/f.c": '#include "core/mem.h"\n',
        "src/cli/g.c": "#include <sqlite3.h>\n",
        "src/model/h.c": "# ifdef REEL_WITH_CUDA\n# endif\n",
        "src/model/i.c": "#include <cuda_runtime.h>\n",
        "include/reel/j.h": '#include "core/mem.h"\n',
        "src/elsewhere/k.c": "int k;\n",
    }
    result = check(tmp_path, bad)
    assert result.returncode == 1
    for path in bad:
        assert path + ":" in result.stdout, path
    assert "src/data/b.c:2: src/data must not include \"model/model.h\"" in result.stdout


def test_empty_tree_is_no_success(tmp_path):
    assert check(tmp_path, {}).returncode == 1
