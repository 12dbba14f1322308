#include "json/parse.h"
#include "pipelines/step.h"

namespace mr::pipelines {
namespace {

Value parsed(std::string_view text) {
  auto v = json::parse(text);
  EXPECT_TRUE(v) << text;
  return v ? *v : Value();
}

class TaskConfigTest : public ::testing::Test {
 protected:
  TaskConfigTest() {
    component.name = "comp-train";
    component.kubernetes = parsed(R"({
      "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
      "nodeSelector": {"labels": {"disk": "ssd"}},
      "nodeAffinity": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
                       {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}], "weight": 7}],
      "emptyDirMounts": [{"volumeName": "scratch", "mountPath": "/scratch"}],
      "fieldPathAsEnv": [{"name": "POD", "fieldPath": "metadata.name"}],
      "imagePullPolicy": "Always"})")
                               .as_object();
  }
  Result<TaskConfig> config(const char* passthroughs) {
    component.task_config_passthroughs = parsed(passthroughs).as_array();
    return task_config(component, parsed(R"({"limits": {"cpu": "2"}})").as_object(),
                       parsed(R"([{"name": "A", "value": "1"}])").as_array(),
                       [](const Value&) -> Result<std::optional<Value>> { return std::nullopt; });
  }
  Component component;
};

TEST_F(TaskConfigTest, WhatIsPassedOnIsKeptFromTheStepsOwnPod) {
  const auto c = config(R"([{"field": "KUBERNETES_TOLERATIONS"}, {"field": "KUBERNETES_NODE_SELECTOR"},
                            {"field": "KUBERNETES_AFFINITY"}, {"field": "KUBERNETES_VOLUMES"},
                            {"field": "ENV"}, {"field": "RESOURCES"}])");
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(c->value.at("tolerations"), parsed(R"([{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}])"));
  EXPECT_EQ(c->value.at("nodeSelector"), parsed(R"({"disk": "ssd"})"));
  const auto& affinity = c->value.at("affinity").as_object().at("nodeAffinity").as_object();
  EXPECT_EQ(json::serialize(affinity.at("requiredDuringSchedulingIgnoredDuringExecution")),
            R"({"nodeSelectorTerms":[{"matchExpressions":[{"key":"zone","operator":"In","values":["a"]}]}]})");
  EXPECT_EQ(affinity.at("preferredDuringSchedulingIgnoredDuringExecution").as_array().at(0).at("weight"), Value(7));
  EXPECT_EQ(c->value.at("volumes").as_array().size(), 1U);
  EXPECT_EQ(c->value.at("volumeMounts").as_array().at(0).at("mountPath"), Value("/scratch"));
  ASSERT_EQ(c->value.at("env").as_array().size(), 2U);
  EXPECT_EQ(c->value.at("env").as_array().at(0), parsed(R"({"name": "A", "value": "1"})"));
  EXPECT_EQ(c->value.at("resources"), parsed(R"({"limits": {"cpu": "2"}})"));
  EXPECT_FALSE(c->resources);
  EXPECT_FALSE(c->env);
  EXPECT_EQ(c->kubernetes, (Object{{"imagePullPolicy", "Always"}}));
}

TEST_F(TaskConfigTest, WhatAppliesToTheTaskTooStays) {
  const auto c =
      config(R"([{"field": "KUBERNETES_TOLERATIONS", "applyToTask": true}, {"field": "ENV", "applyToTask": true}])");
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(c->value.size(), 2U);
  EXPECT_TRUE(c->env);
  EXPECT_TRUE(c->resources);
  EXPECT_EQ(c->kubernetes, component.kubernetes);
}

TEST_F(TaskConfigTest, AFieldThatIsNotKnownIsNamed) {
  const auto c = config(R"([{"field": "COLOUR"}])");
  ASSERT_FALSE(c);
  EXPECT_NE(c.error().message.find("COLOUR"), std::string::npos);
}

}  // namespace
}  // namespace mr::pipelines
