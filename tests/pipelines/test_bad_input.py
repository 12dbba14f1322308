"""What is wrong with a pipeline is said where it is: at submission by field, in the run on the task. The server goes on."""

import copy

import pytest
from kfp import dsl

from pipelines import runs as helpers
from pipelines.runs import api  # noqa: F401
from pipelines.steps import BUSYBOX, PYTHON, say

# A pipeline of two tasks; every test below breaks one thing in it.
GOOD = {
    "pipelineInfo": {"name": "bad-input"},
    "schemaVersion": "2.1.0",
    "root": {
        "inputDefinitions": {
            "parameters": {
                "word": {"parameterType": "STRING"},
                "n": {"parameterType": "NUMBER_INTEGER", "defaultValue": 1},
                "mode": {
                    "parameterType": "STRING",
                    "defaultValue": "a",
                    "literals": ["a", "b"],
                },
            }
        },
        "dag": {
            "tasks": {
                "first": {
                    "componentRef": {"name": "comp-step"},
                    "inputs": {"parameters": {"text": {"componentInputParameter": "word"}}},
                },
                "second": {
                    "componentRef": {"name": "comp-step"},
                    "inputs": {
                        "parameters": {
                            "text": {
                                "taskOutputParameter": {
                                    "producerTask": "first",
                                    "outputParameterKey": "out",
                                }
                            }
                        }
                    },
                },
            }
        },
    },
    "components": {
        "comp-step": {
            "executorLabel": "exec-step",
            "inputDefinitions": {"parameters": {"text": {"parameterType": "STRING"}}},
            "outputDefinitions": {"parameters": {"out": {"parameterType": "STRING"}}},
        }
    },
    "deploymentSpec": {
        "executors": {
            "exec-step": {
                "container": {
                    "image": BUSYBOX,
                    "command": ["sh", "-c", 'printf %s "$0" > "$1"'],
                    "args": [
                        "{{$.inputs.parameters['text']}}",
                        "{{$.outputs.parameters['out'].output_file}}",
                    ],
                }
            }
        }
    },
}
STEP = ("components", "comp-step")
TASKS = ("root", "dag", "tasks")
CONTAINER = ("deploymentSpec", "executors", "exec-step", "container")
GONE = object()


def broken(path, value):
    spec = copy.deepcopy(GOOD)
    at = spec
    for key in path[:-1]:
        at = at[key]
    if value is GONE:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return spec


@pytest.mark.parametrize(
    ("path", "value", "texts"),
    [
        pytest.param(("pipelineInfo",), GONE, ["pipelineInfo.name"], id="no name"),
        pytest.param(("root",), GONE, ["root"], id="no root"),
        pytest.param(("surprise",), 1, ["surprise"], id="unknown field"),
        pytest.param(
            (*TASKS, "first", "surprise"),
            1,
            ["first", "surprise"],
            id="unknown field of a task",
        ),
        pytest.param(
            (*TASKS, "first", "componentRef", "name"),
            "comp-x",
            ["first", "comp-x"],
            id="no such component",
        ),
        pytest.param(
            (*TASKS, "first", "dependentTasks"),
            ["second"],
            ["cycle", "first", "second"],
            id="cycle",
        ),
        pytest.param(
            (*TASKS, "first", "dependentTasks"),
            ["third"],
            ["first", "third"],
            id="no such task",
        ),
        pytest.param(
            (*TASKS, "first", "inputs"),
            GONE,
            ["first", "text"],
            id="input without a source",
        ),
        pytest.param(
            (
                *TASKS,
                "second",
                "inputs",
                "parameters",
                "text",
                "taskOutputParameter",
                "outputParameterKey",
            ),
            "other",
            ["second", "first", "other"],
            id="no such output",
        ),
        pytest.param(
            (*TASKS, "first", "inputs", "parameters", "text"),
            {"runtimeValue": {"constant": "x"}, "componentInputParameter": "word"},
            ["first", "text"],
            id="two sources",
        ),
        pytest.param(
            (*STEP, "inputDefinitions", "parameters", "text", "parameterType"),
            "NUMBER_WORDS",
            ["comp-step", "NUMBER_WORDS"],
            id="no such type",
        ),
        pytest.param(
            (*STEP, "executorLabel"),
            "exec-x",
            ["comp-step", "exec-x"],
            id="no such executor",
        ),
        pytest.param(CONTAINER[:3], {"resolver": {}}, ["exec-step", "resolver"], id="resolver"),
        pytest.param(
            CONTAINER[:3],
            {"customJob": {}},
            ["exec-step", "customJob"],
            id="custom job",
        ),
        pytest.param((*CONTAINER, "image"), GONE, ["exec-step", "image"], id="no image"),
        pytest.param(
            (*CONTAINER, "args"),
            ["{{$.inputs.parameters['other']}}"],
            ["comp-step", "other"],
            id="unknown input named",
        ),
        pytest.param(
            (*CONTAINER, "args"),
            ["{{$.wonders['x']}}"],
            ["comp-step", "wonders"],
            id="unknown placeholder",
        ),
        pytest.param(
            (*TASKS, "first", "triggerPolicy"),
            {"condition": "1 +"},
            ["first", "condition"],
            id="broken condition",
        ),
        pytest.param(
            (*TASKS, "first", "triggerPolicy"),
            {"strategy": "WHENEVER"},
            ["first", "WHENEVER"],
            id="no such strategy",
        ),
        pytest.param(
            (*TASKS, "first", "parameterIterator"),
            {"itemInput": "text", "items": {"raw": "[1, "}},
            ["first", "raw"],
            id="items that are no list",
        ),
        pytest.param(
            (*TASKS, "first", "retryPolicy"),
            {"maxRetryCount": -2},
            ["first", "maxRetryCount"],
            id="negative retries",
        ),
    ],
)
def test_a_broken_spec_is_refused_by_its_field(api, path, value, texts):
    status, answer = api.create_run(broken(path, value), {"word": "x"})
    assert status == 400, answer
    assert answer["code"] == 3 and answer["error"], answer
    for text in texts:
        assert text in answer["message"], answer


