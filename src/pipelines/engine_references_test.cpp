// Constants that name other inputs of the same task, as the SDK compiles f-strings and lists of outputs.
#include "pipelines/engine.h"
#include "pipelines/plan_builder.h"

namespace mr::pipelines {
namespace {

using testing::Driver;
using testing::ir;
using testing::spec;

// The inputs of a task that has these constants beside the number n (3, another task's output) and the text w.
Object inputs_with(const std::string& constants) {
  auto s = spec(
      R"("maker":{"executorLabel":"exec","outputDefinitions":{"parameters":{"out":{"parameterType":"NUMBER_INTEGER"}}}},
         "taker":{"executorLabel":"exec","inputDefinitions":{"parameters":{
           "text":{"parameterType":"STRING","isOptional":true},"list":{"parameterType":"LIST","isOptional":true},
           "map":{"parameterType":"STRUCT","isOptional":true}}}})",
      R"("m":{"componentRef":{"name":"maker"}},"t":{"componentRef":{"name":"taker"},"inputs":{"parameters":{
           "n":{"taskOutputParameter":{"producerTask":"m","outputParameterKey":"out"}},
           "w":{"runtimeValue":{"constant":"{{$.inputs.parameters['n']}}"}},)" +
          constants + "}}}");
  Driver d(s);
  d.outputs = [](const NodeView& n) { return n.key == "m" ? Object{{"out", 3}} : Object{}; };
  EXPECT_EQ(d.run(), State::succeeded);
  d.expect_replay();
  return d.engine->node("t")->inputs;
}

TEST(EngineReferences, InTextsTheyBecomeTexts) {
  const auto in = inputs_with(
      R"("text":{"runtimeValue":{"constant":"<{{$.inputs.parameters['n']}}|{{$.inputs.parameters['n']}}>"}})");
  EXPECT_EQ(in.at("text"), Value("<3|3>"));
}

TEST(EngineReferences, WholeMembersOfListsAndStructsKeepTheirType) {
  const auto in = inputs_with(
      R"("list":{"runtimeValue":{"constant":["{{$.inputs.parameters['n']}}","a {{$.inputs.parameters['n']}}",["x"]]}},
         "map":{"runtimeValue":{"constant":{"k":{"deep":"{{$.inputs.parameters['n']}}"}}}})");
  EXPECT_EQ(in.at("list"), ir(R"([3,"a 3",["x"]])"));
  EXPECT_EQ(in.at("map"), ir(R"({"k":{"deep":3}})"));
}

TEST(EngineReferences, WhatTheTaskDoesNotHaveAndWhatIsNoReferenceStays) {
  const std::string odd = "{{$.inputs.parameters['other']}} {{$.inputs.parameters['n' {{x}} $(id)";
  const auto in = inputs_with(R"("text":{"runtimeValue":{"constant":")" + odd + R"("}})");
  EXPECT_EQ(in.at("text"), Value(odd));
}

TEST(EngineReferences, ATextThatNamesItselfIsLeftAlone) {
  const auto in = inputs_with(R"("text":{"runtimeValue":{"constant":"{{$.inputs.parameters['text']}}"}})");
  EXPECT_EQ(in.at("text"), Value("{{$.inputs.parameters['text']}}"));
}

}  // namespace
}  // namespace mr::pipelines
