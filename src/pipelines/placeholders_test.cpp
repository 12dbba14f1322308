#include "pipelines/placeholders.h"

#include <gtest/gtest.h>

#include "json/parse.h"

namespace mr::pipelines {
namespace {

Value js(std::string_view text) { return json::parse(text).value(); }

PlaceholderContext context() {
  PlaceholderContext c;
  c.executor_input = js(R"({
    "inputs": {
      "parameterValues": {"s": "a \"b\" {{$.inputs.parameters['i']}} $HOME", "i": 3.0, "d": 1e-7, "t": true, "l": [1.0, "x"], "m": {"k": [2.0]},
                          "empty": "", "null": null, "pipelinechannel--a-Output": "chan"},
      "artifacts": {"ds": {"artifacts": [{"name": "ds", "type": {"schemaTitle": "system.Dataset"}, "uri": "s3://b/k",
                                          "metadata": {"k": "v", "n": 2.0, "o": {"a": [1.0]}, "it's": 1}},
                                         {"name": "second", "uri": "s3://b/second"}]},
                    "none": {"artifacts": []}}},
    "outputs": {
      "parameters": {"sum": {"outputFile": "/tmp/kfp/outputs/sum"}},
      "artifacts": {"model": {"artifacts": [{"name": "model", "uri": "minio://b/m", "metadata": {"f": 1.0}}]}},
      "outputFile": "/tmp/out/output_metadata.json"}})")
                         .get_object();
  c.default_values = js(R"({"left_out": 7.0, "null": "given"})").get_object();
  c.variables = {{"pipeline_job_name", "my run"}, {"pipeline_task_uuid", "17"}, {"workspace_path", "/kfp-workspace"}};
  return c;
}

// The text, or "! message".
std::string text(const Result<std::string>& r) { return r ? *r : "! " + r.error().message; }

TEST(Placeholders, Table) {
  const auto c = context();
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"", ""},
      {"plain $HOME $(id) %s {{x}} { } {{}} }}", "plain $HOME $(id) %s {{x}} { } {{}} }}"},
      // What a value holds is not searched.
      {"{{$.inputs.parameters['s']}}", "a \"b\" {{$.inputs.parameters['i']}} $HOME"},
      {"{{$.inputs.parameters[\"i\"]}}", "3"},
      {"x={{$.inputs.parameters['i']}}-{{$.inputs.parameters['i']}}", "x=3-3"},
      {"{{$.inputs.parameters['d']}}", "0.0000001"},
      {"{{$.inputs.parameters['t']}}", "true"},
      {"{{$.inputs.parameters['l']}}", R"([1,"x"])"},
      {"{{$.inputs.parameters['m']}}", R"({"k":[2]})"},
      {"[{{$.inputs.parameters['empty']}}]", "[]"},
      {"{{$.inputs.parameters['pipelinechannel--a-Output']}}", "chan"},
      {"{{$.inputs.parameters['left_out']}}", "7"},
      {"{{$.inputs.parameters['null']}}", "given"},
      {"{{$.inputs.artifacts['ds'].path}}", "/s3/b/k"},
      {"{{$.inputs.artifacts['ds'].uri}}", "s3://b/k"},
      {"{{$.inputs.artifacts[\"ds\"].metadata[\"k\"]}}", "v"},
      {"{{$.inputs.artifacts['ds'].metadata['n']}}", "2"},
      {"{{$.inputs.artifacts['ds'].metadata['o']}}", R"({"a":[1]})"},
      {"{{$.inputs.artifacts['ds'].metadata['it's']}}", "1"},
      {"{{$.outputs.artifacts['model'].metadata}}", R"({"f":1})"},
      {"{{$.outputs.artifacts['model'].path}}", "/minio/b/m"},
      {"{{$.outputs.artifacts['model'].uri}}", "minio://b/m"},
      {"{{$.outputs.artifacts['model'].metadata['f']}}", "1"},
      {"{{$.outputs.artifacts['model']}}", R"([{"name":"model","uri":"minio://b/m","metadata":{"f":1}}])"},
      {"{{$.outputs.parameters['sum'].output_file}}", "/tmp/kfp/outputs/sum"},
      {"{{$.outputs.output_file}}", "/tmp/out/output_metadata.json"},
      {"{{$.outputs.output_metadata_uri}}", "/tmp/out/output_metadata.json"},
      {"{{$.outputMetadataUri}}", "/tmp/out/output_metadata.json"},
      {"{{$.pipeline_job_name}}/{{$.pipeline_task_uuid}}", "my run/17"},
      {"{{$.workspace_path}}/x", "/kfp-workspace/x"},
      // Not ours: Go templates, variables of templates, what has no end.
      {"{{$.Values.image}} {{ $.inputs }} {{$x}} {{$.}} {{$", "{{$.Values.image}} {{ $.inputs }} {{$x}} {{$.}} {{$"},
      {"{{$.inputs.parameters['i'", "{{$.inputs.parameters['i'"},
      {"{{{$.inputs.parameters['i']}}}", "{3}"},
      // wrong
      {"{{$.inputs.parameters['nope']}}", "! placeholder {{$.inputs.parameters['nope']}}: the parameter has no value"},
      {"a {{$.inputs.parameters['i'].x}} b", "! placeholder {{$.inputs.parameters['i'].x}}: it is not known"},
      {"{{$.inputs}}", "! placeholder {{$.inputs}}: it is not known"},
      {"{{$.inputs.parameters}}", "! placeholder {{$.inputs.parameters}}: it is not known"},
      {"{{$.inputs.parameters['']}}", "! placeholder {{$.inputs.parameters['']}}: it is not known"},
      {"{{$.inputs.parameters[i]}}", "! placeholder {{$.inputs.parameters[i]}}: it is not known"},
      {"{{$.inputs.parameters['i\"]}}", "! placeholder {{$.inputs.parameters['i\"]}}: it is not known"},
      {"{{$.inputs.parameters.i}}", "! placeholder {{$.inputs.parameters.i}}: it is not known"},
      {"{{$.inputs.artifacts['ds'].size}}", "! placeholder {{$.inputs.artifacts['ds'].size}}: it is not known"},
      {"{{$.inputs.artifacts['ds'].metadata[k]}}",
       "! placeholder {{$.inputs.artifacts['ds'].metadata[k]}}: it is not known"},
      {"{{$.inputs.artifacts['ds'].metadata['q']}}",
       "! placeholder {{$.inputs.artifacts['ds'].metadata['q']}}: the artifact's metadata has no such key"},
      {"{{$.inputs.artifacts['nope'].path}}",
       "! placeholder {{$.inputs.artifacts['nope'].path}}: there is no such artifact"},
      {"{{$.inputs.artifacts['none'].path}}",
       "! placeholder {{$.inputs.artifacts['none'].path}}: there is no such artifact"},
      {"{{$.outputs.parameters['sum']}}", "! placeholder {{$.outputs.parameters['sum']}}: it is not known"},
      {"{{$.outputs.parameters['nope'].output_file}}",
       "! placeholder {{$.outputs.parameters['nope'].output_file}}: there is no such output parameter"},
      {"{{$.pipeline_job_uuid}}", "! placeholder {{$.pipeline_job_uuid}}: it has no value here"},
      {"{{$.nonsense}}", "! placeholder {{$.nonsense}}: it is not known"},
      {"{{$.json_escape[1]}}", "! placeholder {{$.json_escape[1]}}: it is not known"},
  };
  for (const auto& [in, want] : cases) EXPECT_EQ(text(substitute(in, c)), want) << in;
}