def test_a_component_inside_itself(api):
    spec = copy.deepcopy(GOOD)
    spec["components"]["comp-loop"] = {"dag": {"tasks": {"again": {"componentRef": {"name": "comp-loop"}}}}}
    spec["root"]["dag"]["tasks"]["again"] = {"componentRef": {"name": "comp-loop"}}
    status, answer = api.create_run(spec, {"word": "x"})
    assert status == 400 and "comp-loop" in answer["message"], answer


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        pytest.param({}, "word", id="required and missing"),
        pytest.param({"word": "x", "wrod": "y"}, "wrod", id="not defined"),
        pytest.param({"word": "x", "n": "many"}, "NUMBER_INTEGER", id="wrong type"),
        pytest.param({"word": "x", "n": 1.5}, "NUMBER_INTEGER", id="not whole"),
        pytest.param({"word": "x", "mode": "c"}, "mode", id="not among the literals"),
    ],
)
def test_parameters_that_do_not_fit(api, parameters, text):
    status, answer = api.create_run(GOOD, parameters)
    assert status == 400 and text in answer["message"], answer


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param("a: [1, 2\nb: }", "YAML", id="no YAML"),
        pytest.param("just words", "pipeline", id="no object"),
        pytest.param("", "empty", id="empty"),
        pytest.param(
            "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\n",
            "kfp 2",
            id="of version one",
        ),
        pytest.param(
            "pipelineInfo: {name: x}\nroot: {dag: {tasks: {}}}\nroot: {}\n",
            "root",
            id="a key twice",
        ),
    ],
)
def test_packages_that_are_no_pipeline(kfp_client, tmp_path, content, text):
    import kfp_server_api

    package = tmp_path / "p.yaml"
    package.write_text(content)
    with pytest.raises(kfp_server_api.ApiException) as e:
        kfp_client.upload_pipeline(str(package), pipeline_name="broken")
    assert e.value.status == 400 and text in e.value.body, e.value.body


# --- what goes wrong in the run ---------------------------------------------------------------------------------------


@pytest.fixture
def submit(api, tmp_path):
    """Runs a pipeline function to its end."""

    def run(function, seconds=60, **parameters):
        spec, *platform = helpers.documents(helpers.compiled(function, tmp_path))
        if platform:
            spec = {"pipeline_spec": spec, "platform_spec": platform[0]}
        return api.run(spec, parameters).wait(seconds)

    yield run
    assert api.call("GET", "/healthz")[0] == 200


def sh(script, **outputs):
    """A pipeline of one shell step whose outputs are given by their types, and what follows it."""

    @dsl.container_component
    def step(out: dsl.OutputPath(outputs.get("out", str))):
        return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", script], args=[out])

    @dsl.pipeline
    def bad():
        say(text="never").after(step())

    return bad


def failure(run, path="step"):
    assert run.state == "FAILED", run.describe()
    states = run.states()
    assert states[path] == "FAILED", run.describe()
    assert all(s == "SKIPPED" for p, s in states.items() if p != path), run.describe()
    assert run.error(), run.describe()
    return run.error(path)


