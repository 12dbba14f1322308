// What the recorded cases of the real server do not hold: the custom kinds that come with this program, and warnings.
#include "kube/admission.h"

#include <gtest/gtest.h>

#include <boost/json/array.hpp>

#include "json/parse.h"

namespace mr::kube {
namespace {

const Kinds& kinds() {
  static const Kinds k;
  return k;
}

struct Judged {
  Object object;
  std::string message;  // of the Invalid answer, empty when valid
  std::vector<std::string> unknown, warned;
};

Judged judge(std::string_view group, std::string_view version, std::string_view plural, std::string_view text) {
  Judged j;
  auto kind = kinds().find(group, version, plural);
  if (!kind) return {.message = "no such kind"};
  const auto& v = *kind->version(version);
  j.object = json::parse(text).value().as_object();
  j.object["apiVersion"] = kind->api_version(version);
  j.object["kind"] = kind->kind;
  metadata(j.object)["uid"] = "u";
  j.unknown = prune(*kind, v, j.object);
  set_defaults(*kind, v, j.object);
  if (auto faults = validate(*kind, v, j.object, nullptr); !faults.empty())
    j.message = invalid_object(kind->group, kind->kind, name_of(j.object), faults).message;
  j.warned = warnings(*kind, v, j.object);
  return j;
}

TEST(KubeAdmission, InferenceServices) {
  auto seed = judge("serving.kserve.io", "v1beta1", "inferenceservices",
                    R"({"metadata":{"name":"bankchurn-model"},"spec":{"predictor":{"serviceAccountName":"sa","model":{
                        "modelFormat":{"name":"mlflow"},"protocolVersion":"v2","storageUri":"s3://b/1/r/artifacts/model"}}}})");
  EXPECT_EQ(seed.message, "");
  EXPECT_TRUE(seed.unknown.empty()) << seed.unknown[0];
  auto old = judge("serving.kserve.io", "v1beta1", "inferenceservices",
                   R"({"metadata":{"name":"a"},"spec":{"predictor":{"sklearn":{"storageUri":"gs://b/m"}}}})");
  EXPECT_EQ(old.message, "");
  EXPECT_EQ(text_at(old.object, "spec.predictor.model.modelFormat.name"), "sklearn");
  EXPECT_EQ(text_at(old.object, "spec.predictor.model.protocolVersion"), "v1");
  EXPECT_EQ(at(old.object, "spec.predictor.sklearn"), nullptr);
  auto bad = judge("serving.kserve.io", "v1beta1", "inferenceservices",
                   R"({"metadata":{"name":"1a"},"spec":{"predictor":{"minReplicas":3,"maxReplicas":2,"model":{
                       "modelFormat":{"name":"sklearn"},"storageUri":"ftp://x"}}}})");
  EXPECT_NE(bad.message.find("'MinReplicas' cannot be greater than MaxReplicas"), std::string::npos);
  EXPECT_NE(bad.message.find("StorageUri [ftp://x] is not supported"), std::string::npos);
  EXPECT_NE(bad.message.find("metadata.name"), std::string::npos);
}

TEST(KubeAdmission, VirtualServices) {
  auto seed = judge("networking.istio.io", "v1beta1", "virtualservices",
                    R"({"metadata":{"name":"mlflow"},"spec":{"gateways":["kubeflow-gateway"],"hosts":["*"],"http":[{
                        "match":[{"uri":{"prefix":"/mlflow/"}}],"rewrite":{"uri":"/"},"route":[{"destination":{
                        "host":"mlflow.kubeflow.svc.cluster.local","port":{"number":5000}}}]}]}})");
  EXPECT_EQ(seed.message, "");
  EXPECT_TRUE(seed.warned.empty());
  auto bad = judge("networking.istio.io", "v1beta1", "virtualservices",
                   R"({"metadata":{"name":"m"},"spec":{"hosts":["*"],"http":[{"route":[]}]}})");
  EXPECT_NE(bad.message.find("wildcard host *"), std::string::npos);
  EXPECT_NE(bad.message.find("HTTP route, redirect or direct_response is required"), std::string::npos);
}