TEST(Placeholders, ExecutorInput) {
  auto c = context();
  const auto whole = substitute("{{$}}", c).value();
  // Compact, whole numbers without a fraction, and none of the defaults.
  EXPECT_TRUE(
      whole.starts_with(R"({"inputs":{"parameterValues":{"s":"a \"b\" {{$.inputs.parameters['i']}} $HOME","i":3,)"))
      << whole;
  EXPECT_EQ(whole.find("left_out"), std::string::npos);
  EXPECT_NE(whole.find(R"("l":[1,"x"],"m":{"k":[2]})"), std::string::npos);
  EXPECT_TRUE(json::parse(whole));
  EXPECT_EQ(substitute("a{{$}}b{{$}}", c).value(), "a" + whole + "b" + whole);
  c.executor_input = {};
  EXPECT_EQ(substitute("{{$}}", c).value(), "{}");
  EXPECT_FALSE(substitute("{{$.outputs.output_file}}", c));
  EXPECT_FALSE(substitute("{{$.inputs.artifacts['ds'].path}}", c));
  c = context();
  c.path = [](const Artifact& a) { return "/run/" + a.name; };
  EXPECT_EQ(substitute("{{$.inputs.artifacts['ds'].path}} {{$.outputs.artifacts['model'].path}}", c).value(),
            "/run/ds /run/model");
  // A list of artifacts, as a step reads it.
  auto list = json::parse(substitute("{{$.inputs.artifacts['ds']}}", c).value()).value();
  ASSERT_EQ(list.get_array().size(), 2u);
  EXPECT_EQ(list.get_array()[1].get_object().at("uri"), "s3://b/second");
}

TEST(Placeholders, LocalPaths) {
  auto path = [](std::string uri, std::string custom = {}, std::string_view metadata = "{}") {
    Artifact a;
    a.uri = std::move(uri);
    a.custom_path = std::move(custom);
    a.metadata = js(metadata).get_object();
    return local_path(a);
  };
  EXPECT_EQ(path("gs://b/k/l"), "/gcs/b/k/l");
  EXPECT_EQ(path("minio://b/k"), "/minio/b/k");
  EXPECT_EQ(path("s3://b/k"), "/s3/b/k");
  EXPECT_EQ(path("oci://ghcr.io/org/m:v1"), "/oci/ghcr.io_org_m:v1/models");
  EXPECT_EQ(path("/data/x"), "/data/x");
  EXPECT_EQ(path("https://h/x"), "https://h/x");
  EXPECT_EQ(path(""), "");
  EXPECT_EQ(path("s3://b/k", "/mine"), "/mine");
  EXPECT_EQ(path("s3://b/k", "", R"({"_kfp_workspace": true})"), "/kfp-workspace/.artifacts/s3/b/k");
  EXPECT_EQ(path("s3://b/k", "", R"({"_kfp_workspace": false})"), "/s3/b/k");
}

// The elements joined by "|", or "! message".
std::string all(const std::vector<std::string>& in) {
  auto r = substitute_all(in, context());
  if (!r) return "! " + r.error().message;
  return fmt::format("{}", fmt::join(*r, "|"));
}

TEST(Placeholders, Structures) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {R"({"Concat": ["pre-", "{{$.inputs.parameters['i']}}", "-post"]})", "pre-3-post"},
      {R"({"Concat": []})", ""},
      {R"({"Concat": ["a", {"Concat": ["b", {"Concat": ["c"]}]}]})", "abc"},
      {R"( {"Concat": ["a"]} )", "a"},
      {R"({"IfPresent": {"InputName": "i", "Then": "--i={{$.inputs.parameters['i']}}"}})", "--i=3"},
      {R"({"IfPresent": {"InputName": "i", "Then": ["--i", "{{$.inputs.parameters['i']}}"], "Else": ["none"]}})",
       "--i|3"},
      {R"({"IfPresent": {"InputName": "nope", "Then": ["--i", "{{$.inputs.parameters['nope']}}"], "Else": ["none", "x"]}})",
       "none|x"},
      {R"({"IfPresent": {"InputName": "nope", "Then": "a", "Else": "b"}})", "b"},
      {R"({"IfPresent": {"InputName": "empty", "Then": "a", "Else": "b"}})", "a"},
      // Null is absent, and so is an input that has only a default.
      {R"({"IfPresent": {"InputName": "null", "Then": "a", "Else": "b"}})", "b"},
      {R"({"IfPresent": {"InputName": "left_out", "Then": "a", "Else": "b"}})", "b"},
      {R"({"IfPresent": {"InputName": "ds", "Then": "{{$.inputs.artifacts['ds'].uri}}", "Else": "b"}})", "s3://b/k"},
      {R"({"IfPresent": {"InputName": "none", "Then": "a", "Else": "b"}})", "b"},
      {R"({"IfPresent": {"InputName": "i", "Then": {"Concat": ["a", "b"]}}})", "ab"},
      {R"({"IfPresent": {"InputName": "i", "Then": ["x", {"Concat": ["a", "b"]}, {"IfPresent": {"InputName": "t", "Then": ["y", "z"]}}]}})",
       "x|ab|y|z"},
      {R"({"Concat": ["a", {"IfPresent": {"InputName": "nope", "Then": "b"}}, "c"]})", "ac"},
      {R"({"Concat": ["a", {"IfPresent": {"InputName": "i", "Then": "b"}}, "c"]})", "abc"},
      // A value that looks like a structure is a value.
      {R"({"Concat": ["{\"Concat\": [\"x\"]}"]})", R"({"Concat": ["x"]})"},
      // Other JSON is text.
      {R"({"a": 1})", R"({"a": 1})"},
      {R"(["Concat"])", R"(["Concat"])"},
      {R"({"ConcatX": []})", R"({"ConcatX": []})"},
      // wrong
      {R"({"Concat": ["a"})", "! command or argument: Concat is no valid JSON: "},
      {R"({"Concat": "a"})", "! command or argument: Concat must be an array"},
      {R"({"Concat": [1]})", "! command or argument: an element must be a text, Concat or IfPresent"},
      {R"({"Concat": [["a"]]})", "! command or argument: an element must be a text, Concat or IfPresent"},
      {R"({"Concat": [{"Foo": []}]})",
       "! command or argument: an element must be a text, Concat or IfPresent, not Foo"},
      {R"({"Concat": ["a"], "IfPresent": {}})",
       "! command or argument: a structure must have one member, Concat or IfPresent"},
      {R"({"IfPresent": {"Then": "a"}})", "! command or argument: IfPresent must have InputName and Then"},
      {R"({"IfPresent": {"InputName": "i"}})", "! command or argument: IfPresent must have InputName and Then"},
      {R"({"IfPresent": {"InputName": 1, "Then": "a"}})",
       "! command or argument: IfPresent has a wrong member InputName"},
      {R"({"IfPresent": {"InputName": "i", "Then": "a", "Other": "b"}})",
       "! command or argument: IfPresent has a wrong member Other"},
      {R"({"IfPresent": {"InputName": "i", "Then": ["--flag", 123]}})",
       "! command or argument: an element must be a text, Concat or IfPresent"},
      {R"({"IfPresent": []})", "! command or argument: IfPresent must be an object"},
      {R"({"Concat": ["{{$.inputs.parameters['nope']}}"]})",
       "! placeholder {{$.inputs.parameters['nope']}}: the parameter has no value"},
  };
  for (const auto& [in, want] : cases) {
    const auto got = all({std::string(in)});
    if (want.ends_with("JSON: "))
      EXPECT_TRUE(got.starts_with(want)) << got;
    else
      EXPECT_EQ(got, want) << in;
  }
  // An element vanishes or becomes several; the rest keep their places.
  EXPECT_EQ(all({"cmd", R"({"IfPresent": {"InputName": "nope", "Then": "a"}})",
                 R"({"IfPresent": {"InputName": "i", "Then": ["b", "c"]}})", "", "d"}),
            "cmd|b|c||d");
  EXPECT_EQ(substitute_all({R"({"IfPresent": {"InputName": "nope", "Then": "a"}})"}, context())->size(), 0u);
  EXPECT_EQ(substitute_all({}, context())->size(), 0u);
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += R"({"Concat": [)";
  EXPECT_TRUE(all({deep}).starts_with("! command or argument: Concat is no valid JSON"));
}

