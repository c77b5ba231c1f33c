"""What a container sees of the disk, and as whom: mounts, user, home, scratch space."""

from __future__ import annotations

from planner.rendering.compose_devices import Volume, config_volume
from planner.rendering.deployment import Deployment, Unit
from planner.rendering.quoting import compose_scalar
from planner.servers.records import Mount

# The owner of the models folder, as a quoted Compose value.
OWNER = '"${PLANNER_UID:-1000}:${PLANNER_GID:-1000}"'

# Servers that compile kernels at start: where they write them, which must also be executable.
_COMPILERS = {"vllm": ("/home/vllm/.triton", "/home/vllm/.config")}
# Images that run under any user, none of them its own: an unprivileged number without files on the host.
_ANY_USER = {"llama-server": "65532:65532"}


def models_source(deployment: Deployment) -> str:
    """The models folder on the host, as a quoted Compose value."""
    fixed = deployment.options.models_dir
    return '"${PLANNER_MODELS_DIR:-./models}"' if fixed is None else compose_scalar(fixed)


def _volume(deployment: Deployment, unit: Unit, mount: Mount) -> Volume | None:
    if mount.source == "models":
        # Always /models: an image's own place may lie below a home that another user cannot enter.
        source = models_source(deployment)
        return Volume(role="models", source=source, target="/models", read_only=mount.read_only)
    if mount.source == "cache":
        name = f"planner-{unit.name}-{mount.name}"
        source = compose_scalar(name)
        return Volume(role="cache", name=name, source=source, target=mount.target, read_only=mount.read_only)
    if mount.source == "config":
        return config_volume(mount.name, mount.target, read_only=mount.read_only)
    return None


def volumes_of(deployment: Deployment, unit: Unit) -> tuple[Volume, ...]:
    """Mounts of a unit: those of its launch, and the folders that its words lead into."""
    launch = unit.launch
    found = [volume for mount in launch.mounts if (volume := _volume(deployment, unit, mount)) is not None]
    targets = {volume.target for volume in found}
    uses_models = launch.models_environment or any(a.kind == "models" for a in launch.argv)
    if uses_models and "/models" not in targets:
        found.append(Volume(role="models", source=models_source(deployment), target="/models"))
    if any(a.kind == "config" for a in launch.argv) and "/config" not in targets:
        found.append(config_volume("", "/config"))
    return tuple(found)


def user_of(unit: Unit, volumes: tuple[Volume, ...]) -> str | None:
    """The user, quoted: the owner of what it writes, else an unprivileged one; None: the image decides."""
    if any(volume.type == "bind" and not volume.read_only for volume in volumes):
        return OWNER
    user = (unit.image.user if unit.image else None) or _ANY_USER.get(unit.service.server)
    return None if user is None or user in ("0", "root", "0:0") else compose_scalar(user)


def home_of(user: str | None, volumes: tuple[Volume, ...]) -> tuple[tuple[str, str], ...]:
    """HOME where the image's own would be wrong: /tmp for a user without one, else where the cache is mounted."""
    if user == OWNER:
        return (("HOME", "/tmp"),)  # noqa: S108 - the container's own
    homes = [v.target.removesuffix("/.cache") for v in volumes if v.target.endswith("/.cache")]
    return tuple(("HOME", home) for home in homes[:1] if home != "/root")


def tmpfs_of(unit: Unit) -> tuple[str, ...]:
    """Scratch space of a read-only container."""
    compiled = _COMPILERS.get(unit.service.server)
    if compiled is None:
        return ("/tmp",)  # noqa: S108 - the container's own
    return tuple(f"{path}:exec,mode=1777" for path in ("/tmp", *compiled))  # noqa: S108
