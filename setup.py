"""Installation of genmodels; requirements.txt pins the versions that were tested."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="genmodels",
    version="0.1.0",
    description="Generative models in Keras under one training harness",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["genmodels", "genmodels.*"]),
    entry_points={"console_scripts": ["genmodels = genmodels.cli.main:main"]},
    python_requires=">=3.11,<3.14",
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.15,<3.16",
        "tensorflow-probability>=0.25,<0.26",
        "tf-keras>=2.21,<2.22",  # TensorFlow Probability imports it
        "setuptools; python_version >= '3.12'",  # TensorFlow Probability needs distutils
        "numpy>=2.0",
        "matplotlib>=3.9",
        "pillow>=10.1",
        "scikit-learn>=1.5",
        "scipy>=1.13",
        "typer>=0.27.2",
    ],
    extras_require={
        "tensorboard": ["tensorboard"],
        "onnx": ["onnx>=1.23", "onnxruntime>=1.31", "tf2onnx>=1.17"],
        "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
        "dev": ["pytest>=8", "pytest-xdist>=3.6", "ruff>=0.14"],
    },
)
