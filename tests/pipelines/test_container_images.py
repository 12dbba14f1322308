"""Steps whose images no process of this machine stands for: real containers, with artifacts and parameters."""

import pytest
from kfp import dsl

from node import engine
from pipelines import runs as helpers
from pipelines.runs import api  # noqa: F401


@pytest.fixture(scope="module", autouse=True)
def image():
    yield engine.make_image()
    engine.podman("rmi", "--force", engine.IMAGE)


@dsl.container_component
def make(word: str, out: dsl.Output[dsl.Artifact], count: dsl.OutputPath(int)):
    script = 'echo "$GREETING $0" > "$1"; printf 7 > "$2"; echo made'
    return dsl.ContainerSpec(image=engine.IMAGE, command=["sh", "-c"], args=[script, word, out.path, count])


@dsl.container_component
def use(given: dsl.Input[dsl.Artifact], count: int):
    return dsl.ContainerSpec(image=engine.IMAGE, command=["sh", "-c"], args=['cat "$0"; echo $1', given.path, count])


@dsl.container_component
def fall(code: int):
    return dsl.ContainerSpec(image=engine.IMAGE, command=["sh", "-c", "echo falling; exit $0"], args=[code])


@dsl.pipeline(name="real-images")
def works(word: str):
    made = make(word=word)
    use(given=made.outputs["out"], count=made.outputs["count"])


@dsl.pipeline(name="real-images-fall")
def falls(code: int):
    fall(code=code)


def run(kfp_client, api, tmp_path, pipeline, **arguments):
    package = helpers.compiled(pipeline, tmp_path)
    made = kfp_client.create_run_from_pipeline_package(str(package), arguments=arguments, enable_caching=False)
    return helpers.Run(api, made.run_id).wait()


def test_artifacts_and_parameters_pass_through_containers(kfp_client, api, tmp_path):
    done = run(kfp_client, api, tmp_path, works, word="you")
    assert done.state == "SUCCEEDED", done.describe()
    assert done.log("make") == "made\n"
    assert done.log("use") == "hello you\n7\n"


def test_a_container_that_fails_fails_its_run(kfp_client, api, tmp_path):
    done = run(kfp_client, api, tmp_path, falls, code=3)
    assert done.state == "FAILED", done.describe()
    assert done.log("fall") == "falling\n"
