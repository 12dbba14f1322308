#include "kube/patch.h"

#include <gtest/gtest.h>

#include <boost/json/array.hpp>

#include "json/parse.h"

namespace mr::kube {
namespace {

Value doc(std::string_view text) { return json::parse(text).value(); }
Object object(std::string_view text) { return doc(text).as_object(); }

const Kinds& kinds() {
  static const Kinds k;
  return k;
}
const Type& type_of(std::string_view group, std::string_view plural) {
  return *kinds().find(group, "v1", plural)->versions.front().schema;
}

std::string strategic(std::string_view group, std::string_view plural, std::string_view document,
                      std::string_view patch) {
  auto r = strategic_merge(object(document), object(patch), type_of(group, plural));
  return r ? json::serialize(Value(*r)) : r.error().message;
}

TEST(KubePatch, JsonPatchChangesAndRefuses) {
  auto r = json_patch(doc(R"({"a":[1,2],"b":{"c":1}})"),
                      doc(R"([{"op":"add","path":"/a/1","value":9},{"op":"move","from":"/b/c","path":"/d"},
                              {"op":"copy","from":"/a","path":"/e~1f"},{"op":"remove","path":"/a/-1"},
                              {"op":"test","path":"/d","value":1.0},{"op":"replace","path":"/b","value":null}])"));
  ASSERT_TRUE(r);
  EXPECT_EQ(json::serialize(*r), R"({"a":[1,9],"b":null,"d":1,"e/f":[1,9,2]})");
  for (auto bad : {R"([{"op":"remove","path":"/x"}])", R"([{"op":"add","path":"/x/y","value":1}])",
                   R"([{"op":"test","path":"/a","value":2}])", R"([{"op":"nonsense","path":"/a"}])",
                   R"([{"op":"replace","path":"/a/7","value":1}])", R"([{"op":"add","path":"a","value":1}])"}) {
    auto e = json_patch(doc(R"({"a":[1]})"), doc(bad));
    ASSERT_FALSE(e) << bad;
    EXPECT_EQ(e.error().code, 422);
  }
  EXPECT_EQ(json_patch(doc("{}"), doc("{}")).error().code, 400);
}

TEST(KubePatch, JsonPatchIsBounded) {
  std::string copies = "[";
  for (int i = 0; i < 200; ++i) copies += R"({"op":"copy","from":"/a","path":"/a/x"},)";
  copies.back() = ']';
  EXPECT_FALSE(json_patch(doc(R"({"a":{}})"), doc(copies)));
  std::string many = "[";
  for (int i = 0; i < 10'001; ++i) many += R"({"op":"test","path":"","value":{}},)";
  many.back() = ']';
  EXPECT_EQ(json_patch(doc("{}"), doc(many)).error().code, 413);
}

TEST(KubePatch, MergePatchRemovesByNull) {
  auto d = doc(R"({"a":1,"b":{"c":1,"d":2},"e":[1]})");
  merge_patch(d, doc(R"({"a":null,"b":{"c":null,"x":{"y":null,"z":1}},"e":[2]})"));
  EXPECT_EQ(json::serialize(d), R"({"b":{"d":2,"x":{"z":1}},"e":[2]})");
}

TEST(KubePatch, StrategicMergesListsByKey) {
  EXPECT_EQ(strategic("", "pods", R"({"spec":{"containers":[{"name":"a","image":"1"},{"name":"b","image":"1"}]}})",
                      R"({"spec":{"containers":[{"name":"b","image":"2"},{"name":"c","image":"3"}]}})"),
            R"({"spec":{"containers":[{"name":"a","image":"1"},{"name":"b","image":"2"},{"name":"c","image":"3"}]}})");
  EXPECT_EQ(strategic("", "pods", R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
                      R"({"spec":{"containers":[{"name":"a","$patch":"delete"}]}})"),
            R"({"spec":{"containers":[{"name":"b"}]}})");
  EXPECT_EQ(strategic("", "pods", R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
                      R"({"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}]}})"),
            R"({"spec":{"containers":[{"name":"b"},{"name":"a"}]}})");
  EXPECT_EQ(strategic("", "configmaps", R"({"metadata":{"finalizers":["a/1","b/2"]}})",
                      R"({"metadata":{"$deleteFromPrimitiveList/finalizers":["a/1"]}})"),
            R"({"metadata":{"finalizers":["b/2"]}})");
  EXPECT_EQ(strategic("apps", "deployments", R"({"spec":{"strategy":{"type":"RollingUpdate","rollingUpdate":{}}}})",
                      R"({"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}})"),
            R"({"spec":{"strategy":{"type":"Recreate"}}})");
  EXPECT_EQ(strategic("", "configmaps", R"({"data":{"a":"1"}})", R"({"data":{"$patch":"replace","b":"2"}})"),
            R"({"data":{"b":"2"}})");
}

TEST(KubePatch, StrategicSaysWhatIsWrong) {
  EXPECT_EQ(
      strategic("", "pods", R"({"spec":{"containers":[{"name":"a"}]}})", R"({"spec":{"containers":[{"image":"x"}]}})"),
      "map: map[image:x] does not contain declared merge key: name");
}

