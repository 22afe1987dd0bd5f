"""What pyproject.toml cannot say of the package: an installed one brings the chapters' numbers."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithNumbers(build_py):
    """Puts what a checkout has in `data` beside the code, where `beyondloss.experiment.paths.data` looks for it."""

    def run(self) -> None:
        """Build, then copy; an editable install finds its checkout."""
        super().run()
        if not self.editable_mode:
            for part in ("published", "results"):
                target = Path(self.build_lib) / "beyondloss" / "shipped" / part
                shutil.copytree(Path("data") / part, target, dirs_exist_ok=True)


setup(cmdclass={"build_py": WithNumbers})
