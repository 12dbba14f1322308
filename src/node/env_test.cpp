#include "node/env.h"

#include <gtest/gtest.h>

#include "json/parse.h"
#include "node/images.h"
#include "node/worker.h"

namespace mr::node {
namespace {

kube::Object object(std::string_view text) { return json::parse(text)->get_object(); }

PodFacts facts(std::string_view pod) {
  return {std::make_shared<const kube::Object>(object(pod)), "127.96.0.7", "127.0.0.1", "millrace", 2, 1 << 30};
}

Result<Env> resolve(const PodFacts& f, std::string_view container,
                    std::map<std::string, kube::ObjectPtr> objects = {}) {
  std::optional<Result<Env>> out;
  Find find = [&](kube::Gvr r, kube::Key k) -> task::Task<kube::ObjectPtr> {
    auto it = objects.find(r.plural + "/" + k.ns + "/" + k.name);
    co_return it == objects.end() ? nullptr : it->second;
  };
  task::detach([](const PodFacts& f, kube::Object c, Find find, std::optional<Result<Env>>& out) -> task::Task<void> {
    out.emplace(co_await resolve_env(f, std::move(c), {}, find));
  }(f, object(container), find, out));
  return *out;
}

std::string value(const Env& env, std::string_view name) {
  for (const auto& [k, v] : env)
    if (k == name) return v;
  return "(unset)";
}

TEST(Quantity, AllUnits) {
  EXPECT_DOUBLE_EQ(parse_quantity("500m"), 0.5);
  EXPECT_DOUBLE_EQ(parse_quantity("2"), 2);
  EXPECT_DOUBLE_EQ(parse_quantity("1Gi"), 1073741824);
  EXPECT_DOUBLE_EQ(parse_quantity("1.5M"), 1.5e6);
  EXPECT_DOUBLE_EQ(parse_quantity("2e3"), 2000);
  for (auto bad : {"", "x", "Gi", "-1", "1 Gi"}) EXPECT_LT(parse_quantity(bad), 0) << bad;
}

TEST(Expand, KnownUnknownAndEscaped) {
  std::map<std::string, std::string> env{{"A", "1"}, {"B", "two"}};
  EXPECT_EQ(expand("$(A)-$(B)", env), "1-two");
  EXPECT_EQ(expand("$(C) $$(A) $A $", env), "$(C) $(A) $A $");
  EXPECT_EQ(expand("$(A", env), "$(A");
}

TEST(Env, ValuesSeeEarlierOnes) {
  auto f = facts(R"({"metadata":{"name":"p","namespace":"n"},"spec":{}})");
  auto env = resolve(
      f, R"json({"env":[{"name":"A","value":"1"},{"name":"B","value":"$(A)2"},{"name":"C","value":"$(D)"}]})json");
  ASSERT_TRUE(env);
  EXPECT_EQ(value(*env, "B"), "12");
  EXPECT_EQ(value(*env, "C"), "$(D)");
}

TEST(Env, DownwardApi) {
  auto f = facts(
      R"({"metadata":{"name":"p","namespace":"n","labels":{"app":"web"},"annotations":{"a/b":"c"}},"spec":{"containers":[]}})");
  auto env = resolve(f, R"({"name":"c","resources":{"limits":{"memory":"64Mi"}},"env":[
    {"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},
    {"name":"APP","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['app']"}}},
    {"name":"ANN","valueFrom":{"fieldRef":{"fieldPath":"metadata.annotations['a/b']"}}},
    {"name":"MEM","valueFrom":{"resourceFieldRef":{"resource":"limits.memory","divisor":"1Mi"}}},
    {"name":"CPU","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}}]})");
  ASSERT_TRUE(env) << env.error().message;
  EXPECT_EQ(value(*env, "IP"), "127.96.0.7");
  EXPECT_EQ(value(*env, "APP"), "web");
  EXPECT_EQ(value(*env, "ANN"), "c");
  EXPECT_EQ(value(*env, "MEM"), "64");
  EXPECT_EQ(value(*env, "CPU"), "2");
}

TEST(Env, SecretsAndConfigMaps) {
  auto f = facts(R"({"metadata":{"name":"p","namespace":"n"},"spec":{}})");
  std::map<std::string, kube::ObjectPtr> objects;
  objects["configmaps/n/cm"] = std::make_shared<const kube::Object>(object(R"({"data":{"X":"1","Y":"2"}})"));
  objects["secrets/n/s"] = std::make_shared<const kube::Object>(object(R"({"data":{"k":"c2VjcmV0"}})"));
  auto env = resolve(f, R"({"envFrom":[{"prefix":"P_","configMapRef":{"name":"cm"}},
      {"configMapRef":{"name":"absent","optional":true}}],
    "env":[{"name":"S","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}},{"name":"P_X","value":"over"}]})",
                     objects);
  ASSERT_TRUE(env) << env.error().message;
  EXPECT_EQ(value(*env, "P_X"), "over");
  EXPECT_EQ(value(*env, "P_Y"), "2");
  EXPECT_EQ(value(*env, "S"), "secret");
}

TEST(Env, WhatIsMissingIsSaidInTheKubeletsWords) {
  auto f = facts(R"({"metadata":{"name":"p","namespace":"n"},"spec":{}})");
  auto env = resolve(f, R"({"env":[{"name":"S","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}]})");
  ASSERT_FALSE(env);
  EXPECT_EQ(env.error().message, "secret \"s\" not found");
  EXPECT_EQ(env.error().reason, "CreateContainerConfigError");
  std::map<std::string, kube::ObjectPtr> objects;
  objects["configmaps/n/cm"] = std::make_shared<const kube::Object>(object(R"({"data":{}})"));
  env = resolve(f, R"({"env":[{"name":"S","valueFrom":{"configMapKeyRef":{"name":"cm","key":"k"}}}]})", objects);
  ASSERT_FALSE(env);
  EXPECT_EQ(env.error().message, "couldn't find key k in ConfigMap n/cm");
}

