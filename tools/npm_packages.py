"""Fetch what pages and their tests take from the npm registry, once, into the cache: `make install` calls this.

    python -m tools.npm_packages

A package that cannot be had is named, and the tests that need it are skipped.
"""

from tunable.errors import TunableError
from tunable.exports.npm import ONNXRUNTIME_WEB, Package, read

AXE_CORE = Package(
    "axe-core", "4.14.1", "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)


def main() -> None:
    for package in (ONNXRUNTIME_WEB, AXE_CORE):
        try:
            read(package, ())
        except TunableError as error:
            print(error)


if __name__ == "__main__":
    main()
