// What an InferenceService says of the logger, the batcher and a shadow, as arguments and routes.
#include "serving/controller/agent.h"

#include <gtest/gtest.h>

#include "json/parse.h"
#include "serving/controller/routing.h"

namespace mr::serving {
namespace {

using kube::Object;

Object document(std::string_view text) {
  auto v = json::parse(text);
  EXPECT_TRUE(v && v->is_object()) << text;
  return v && v->is_object() ? v->get_object() : Object{};
}

std::expected<std::string, std::string> arguments(std::string_view spec) {
  auto isvc = document(R"({"metadata":{"name":"churn","namespace":"team"}})");
  Object container;
  auto done = add_agent_arguments({isvc, Component::predictor, document(spec), nullptr, {}}, container);
  if (!done) return std::unexpected(done.error().message);
  return json::serialize(container.at("args"));
}

TEST(Agent, ALoggerBecomesTheArgumentsOfKServesAgent) {
  EXPECT_EQ(arguments("{}").value(), "[]");
  EXPECT_EQ(
      arguments(R"({"logger":{"mode":"request","url":"http://sink:8080/x","metadataHeaders":["X-A","X-B"],
              "metadataAnnotations":["owner"]},"labels":{"endpoint":"canary"}})")
          .value(),
      R"(["--log-url=http://sink:8080/x","--log-mode=request","--inference-service=churn","--namespace=team",)"
      R"("--component=predictor","--endpoint=canary","--metadata-headers=X-A,X-B","--metadata-annotations=owner"])");
  EXPECT_EQ(arguments(R"({"logger":{"mode":"all"}})").value(),
            R"(["--log-url=http://default-broker","--log-mode=all","--inference-service=churn","--namespace=team",)"
            R"("--component=predictor"])");
  EXPECT_FALSE(arguments(R"({"logger":{"mode":"all","url":"s3://bucket/logs"}})").has_value());
}

TEST(Agent, ABatcherBecomesItsArguments) {
  EXPECT_EQ(arguments(R"({"batcher":{}})").value(), R"(["--enable-batcher=true"])");
  EXPECT_EQ(arguments(R"({"batcher":{"maxBatchSize":8,"maxLatency":50,"timeout":7}})").value(),
            R"(["--enable-batcher=true","--max-batchsize=8","--max-latency=50","--batch-timeout=7"])");
}

TEST(Agent, InFrontOfOtherImagesItIsAContainer) {
  auto isvc = document(R"({"metadata":{"name":"churn","namespace":"team"}})");
  auto spec = document(R"({"logger":{"mode":"all","url":"http://sink"},
      "containers":[{"image":"python:3.11","ports":[{"containerPort":7000}]}]})");
  auto t = pod_template({isvc, Component::transformer, spec, nullptr, {}});
  ASSERT_TRUE(t);
  EXPECT_EQ(t->port, kAgentPort);
  const auto& agent = kube::object_at(t->pod, "spec.containers.1");
  EXPECT_EQ(kube::text_at(agent, "image"), kAgentImage);
  EXPECT_EQ(json::serialize(agent.at("args")),
            R"(["--component-port=7000","--log-url=http://sink","--log-mode=all","--inference-service=churn",)"
            R"("--namespace=team","--component=transformer"])");
  auto revisions =
      revisions_of(Component::transformer,
                   {std::make_shared<const Object>(revision_deployment(isvc, Component::transformer, 1, *t, 1))}, {});
  ASSERT_EQ(revisions.size(), 1U);
  EXPECT_EQ(revisions[0].port, kAgentPort);
  spec.erase("logger");
  auto bare = pod_template({isvc, Component::transformer, spec, nullptr, {}});
  ASSERT_TRUE(bare);
  EXPECT_EQ(bare->port, 7000);
  EXPECT_EQ(kube::array_at(bare->pod, "spec.containers").size(), 1U);
}

TEST(Agent, WhatHasNoEffectIsTold) {
  auto spec = document(R"({"logger":{"mode":"all","storage":{"path":"x"}},"batcher":{}})");
  EXPECT_EQ(agent_note(document("{}"), true), "");
  EXPECT_EQ(agent_note(spec, true), "logger.storage has no effect here: events go to logger.url");
  EXPECT_TRUE(agent_note(spec, false).contains("batcher has no effect"));
}

Traffic canary(int percent) {
  Traffic t;
  t.latest_ready = "m-predictor-00002";
  t.targets = {{"m-predictor-00002", percent, true, {}}};
  if (percent < 100) t.targets.push_back({"m-predictor-00001", 100 - percent, false, "prev"});
  return t;
}

TEST(Shadow, IsTheNewestRevisionWhileAnotherAnswers) {
  auto isvc = [](std::string_view percent) {
    return document(fmt::format(
        R"({{"metadata":{{"name":"m","namespace":"ns","annotations":{{"serving.millrace.io/shadow-traffic-percent":"{}"}}}}}})",
        percent));
  };
  auto t = canary(0);
  add_shadow(isvc("50"), t);
  EXPECT_EQ(t.shadow, "m-predictor-00002");
  EXPECT_EQ(t.shadow_percent, 50);
  for (const char* none : {"", "0", "-1", "101", "x", "1.5"}) {
    auto without = canary(0);
    add_shadow(isvc(none), without);
    EXPECT_EQ(without.shadow, "") << none;
  }
  auto alone = canary(100);  // it answers everything itself
  add_shadow(isvc("50"), alone);
  EXPECT_EQ(alone.shadow, "");

  ComponentState c;
  c.component = Component::predictor;
  c.traffic = t;
  c.revisions.resize(2);
  c.revisions[0].name = "m-predictor-00001";
  c.revisions[1].name = "m-predictor-00002";
  RoutingOptions options;
  options.gateway_address = "127.0.0.1";
  options.gateway_port = 18080;
  auto o = isvc("50");
  int copied = 0;
  for (const auto& r : virtual_services(o, {c}, options)) {
    const auto& rule = kube::array_at(r, "spec.http")[0].get_object();
    const bool tagged = kube::name_of(r) == "m-predictor-prev";
    EXPECT_EQ(rule.contains("mirrors"), !tagged) << kube::name_of(r);
    if (tagged) continue;
    ++copied;
    EXPECT_EQ(kube::text_at(rule, "mirrors.0.destination.host"), "m-predictor-00002.ns.svc.cluster.local");
    EXPECT_EQ(kube::int_at(rule, "mirrors.0.percentage.value"), 50);
    EXPECT_EQ(kube::text_at(rule, "route.0.destination.host"), "m-predictor-00001.ns.svc.cluster.local");
  }
  EXPECT_EQ(copied, 3);  // host, path, component
  // The names inside lead to the gateway, which makes the copies.
  auto services = name_services(o, {c}, options);
  ASSERT_EQ(services.size(), 4U);
  EXPECT_EQ(kube::int_at(services[1], "subsets.0.ports.0.port"), 18080);
}

}  // namespace
}  // namespace mr::serving
