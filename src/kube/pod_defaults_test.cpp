#include "kube/pod_defaults.h"

#include <gtest/gtest.h>

#include "json/parse.h"

namespace mr::kube {
namespace {

Object object(std::string_view text) {
  auto v = json::parse(text);
  EXPECT_TRUE(v && v->is_object()) << text;
  return v && v->is_object() ? v->as_object() : Object{};
}
ObjectPtr defaults(std::string_view name, std::string_view spec) {
  auto o = make_object("kubeflow.org/v1alpha1", "PodDefault", "ns", name);
  metadata(o)["resourceVersion"] = "41";
  o["spec"] = object(spec);
  return std::make_shared<const Object>(std::move(o));
}
Object pod(std::string_view spec) {
  auto o = make_object("v1", "Pod", "ns", "p");
  o["spec"] = object(spec);
  return o;
}
std::vector<std::string> conflicts(const std::vector<ObjectPtr>& d, Object p) {
  auto before = p;
  auto r = merge_pod_defaults(d, p);
  if (r) return {};
  EXPECT_EQ(p, before);
  return r.error();
}

TEST(PodDefaults, AddsToThePodAndToEachOfItsContainers) {
  auto p = pod(R"({"containers":[{"name":"a","env":[{"name":"X","value":"1"}]},{"name":"b","command":["own"]}],
                   "initContainers":[{"name":"i"}],"serviceAccount":"old"})");
  auto d = defaults("add", R"({"env":[{"name":"Y","value":"2"}],"envFrom":[{"secretRef":{"name":"s"}}],
      "volumes":[{"name":"v","emptyDir":{}}],"volumeMounts":[{"name":"v","mountPath":"/v"}],
      "annotations":{"n":"1"},"labels":{"l":"1"},"tolerations":[{"key":"gpu","operator":"Exists"}],
      "imagePullSecrets":[{"name":"pull"}],"serviceAccountName":"editor","automountServiceAccountToken":false,
      "command":["run"],"args":["-v"],"sidecars":[{"name":"side"}],"initContainers":[{"name":"first"}]})");
  ASSERT_TRUE(merge_pod_defaults({d}, p));
  EXPECT_EQ(p["spec"], Value(object(R"({"containers":[
      {"name":"a","env":[{"name":"X","value":"1"},{"name":"Y","value":"2"}],"volumeMounts":[{"name":"v","mountPath":"/v"}],
       "envFrom":[{"secretRef":{"name":"s"}}],"command":["run"],"args":["-v"]},
      {"name":"b","command":["own"],"env":[{"name":"Y","value":"2"}],"volumeMounts":[{"name":"v","mountPath":"/v"}],
       "envFrom":[{"secretRef":{"name":"s"}}],"args":["-v"]},
      {"name":"side"}],
      "initContainers":[{"name":"i"},{"name":"first"}],"volumes":[{"name":"v","emptyDir":{}}],
      "tolerations":[{"key":"gpu","operator":"Exists"}],"imagePullSecrets":[{"name":"pull"}],
      "automountServiceAccountToken":false,"serviceAccountName":"editor"})")));
  EXPECT_EQ(label(p, "l"), "1");
  EXPECT_EQ(annotation(p, "n"), "1");
  EXPECT_EQ(annotation(p, "poddefault.admission.kubeflow.org/poddefault-add"), "41");
}

TEST(PodDefaults, WhatIsThereAlreadyStaysOnce) {
  auto p = pod(R"({"containers":[{"name":"a","env":[{"name":"X","value":"1"}],
                                  "volumeMounts":[{"name":"v","mountPath":"/v"}]}],
                   "volumes":[{"name":"v","emptyDir":{}}]})");
  auto spec = p["spec"];
  auto d = R"({"env":[{"value":"1","name":"X"}],"volumes":[{"name":"v","emptyDir":{}}],
               "volumeMounts":[{"name":"v","mountPath":"/v"}]})";
  ASSERT_TRUE(merge_pod_defaults({defaults("one", d), defaults("two", d)}, p));
  EXPECT_EQ(p["spec"], spec);
}

TEST(PodDefaults, ConflictsLeaveThePodAsItIs) {
  auto one = R"({"containers":[{"name":"a","env":[{"name":"X","value":"secret"}],
                                "volumeMounts":[{"name":"w","mountPath":"/v"}]}],
                 "volumes":[{"name":"v","emptyDir":{}}],"tolerations":[{"key":"k","operator":"Exists"}]})";
  auto env = conflicts({defaults("d", R"({"env":[{"name":"X","value":"2"}]})")}, pod(one));
  ASSERT_EQ(env.size(), 1U);
  EXPECT_EQ(env[0], "merging env for d has a conflict on X: it does not match the one in container a");
  auto mount = conflicts({defaults("d", R"({"volumeMounts":[{"name":"n","mountPath":"/v"}]})")}, pod(one));
  ASSERT_EQ(mount.size(), 1U);
  EXPECT_TRUE(mount[0].contains("conflict on mount path /v")) << mount[0];
  EXPECT_EQ(conflicts({defaults("d", R"({"volumes":[{"name":"v","secret":{"secretName":"s"}}]})")}, pod(one)).size(),
            1U);
  EXPECT_EQ(conflicts({defaults("d", R"({"tolerations":[{"key":"k","operator":"Equal"}]})")}, pod(one)).size(), 1U);
  EXPECT_EQ(conflicts({defaults("d", R"({"sidecars":[{"name":"a"}]})")}, pod(one)).size(), 1U);
  // Two that disagree with each other.
  EXPECT_EQ(
      conflicts({defaults("d", R"({"labels":{"l":"1"}})"), defaults("e", R"({"labels":{"l":"2"}})")}, pod(one)).size(),
      1U);
}

TEST(PodDefaults, TheMeshsContainerKeepsItsCommand) {
  auto p = pod(R"({"containers":[{"name":"istio-proxy"}]})");
  ASSERT_TRUE(merge_pod_defaults({defaults("d", R"({"command":["x"],"env":[{"name":"A","value":"1"}]})")}, p));
  EXPECT_TRUE(array_at(p, "spec.containers.0.command").empty());
  EXPECT_EQ(text_at(p, "spec.containers.0.env.0.name"), "A");
}

}  // namespace
}  // namespace mr::kube
