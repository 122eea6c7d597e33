import json
import subprocess
import sys

HEAVY = ("torch", "ray", "numpy", "mlflow", "cv2", "scipy", "matplotlib")


def test_the_pages_import_nothing_heavy() -> None:
    code = "import json, sys, service.web; print(json.dumps(list(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
    assert "service.web.mounting" in loaded
    assert [name for name in HEAVY if name in loaded] == []