ApplyOptions by(std::string manager, bool force = false) { return {std::move(manager), force, "", "apps/v1"}; }

const std::string kDeployment =
    R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":1,
        "template":{"spec":{"containers":[{"name":"c","image":"i"}]}}}})";

// A struct that is stated empty is there the second time as it was the first.
TEST(KubeApply, AnEmptyStructTwice) {
  const auto& type = type_of("apps", "deployments");
  const auto given = object(R"({"metadata":{"name":"d"},"spec":{"replicas":1,"template":{}}})");
  auto first = apply(nullptr, given, &type, by("one"));
  ASSERT_TRUE(first);
  ASSERT_NE(at(*first, "spec.template.spec"), nullptr);
  auto again = apply(&*first, given, &type, by("one"));
  ASSERT_TRUE(again);
  EXPECT_EQ(json::serialize(Value(*again)), json::serialize(Value(*first)));
}

TEST(KubeApply, OwnsWhatItStates) {
  const auto& type = type_of("apps", "deployments");
  auto first = apply(nullptr, object(kDeployment), &type, by("one"));
  ASSERT_TRUE(first);
  EXPECT_EQ(
      json::serialize(*at(*first, "metadata.managedFields.0.fieldsV1")),
      R"({"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{}}}}}}})");
  auto other = object(kDeployment);
  ensure(other, "spec")["replicas"] = 3;
  auto refused = apply(&*first, other, &type, by("two"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas");
  EXPECT_EQ(refused.error().code, 409);
  auto forced = apply(&*first, other, &type, by("two", true));
  ASSERT_TRUE(forced);
  EXPECT_EQ(int_at(*forced, "spec.replicas"), 3);
  // Both own the image; the first does not own the replicas any more.
  auto again = apply(&*forced, object(kDeployment), &type, by("one"));
  ASSERT_FALSE(again);
}

TEST(KubeApply, RemovesWhatItAloneOwned) {
  const auto& type = type_of("", "configmaps");
  auto o = [](std::string manager) { return ApplyOptions{std::move(manager), false, "", "v1"}; };
  auto a = object(R"({"kind":"ConfigMap","metadata":{"name":"c"},"data":{"x":"1","y":"2"}})");
  auto first = apply(nullptr, a, &type, o("one"));
  auto shared =
      apply(&*first, object(R"({"kind":"ConfigMap","metadata":{"name":"c"},"data":{"y":"2"}})"), &type, o("two"));
  ASSERT_TRUE(shared);
  auto less = apply(&*shared, object(R"({"kind":"ConfigMap","metadata":{"name":"c"},"data":{}})"), &type, o("one"));
  ASSERT_TRUE(less);
  EXPECT_EQ(json::serialize(*at(*less, "data")), R"({"y":"2"})");
  auto none = apply(&*less, object(R"({"kind":"ConfigMap","metadata":{"name":"c"}})"), &type, o("two"));
  ASSERT_TRUE(none);
  EXPECT_EQ(at(*none, "data.y"), nullptr);
}

TEST(KubeApply, KubectlTakesOverFromClientSideApply) {
  const auto& type = type_of("", "configmaps");
  auto live = object(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","annotations":{
    "kubectl.kubernetes.io/last-applied-configuration":
      "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"},\"data\":{\"x\":\"1\"}}"}},"data":{"x":"1"}})");
  track_update(nullptr, live, &type, "kubectl-client-side-apply", "v1", "");
  auto next = object(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"x":"2"}})");
  EXPECT_TRUE(apply(&live, next, &type, {"kubectl", false, "", "v1"}));
  EXPECT_FALSE(apply(&live, next, &type, {"somebody", false, "", "v1"}));
}

TEST(KubeApply, RefusesWhatTheSchemaDoesNotKnow) {
  const auto& type = type_of("", "configmaps");
  auto r =
      apply(nullptr, object(R"({"kind":"ConfigMap","metadata":{"name":"cm"},"foo":1})"), &type, {"m", false, "", "v1"});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().message,
            "failed to create typed patch object (/cm; /v1, Kind=ConfigMap): .foo: field not declared in schema");
}

TEST(KubeApply, UpdatesOwnWhatTheyChange) {
  const auto& type = type_of("", "configmaps");
  auto before = object(R"({"metadata":{"name":"c"},"data":{"x":"1","y":"2"}})");
  track_update(nullptr, before, &type, "maker", "v1", "");
  auto after = before;
  ensure(after, "data")["x"] = "9";
  track_update(&before, after, &type, "hand", "v1", "");
  EXPECT_EQ(array_at(after, "metadata.managedFields").size(), 2u);
  for (const auto& e : array_at(after, "metadata.managedFields")) {
    auto fields = json::serialize(*e.as_object().if_contains("fieldsV1"));
    EXPECT_EQ(fields, e.at("manager") == "hand" ? R"({"f:data":{"f:x":{}}})" : R"({"f:data":{".":{},"f:y":{}}})");
  }
}

}  // namespace
}  // namespace mr::kube
