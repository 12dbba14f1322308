#include "cli/pipeline_lint.h"

#include "pipelines/plan_builder.h"

namespace mr::cli {
namespace {

using pipelines::testing::ir;
using pipelines::testing::spec;

ImageVerdict any_image(const std::string&) { return {}; }

// "level where: what", a line each.
std::string findings(const pipelines::Value& s, const ImageJudge& judge = any_image) {
  auto plan = pipelines::compile(s);
  if (!plan) return "does not compile: " + plan.error().message;
  std::string out;
  for (const auto& f : lint(**plan, s, {judge, 4000, (std::int64_t{8} << 30) * 1000}))
    out += fmt::format("{} {}: {}\n", level_name(f.level), f.where, f.what);
  return out;
}

const std::string kCached = R"(,"cachingOptions":{"enableCache":true})";
const std::string kLeaf = R"("leaf":{"executorLabel":"exec"})";
const std::string kTakes =
    R"("takes":{"executorLabel":"exec","inputDefinitions":{"parameters":{"x":{"parameterType":"STRING"},"y":{"parameterType":"STRING","isOptional":true}}}})";
std::string task(const std::string& name, const std::string& component, const std::string& more = "") {
  return fmt::format(R"("{}":{{"componentRef":{{"name":"{}"}}{}{}}})", name, component, more, kCached);
}
pipelines::Value with_executor(pipelines::Value s, std::string_view name, std::string_view container) {
  s.at("deploymentSpec").at("executors").get_object()[name] = pipelines::Object{{"container", ir(container)}};
  return s;
}

TEST(Lint, HasNothingAgainstAPlainPipeline) { EXPECT_EQ(findings(spec(kLeaf, task("a", "leaf"))), ""); }

TEST(Lint, FindsWhatIsNeverUsed) {
  auto s = spec(R"("idle":{"dag":{"tasks":{}}},)" + kTakes,
                task("a", "takes", R"(,"inputs":{"parameters":{"x":{"runtimeValue":{"constant":"v"}}}})"), "",
                R"("inputDefinitions":{"parameters":{"n":{"parameterType":"NUMBER_INTEGER"}}},)");
  s = with_executor(s, "exec", R"({"image":"busybox","command":["echo","{{$.inputs.parameters['x']}}"]})");
  s = with_executor(s, "exec3", R"({"image":"busybox"})");
  EXPECT_EQ(findings(s),
            "warning root.inputDefinitions.parameters.n: no task reads this input\n"
            "warning components.idle: no task uses this component\n"
            "warning components.takes.inputDefinitions.parameters.y: neither command, arguments nor environment read "
            "this input\n"
            "warning deploymentSpec.executors.exec3: no component names this executor\n");
}

TEST(Lint, SeesInputsThatStructuresAndTheWholeExecutorInputRead) {
  auto s = spec(kTakes, task("a", "takes", R"(,"inputs":{"parameters":{"x":{"runtimeValue":{"constant":"v"}}}})"));
  EXPECT_EQ(findings(with_executor(s, "exec",
                                   R"({"image":"busybox","command":["true"],"args":["--executor_input","{{$}}"]})")),
            "");
  EXPECT_EQ(findings(with_executor(s, "exec", R"({"image":"busybox","command":["true",
    "{\"IfPresent\":{\"InputName\":\"y\",\"Then\":[\"-y\",\"{{$.inputs.parameters['y']}}\"]}}",
    "{\"Concat\":[\"a\",\"{{$.inputs.parameters['x']}}\"]}"]})")),
            "");
}

TEST(Lint, TellsOfOutputsThatNobodyTakes) {
  auto s = spec(R"("makes":{"executorLabel":"exec","outputDefinitions":{"parameters":{"o":{"parameterType":"STRING"}},
    "artifacts":{"d":{"artifactType":{"schemaTitle":"system.Dataset"}},"m":{"artifactType":{"schemaTitle":"system.Metrics"}}}}})",
                task("a", "makes"));
  EXPECT_EQ(findings(s),
            "note components.makes.outputDefinitions.parameters.o: no task takes this output\n"
            "note components.makes.outputDefinitions.artifacts.d: no task takes this output\n");
}

