#include <fstream>

#include "pipelines/plan_builder.h"

namespace mr::pipelines {
namespace {

using testing::ir;
using testing::spec;

const std::string kLeaf = R"("leaf":{"executorLabel":"exec"})";
std::string task(const std::string& name, const std::string& more = "", const std::string& component = "leaf") {
  return fmt::format(R"("{}":{{"componentRef":{{"name":"{}"}}{}}})", name, component, more);
}

void expect_refused(const Value& s, std::string_view part) {
  auto p = compile(s);
  ASSERT_FALSE(p) << part;
  EXPECT_EQ(p.error().code, Code::invalid_argument);
  EXPECT_NE(p.error().message.find(part), std::string::npos) << p.error().message;
}

TEST(Compile, WrongSpecsNameTheirField) {
  expect_refused(ir("[]"), "the spec: must be an object");
  expect_refused(ir(R"({"root":{}})"), "pipelineInfo.name");
  expect_refused(ir(R"({"pipelineInfo":{"name":"p"}})"), "root: must be given");
  expect_refused(ir(R"({"pipelineInfo":{"name":"p"},"rot":{}})"), "rot: unknown field");
  expect_refused(spec(kLeaf, task("a", R"(,"dependentTasks":["b"])")), "there is no task \"b\"");
  expect_refused(spec(kLeaf, task("a", R"(,"colour":"red")")), "root.dag.tasks.a.colour: unknown field");
  expect_refused(spec(kLeaf, task("a", "", "none")), "root.dag.tasks.a.componentRef: there is no component \"none\"");
  expect_refused(spec(kLeaf, task("a", R"(,"dependentTasks":["b"])") + "," + task("b", R"(,"dependentTasks":["a"])")),
                 "in a cycle: a, b");
  expect_refused(spec(R"("leaf":{"executorLabel":"nothing"})", task("a")), "there is no executor \"nothing\"");
  expect_refused(spec(R"("own":{"dag":{"tasks":{"x":{"componentRef":{"name":"own"}}}}})", task("a", "", "own")),
                 "it contains itself");
  expect_refused(
      spec(
          R"("leaf":{"executorLabel":"exec","inputDefinitions":{"parameters":{"n":{"parameterType":"NUMBER_INTEGER"}}}})",
          task("a")),
      "the component leaf needs the parameter \"n\"");
  expect_refused(
      spec(
          R"("leaf":{"executorLabel":"exec","inputDefinitions":{"parameters":{"n":{"parameterType":"NUMBER_INTEGER"}}}})",
          task("a", R"(,"inputs":{"parameters":{"n":{"runtimeValue":{"constant":"seven"}}}})")),
      "root.dag.tasks.a.inputs.parameters.n");
  expect_refused(spec(kLeaf, task("a", R"(,"triggerPolicy":{"condition":"1 +"})")),
                 "root.dag.tasks.a.triggerPolicy.condition");
}

std::vector<std::string> all_errors(const Value& s) {
  std::vector<std::string> out;
  for (const auto& e : compile_errors(s)) out.push_back(e.message);
  return out;
}

TEST(CompileErrors, AreAllTold) {
  const auto broken = spec(
      R"("leaf":{"executorLabel":"exec","shape":1,"inputDefinitions":{"parameters":{
             "n":{"parameterType":"NUMBER_INTEGER"},"m":{"parameterType":"WORDS"},"k":{"parameterType":"NONE"}}}},
         "good":{"executorLabel":"exec","inputDefinitions":{"parameters":{"x":{"parameterType":"STRING"},
             "y":{"parameterType":"NUMBER_INTEGER"}}}},
         "lost":{"executorLabel":"nothing"})",
      task("a", R"(,"colour":"red","size":1,"dependentTasks":["none","b"])", "leaf") + "," +
          task("b", R"(,"inputs":{"parameters":{"y":{"runtimeValue":{"constant":"seven"}}}})", "good") + "," +
          task("c", "", "missing") + "," +
          task("d",
               R"(,"inputs":{"parameters":{"x":{"taskOutputParameter":{"producerTask":"c","outputParameterKey":"o"}},
               "y":{"taskOutputParameter":{"producerTask":"b","outputParameterKey":"o"}}}},
               "triggerPolicy":{"condition":"1 +","strategy":"SOMETIMES"})",
               "good") +
          "," +
          task("e",
               R"(,"inputs":{"parameters":{"x":{"taskOutputParameter":{"producerTask":"b","outputParameterKey":"o"}},
               "y":{"runtimeValue":{"constant":1}}}})",
               "good"));
  const auto all = all_errors(broken);
  auto said = [&](std::string_view part) {
    return std::ranges::count_if(all, [&](const std::string& m) { return m.contains(part); });
  };
  for (auto part :
       {"components.leaf.shape: unknown field", "components.leaf.inputDefinitions.parameters.m", "parameters.k.",
        "there is no executor \"nothing\"", "root.dag.tasks.a.colour: unknown field", "root.dag.tasks.a.size: unknown",
        "there is no task \"none\"", "root.dag.tasks.b.inputs.parameters.y", "the component good needs the parameter",
        "there is no component \"missing\"", "there is no strategy \"SOMETIMES\"", "triggerPolicy.condition",
        "the task \"b\" has no output parameter \"o\""})
    EXPECT_EQ(said(part), 1) << part;
  // What stands on something broken is not blamed for it: c and leaf cannot be judged, nor d as a whole.
  EXPECT_EQ(said("the task \"c\""), 0);
  EXPECT_EQ(said("the component leaf needs"), 0);
  EXPECT_EQ(all.size(), 13U) << fmt::format("{}", fmt::join(all, "\n"));
  // The first of them is the one that a server answers.
  EXPECT_EQ(compile(broken).error().message, all.front());
}

