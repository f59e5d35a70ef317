"""The packages of the wheel: `baselines/` is installed as `revo_ray_baselines`."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[*find_namespace_packages(include=["revo_ray", "revo_ray.*"]), "revo_ray_baselines"],
    package_dir={"revo_ray_baselines": "baselines"},
)