TEST(Lint, SaysWhatTheMachineMakesOfImages) {
  auto s = spec(kLeaf, task("a", "leaf"));
  EXPECT_EQ(findings(s, [](const std::string& i) { return ImageVerdict{i != "busybox", "no"}; }),
            "warning image busybox: no (of leaf)\n");
  EXPECT_EQ(findings(s, [](const std::string&) { return ImageVerdict{true, "with Python 3.11"}; }),
            "note image busybox: with Python 3.11 (of leaf)\n");
}

TEST(Lint, DecidesConditionsThatConstantsDecide) {
  auto with = [&](const std::string& constant, const std::string& condition) {
    auto s = spec(
        kTakes,
        task(
            "a", "takes",
            fmt::format(
                R"(,"inputs":{{"parameters":{{"x":{{"runtimeValue":{{"constant":"{}"}}}}}}}},"triggerPolicy":{{"condition":"{}"}})",
                constant, condition)));
    return findings(with_executor(s, "exec", R"({"image":"busybox","args":["{{$}}"]})"));
  };
  EXPECT_EQ(with("v", "inputs.parameter_values['x'] == 'v'"),
            "warning root.dag.tasks.a.triggerPolicy.condition: always true: all of its inputs are constants\n");
  EXPECT_EQ(with("v", "inputs.parameter_values['x'] == 'w'"),
            "warning root.dag.tasks.a.triggerPolicy.condition: always false, so the task never runs: all of its inputs "
            "are constants\n");
  EXPECT_TRUE(with("v", "int(inputs.parameter_values['x']) > 1")
                  .starts_with("warning root.dag.tasks.a.triggerPolicy.condition: fails on the constants"));
  EXPECT_EQ(with("{{$.pipeline_job_name}}", "inputs.parameter_values['x'] == 'v'"), "");
}

TEST(Lint, FollowsConstantsIntoNestedPipelines) {
  auto s = spec(
      kTakes + R"(,"in":{"inputDefinitions":{"parameters":{"p":{"parameterType":"STRING"}}},"dag":{"tasks":{)" +
          task(
              "a", "takes",
              R"(,"inputs":{"parameters":{"x":{"componentInputParameter":"p"}}},"triggerPolicy":{"condition":"inputs.parameter_values['x'] == 'v'"})") +
          "}}}",
      task("i", "in", R"(,"inputs":{"parameters":{"p":{"runtimeValue":{"constant":"v"}}}})"));
  EXPECT_EQ(
      findings(with_executor(s, "exec", R"({"image":"busybox","args":["{{$}}"]})")),
      "warning components.in.dag.tasks.a.triggerPolicy.condition: always true: all of its inputs are constants\n");
}

