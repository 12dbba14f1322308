#include "services/directory.h"

#include "json/parse.h"

namespace mr::services {
namespace {

kube::ObjectPtr object(std::string_view text) {
  auto v = json::parse(text);
  EXPECT_TRUE(v.has_value()) << text;
  return std::make_shared<const kube::Object>(v->as_object());
}
kube::ObjectPtr service(std::string_view name, std::string_view spec) {
  return object(fmt::format(R"({{"metadata":{{"namespace":"ns","name":"{}"}},"spec":{}}})", name, spec));
}
kube::ObjectPtr endpoints(std::string_view subsets) { return object(fmt::format(R"({{"subsets":{}}})", subsets)); }

TEST(Directory, PortsMeetEndpointsByName) {
  auto s = make_service(
      service(
          "web",
          R"({"clusterIP":"127.64.1.1","ports":[{"name":"http","port":80,"targetPort":8080},{"name":"dns","port":53,"protocol":"UDP"},{"name":"admin","port":81}]})"),
      endpoints(
          R"([{"addresses":[{"ip":"127.96.0.1","targetRef":{"name":"web-0"}},{"ip":"127.96.0.2"}],"notReadyAddresses":[{"ip":"127.96.0.3"}],
                                      "ports":[{"name":"http","port":8080},{"name":"dns","port":53,"protocol":"UDP"}]},
                                     {"addresses":[{"ip":"127.96.0.9"}],"ports":[{"name":"admin","port":9000}]}])")
          .get(),
      {}, {}, nullptr);
  ASSERT_EQ(s->ports.size(), 2U);
  ASSERT_EQ(s->find(80)->ready.size(), 2U);
  EXPECT_EQ(s->find(80)->ready[0]->ip, "127.96.0.1");
  EXPECT_EQ(s->find(80)->ready[0]->port, 8080);
  EXPECT_EQ(s->find(80)->ready[0]->pod, "web-0");
  EXPECT_EQ(s->find(81)->ready[0]->port, 9000);
  EXPECT_EQ(s->find(0), nullptr);
  EXPECT_EQ(s->find(82), nullptr);
}

TEST(Directory, SlicesStandBesideEndpointsUnlessMadeFromThem) {
  auto mirror = object(
      R"({"metadata":{"labels":{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io"}},"ports":[{"name":"","port":1}],"endpoints":[{"addresses":["127.96.0.7"]}]})");
  auto own = object(
      R"({"ports":[{"name":"","port":2}],"endpoints":[{"addresses":["127.96.0.8"]},{"addresses":["127.96.0.9"],"conditions":{"ready":false}}]})");
  auto spec = R"({"clusterIP":"127.64.1.1","ports":[{"port":80}]})";
  auto with =
      make_service(service("a", spec), endpoints(R"([{"addresses":[{"ip":"127.96.0.1"}],"ports":[{"port":3}]}])").get(),
                   {mirror, own}, {}, nullptr);
  ASSERT_EQ(with->find(80)->ready.size(), 2U);
  EXPECT_EQ(with->find(80)->ready[0]->port, 3);
  EXPECT_EQ(with->find(80)->ready[1]->port, 2);
  auto without = make_service(service("a", spec), nullptr, {mirror, own}, {}, nullptr);
  EXPECT_EQ(without->find(80)->ready.size(), 2U);
}

TEST(Directory, CountersOutliveAChange) {
  auto svc = service("a", R"({"clusterIP":"127.64.1.1","ports":[{"port":80}]})");
  auto one = make_service(svc, endpoints(R"([{"addresses":[{"ip":"127.96.0.1"}],"ports":[{"port":3}]}])").get(), {}, {},
                          nullptr);
  Use busy(one->find(80)->ready[0]);
  auto two = make_service(
      svc, endpoints(R"([{"addresses":[{"ip":"127.96.0.1"},{"ip":"127.96.0.2"}],"ports":[{"port":3}]}])").get(), {}, {},
      one.get());
  EXPECT_EQ(two->find(80)->ready[0]->active, 1U);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(pick(*two->find(80))->ip, "127.96.0.2");
}