TEST(ServiceLinks, HaveTheNamesOfOld) {
  auto s = std::make_shared<const kube::Object>(object(
      R"({"metadata":{"name":"my-db"},"spec":{"clusterIP":"127.64.0.5","ports":[{"name":"sql","port":3306,"protocol":"TCP"}]}})"));
  auto env = service_links({s});
  EXPECT_EQ(value(env, "MY_DB_SERVICE_HOST"), "127.64.0.5");
  EXPECT_EQ(value(env, "MY_DB_SERVICE_PORT_SQL"), "3306");
  EXPECT_EQ(value(env, "MY_DB_PORT_3306_TCP_ADDR"), "127.64.0.5");
}

TEST(ImageNames, RegistriesAndTags) {
  auto name = [](std::string_view s) {
    auto n = parse_image(s);
    return n ? n->repository + "|" + n->tag : "error";
  };
  EXPECT_EQ(name("python:3.11-slim"), "python|3.11-slim");
  EXPECT_EQ(name("docker.io/library/python"), "python|latest");
  EXPECT_EQ(name("localhost:5000/a/b:1"), "localhost:5000/a/b|1");
  EXPECT_EQ(name("busybox@sha256:abc"), "busybox|latest");
  for (auto bad : {"", "a b", "x:", "/x", "x/"}) EXPECT_EQ(name(bad), "error") << bad;
}

TEST(Images, WhatNothingRunsIsRefusedWithAdvice) {
  Images images({{"registry.test/team/job", "host"}});
  auto no = images.resolve("nginx:1.27");
  ASSERT_FALSE(no);
  EXPECT_EQ(no.error().reason, "ErrImagePull");
  EXPECT_TRUE(no.error().message.contains("python:3.x"));
  EXPECT_TRUE(images.resolve("busybox:1.36"));
  EXPECT_TRUE(images.resolve("registry.test/team/job:7"));
  EXPECT_FALSE(images.resolve("evil/python-tools:1"));
}

TEST(Phase, FollowsTheContainers) {
  std::vector<std::unique_ptr<Container>> cs;
  auto add = [&](State s, int code) {
    cs.push_back(std::make_unique<Container>());
    cs.back()->state = s;
    cs.back()->exit_code = code;
  };
  auto never = object(R"({"restartPolicy":"Never"})"), always = object("{}");
  auto failure = object(R"({"restartPolicy":"OnFailure"})");
  add(State::waiting, 0);
  EXPECT_EQ(pod_phase(never, cs, false, true), "Pending");
  cs[0]->state = State::running;
  EXPECT_EQ(pod_phase(never, cs, false, true), "Running");
  cs[0]->state = State::terminated;
  EXPECT_EQ(pod_phase(never, cs, false, true), "Succeeded");
  EXPECT_EQ(pod_phase(always, cs, false, true), "Running");
  cs[0]->exit_code = 1;
  EXPECT_EQ(pod_phase(never, cs, false, true), "Failed");
  EXPECT_EQ(pod_phase(failure, cs, false, true), "Running");
  EXPECT_EQ(pod_phase(always, cs, true, true), "Failed");
}

TEST(Qos, ByRequestsAndLimits) {
  EXPECT_EQ(qos_class(object(R"({"spec":{"containers":[{}]}})")), "BestEffort");
  EXPECT_EQ(qos_class(object(R"({"spec":{"containers":[{"resources":{"requests":{"cpu":"1"}}}]}})")), "Burstable");
  EXPECT_EQ(qos_class(object(R"({"spec":{"containers":[{"resources":{"limits":{"cpu":"1","memory":"1Gi"}}}]}})")),
            "Guaranteed");
}

}  // namespace
}  // namespace mr::node