TEST(KubeAdmission, WarnsAboutWhatIsNotEnforced) {
  auto policy = judge("security.istio.io", "v1beta1", "authorizationpolicies",
                      R"({"metadata":{"name":"p"},"spec":{"selector":{"matchLabels":{"app":"mlflow"}},"action":"ALLOW",
                          "rules":[{"to":[{"operation":{"methods":["GET","POST"],"ports":["5000"]}}]}]}})");
  EXPECT_EQ(policy.message, "");
  ASSERT_EQ(policy.warned.size(), 2u);
  EXPECT_NE(policy.warned[0].find("not enforced yet"), std::string::npos);
  EXPECT_NE(policy.warned[1].find("PATCH"), std::string::npos);
  EXPECT_EQ(judge("networking.k8s.io", "v1", "networkpolicies", R"({"metadata":{"name":"n"}})").warned.size(), 1u);
  EXPECT_TRUE(judge("", "v1", "configmaps", R"({"metadata":{"name":"n"}})").warned.empty());
}

TEST(KubeAdmission, NotebooksAndPodDefaults) {
  EXPECT_EQ(judge("kubeflow.org", "v1", "notebooks",
                  R"({"metadata":{"name":"n"},"spec":{"template":{"spec":{"containers":[{"name":"n","image":"i"}]}}}})")
                .message,
            "");
  EXPECT_NE(judge("kubeflow.org", "v1", "notebooks", R"({"metadata":{"name":"n"},"spec":{"template":{"spec":{}}}})")
                .message.find("spec.template.spec.containers: Required value"),
            std::string::npos);
  EXPECT_NE(judge("kubeflow.org", "v1alpha1", "poddefaults", R"({"metadata":{"name":"n"},"spec":{}})")
                .message.find("spec.selector: Required value"),
            std::string::npos);
}

TEST(KubeAdmission, KindsOfDefinitions) {
  auto crd = json::parse(R"({"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition",
    "metadata":{"name":"widgets.example.com"},"spec":{"group":"example.com","scope":"Namespaced",
    "names":{"plural":"widgets","singular":"widget","kind":"Widget","listKind":"WidgetList","shortNames":["wd"]},
    "versions":[{"name":"v1beta1","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object"}}},
     {"name":"v1","served":true,"storage":true,"subresources":{"status":{},"scale":{"specReplicasPath":".spec.n",
      "statusReplicasPath":".status.n"}},"additionalPrinterColumns":[{"name":"N","type":"integer","jsonPath":".spec.n"}],
      "schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","x-kubernetes-validations":[
       {"rule":"self.n > 0"}],"properties":{"n":{"type":"integer","default":2},"items":{"type":"array",
       "x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["id"],"items":{"type":"object","properties":{
       "id":{"type":"string"}}}}}}}}}}]}})")
                 .value()
                 .as_object();
  auto kind = kind_of_crd(crd);
  ASSERT_TRUE(kind) << (kind ? "" : kind.error()[0].field + kind.error()[0].message);
  EXPECT_EQ((*kind)->versions[0].name, "v1");  // the stable one first
  EXPECT_EQ((*kind)->storage().name, "v1");
  EXPECT_TRUE((*kind)->versions[0].status);
  EXPECT_EQ((*kind)->versions[0].scale_spec, ".spec.n");
  EXPECT_EQ((*kind)->versions[1].columns[0].name, "Age");
  const auto* spec = (*kind)->versions[0].schema->find("spec");
  ASSERT_NE(spec, nullptr);
  EXPECT_EQ(spec->ref->find("items")->list_kind, ListKind::map);
  Object widget = json::parse(R"({"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w","x":1},
      "spec":{"other":1}})")
                      .value()
                      .as_object();
  auto removed = prune(**kind, (*kind)->versions[0], widget);
  EXPECT_EQ(removed, (std::vector<std::string>{R"(unknown field "metadata.x")", R"(unknown field "spec.other")"}));
  set_defaults(**kind, (*kind)->versions[0], widget);
  EXPECT_EQ(int_at(widget, "spec.n"), 2);
  EXPECT_TRUE(validate(**kind, (*kind)->versions[0], widget, nullptr).empty());
  auto definitions = kinds().find("apiextensions.k8s.io", "v1", "customresourcedefinitions");
  ASSERT_TRUE(definitions);
  EXPECT_EQ(warnings(*definitions, definitions->versions[0], crd).size(), 1u);  // CEL rules are not evaluated
}

}  // namespace
}  // namespace mr::kube