TEST(CompileErrors, AreNoneOfWhatCompiles) {
  EXPECT_TRUE(all_errors(spec(kLeaf, task("a"))).empty());
  EXPECT_EQ(all_errors(ir("[]")), std::vector<std::string>{"the spec: must be an object"});
  EXPECT_EQ(
      all_errors(spec(R"("own":{"dag":{"tasks":{"x":{"componentRef":{"name":"own"}}}}})", task("a", "", "own"))).size(),
      1U);
}

TEST(Compile, OutputsAreNoPathsOut) {
  for (std::string name : {"../x", "a/../../x", "/etc/passwd", "..", "a/./b"})
    expect_refused(
        spec(
            fmt::format(
                R"("leaf":{{"executorLabel":"exec","outputDefinitions":{{"parameters":{{"{}":{{"parameterType":"STRING"}}}}}}}})",
                name),
            task("a")),
        "cannot be the name of an output");
}

TEST(Compile, SnakeCaseIsRead) {
  auto p = compile(ir(R"({"pipeline_info":{"name":"p"},"components":{"c":{"executor_label":"e"}},
    "deployment_spec":{"executors":{"e":{"container":{"image":"busybox"}}}},
    "root":{"dag":{"tasks":{"t":{"component_ref":{"name":"c"},"caching_options":{"enable_cache":true}}}}}})"));
  ASSERT_TRUE(p) << p.error().message;
  EXPECT_TRUE((*p)->root_component().tasks.at(0).cache);
}

TEST(Compile, PackagesAreOneOrTwoDocuments) {
  auto one = parse_package("pipelineInfo:\n  name: p\nroot: {dag: {tasks: {}}}\n");
  ASSERT_TRUE(one);
  EXPECT_TRUE(one->get_object().contains("root"));
  auto two = parse_package("pipelineInfo:\n  name: p\nroot: {}\n---\nplatforms:\n  kubernetes: {}\n");
  ASSERT_TRUE(two);
  EXPECT_TRUE(two->get_object().at("platform_spec").get_object().contains("platforms"));
  EXPECT_FALSE(parse_package("a: [1,"));
  EXPECT_FALSE(parse_package(""));
  EXPECT_FALSE(parse_package("hello"));
  auto old = parse_package("apiVersion: argoproj.io/v1alpha1\nkind: Workflow\n");
  ASSERT_FALSE(old);
  EXPECT_NE(old.error().message.find("Argo Workflow"), std::string::npos);
}

TEST(Compile, PackagesAreReadAsPyYamlWroteThem) {
  // The SDK writes these texts and names without quotes, which another reader takes for truth values and numbers.
  auto p = parse_package(
      "pipelineInfo: {name: p}\nroot:\n  n: y\n  N: n\n  a: 1e3\n  b: 0o17\n  c: 1.5e3\n  d: 1.5e+3\n"
      "  e: 017\n  f: yes\n  g: 0x1e\n  h: .5\n");
  ASSERT_TRUE(p) << p.error().message;
  EXPECT_EQ(p->at("root"),
            ir(R"({"n":"y","N":"n","a":"1e3","b":"0o17","c":"1.5e3","d":1500,"e":15,"f":true,"g":30,"h":0.5})"));
}

TEST(Compile, ParametersOfARunAreChecked) {
  auto p = compile(spec(kLeaf, task("a"), "",
                        R"("inputDefinitions":{"parameters":{"n":{"parameterType":"NUMBER_INTEGER"},
    "mode":{"parameterType":"STRING","literals":["fast","slow"],"defaultValue":"fast"}}},)"));
  ASSERT_TRUE(p) << p.error().message;
  EXPECT_TRUE(check_parameters(**p, Object{{"n", 3}}));
  EXPECT_TRUE(check_parameters(**p, Object{{"n", 3.0}, {"mode", "slow"}}));
  for (const auto& [given, part] : std::vector<std::pair<Object, std::string>>{
           {{}, "\"n\" is required"},
           {{{"n", "x"}}, "n"},
           {{{"n", 1}, {"m", 2}}, "no parameter \"m\""},
           {{{"n", 1}, {"mode", "best"}}, "must be one of: \"fast\", \"slow\""}}) {
    auto r = check_parameters(**p, given);
    ASSERT_FALSE(r) << part;
    EXPECT_NE(r.error().message.find(part), std::string::npos) << r.error().message;
  }
}

}  // namespace
}  // namespace mr::pipelines