def test_code_that_raises(submit):
    @dsl.component(base_image=PYTHON)
    def step():
        raise ValueError("the reason in full")

    @dsl.pipeline
    def bad():
        say(text="never").after(step())

    run = submit(bad)
    assert "1" in failure(run)
    assert "ValueError: the reason in full" in run.log("step")


def test_code_that_says_nothing(submit):
    @dsl.component(base_image=PYTHON)
    def step():
        import sys

        sys.exit(3)

    @dsl.pipeline
    def bad():
        say(text="never").after(step())

    assert failure(submit(bad)) == "the step ended with exit code 3"


def test_code_that_does_not_parse(submit):
    run = submit(sh("if then"))
    assert "2" in failure(run)
    assert "yntax error" in run.log("step")


def test_a_program_that_is_not_there(submit):
    @dsl.container_component
    def step():
        return dsl.ContainerSpec(image=BUSYBOX, command=["/no/such/program"])

    @dsl.pipeline
    def bad():
        say(text="never").after(step())

    assert "not found" in failure(submit(bad))


def test_an_image_that_nothing_here_can_run(submit):
    @dsl.container_component
    def step():
        return dsl.ContainerSpec(image="registry.example/team/tool:7", command=["tool"])

    @dsl.pipeline
    def bad():
        say(text="never").after(step())

    assert "registry.example/team/tool:7" in failure(submit(bad))


def test_an_output_that_was_not_written(submit):
    assert "out" in failure(submit(sh("exit 0")))


@pytest.mark.parametrize(
    ("kind", "written", "texts"),
    [
        (int, "seven", ["out", "NUMBER_INTEGER", "seven"]),
        (float, "1,5", ["out", "NUMBER_DOUBLE", "1,5"]),
        (bool, "perhaps", ["out", "BOOLEAN", "perhaps"]),
        (list, '{"a": 1}', ["out", "LIST"]),
        (list, "[1, 2", ["out", "LIST", "[1, 2"]),
        (dict, "[]", ["out", "STRUCT"]),
    ],
)
def test_an_output_that_does_not_fit_its_type(submit, kind, written, texts):
    error = failure(submit(sh(f"printf %s '{written}' > $0", out=kind)))
    assert all(t in error for t in texts), error


def test_an_output_metadata_file_that_is_no_json(submit):
    @dsl.container_component
    def step(data: dsl.Output[dsl.Dataset]):
        return dsl.ContainerSpec(
            image=BUSYBOX,
            command=["sh", "-c", 'printf "{broken" > "$0"'],
            args=[dsl.PIPELINE_TASK_EXECUTOR_OUTPUT_PATH_PLACEHOLDER],
        )

    @dsl.pipeline
    def bad():
        say(text="never").after(step())

    assert "output_metadata.json" in failure(submit(bad))


def test_a_text_that_is_no_list_of_items(api):
    spec = copy.deepcopy(GOOD)
    second = spec["root"]["dag"]["tasks"]["second"]
    second["inputs"]["parameters"]["items"] = second["inputs"]["parameters"].pop("text")
    second["parameterIterator"] = {
        "itemInput": "text",
        "items": {"inputParameter": "items"},
    }
    run = api.run(spec, {"word": "no list"}).wait()
    assert (run.state, run.states()) == (
        "FAILED",
        {"first": "SUCCEEDED", "second": "FAILED"},
    ), run.describe()
    assert "items" in run.error("second") and "LIST" in run.error("second"), run.error("second")
    good = api.run(spec, {"word": '["a", "b"]'}).wait()
    assert good.state == "SUCCEEDED", good.describe()


def test_a_step_that_hangs_is_ended_with_all_its_children(submit):
    from kfp import kubernetes

    @dsl.container_component
    def step():
        script = "trap '' TERM; (trap '' TERM; exec sleep 3217) & setsid sleep 3217 & echo begun; wait; sleep 3217"
        return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", script])

    @dsl.pipeline
    def bad():
        hung = step()
        kubernetes.set_timeout(hung, 1)
        say(text="never").after(hung)

    run = submit(bad)
    assert "DeadlineExceeded" in failure(run)
    assert run.log("step") == "begun\n"
    assert helpers.processes("sleep 3217") == []


def test_children_that_stay_behind_are_ended(submit):
    @dsl.container_component
    def step(out: dsl.OutputPath(str)):
        script = 'for i in 1 2 3 4 5; do (sleep 3218 &) ; done; setsid sleep 3218 & echo ok > "$0"'
        return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", script], args=[out])

    @dsl.pipeline
    def good():
        say(text=step().outputs["out"])

    run = submit(good)
    assert run.state == "SUCCEEDED", run.describe()
    assert helpers.processes("sleep 3218") == []