TEST(Placeholders, Constants) {
  const std::map<std::string, std::string> v = {
      {"pipeline_job_name", "n"}, {"pipeline_job_uuid", "u"}, {"workspace_path", "/kfp-workspace"}, {"other", "o"}};
  EXPECT_EQ(substitute_constant("{{$.pipeline_job_name}}", v), "n");
  EXPECT_EQ(substitute_constant("{{$.pipeline_job_uuid}}", v), "u");
  // Only as a whole, and only what the engine names.
  EXPECT_EQ(substitute_constant("x {{$.pipeline_job_name}}", v), "x {{$.pipeline_job_name}}");
  EXPECT_EQ(substitute_constant("{{$.pipeline_task_uuid}}", v), "{{$.pipeline_task_uuid}}");
  EXPECT_EQ(substitute_constant("{{$.other}}", v), "{{$.other}}");
  EXPECT_EQ(substitute_constant("{{$}}", v), "{{$}}");
  EXPECT_EQ(substitute_constant("{{$.inputs}}", v), "{{$.inputs}}");
  EXPECT_EQ(substitute_constant("", v), "");
  EXPECT_EQ(substitute_constant("a {{$.workspace_path}}/b {{$.workspace_path}}", v),
            "a /kfp-workspace/b /kfp-workspace");
  EXPECT_EQ(substitute_constant("{{$.workspace_path}}", v), "/kfp-workspace");
  EXPECT_EQ(substitute_constant("{{$.workspace_path}}", {}), "{{$.workspace_path}}");
  EXPECT_EQ(
      substitute_constant("{{$.workspace_path}}{{$.workspace_path}}", {{"workspace_path", "{{$.workspace_path}}"}}),
      "{{$.workspace_path}}{{$.workspace_path}}");
}

