"""Build of the native core: every ``cext/ROOM/NAME.pyx`` becomes ``psanacli.ROOM.NAME``.

All else is declared in ``pyproject.toml``.  Set ``PSANACLI_SANITIZE=1`` for a build with the address and
undefined-behaviour sanitizers (see ``docs/developing.md``).
"""

import os
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

# -g0: without what is for debuggers, which Python asks for, the build takes a quarter less time.
# PSANACLI_OPTIMIZE=0 makes slow code in a third of the time, for those who only look whether it builds.
OPTIMIZE = f"-O{os.environ.get('PSANACLI_OPTIMIZE', '3')}"
# Without contraction numbers do not depend on whether a processor can multiply and add at once.
COMPILE = [OPTIMIZE, "-g0", "-std=gnu11", "-fno-strict-aliasing", "-ffp-contract=off", "-Wno-unused-function"]
LINK: list[str] = []
WORKERS = os.cpu_count() or 1
if os.environ.get("PSANACLI_SANITIZE"):
    SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
    COMPILE += [*SANITIZE, "-g1", "-O1"]
    LINK += SANITIZE

SHARED = "psanacli._cython"
"""What Cython makes for typed memoryviews: once for all modules, as it is most of what there is to compile in each."""


def extension(name: str, source: str) -> Extension:
    """Return a module that is compiled as all are."""
    return Extension(
        name,
        [source],
        include_dirs=[numpy.get_include(), "cext"],
        depends=[str(header) for folder in ("cext", os.path.dirname(source)) for header in Path(folder).glob("*.h")],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=COMPILE,
        extra_link_args=LINK,
    )


def extensions() -> list[Extension]:
    """Return all native modules, in C."""
    sources = sorted(Path("cext").glob("*/*.pyx"))
    return cythonize(
        [
            *(extension(f"psanacli.{source.parent.name}.{source.stem}", str(source)) for source in sources),
            extension(SHARED, "cext/_cython.c"),  # written into build_dir as the others
        ],
        build_dir="build/cython",
        nthreads=WORKERS,
        shared_utility_qualified_name=SHARED,
        include_path=["cext"],
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
        },
    )


if __name__ == "__main__":
    # Side by side: an installation takes minutes else.
    setup(options={"build_ext": {"parallel": WORKERS}}, ext_modules=extensions())