TEST(Lint, NamesLargeValuesEmptyLoopsAndSecrets) {
  auto loop =
      R"("l":{"componentRef":{"name":"takes"},"parameterIterator":{"items":{"raw":"[]"},"itemInput":"x"},"cachingOptions":{"enableCache":true}})";
  auto s = spec(kTakes, task("a", "takes",
                             fmt::format(R"(,"inputs":{{"parameters":{{"x":{{"runtimeValue":{{"constant":"{}"}}}}}}}})",
                                         std::string(200'000, 'x'))) +
                            "," + loop);
  EXPECT_EQ(
      findings(with_executor(
          s, "exec",
          R"({"image":"busybox","args":["{{$}}"],"env":[{"name":"DB_PASSWORD","value":"hunter2"},{"name":"TOKEN_NAME","value":"t"}]})")),
      "warning root.dag.tasks.l: loops over an empty list: nothing in it ever runs\n"
      "warning deploymentSpec.executors.exec.container.env.DB_PASSWORD: \"DB_PASSWORD\" looks like a secret, and "
      "stands in clear "
      "text in the package and in every run: kfp.kubernetes.use_secret_as_env keeps it out\n"
      "note root.dag.tasks.a.inputs.parameters.x: 196 KB of text: large values are better artifacts\n");
}

TEST(Lint, TellsOfCachingThatIsOffAndOfNames) {
  auto s = spec(kLeaf, R"("a":{"componentRef":{"name":"leaf"}},"b":{"componentRef":{"name":"leaf"}})");
  EXPECT_EQ(findings(s), "note cachingOptions: caching is off for: a, b\n");
  s.at("pipelineInfo").get_object()["name"] = "My Pipeline";
  EXPECT_TRUE(findings(s).starts_with("error pipelineInfo.name: must consist of lower case letters"));
}

TEST(Lint, ReadsWhatScriptsInstall) {
  auto s = spec(kLeaf, task("a", "leaf"));
  auto with = [&](std::string_view script) {
    pipelines::Object c{{"image", "python:3.11"},
                        {"command", pipelines::Array{"sh", "-c", pipelines::Value(script), "sh", "-ec",
                                                     "python3 -m kfp.dsl.executor_main \"$@\"", "code"}}};
    auto copy = s;
    copy.at("deploymentSpec").at("executors").get_object()["exec"] = pipelines::Object{{"container", c}};
    return findings(copy);
  };
  EXPECT_EQ(with("python3 -m pip install 'pandas==2.1.4' && \"$0\" \"$@\""), "");
  EXPECT_EQ(with("python3 -m pip install 'pandas' 'numpy[x]' 'kfp==2.17.3' && \"$0\" \"$@\""),
            "note deploymentSpec.executors.exec.container: asks for packages without a version, so gets the newest of "
            "the day the "
            "environment is made: pandas, numpy\n");
  EXPECT_TRUE(
      findings(
          with_executor(s, "exec", R"({"image":"python:3.11","command":["sh","-c","pip install x; python a.py"]})"))
          .starts_with("warning deploymentSpec.executors.exec.container: installs packages by a script of its own"));
}

TEST(Lint, NamesWhatTheMachineDoesNotHave) {
  auto s = spec(kLeaf, task("a", "leaf"));
  auto with = [&](const std::string& resources) {
    return findings(with_executor(s, "exec", R"({"image":"busybox","resources":{)" + resources + "}}"));
  };
  EXPECT_EQ(with(R"("resourceCpuLimit":"4","resourceMemoryRequest":"7Gi","resourceMemoryLimit":"64Gi")"), "");
  EXPECT_EQ(
      with(
          R"("resourceCpuLimit":"4500m","resourceMemoryRequest":"64Gi","accelerator":{"resourceType":"nvidia.com/gpu","resourceCount":"1"})"),
      "warning deploymentSpec.executors.exec.container.resources: asks for 4500m cores, which this machine does not "
      "have: the step would wait for ever\n"
      "warning deploymentSpec.executors.exec.container.resources: asks for 64Gi of memory, which this machine does not "
      "have: the step would wait for ever\n"
      "warning deploymentSpec.executors.exec.container.resources: asks for nvidia.com/gpu, which this machine does not "
      "offer: the step would wait for ever\n");
}

TEST(Lint, SeesSettingsOfThePlatform) {
  auto s = spec(kTakes, task("a", "takes", R"(,"inputs":{"parameters":{"x":{"runtimeValue":{"constant":"v"}}}})"), "",
                R"("inputDefinitions":{"parameters":{"claim":{"parameterType":"STRING"},
                  "secret":{"parameterType":"STRING","defaultValue":"db"}}},)");
  s = with_executor(s, "exec", R"({"image":"busybox","args":["{{$}}"]})");
  pipelines::Value both = pipelines::Object{
      {"pipeline_spec", s}, {"platform_spec", ir(R"({"platforms":{"kubernetes":{"deploymentSpec":{"executors":{
        "exec":{"pvcMount":[{"pvcNameParameter":{"componentInputParameter":"claim"},"mountPath":"/d"}],
          "secretAsEnv":[{"secretNameParameter":{"componentInputParameter":"secret"},"keyToEnv":[]}],"nodeSelector":{"labels":{"a":"b"}}},
        "gone":{}}}},"vertex":{}}})")}};
  EXPECT_EQ(findings(both),
            "warning platforms.kubernetes.deploymentSpec.executors.gone: these settings are for an executor that no "
            "component names\n"
            "warning platforms.vertex: settings for this platform have no effect here\n"
            "note platforms.kubernetes.deploymentSpec.executors.exec: nodeSelector: no effect on one machine\n");
}

}  // namespace
}  // namespace mr::cli