TEST(Placeholders, Uses) {
  auto uses = [](std::string_view in) -> std::string {
    auto r = placeholders_of(in);
    if (!r) return "! " + r.error().message;
    std::string out;
    for (const auto& u : *r) out += fmt::format("{}:{} ", static_cast<int>(u.kind), u.name);
    return out;
  };
  EXPECT_EQ(uses("plain {{x}}"), "");
  EXPECT_EQ(uses("{{$}} {{$.inputs.parameters['a']}} {{$.inputs.artifacts['b'].path}} "
                 "{{$.outputs.parameters['c'].output_file}} "
                 "{{$.outputs.artifacts['d'].uri}} {{$.pipeline_job_name}} {{$.outputs.output_file}}"),
            "0: 1:a 2:b 3:c 4:d 5:pipeline_job_name 0: ");
  // Of structures, in every branch.
  EXPECT_EQ(
      uses(
          R"({"IfPresent": {"InputName": "x", "Then": ["{{$.inputs.parameters['a']}}", {"Concat": ["{{$.inputs.parameters['b']}}"]}],
                     "Else": "{{$.inputs.artifacts['c'].uri}}"}})"),
      "1:a 1:b 2:c ");
  EXPECT_EQ(uses("{{$.nope}}"), "! placeholder {{$.nope}}: it is not known");
  EXPECT_EQ(uses(R"({"Concat": ["{{$.nope}}"]})"), "! placeholder {{$.nope}}: it is not known");
  EXPECT_EQ(uses(R"({"Concat": [1]})"), "! command or argument: an element must be a text, Concat or IfPresent");
}

}  // namespace
}  // namespace mr::pipelines