def test_a_step_that_prints_without_end_keeps_the_end_of_its_log(submit):
    megabytes = 64
    script = f"yes 0123456789012345678901234567890 | head -c {megabytes << 20}; echo; echo the end; exit 3"
    run = submit(sh(script))
    assert "3" in failure(run)
    log = run.log("step")
    assert log.endswith("the end\n")
    assert len(log) <= megabytes << 20 | 64


def test_a_step_that_finds_the_disk_full(submit):
    run = submit(sh("dd if=/dev/zero of=/dev/full bs=1M count=1 2>&1 || exit 4"))
    assert "4" in failure(run)
    assert "No space left" in run.log("step")


def test_a_value_too_long_for_an_argument(submit):
    @dsl.container_component
    def make(out: dsl.OutputPath(str)):
        script = 'head -c 300000 /dev/zero | tr "\\0" x > "$0"'
        return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", script], args=[out])

    @dsl.pipeline
    def bad():
        say(text=make().outputs["out"])

    run = submit(bad)
    assert run.states() == {"make": "SUCCEEDED", "say": "FAILED"}, run.describe()
    assert "128 KiB" in run.error("say") and "artifact" in run.error("say"), run.error("say")


def test_large_values_travel(submit):
    @dsl.container_component
    def step(out: dsl.OutputPath(str)):
        return dsl.ContainerSpec(
            image=BUSYBOX,
            command=["sh", "-c", 'head -c 3000000 /dev/zero | tr "\\0" x > "$0"'],
            args=[out],
        )

    @dsl.component(base_image=PYTHON)
    def count(text: str) -> int:
        print("length", len(text))
        return len(text)

    @dsl.pipeline
    def good():
        count(text=step().outputs["out"])

    run = submit(good)
    assert run.state == "SUCCEEDED", run.describe()
    assert "length 3000000" in run.log("count")


def test_more_than_the_machine_has_is_said_at_once(api, tmp_path):
    @dsl.pipeline
    def greedy():
        say(text="never").set_memory_request("900T").set_memory_limit("900T")

    (spec,) = helpers.documents(helpers.compiled(greedy, tmp_path))
    run = api.run(spec).wait(30)
    assert run.state == "FAILED"
    assert "Unschedulable: the step asks for 900T memory" in run.error("say")


def test_links_lead_no_step_out_of_its_folder(api, tmp_path):
    """Outputs that lie behind links are not what the machine has there."""

    @dsl.container_component
    def by_parameter(passwd: dsl.OutputPath(str)):
        return dsl.ContainerSpec(
            image=BUSYBOX, command=["sh", "-c", "rm -rf /tmp/kfp/outputs && ln -s /etc /tmp/kfp/outputs"], args=[passwd]
        )

    @dsl.container_component
    def by_artifact(loot: dsl.Output[dsl.Dataset]):
        script = (
            'here=$(dirname "$0") && ln -s /etc "$here/way" && '
            'printf \'{"artifacts":{"loot":{"artifacts":[{"uri":"%s/way/passwd"}]}}}\' "${1%/*}" '
            '> "$here/output_metadata.json"'
        )
        return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", script], args=[loot.path, loot.uri])

    @dsl.pipeline
    def stealing():
        by_parameter().set_caching_options(False)
        by_artifact().set_caching_options(False)

    (spec,) = helpers.documents(helpers.compiled(stealing, tmp_path))
    run = api.run(spec).wait(30)
    assert "did not write its output parameter" in run.error("by-parameter")
    assert run.states()["by-artifact"] == "SUCCEEDED", run.describe()
    (loot,) = run.artifacts("by-artifact", "loot")
    assert loot["uri"].endswith("/way/passwd"), "what the step said is kept, what lies there is not"
    listed = api.s3.list_objects_v2(Bucket="mlpipeline", Prefix="v2/artifacts/stealing/").get("Contents", [])
    assert listed == [], run.describe()


def test_uris_that_climb_are_refused(api, tmp_path):
    @dsl.pipeline
    def climbing():
        dsl.importer(artifact_uri="s3://mlpipeline/../../../etc/passwd", artifact_class=dsl.Dataset)

    (spec,) = helpers.documents(helpers.compiled(climbing, tmp_path))
    run = api.run(spec).wait(30)
    assert run.state == "FAILED"
    assert "is no path" in run.error("importer")
