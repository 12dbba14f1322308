#include "kube/kinds.h"

#include <gtest/gtest.h>

#include "kube/kinds_parse.h"

namespace mr::kube {
namespace {

TEST(Kinds, FindsCollectionsByGroupVersionAndPlural) {
  const Kinds kinds;
  const auto pods = kinds.find("", "v1", "pods");
  ASSERT_TRUE(pods);
  EXPECT_EQ(pods->kind, "Pod");
  EXPECT_EQ(pods->list_kind, "PodList");
  EXPECT_EQ(pods->qualified(), "pods");
  EXPECT_EQ(kinds.find("apps", "v1", "deployments")->qualified(), "deployments.apps");
  EXPECT_EQ(kinds.find("", "v2", "pods"), nullptr);
  EXPECT_EQ(kinds.find("apps", "v1", "pods"), nullptr);
  EXPECT_EQ(kinds.by_kind("networking.istio.io", "VirtualService")->plural, "virtualservices");
  // Two kinds of one name in two groups.
  EXPECT_NE(kinds.by_kind("", "Event"), kinds.by_kind("events.k8s.io", "Event"));
}

TEST(Kinds, EveryKindCanBeServed) {
  const Kinds kinds;
  for (const auto& k : kinds.all()) {
    EXPECT_FALSE(k->plural.empty()) << k->kind;
    EXPECT_FALSE(k->verbs.empty()) << k->kind;
    std::size_t storage = 0;
    for (const auto& v : k->versions) {
      ASSERT_TRUE(v.schema) << k->kind << " " << v.name;
      EXPECT_TRUE(v.schema->find("metadata")) << k->kind;
      if (v.status) EXPECT_TRUE(v.schema->find("status")) << k->kind;
      storage += v.storage ? 1U : 0U;
    }
    EXPECT_EQ(storage, 1U) << k->kind;
  }
}

TEST(Kinds, PutAndRemoveChangeTheGeneration) {
  Kinds kinds;
  const auto first = kinds.generation();
  auto kind = std::make_shared<Kind>();
  kind->group = "example.com";
  kind->kind = "Widget";
  kind->plural = "widgets";
  kind->versions.push_back({.name = "v1", .storage = true});
  kinds.put(kind);
  EXPECT_GT(kinds.generation(), first);
  EXPECT_EQ(kinds.find("example.com", "v1", "widgets"), kind);
  EXPECT_EQ(kinds.by_kind("example.com", "Widget"), kind);
  const auto second = kinds.generation();
  kinds.remove("example.com", "widgets");
  EXPECT_GT(kinds.generation(), second);
  EXPECT_EQ(kinds.find("example.com", "v1", "widgets"), nullptr);
  // Generations are never used twice, whoever has them.
  EXPECT_NE(Kinds().generation(), kinds.generation());
}

TEST(Kinds, TypesSayHowListsMerge) {
  const auto* spec = builtin_type("io.k8s.api.core.v1.PodSpec");
  ASSERT_TRUE(spec);
  const auto* containers = spec->find("containers");
  ASSERT_TRUE(containers);
  EXPECT_TRUE(containers->required);
  EXPECT_TRUE(containers->merge);
  EXPECT_EQ(containers->merge_key, "name");
  EXPECT_EQ(containers->list_kind, ListKind::map);
  EXPECT_EQ(containers->list_keys, std::vector<std::string>{"name"});
  EXPECT_TRUE(spec->find("volumes")->retain_keys);
  EXPECT_EQ(spec->find("tolerations")->list_kind, ListKind::atomic);
  const auto* ports = builtin_type("io.k8s.api.core.v1.Container")->find("ports");
  EXPECT_EQ(ports->list_keys, (std::vector<std::string>{"containerPort", "protocol"}));
  EXPECT_EQ(ports->ref->find("protocol")->fallback, "TCP");
  EXPECT_EQ(spec->by_number(2), containers);
  // A volume's source is a message of its own in protobuf.
  EXPECT_EQ(builtin_type("io.k8s.api.core.v1.Volume")->find("hostPath")->proto_in, 2);
}

TEST(Kinds, CustomKindsHaveAStructuralSchema) {
  const auto* isvc = builtin_type("io.kserve.serving.v1beta1.InferenceService");
  ASSERT_TRUE(isvc);
  const auto& schema = structural_schema(*isvc);
  EXPECT_EQ(&schema, &structural_schema(*isvc));
  const auto& model = object_at(schema.as_object(), "properties.spec.properties.predictor.properties.model");
  EXPECT_EQ(text_at(model, "properties.modelFormat.properties.name.type"), "string");
  EXPECT_EQ(text_at(model, "properties.modelFormat.required.0"), "name");
  EXPECT_TRUE(bool_at(model, "properties.resources.properties.limits.additionalProperties.x-kubernetes-int-or-string"));
}

TEST(KindsParse, NamesTheLineOfAFault) {
  auto fault = [](std::string_view text) {
    Descriptions d;
    const auto r = parse_descriptions(text, "x.kinds", d);
    return r ? std::string() : r.error().message;
  };
  EXPECT_EQ(fault("package a.b\ntype T\n  f string 1 : text\n"), "");
  EXPECT_NE(fault("package a.b\ntype T\n  f string wrong\n").find("x.kinds:3"), std::string::npos);
  EXPECT_NE(fault("nonsense\n").find("x.kinds:1"), std::string::npos);
  EXPECT_NE(fault("kind K\n  nothing\n").find("x.kinds:2"), std::string::npos);
  Descriptions d;
  ASSERT_TRUE(parse_descriptions("package a.b\ntype T\n  f Missing\n", "x.kinds", d));
  EXPECT_FALSE(resolve_descriptions(d));
}

}  // namespace
}  // namespace mr::kube
