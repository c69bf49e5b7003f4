#!/usr/bin/env bash
# Build the native core with the address and undefined-behaviour sanitizers in a copy of the tree, and run the tests of
# native code with it.  Uses the `python` (or $PYTHON) of an environment in which the tests run; the checkout is not touched.
#
#     tests/sanitizer.sh                      the tests listed below
#     tests/sanitizer.sh tests/xtc -k noise   others: arguments go to pytest
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python}
cc=${CC:-cc}

# What enters native code with bytes of its own, room by room, and the recorded files.
tests=(
    tests/xtc
    tests/run/test_build.py
    tests/run/test_occurrences.py
    tests/run/test_single.py
    tests/run/test_run.py
    tests/run/test_mutated.py
    tests/calib/test_text.py
    tests/calib/test_dark_kernels.py
    tests/calib/test_recipe.py
    tests/calib/test_common_mode_by_numpy.py
    tests/hdf5/test_filters.py
    tests/hdf5/test_reserved.py
    tests/reference/test_walk.py
    tests/reference/test_compress.py
    tests/reference/test_smalldata.py
    tests/reference/test_facility_files.py
)
[ $# -gt 0 ] && tests=("$@")

# The C that Cython made is copied too, if it is there; what is compiled is new.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
copy=$scratch/psanacli
mkdir "$copy"
(cd "$root" && tar -c --exclude='*.so' --exclude=__pycache__ --exclude='.[a-z]*' --exclude='./build/[!c]*' --exclude=./dist .) | tar -x -C "$copy"
# The reference data lie beside the checkout.
[ -d "$root/../shared" ] && ln -s "$(cd "$root/../shared" && pwd)" "$scratch/shared"
cd "$copy"

echo "sanitizers: building in $copy"
PSANACLI_SANITIZE=1 "$python" setup.py -q build_ext --inplace -j 2 >"$scratch/build.log" 2>&1 || {
    tail -40 "$scratch/build.log"
    exit 1
}

# The runtime has to be loaded before the interpreter, which was built without it.  Memory comes from malloc, so that
# each object has its own guarded piece; the interpreter itself leaks on exit, so leaks are not looked for.
preload=
for library in libasan.so libubsan.so libstdc++.so.6; do
    preload+="$("$cc" -print-file-name="$library") "
done
export LD_PRELOAD=${preload% }
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export PYTHONMALLOC=malloc PYTHONPATH=$copy
unset PYTEST_ADDOPTS PYTHONDONTWRITEBYTECODE

"$python" - <<'CHECK'
import pathlib
from psanacli.xtc import _walk

module = pathlib.Path(_walk.__file__)
assert module.is_relative_to(pathlib.Path.cwd()), f"{module} would be tested, which is not the copy"
assert b"__asan_init" in module.read_bytes(), f"{module} was built without sanitizers"
CHECK
"$python" -m pytest -p no:cacheprovider -n 2 --dist worksteal "${tests[@]}"
