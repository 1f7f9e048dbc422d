"""The distribution `tunable-convolutions`: two twins, a neutral core, the command `tunable`."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = runpy.run_path(str(HERE / "tunable" / "version.py"))["__version__"]
TORCH = ["torch>=2.10"]
NPU = ["torch==2.13.0", "torch-npu==2.13.0"]  # of one release; a torch_npu is imported by no other torch
MINDSPORE = ["mindspore>=2.10,<2.11"]
ONNX = ["onnx>=1.18", "ml_dtypes<0.6", "onnxruntime", "onnxscript"]  # a newer ml_dtypes wants numpy 2
CANN = [*(one for one in ONNX if one != "onnxruntime"), "onnxruntime-cann"]  # onnxruntime for Ascend, in its place
APP = ["gradio>=6.16"]
HUB = ["huggingface_hub>=1"]
ANALYZE = ["scikit-learn"]
TOOLS = ["pytest", "pytest-xdist", "hypothesis", "ruff", "basedpyright", "setuptools", "playwright", "h5py"]
DOCS = ["mkdocs-material", "mkdocstrings[python]"]
TEST = [*TOOLS, *ONNX, *APP, *HUB, *ANALYZE, *DOCS, "axe-playwright-python"]

setup(
    name="tunable-convolutions",
    version=VERSION,
    description="Tunable convolutions with parametric multi-loss optimization, in PyTorch and MindSpore",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords=["tunable convolution", "multi-objective optimization", "image restoration", "pytorch", "mindspore"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Processing",
    ],
    project_urls={"Paper": "https://arxiv.org/abs/2304.00898"},
    python_requires=">=3.11,<3.13",
    packages=[*find_packages(include=["tunable*", "torch_impl*", "mindspore_impl*"]), "tunable.configs"],
    package_dir={"tunable.configs": "configs"},  # the recipes ship as data; a clone has them at its top
    package_data={
        "tunable": ["py.typed", "*.yaml", "reports/templates/*.j2"],
        "tunable.configs": ["*.yaml", "*/*.yaml"],
        "tunable.evaluation": ["*.safetensors", "*.md"],
        "tunable.models": ["*.safetensors", "*.md"],
        "torch_impl": ["py.typed"],
        "mindspore_impl": ["py.typed"],
    },
    install_requires=[
        "numpy<2",
        "safetensors",
        "pydantic>=2",
        "pyyaml",
        "pillow>=12.2",
        "imagecodecs",
        "tifffile",
        "scikit-image",
        "scipy",
        "matplotlib",
        "jinja2",
        "rich",
        "shtab",
        "tensorboardX",
    ],
    extras_require={
        "torch": TORCH,
        "npu": NPU,
        "mindspore": MINDSPORE,
        "onnx": ONNX,
        "onnxruntime": ["onnxruntime"],  # enough to run exported files
        "app": APP,
        "hub": HUB,
        "analyze": ANALYZE,
        "cann": CANN,
        "docs": DOCS,
        "test": TEST,
        "all": TORCH + MINDSPORE + TEST,
    },
    entry_points={"console_scripts": ["tunable=tunable.commands:main"]},
)
