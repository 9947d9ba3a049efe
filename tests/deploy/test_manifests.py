"""Protects the files for Docker, compose, Kubernetes, systemd and Grafana: valid against their schemas, hardened, and in
step with each other and with the program's own settings."""

import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import subprocess

import kubernetes_validate
import pytest
import yaml

from conftest import DEPLOY, ROOT, check

BUILD = pathlib.Path(os.environ.get("LIMOE_BUILD", ROOT / "build")).resolve()
KUBERNETES = DEPLOY / "kubernetes"
OBJECTS = [
    (path.name, found)
    for path in sorted(KUBERNETES.glob("*.yaml"))
    for found in yaml.safe_load_all(path.read_text())
]
CUSTOM = {"Kustomization", "ServiceMonitor"}  # kinds that are not Kubernetes' own: no schema here
GPU = DEPLOY / "kubernetes-gpu"


def kubernetes(kind):
    return next(found for _, found in OBJECTS if found["kind"] == kind)


def patched(old, new):
    """As kustomize patches: mappings key by key, lists of what has a name or a path by that; all else is replaced."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: patched(old.get(key), value) for key, value in new.items()}
    if not (isinstance(old, list) and isinstance(new, list) and isinstance(new[0], dict)):
        return new
    key = "mountPath" if "mountPath" in new[0] else "name"
    merged = {item[key]: item for item in old}
    return list((merged | {item[key]: patched(merged.get(item[key]), item) for item in new}).values())


def on_gpus(kind):
    """An object of deploy/kubernetes as deploy/kubernetes-gpu has it."""
    patches = [yaml.safe_load((GPU / named["path"]).read_text()) for named in gpu_kustomization()["patches"]]
    found = kubernetes(kind)
    for patch in patches:
        if patch["kind"] == kind and patch["metadata"]["name"] == found["metadata"]["name"]:
            found = patched(found, patch)
    return found


def gpu_kustomization():
    return yaml.safe_load((GPU / "kustomization.yaml").read_text())


def pod(of=kubernetes):
    return of("StatefulSet")["spec"]["template"]["spec"]


EITHER = pytest.mark.parametrize("of", [kubernetes, on_gpus], ids=["cpus", "gpus"])


def config_value(text, name):
    return re.search(rf"^\s*{name} = (.*)$", text, re.MULTILINE).group(1)


# ---- Kubernetes


@pytest.mark.parametrize("version", ["1.28", "1.31", "1.33"])
@pytest.mark.parametrize("name,found", [o for o in OBJECTS if o[1]["kind"] not in CUSTOM])
def test_kubernetes_accepts_it(name, found, version):
    kubernetes_validate.validate(found, version, strict=True)


def test_a_wrong_manifest_is_found():
    wrong = json.loads(json.dumps(kubernetes("StatefulSet")))
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 60
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.31", strict=True)


def test_kustomization_names_files_that_are_there():
    named = kubernetes("Kustomization")["resources"]
    assert all((KUBERNETES / name).is_file() for name in named)
    optional = {"kustomization.yaml", "hpa.yaml", "servicemonitor.yaml"}
    assert set(named) | optional == {path.name for path in KUBERNETES.iterdir()}
    patches = {patch["path"] for patch in gpu_kustomization()["patches"]}
    assert patches | {"kustomization.yaml"} == {path.name for path in GPU.iterdir()}
    assert [(GPU / base).resolve() for base in gpu_kustomization()["resources"]] == [KUBERNETES]


@pytest.mark.parametrize("version", ["1.28", "1.31", "1.33"])
@pytest.mark.parametrize("kind", ["ConfigMap", "StatefulSet"])
def test_kubernetes_accepts_it_on_gpus(kind, version):
    assert on_gpus(kind) != kubernetes(kind)
    kubernetes_validate.validate(on_gpus(kind), version, strict=True)


def test_pods_have_a_gpu_for_each_rank():
    text = on_gpus("ConfigMap")["data"]["limoe.conf"]
    (container,) = pod(on_gpus)["containers"]
    assert config_value(text, "device") == "cuda"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == int(config_value(text, "ranks")) > 0
    without = [line for line in text.splitlines() if not re.match(r"(device|ranks) = ", line)]
    assert without == kubernetes("ConfigMap")["data"]["limoe.conf"].splitlines()
    assert container["image"].startswith("limoe-cuda:")


def test_pods_are_found_by_all_that_select_them():
    labels = kubernetes("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    selectors = [kubernetes("StatefulSet")["spec"]["selector"]["matchLabels"]]
    selectors += [found["spec"]["selector"] for _, found in OBJECTS if found["kind"] == "Service"]
    selectors.append(kubernetes("PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    selectors.append(kubernetes("NetworkPolicy")["spec"]["podSelector"]["matchLabels"])
    assert all(selector == labels for selector in selectors)
    target = kubernetes("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("StatefulSet", kubernetes("StatefulSet")["metadata"]["name"])
    # One Service is scraped, so that a pod is not scraped twice.
    scraped = kubernetes("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    services = [found["metadata"]["labels"] for _, found in OBJECTS if found["kind"] == "Service"]
    assert services.count(scraped) == 1


@EITHER
def test_pods_are_hardened(of):
    (container,) = pod(of)["containers"]
    assert pod(of)["securityContext"]["runAsNonRoot"] and pod(of)["automountServiceAccountToken"] is False
    assert pod(of)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@EITHER
def test_pods_have_time_to_drain(of):
    drain = int(config_value(of("ConfigMap")["data"]["limoe.conf"], "drain-timeout"))
    wait = int(pod(of)["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert pod(of)["terminationGracePeriodSeconds"] > wait + drain


@EITHER
def test_a_restarting_engine_does_not_cost_the_front(of):
    """/readyz is 503 while an engine restarts: that must not be what decides whether the front lives."""
    container = pod(of)["containers"][0]
    paths = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert paths == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}


# ---- Docker, compose


def dockerfile():
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    return [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]


def stages():
    """name -> its steps, those of the stage that it is FROM before its own; of images by others none. The last is ""."""
    found, name = {}, None
    for word, rest in dockerfile():
        if word == "FROM":
            image, *alias = rest.split(" AS ")
            name = (alias or [""])[0]
            assert image in found or image in FROM_OTHERS, image
            found[name] = list(found.get(image, []))
        else:
            found[name].append((word, rest))
    return found


# Debian's, and NVIDIA's for the toolkit alone.
FROM_OTHERS = {"debian:12-slim", "nvidia/cuda:12.9.1-devel-ubuntu22.04"}
TARGETS = ["", "cpu", "mpi", "cuda"]


def test_image_copies_what_is_there():
    earlier = set()
    for word, rest in dockerfile():
        if word == "FROM":
            earlier.add(rest.split(" AS ")[-1])
        if word != "COPY":
            continue
        *names, _ = [name for name in rest.split() if not name.startswith("--")]
        source = rest.split()[0].removeprefix("--from=") if rest.startswith("--from=") else None
        assert source is None or source in earlier, rest
        for name in names:
            path = ROOT / name.removeprefix("/src/")
            assert source == "toolkit" or path.exists() or name.startswith(("/src/build/", "/usr/share/doc/")), name


def test_the_build_finds_its_sources_in_the_context():
    """Those of every target, so that .dockerignore leaves out nothing that the image is made of."""
    loader = importlib.machinery.SourceFileLoader("check_dockerfile", str(DEPLOY / "docker" / "check-dockerfile"))
    script = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(script)
    there = set(script.context_names())
    targets = json.loads(subprocess.run(["meson", "introspect", "--targets", BUILD], check=True, capture_output=True).stdout)
    groups = [group for target in targets for group in target["target_sources"]]
    sources = {pathlib.Path(os.path.normpath(name)) for group in groups for name in group.get("sources", [])}
    named = {str(path.relative_to(ROOT)) for path in sources if path.is_relative_to(ROOT) and not path.is_relative_to(BUILD)}
    assert len(named) > 300 and named <= there, sorted(named - there)


@pytest.mark.parametrize("target", TARGETS)
def test_image_runs_as_nobody(target):
    last = dict(stages()[target])
    assert last["USER"] == f"{pod()['securityContext']['runAsUser']}:{pod()['securityContext']['runAsGroup']}"
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert last["ENTRYPOINT"] == '["limoe"]' and "HEALTHCHECK" in last


def test_images_have_their_modules():
    """Where the program is told to look for them, and all that the build makes for it."""
    for target, modules in {"mpi": {"limoe-mpi.so"}, "cuda": {"limoe-cuda.so", "limoe-nccl.so"}}.items():
        copied = [rest.split() for word, rest in stages()[target] if word == "COPY" and "/src/build/limoe-" in rest]
        ((_, *names, to),) = copied
        assert {pathlib.Path(name).name for name in names} == modules
        assert image_environment(target)["LIMOE_MODULES"] == to.rstrip("/")
    assert "LIMOE_MODULES" not in image_environment("cpu")


def test_the_target_by_default_is_for_cpus():
    assert stages()[""] == stages()["cpu"]


def test_compose_is_hardened_and_mounts_what_is_there():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert set(services) == {"limoe", "prometheus", "grafana"}
    for name, service in services.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert name == "limoe" or ("healthcheck" in service and not service["image"].endswith("latest"))
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith("./") or (DEPLOY / source).is_dir(), volume
    assert (DEPLOY / services["limoe"]["build"]["context"] / "Dockerfile").is_file()
    grace = int(services["limoe"]["stop_grace_period"].removesuffix("s"))
    assert grace > int(services["limoe"]["environment"]["LIMOE_DRAIN_TIMEOUT"])


def test_compose_gives_each_rank_a_gpu():
    more = yaml.safe_load((DEPLOY / "compose.gpu.yaml").read_text())
    plain = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert set(more) == {"services"} and set(more["services"]) == {"limoe"}
    limoe = patched(plain["services"]["limoe"], more["services"]["limoe"])
    assert limoe["build"]["target"] == "cuda" and limoe["build"]["dockerfile"] == "Dockerfile"
    assert limoe["environment"]["LIMOE_DEVICE"] == "cuda"
    (device,) = limoe["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia" and device["capabilities"] == ["gpu"]
    assert device["count"] == limoe["environment"]["LIMOE_RANKS"] == "${GPUS:-1}"
    assert limoe["read_only"] and limoe["stop_grace_period"] == plain["services"]["limoe"]["stop_grace_period"]


def test_container_health_check_tells_ready_from_live(tmp_path):
    """Against a server that says 503: live, not ready; 200: both; against none: neither."""
    script = DEPLOY / "docker" / "healthcheck"
    for status, ready in ((200, 0), (503, 1), (None, 1)):
        serve = (
            "import socket\n"
            "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
            "while True:\n"
            "    c, _ = s.accept(); head = b''\n"
            "    while b'\\r\\n\\r\\n' not in head: head += c.recv(4096)\n"
            "    c.sendall(b'HTTP/1.1 %d X\\r\\nConnection: close\\r\\n\\r\\n'); c.close()\n"
        ) % (status or 0)
        server = subprocess.Popen(["python3", "-c", serve], stdout=subprocess.PIPE, text=True)
        environment = {**os.environ, "LIMOE_PORT": server.stdout.readline().strip()}
        if status is None:
            server.kill()
            server.wait()
        try:
            codes = [subprocess.run([script, what], env=environment, timeout=60).returncode for what in ("ready", "live")]
        finally:
            server.kill()
            server.wait()
            server.stdout.close()
        assert [bool(code) for code in codes] == [bool(ready), status is None]


# ---- systemd


def test_unit_is_valid(tmp_path):
    unit = tmp_path / "limoe.service"
    unit.write_text((DEPLOY / "systemd" / "limoe.service").read_text().replace("/usr/bin/limoe", str(BUILD / "limoe")))
    said = check("systemd-analyze", "verify", "--man=no", unit)
    assert said.strip() == ""


def test_unit_is_hardened():
    said = check("systemd-analyze", "security", "--offline=true", "--no-pager", DEPLOY / "systemd" / "limoe.service")
    assert float(re.search(r"Overall exposure level for limoe.service: ([0-9.]+)", said).group(1)) < 2


def test_unit_gives_time_to_drain():
    unit = (DEPLOY / "systemd" / "limoe.service").read_text()
    drain = int(config_value((DEPLOY / "systemd" / "limoe.conf").read_text(), "drain-timeout"))
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE).group(1)) > drain


# ---- settings, as the program reads them


@pytest.mark.parametrize("where", ["systemd", "kubernetes", "kubernetes-gpu"])
def test_program_takes_its_config(where, tmp_path):
    if where == "systemd":
        text = (DEPLOY / "systemd" / "limoe.conf").read_text()
    else:
        text = (kubernetes if where == "kubernetes" else on_gpus)("ConfigMap")["data"]["limoe.conf"]
    path = tmp_path / "limoe.conf"
    path.write_text(text)
    said = check(BUILD / "limoe", "serve", "--config", path, "--print-config")
    for name in re.findall(r"^([a-z-]+) =", text, re.MULTILINE):
        assert re.search(rf"^{name} = \"?{re.escape(config_value(text, name))}\"?", said, re.MULTILINE), said


def image_environment(target):
    steps = [rest for word, rest in stages()[target] if word == "ENV"]
    return dict(pair.split("=", 1) for rest in steps for pair in rest.split())


@pytest.mark.parametrize("target", TARGETS)
def test_program_takes_the_image_s_environment(target):
    others = {"LIMOE_MODULES", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}  # not options
    environment = {name: value for name, value in image_environment(target).items() if name not in others}
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["limoe"]["environment"]
    if target == "cuda":
        compose |= yaml.safe_load((DEPLOY / "compose.gpu.yaml").read_text())["services"]["limoe"]["environment"]
        compose["LIMOE_RANKS"] = "2"
    said = check(BUILD / "limoe", "serve", "--print-config", env={**os.environ, **environment, **compose})
    for name, value in {**environment, **compose}.items():
        option = name.removeprefix("LIMOE_").lower().replace("_", "-")
        assert re.search(rf"^{option} = \"?{re.escape(value)}\"?", said, re.MULTILINE), said


# ---- Grafana


def test_dashboard_is_sound():
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "limoe.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    taken = set()
    for panel in panels:
        box = panel["gridPos"]
        cells = {(x, y) for x in range(box["x"], box["x"] + box["w"]) for y in range(box["y"], box["y"] + box["h"])}
        assert not cells & taken and box["x"] + box["w"] <= 24, panel["title"]
        taken |= cells
        for target in panel.get("targets", []):
            used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval", "__range"}
            assert used <= variables, target["expr"]


def test_provisioning_finds_the_dashboard():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/limoe.yaml").read_text())["providers"][0]
    mounts = dict(volume.split(":")[:2][::-1] for volume in compose["grafana"]["volumes"])
    assert list((DEPLOY / mounts[provider["options"]["path"]]).glob("*.json"))
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    assert source["url"].removeprefix("http://").split(":")[0] in compose