TEST(Directory, PickingRules) {
  auto labels = json::parse(R"({"v":"1"})")->as_object();
  auto s = make_service(
      service("a", R"({"clusterIP":"127.64.1.1","ports":[{"port":80}]})"),
      endpoints(
          R"([{"addresses":[{"ip":"127.96.0.1"},{"ip":"127.96.0.2","targetRef":{"name":"p"}},{"ip":"127.96.0.3"}],"ports":[{"port":3}]}])")
          .get(),
      {}, [&](const std::string&, const std::string& pod) { return pod == "p" ? &labels : nullptr; }, nullptr);
  const auto& p = *s->find(80);
  std::set<std::string> seen;
  for (int i = 0; i < 3; ++i) seen.insert(pick(p)->ip);
  EXPECT_EQ(seen.size(), 3U);

  std::vector<EndpointPtr> tried;
  for (int i = 0; i < 3; ++i) tried.push_back(pick(p, {.tried = &tried}));
  EXPECT_EQ(std::set<EndpointPtr>(tried.begin(), tried.end()).size(), 3U);
  EXPECT_EQ(pick(p, {.tried = &tried}), nullptr);

  auto home = pick(p, {.client = "10.0.0.1"});
  for (int i = 0; i < 5; ++i) EXPECT_EQ(pick(p, {.client = "10.0.0.1"}), home);
  seen.clear();
  for (int i = 0; i < 64; ++i) seen.insert(pick(p, {.client = fmt::format("10.0.0.{}", i)})->ip);
  EXPECT_EQ(seen.size(), 3U);

  std::vector<std::pair<std::string, std::string>> subset{{"v", "1"}};
  EXPECT_EQ(pick(p, {.subset = &subset})->pod, "p");
  subset[0].second = "2";
  EXPECT_EQ(pick(p, {.subset = &subset}), nullptr);
}

TEST(Directory, HostsNameEveryKindOfService) {
  Directory::Map map;
  auto put = [&](ServicePtr s) { map[{s->ns, s->name}] = s; };
  auto eps = endpoints(
      R"([{"addresses":[{"ip":"127.96.0.1","hostname":"db-0"},{"ip":"127.96.0.2","hostname":"db-1"}],"ports":[{"port":3}]}])");
  put(make_service(service("api", R"({"clusterIP":"127.64.1.1","ports":[{"port":80}]})"), nullptr, {}, {}, nullptr));
  put(make_service(service("db", R"({"clusterIP":"None","ports":[{"port":3}]})"), eps.get(), {}, {}, nullptr));
  put(make_service(service("ext", R"({"type":"ExternalName","externalName":"db.example.org"})"), nullptr, {}, {},
                   nullptr));
  put(make_service(service("near", R"({"type":"ExternalName","externalName":"api.ns.svc.cluster.local"})"), nullptr, {},
                   {}, nullptr));
  auto lines = hosts_lines(map, "ns", [](const std::string& h) {
    return h == "db.example.org" ? std::vector<std::string>{"192.0.2.7"} : std::vector<std::string>{};
  });
  Lines expected = {
      {"127.64.1.1", "api.ns.svc.cluster.local api.ns.svc api.ns api"},
      {"127.96.0.1", "db.ns.svc.cluster.local db.ns.svc db.ns db"},
      {"127.96.0.1", "db-0.db.ns.svc.cluster.local db-0.db.ns.svc db-0.db.ns db-0.db"},
      {"127.96.0.2", "db.ns.svc.cluster.local db.ns.svc db.ns db"},
      {"127.96.0.2", "db-1.db.ns.svc.cluster.local db-1.db.ns.svc db-1.db.ns db-1.db"},
      {"192.0.2.7", "ext.ns.svc.cluster.local ext.ns.svc ext.ns ext"},
      {"127.64.1.1", "near.ns.svc.cluster.local near.ns.svc near.ns near"},
  };
  EXPECT_EQ(lines, expected);
  EXPECT_EQ(hosts_lines(map, "other", {})[0].second, "api.ns.svc.cluster.local api.ns.svc api.ns");
}

}  // namespace
}  // namespace mr::services
