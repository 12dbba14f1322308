#include "mesh/route_table.h"

#include "http/message.h"
#include "json/parse.h"
#include "mesh/host.h"
#include "mesh/read.h"

namespace mr::mesh {
namespace {

kube::ObjectPtr object(std::string_view ns, std::string_view name, std::string_view spec,
                       std::string_view created = "2026-01-01T00:00:00Z") {
  auto text = fmt::format(R"({{"metadata":{{"namespace":"{}","name":"{}","creationTimestamp":"{}"}},"spec":{}}})", ns,
                          name, created, spec);
  auto v = json::parse(text);
  EXPECT_TRUE(v.has_value()) << text;
  return std::make_shared<const kube::Object>(v->as_object());
}
kube::ObjectPtr front_door() {
  return object(
      "kubeflow", "kubeflow-gateway",
      R"({"selector":{"istio":"ingressgateway"},"servers":[{"port":{"number":80,"protocol":"HTTP","name":"http"},"hosts":["*"]}]})");
}
// A VirtualService of kubeflow, at the front door for every host, with these routes.
kube::ObjectPtr routes(std::string_view http, std::string_view hosts = R"(["*"])", std::string_view name = "vs",
                       std::string_view created = "2026-01-01T00:00:00Z") {
  return object("kubeflow", name,
                fmt::format(R"({{"gateways":["kubeflow-gateway"],"hosts":{},"http":{}}})", hosts, http), created);
}
std::string route_to(std::string_view name) {
  return fmt::format(R"("route":[{{"destination":{{"host":"{}"}}}}])", name);
}

struct Asked {
  std::string service;  // "-": no route
  std::string path;
  bool host_known = false;
};
using Headers = std::vector<std::pair<std::string_view, std::string_view>>;
Asked ask(const RouteTable& t, std::string_view method, std::string_view target, const Headers& headers = {},
          std::string_view host = "localhost:8080") {
  RequestView v;
  v.method = method;
  v.authority = host;
  auto q = target.find('?');
  v.path = target.substr(0, q);
  if (q != std::string_view::npos) v.query = target.substr(q + 1);
  v.headers = headers;
  auto m = t.match(v);
  if (m.route == nullptr) return {"-", "", m.host_known};
  const auto* w = choose(*m.route, 0);
  return {w != nullptr ? w->to.service : "?", rewritten_path(*m.route, m.by, v.path), m.host_known};
}
std::shared_ptr<const RouteTable> table(std::vector<kube::ObjectPtr> services) {
  auto c = compile({std::move(services), {}, {front_door()}});
  for (const auto& n : c.notices) ADD_FAILURE() << n.name << ": " << n.message;
  return c.table;
}

TEST(RouteTable, TheTrackingRuleOfTheReferenceInstallation) {
  auto t = table({routes(R"([{"match":[{"uri":{"prefix":"/mlflow/"}}],"rewrite":{"uri":"/"},
    "route":[{"destination":{"host":"mlflow.kubeflow.svc.cluster.local","port":{"number":5000}}}]}])")});
  auto a = ask(*t, "GET", "/mlflow/ajax-api/2.0/mlflow/experiments/search?max_results=3");
  EXPECT_EQ(a.service, "mlflow");
  EXPECT_EQ(a.path, "/ajax-api/2.0/mlflow/experiments/search");
  EXPECT_EQ(ask(*t, "GET", "/mlflow/").path, "/");
  EXPECT_EQ(ask(*t, "GET", "/mlflow").service, "-");
  EXPECT_EQ(ask(*t, "GET", "/v2").service, "-");
  EXPECT_FALSE(ask(*t, "GET", "/v2").host_known);
}

struct MatchCase {
  const char* match;  // of one condition
  const char* method;
  const char* target;
  Headers headers;
  bool met;
};

TEST(RouteTable, Conditions) {
  const std::vector<MatchCase> cases = {
      {R"({})", "GET", "/any", {}, true},
      {R"({"uri":{"exact":"/a"}})", "GET", "/a", {}, true},
      {R"({"uri":{"exact":"/a"}})", "GET", "/a?x=1", {}, true},
      {R"({"uri":{"exact":"/a"}})", "GET", "/a/", {}, false},
      {R"({"uri":{"exact":"/a"}})", "GET", "/A", {}, false},
      {R"({"uri":{"exact":"/a"},"ignoreUriCase":true})", "GET", "/A", {}, true},
      {R"({"uri":{"prefix":"/a"}})", "GET", "/ab", {}, true},
      {R"({"uri":{"prefix":"/a/"},"ignoreUriCase":true})", "GET", "/A/b", {}, true},
      {R"({"uri":{"regex":"/v[12]/models/.*"}})", "GET", "/v2/models/x", {}, true},
      {R"({"uri":{"regex":"/v[12]"}})", "GET", "/v2/models/x", {}, false},
      {R"({"uri":{"regex":"/a"},"ignoreUriCase":true})", "GET", "/A", {}, false},
      {R"({"method":{"exact":"POST"}})", "POST", "/", {}, true},
      {R"({"method":{"exact":"POST"}})", "GET", "/", {}, false},
      {R"({"method":{"regex":"GET|HEAD"}})", "HEAD", "/", {}, true},
      {R"({"authority":{"prefix":"localhost"}})", "GET", "/", {}, true},
      {R"({"authority":{"exact":"localhost"}})", "GET", "/", {}, false},
      {R"({"scheme":{"exact":"https"}})", "GET", "/", {}, false},
      {R"({"headers":{"end-user":{"exact":"jason"}}})", "GET", "/", {{"End-User", "jason"}}, true},
      {R"({"headers":{"end-user":{"exact":"jason"}}})", "GET", "/", {{"End-User", "jaso"}}, false},
      {R"({"headers":{"end-user":{"exact":"jason"}}})", "GET", "/", {}, false},
      {R"({"headers":{"x":{}}})", "GET", "/", {{"x", ""}}, true},
      {R"({"headers":{"x":{}}})", "GET", "/", {{"y", ""}}, false},
      {R"({"headers":{"x":{"exact":"1,2"}}})", "GET", "/", {{"x", "1"}, {"X", "2"}}, true},
      {R"({"headers":{"cookie":{"regex":"^(.*?;)?(user=a)(;.*)?$"}}})", "GET", "/", {{"Cookie", "k=v;user=a"}}, true},
      {R"({"withoutHeaders":{"x":{}}})", "GET", "/", {{"x", "1"}}, false},
      {R"({"withoutHeaders":{"x":{"exact":"2"}}})", "GET", "/", {{"x", "1"}}, true},
      {R"({"withoutHeaders":{"x":{"exact":"2"}}})", "GET", "/", {}, true},
      {R"({"queryParams":{"k":{"exact":"true"}}})", "GET", "/?k=true", {}, true},
      {R"({"queryParams":{"k":{"exact":"true"}}})", "GET", "/?k=truer", {}, false},
      {R"({"queryParams":{"k":{"exact":""}}})", "GET", "/?k", {}, true},
      {R"({"queryParams":{"k":{"regex":"\\d+"}}})", "GET", "/?a=b&k=17", {}, true},
      {R"({"queryParams":{"k":{"prefix":"1"}}})", "GET", "/?k=17", {}, true},
      {R"({"queryParams":{"k":{}}})", "GET", "/?j=17", {}, false},
      {R"({"uri":{"prefix":"/a"},"method":{"exact":"PUT"}})", "GET", "/a", {}, false},
      {R"({"port":80})", "GET", "/", {}, true},
      {R"({"port":8443})", "GET", "/", {}, false},
      {R"({"gateways":["mesh"]})", "GET", "/", {}, false},
      {R"({"gateways":["mesh","kubeflow/kubeflow-gateway"]})", "GET", "/", {}, true},
      {R"({"sourceLabels":{"app":"reviews"}})", "GET", "/", {}, false},
      {R"({"sourceNamespace":"prod"})", "GET", "/", {}, false},
  };
  for (const auto& c : cases) {
    auto t = table({routes(fmt::format(R"([{{"match":[{}],{}}}])", c.match, route_to("hit")))});
    EXPECT_EQ(ask(*t, c.method, c.target, c.headers).service == "hit", c.met) << c.match << " " << c.target;
  }
}

TEST(RouteTable, ConditionsOfOneRouteAreAlternatives) {
  auto t = table({routes(
      fmt::format(R"([{{"match":[{{"uri":{{"exact":"/a"}}}},{{"uri":{{"exact":"/b"}}}}],{}}}])", route_to("x")))});
  EXPECT_EQ(ask(*t, "GET", "/a").service, "x");
  EXPECT_EQ(ask(*t, "GET", "/b").service, "x");
  EXPECT_EQ(ask(*t, "GET", "/c").service, "-");
}

TEST(RouteTable, InOneObjectTheFirstRouteWinsEvenWhenALaterOneIsCloser) {
  auto t = table({routes(fmt::format(
      R"([{{"match":[{{"uri":{{"prefix":"/a"}}}}],{}}},{{"match":[{{"uri":{{"exact":"/a/b"}}}}],{}}},{{{}}}])",
      route_to("wide"), route_to("close"), route_to("rest")))});
  EXPECT_EQ(ask(*t, "GET", "/a/b").service, "wide");
  EXPECT_EQ(ask(*t, "GET", "/z").service, "rest");
}

TEST(RouteTable, BetweenObjectsTheCloserRuleWinsThenTheOlder) {
  auto rule = [](std::string_view match, std::string_view to, std::string_view created) {
    return routes(fmt::format(R"([{{"match":[{{"uri":{}}}],{}}}])", match, route_to(to)), R"(["*"])", to, created);
  };
  std::vector<kube::ObjectPtr> all = {
      routes(fmt::format("[{{{}}}]", route_to("catch-all")), R"(["*"])", "catch-all", "2020-01-01T00:00:00Z"),
      rule(R"({"prefix":"/a/"})", "short", "2021-01-01T00:00:00Z"),
      rule(R"({"prefix":"/a/b/"})", "long", "2022-01-01T00:00:00Z"),
      rule(R"({"regex":"/a/b/c.*"})", "regex", "2023-01-01T00:00:00Z"),
      rule(R"({"exact":"/a/b/c"})", "exact", "2024-01-01T00:00:00Z"),
      rule(R"({"prefix":"/a/b/"})", "late", "2025-01-01T00:00:00Z"),
  };
  for (int turn = 0; turn < 6; ++turn) {
    auto t = table(all);
    EXPECT_EQ(ask(*t, "GET", "/a/b/c").service, "exact");
    EXPECT_EQ(ask(*t, "GET", "/a/b/cd").service, "regex");
    EXPECT_EQ(ask(*t, "GET", "/a/b/d").service, "long");
    EXPECT_EQ(ask(*t, "GET", "/a/d").service, "short");
    EXPECT_EQ(ask(*t, "GET", "/").service, "catch-all");
    std::ranges::rotate(all, all.begin() + 1);
  }
}

TEST(RouteTable, TheClosestHostAloneAnswers) {
  auto t = table({
      routes(fmt::format("[{{{}}}]", route_to("any")), R"(["*"])", "any"),
      routes(fmt::format("[{{{}}}]", route_to("wild")), R"(["*.example.com"])", "wild"),
      routes(fmt::format("[{{{}}}]", route_to("deep")), R"(["*.b.example.com"])", "deep"),
      routes(fmt::format(R"([{{"match":[{{"uri":{{"prefix":"/v2/"}}}}],{}}}])", route_to("one")),
             R"(["one.example.com"])", "one"),
  });
  EXPECT_EQ(ask(*t, "GET", "/v2/x", {}, "one.example.com").service, "one");
  EXPECT_EQ(ask(*t, "GET", "/v2/x", {}, "ONE.example.com:8080").service, "one");
  EXPECT_EQ(ask(*t, "GET", "/", {}, "one.example.com").service, "-");
  EXPECT_TRUE(ask(*t, "GET", "/", {}, "one.example.com").host_known);
  EXPECT_EQ(ask(*t, "GET", "/", {}, "two.example.com").service, "wild");
  EXPECT_EQ(ask(*t, "GET", "/", {}, "a.b.example.com").service, "deep");
  EXPECT_EQ(ask(*t, "GET", "/", {}, "b.example.com").service, "wild");
  EXPECT_EQ(ask(*t, "GET", "/", {}, "example.com").service, "any");
  EXPECT_EQ(ask(*t, "GET", "/", {}, "").service, "any");
}

struct RewriteCase {
  const char* rule;
  const char* path;
  const char* out;
};
TEST(RouteTable, Rewrites) {
  const RewriteCase cases[] = {
      {R"("match":[{"uri":{"prefix":"/a/"}}],"rewrite":{"uri":"/"})", "/a/x/y", "/x/y"},
      {R"("match":[{"uri":{"prefix":"/a"}}],"rewrite":{"uri":"/"})", "/a/x", "/x"},
      {R"("match":[{"uri":{"prefix":"/a"}}],"rewrite":{"uri":"/"})", "/a", "/"},
      {R"("match":[{"uri":{"prefix":"/a"}}],"rewrite":{"uri":"/b"})", "/ac", "/bc"},
      {R"("match":[{"uri":{"exact":"/a"}}],"rewrite":{"uri":"/b/c"})", "/a", "/b/c"},
      {R"("match":[{"uri":{"regex":"/a.*"}}],"rewrite":{"uri":"/b"})", "/axyz", "/b"},
      {R"("rewrite":{"uri":"/all"})", "/x", "/all"},
      {R"("rewrite":{"authority":"other"})", "/x", "/x"},
      {R"("rewrite":{"uriRegexRewrite":{"match":"^/service/([^/]+)(/.*)$","rewrite":"\\2/instance/\\1"}})",
       "/service/foo/v1/api", "/v1/api/instance/foo"},
  };
  for (const auto& c : cases) {
    auto t = table({routes(fmt::format("[{{{},{}}}]", c.rule, route_to("x")))});
    EXPECT_EQ(ask(*t, "GET", c.path).path, c.out) << c.rule;
  }
}

TEST(RouteTable, Redirects) {
  auto where = [](std::string_view redirect, std::string_view target) {
    auto t = table({routes(fmt::format(R"([{{"redirect":{}}}])", redirect))});
    RequestView v;
    v.authority = "h.example:8080";
    auto q = target.find('?');
    v.path = target.substr(0, q);
    if (q != std::string_view::npos) v.query = target.substr(q + 1);
    auto m = t->match(v);
    return fmt::format("{} {}", m.route->redirect->code, redirect_location(*m.route->redirect, m.by, v));
  };
  EXPECT_EQ(where(R"({"uri":"/new"})", "/old?a=1"), "301 http://h.example:8080/new?a=1");
  EXPECT_EQ(where(R"({"authority":"x.y","redirectCode":308})", "/p"), "308 http://x.y/p");
  EXPECT_EQ(where(R"({"scheme":"https","port":443,"redirectCode":302})", "/p"), "302 https://h.example/p");
  EXPECT_EQ(where(R"({"scheme":"https","port":8443})", "/p"), "301 https://h.example:8443/p");
}

TEST(RouteTable, EveryActionAndSettingIsRead) {
  auto t = table(
      {routes(R"([{"name":"r","timeout":"1.5s","retries":{"attempts":3,"perTryTimeout":"250ms","retryOn":"5xx, reset"},
    "fault":{"delay":{"percentage":{"value":50},"fixedDelay":"5s"},"abort":{"percentage":{"value":0.1},"httpStatus":503}},
    "mirrors":[{"destination":{"host":"shadow"},"percentage":{"value":10}}],
    "corsPolicy":{"allowOrigins":[{"exact":"https://a.b"}],"allowMethods":["GET","POST"],"maxAge":"24h","allowCredentials":true},
    "headers":{"request":{"set":{"a":"1"},"add":{"b":"2"},"remove":["c"]},"response":{"add":{"d":"4"}}},
    "route":[{"destination":{"host":"a","subset":"v1","port":{"number":80}},"weight":25,"headers":{"response":{"set":{"e":"5"}}}},
             {"destination":{"host":"b.other"},"weight":75}]}])")});
  RequestView v;
  v.path = "/";
  auto m = t->match(v);
  ASSERT_NE(m.route, nullptr);
  const auto& r = *m.route;
  EXPECT_EQ(r.timeout_ms, 1500);
  EXPECT_EQ(r.retries->attempts, 3);
  EXPECT_EQ(r.retries->per_try_ms, 250);
  EXPECT_EQ(r.retries->on, (std::vector<std::string>{"5xx", "reset"}));
  EXPECT_EQ(r.fault->delay_ms, 5000);
  EXPECT_DOUBLE_EQ(r.fault->abort_percent, 0.1);
  EXPECT_EQ(r.mirrors.at(0).to.ns, "kubeflow");
  EXPECT_EQ(r.mirrors.at(0).to.service, "shadow");
  EXPECT_EQ(r.cors->methods, "GET,POST");
  EXPECT_EQ(r.cors->max_age_s, "86400");
  EXPECT_EQ(r.request.remove, std::vector<std::string>{"c"});
  EXPECT_EQ(choose(r, 24)->to.subset, "v1");
  EXPECT_EQ(choose(r, 24)->to.port, 80);
  EXPECT_EQ(choose(r, 25)->to.ns, "other");
  EXPECT_EQ(choose(r, 99)->to.service, "b");
  EXPECT_EQ(choose(r, 100)->to.service, "a");
}

TEST(RouteTable, DelegatesAnswerForTheirRoot) {
  auto root = routes(R"([{"match":[{"uri":{"prefix":"/p/"}}],"delegate":{"name":"d","namespace":"team"}}])");
  auto d = object("team", "d",
                  fmt::format(R"({{"http":[{{"match":[{{"uri":{{"prefix":"/p/q"}}}}],{}}},{{{}}}]}})", route_to("q"),
                              route_to("rest")));
  auto t = table({root, d});
  EXPECT_EQ(ask(*t, "GET", "/p/q/1").service, "q");
  EXPECT_EQ(ask(*t, "GET", "/p/z").service, "rest");
  EXPECT_EQ(ask(*t, "GET", "/z").service, "-");
}

struct BadCase {
  const char* http;
  const char* message;
};
TEST(RouteTable, WhatIsWrongIsLeftOutAndNamed) {
  const BadCase cases[] = {
      {R"([{"match":[{"uri":{"regex":"("}}],"route":[{"destination":{"host":"x"}}]}])",
       "spec.http[0].match[0].uri.regex: "},
      {R"([{"match":[{"uri":{"exact":"/","prefix":"/"}}],"route":[{"destination":{"host":"x"}}]}])",
       "spec.http[0].match[0].uri: only one of"},
      {R"([{"match":[{"uri":"/x"}],"route":[{"destination":{"host":"x"}}]}])",
       "spec.http[0].match[0].uri: must be one of"},
      {R"([{"route":[{"destination":{}}]}])", "spec.http[0].route[0].destination.host: is required"},
      {R"([{"route":[{"destination":{"host":"x","port":{"number":70000}}}]}])",
       "spec.http[0].route[0].destination.port.number: must be from"},
      {R"([{"route":[{"destination":{"host":"x"}},{"destination":{"host":"y"}}]}])",
       "spec.http[0].route: the weights sum to 0"},
      {R"([{"timeout":"soon","route":[{"destination":{"host":"x"}}]}])",
       "spec.http[0].timeout: \"soon\" is no duration"},
      {R"([{}])", "spec.http[0]: one of route"},
      {R"([{"redirect":{"uri":"/"},"route":[{"destination":{"host":"x"}}]}])", "spec.http[0]: only one of"},
      {R"([{"redirect":{"uri":"/","redirectCode":200}}])", "spec.http[0].redirect.redirectCode: must be"},
      {R"([{"rewrite":{"uriRegexRewrite":{"match":"a","rewrite":"\\3"}},"route":[{"destination":{"host":"x"}}]}])",
       "spec.http[0].rewrite.uriRegexRewrite.rewrite: "},
      {R"([{"headers":{"request":{"set":{"a b":"1"}}},"route":[{"destination":{"host":"x"}}]}])",
       "spec.http[0].headers.request: "},
      {R"([{"delegate":{"name":"nobody"}}])", "spec.http[0].delegate: VirtualService kubeflow/nobody does not exist"},
  };
  for (const auto& c : cases) {
    auto good = routes(fmt::format("[{{{}}}]", route_to("good")), R"(["*"])", "good");
    auto out = compile({{routes(c.http, R"(["*"])", "bad"), good}, {}, {front_door()}});
    ASSERT_EQ(out.notices.size(), 1U) << c.http;
    EXPECT_TRUE(out.notices[0].fatal);
    EXPECT_EQ(out.notices[0].name, "bad");
    EXPECT_TRUE(out.notices[0].message.starts_with(c.message)) << out.notices[0].message;
    EXPECT_EQ(ask(*out.table, "GET", "/x").service, "good");
  }
}

TEST(RouteTable, OnlyWhatIsBoundToTheFrontDoorIsServed) {
  auto http = fmt::format("[{{{}}}]", route_to("x"));
  auto mesh = object("kubeflow", "inside", fmt::format(R"({{"hosts":["*"],"http":{}}})", http));
  auto out = compile({{mesh}, {}, {front_door()}});
  EXPECT_EQ(ask(*out.table, "GET", "/").service, "-");
  EXPECT_TRUE(out.notices.empty());

  auto lost = object("kubeflow", "lost", fmt::format(R"({{"hosts":["*"],"gateways":["none"],"http":{}}})", http));
  out = compile({{lost}, {}, {front_door()}});
  ASSERT_EQ(out.notices.size(), 1U);
  EXPECT_FALSE(out.notices[0].fatal);
  EXPECT_EQ(out.notices[0].message, "spec.gateways: Gateway kubeflow/none does not exist");

  auto narrow = object(
      "team", "door",
      R"({"selector":{"istio":"ingressgateway"},"servers":[{"port":{"number":80,"protocol":"HTTP"},"hosts":["./*.team.io"]}]})");
  auto rule = object("team", "rule", fmt::format(R"({{"hosts":["*"],"gateways":["door"],"http":{}}})", http));
  auto foreign =
      object("else", "rule", fmt::format(R"({{"hosts":["a.team.io"],"gateways":["team/door"],"http":{}}})", http));
  out = compile({{rule, foreign}, {}, {narrow}});
  EXPECT_EQ(ask(*out.table, "GET", "/", {}, "a.team.io").service, "x");
  EXPECT_EQ(ask(*out.table, "GET", "/", {}, "other.io").service, "-");
  ASSERT_EQ(out.notices.size(), 1U);
  EXPECT_EQ(out.notices[0].ns, "else");
}

TEST(RouteTable, SubsetsComeFromTheRuleBesideTheService) {
  auto far = object("client", "far",
                    R"({"host":"reviews.prod.svc.cluster.local","trafficPolicy":{"loadBalancer":{"simple":"RANDOM"}}})",
                    "2020-01-01T00:00:00Z");
  auto near = object(
      "prod", "near",
      R"({"host":"reviews","trafficPolicy":{"loadBalancer":{"simple":"ROUND_ROBIN"},"connectionPool":{"tcp":{"maxConnections":7,"connectTimeout":"30ms"}}},
     "subsets":[{"name":"v1","labels":{"version":"v1"}},{"name":"v2","labels":{"version":"v2"},"trafficPolicy":{"loadBalancer":{"simple":"RANDOM"}}}]})");
  auto out = compile({{}, {far, near}, {}});
  const auto* p = out.table->policy("prod", "reviews");
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(p->policy.balance, Balance::round_robin);
  EXPECT_EQ(p->policy.max_connections, 7U);
  EXPECT_EQ(p->policy.connect_timeout_ms, 30);
  EXPECT_EQ(p->subsets.at("v1").policy.balance, Balance::round_robin);
  EXPECT_EQ(p->subsets.at("v2").policy.balance, Balance::random);
  EXPECT_EQ(p->subsets.at("v2").labels, (Pairs{{"version", "v2"}}));
  EXPECT_EQ(out.table->policy("prod", "other"), nullptr);
  EXPECT_EQ(out.notices.size(), 1U);
}

TEST(RouteTable, PathsAreReadAsWhatTheyAre) {
  EXPECT_EQ(normal_path("/a/b"), "/a/b");
  EXPECT_EQ(normal_path("/a//b/"), "/a//b/");
  EXPECT_EQ(normal_path("/a/./b"), "/a/b");
  EXPECT_EQ(normal_path("/a/x/../b"), "/a/b");
  EXPECT_EQ(normal_path("/a/b/.."), "/a/");
  EXPECT_EQ(normal_path("/a/%2e%2E/b"), "/b");
  EXPECT_EQ(normal_path("/a\\..\\b"), "/b");
  EXPECT_EQ(normal_path("/.well-known/x"), "/.well-known/x");
  EXPECT_EQ(normal_path("/a..b/...c"), "/a..b/...c");
  EXPECT_EQ(normal_path("/"), "/");
  EXPECT_EQ(normal_path("/.."), std::nullopt);
  EXPECT_EQ(normal_path("/a/../../b"), std::nullopt);
}

TEST(MeshHost, NamesOfServices) {
  EXPECT_EQ(service_of_host("mlflow", "kubeflow"), (ServiceHost{"kubeflow", "mlflow"}));
  EXPECT_EQ(service_of_host("mlflow.other", "kubeflow"), (ServiceHost{"other", "mlflow"}));
  EXPECT_EQ(service_of_host("MLflow.other.svc", "kubeflow"), (ServiceHost{"other", "mlflow"}));
  EXPECT_EQ(service_of_host("mlflow.other.svc.cluster.local", "kubeflow"), (ServiceHost{"other", "mlflow"}));
  for (const char* h : {"", "*", "*.x", "a..b", "www.example.com", "a.b.svc.example.com", "a.b.svc.cluster.local.x"})
    EXPECT_EQ(service_of_host(h, "ns"), std::nullopt) << h;
}

TEST(MeshDuration, Forms) {
  EXPECT_EQ(parse_duration_ms("10s"), 10'000);
  EXPECT_EQ(parse_duration_ms("1.5s"), 1500);
  EXPECT_EQ(parse_duration_ms("1m30s"), 90'000);
  EXPECT_EQ(parse_duration_ms("0.000000001s"), 0);
  EXPECT_EQ(parse_duration_ms("250ms"), 250);
  EXPECT_EQ(parse_duration_ms("2h"), 7'200'000);
  for (const char* s : {"", "s", "5", "-1s", "1 s", "1s ", "1d", "nan s", "99999h"})
    EXPECT_EQ(parse_duration_ms(s), std::nullopt) << s;
}

}  // namespace
}  // namespace mr::mesh
