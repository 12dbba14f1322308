#include "kube/object.h"

#include <gtest/gtest.h>

#include "json/parse.h"

namespace mr::kube {
namespace {

Object doc(std::string_view text) { return json::parse(text).value().as_object(); }

TEST(KubeObject, ReadsNamesAndPaths) {
  auto o =
      doc(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"42",
    "labels":{"app.kubernetes.io/name":"x"}},"spec":{"n":3,"f":2.0,"on":true,"containers":[{"name":"c0"},{"name":"c1"}]}})");
  EXPECT_EQ(key_of(o), (Key{"n", "a"}));
  EXPECT_EQ(resource_version_of(o), 42u);
  EXPECT_EQ(text_at(o, "spec.containers.1.name"), "c1");
  EXPECT_EQ(at(o, "spec.containers.2.name"), nullptr);
  EXPECT_EQ(at(o, "spec.n.deeper"), nullptr);
  EXPECT_EQ(int_at(o, "spec.n"), 3);
  EXPECT_EQ(int_at(o, "spec.f"), 2);
  EXPECT_EQ(int_at(o, "spec.on", 9), 9);
  EXPECT_TRUE(bool_at(o, "spec.on"));
  EXPECT_EQ(label(o, "app.kubernetes.io/name"), "x");
  EXPECT_EQ(label(o, "none"), "");
  EXPECT_FALSE(deleting(o));
  EXPECT_TRUE(object_at(o, "spec.none").empty());
}

TEST(KubeObject, ToleratesWrongTypes) {
  auto o = doc(R"({"metadata":7,"kind":[],"status":{"conditions":{}}})");
  EXPECT_EQ(name_of(o), "");
  EXPECT_EQ(kind_of(o), "");
  EXPECT_EQ(condition(o, "Ready"), nullptr);
  metadata(o)["name"] = "b";
  EXPECT_EQ(name_of(o), "b");
}

TEST(KubeObject, ConditionsChangeTheirTimeWithTheStatusOnly) {
  Object o;
  EXPECT_TRUE(set_condition(o, "Ready", "False", "Starting", "wait"));
  ensure(o, "status")["conditions"].as_array()[0].as_object()["lastTransitionTime"] = "2020-01-01T00:00:00Z";
  EXPECT_FALSE(set_condition(o, "Ready", "False", "Starting", "wait"));
  EXPECT_TRUE(set_condition(o, "Ready", "False", "Starting", "still"));
  EXPECT_EQ(text_at(*condition(o, "Ready"), "lastTransitionTime"), "2020-01-01T00:00:00Z");
  EXPECT_TRUE(set_condition(o, "Ready", "True", "", ""));
  EXPECT_NE(text_at(*condition(o, "Ready"), "lastTransitionTime"), "2020-01-01T00:00:00Z");
  EXPECT_FALSE(condition(o, "Ready")->contains("message"));
}

TEST(KubeObject, SelectorsMatch) {
  auto labels = doc(R"({"app":"a","tier":"web"})");
  EXPECT_TRUE(matches_selector({}, labels));
  EXPECT_TRUE(matches_selector(doc(R"({"matchLabels":{"app":"a"}})"), labels));
  EXPECT_FALSE(matches_selector(doc(R"({"matchLabels":{"app":"b"}})"), labels));
  EXPECT_TRUE(matches_selector(doc(R"({"matchExpressions":[{"key":"tier","operator":"In","values":["web","db"]},
    {"key":"x","operator":"NotIn","values":["1"]},{"key":"x","operator":"DoesNotExist"},{"key":"app","operator":"Exists"}]})"),
                               labels));
  EXPECT_FALSE(matches_selector(doc(R"({"matchExpressions":[{"key":"app","operator":"DoesNotExist"}]})"), labels));
}

TEST(KubeObject, TimesHaveTheirForms) {
  EXPECT_EQ(now_text().size(), 20u);
  EXPECT_EQ(micro_now_text().size(), 27u);
}

}  // namespace
}  // namespace mr::kube
