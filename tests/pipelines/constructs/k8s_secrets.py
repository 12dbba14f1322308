"""kfp.kubernetes: Secrets and ConfigMaps as environment and as files, named by constants and by parameters, optional."""

from kfp import dsl, kubernetes

from pipelines.steps import BUSYBOX, Expect, succeeded

SECRETS = {"construct-secret": {"password": "s3cret", "user": "somebody"}}
CONFIG_MAPS = {"construct-config": {"mode": "fast", "file.conf": "a=1\n"}}


@dsl.container_component
def show(script: str):
    return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c"], args=[script])


@dsl.pipeline
def k8s_secrets(secret: str = "construct-secret"):
    env = show(script='echo "$PASSWORD $MODE"')
    kubernetes.use_secret_as_env(env, secret_name=secret, secret_key_to_env={"password": "PASSWORD"})
    kubernetes.use_config_map_as_env(env, config_map_name="construct-config", config_map_key_to_env={"mode": "MODE"})
    files = show(script="cat /secrets/user; echo; cat /config/file.conf; ls /absent 2>/dev/null | wc -l")
    kubernetes.use_secret_as_volume(files, secret_name="construct-secret", mount_path="/secrets")
    kubernetes.use_config_map_as_volume(files, config_map_name="construct-config", mount_path="/config")
    kubernetes.use_secret_as_volume(files, secret_name="not-there", mount_path="/absent", optional=True)
    optional = show(script='echo "[$NOTHING]"')
    kubernetes.use_secret_as_env(
        optional,
        secret_name="not-there",
        secret_key_to_env={"x": "NOTHING"},
        optional=True,
    )


EXPECT = Expect(
    succeeded("show", "show-2", "show-3"),
    logs={"show": "s3cret fast\n", "show-2": "somebody\na=1\n0\n", "show-3": "[]\n"},
)
