#include "dashboard/dashboard.h"

#include "await.h"
#include "dashboard/inside.h"
#include "json/parse.h"

namespace mr::dashboard {
namespace {

// What a room was asked, and by whom.
struct Room {
  std::vector<std::string> asked;
  std::string user, authorization;
  std::map<std::string, std::string> answers;  // by path
  int status = 200;

  http::Handler handler() {
    return [this](http::Request& rq) -> task::Task<http::Response> {
      asked.push_back(fmt::format("{} {}", rq.method_text, rq.target));
      user = rq.peer != nullptr ? rq.peer->common_name : "";
      authorization = rq.headers.get("Authorization");
      auto it = answers.find(std::string(rq.path));
      co_return http::Response::json(status, it == answers.end() ? "{}" : it->second);
    };
  }
};

struct DashboardTest : ::testing::Test {
  task::Loops loops{1};
  Room kube, tracking, pipelines, objects;
  DashboardDeps deps() {
    DashboardDeps d;
    d.kube = kube.handler();
    d.tracking = tracking.handler();
    d.pipelines = pipelines.handler();
    d.objects = objects.handler();
    d.sign = [](std::string_view method, const std::string& host, const std::string& bucket, const std::string& key,
                std::vector<std::pair<std::string, std::string>> query) {
      return fmt::format("/{}/{}?{}-{}-{}", bucket, key, method, host, query.size());
    };
    d.is_pod = [](const std::string& ip, std::uint16_t) { return ip == "127.96.0.1"; };
    d.version = "1";
    return d;
  }
  std::string_view remote = "127.0.0.1";
  using Pairs = std::vector<std::pair<std::string_view, std::string_view>>;
  http::Response ask(DashboardDeps d, std::string target, http::Method method = http::Method::get,
                     const Pairs& headers = {}) {
    Dashboard dash(std::move(d));
    auto handler = dash.at_front_door(
        [](http::Request&) -> task::Task<http::Response> { co_return http::Response::text(404, "the fallback"); });
    http::Request rq;
    rq.method = method;
    rq.method_text = http::method_name(method);
    rq.target = target;
    auto q = target.find('?');
    rq.path = std::string_view(target).substr(0, q);
    rq.query = q == std::string::npos ? std::string_view() : std::string_view(target).substr(q + 1);
    rq.remote = remote;
    bool host = false;
    for (const auto& [n, v] : headers) {
      rq.headers.add(n, v);
      host = host || n == "Host";
    }
    if (!host) rq.headers.add("Host", "localhost:8080");
    return testing::await_on(loops, handler(rq));
  }
  static std::string text(const http::Response& r) { return std::get<std::string>(r.body); }
};

TEST_F(DashboardTest, PagesAndApisShareTheFrontDoor) {
  for (const char* page : {"/", "/pipelines", "/experiments/1/runs/x", "/models/a%20b"}) {
    auto r = ask(deps(), page, http::Method::get, {{"Accept", "text/html,*/*"}});
    EXPECT_EQ(r.status, 200) << page;
    EXPECT_TRUE(r.headers.get("Content-Type").starts_with("text/html")) << page;
    EXPECT_NE(r.headers.get("Content-Security-Policy").find("script-src 'self';"), std::string_view::npos);
  }
  for (const char* other : {"/v2/models", "/serving/a/b", "/mlflow/", "/pipeline", "/modelsx"})
    EXPECT_EQ(text(ask(deps(), other, http::Method::get, {{"Accept", "text/html"}})), "the fallback") << other;
  // A client of an API that asks for such a path wants no page.
  EXPECT_EQ(text(ask(deps(), "/models/x", http::Method::get, {{"Accept", "application/json"}})), "the fallback");
  EXPECT_EQ(text(ask(deps(), "/models/x", http::Method::post, {{"Accept", "text/html"}})), "the fallback");
  // The host of an InferenceService, or of none.
  EXPECT_EQ(text(ask(deps(), "/", http::Method::get, {{"Host", "churn.ns.example.com"}, {"Accept", "text/html"}})),
            "the fallback");
}

TEST_F(DashboardTest, AForeignPageGetsNothing) {
  const std::string overview = "/dashboard/api/v1/overview";
  EXPECT_EQ(ask(deps(), overview).status, 200);
  EXPECT_EQ(ask(deps(), overview, http::Method::get, {{"Host", "evil.example"}}).status, 403);
  EXPECT_EQ(ask(deps(), overview, http::Method::get, {{"Sec-Fetch-Site", "cross-site"}}).status, 403);
  EXPECT_EQ(ask(deps(), overview, http::Method::get, {{"Sec-Fetch-Site", "same-site"}}).status, 403);
  EXPECT_EQ(ask(deps(), overview, http::Method::get, {{"Origin", "null"}}).status, 403);
  EXPECT_EQ(ask(deps(), overview, http::Method::get, {{"Origin", "http://evil.example"}}).status, 403);
  EXPECT_EQ(ask(deps(), overview, http::Method::get, {{"Origin", "http://localhost:8080"}}).status, 200);
  auto open = deps();
  open.local = false;
  EXPECT_EQ(ask(open, overview).status, 403);
  EXPECT_EQ(ask(open, "/").status, 200);
  auto named = deps();
  named.allowed_hosts = {"box.example"};
  EXPECT_EQ(ask(named, overview, http::Method::get, {{"Host", "box.example:8080"}}).status, 200);
}

TEST_F(DashboardTest, TheKubernetesApiIsAskedInItsOwnName) {
  auto r = ask(deps(), "/dashboard/kube/api/v1/pods?limit=1", http::Method::get,
               {{"Authorization", "Bearer stolen"}, {"Impersonate-User", "admin"}});
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(kube.asked, std::vector<std::string>{"GET /api/v1/pods?limit=1"});
  EXPECT_EQ(kube.user, "millrace:dashboard");
  EXPECT_EQ(kube.authorization, "");
  EXPECT_NE(r.headers.get("Content-Security-Policy").find("sandbox"), std::string_view::npos);
}

TEST_F(DashboardTest, SomeOfTheKubernetesApiIsClosed) {
  using http::Method;
  auto refused = [](Method m, std::string_view path, std::string_view query = "", std::string_view accept = "") {
    return !refused_of_kube(m, path, query, accept).empty();
  };
  constexpr std::string_view table = "application/json;as=Table;v=v1;g=meta.k8s.io";
  EXPECT_FALSE(refused(Method::get, "/api/v1/namespaces/a/pods/b"));
  EXPECT_FALSE(refused(Method::get, "/api/v1/namespaces/a/pods/b/log"));
  EXPECT_FALSE(refused(Method::put, "/api/v1/namespaces/a/configmaps/b"));
  EXPECT_FALSE(refused(Method::get, "/api/v1/namespaces"));
  EXPECT_FALSE(refused(Method::del, "/api/v1/namespaces/a"));
  EXPECT_FALSE(refused(Method::get, "/apis/rbac.authorization.k8s.io/v1/clusterroles"));
  EXPECT_FALSE(refused(Method::get, "/api/v1/secrets", "includeObject=None", table));
  EXPECT_TRUE(refused(Method::get, "/api/v1/secrets", "", table));
  EXPECT_TRUE(refused(Method::get, "/api/v1/secrets", "includeObject=None", "application/json"));
  EXPECT_TRUE(refused(Method::get, "/api/v1/secrets", "includeObject=None",
                      "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"));
  EXPECT_TRUE(refused(Method::get, "/api/v1/secrets", "includeObject=None&watch=true", table));
  EXPECT_TRUE(refused(Method::get, "/api/v1/namespaces/a/secrets/b"));
  EXPECT_TRUE(refused(Method::get, "/api/v1/watch/secrets"));
  EXPECT_TRUE(refused(Method::put, "/api/v1/namespaces/a/secrets/b"));
  EXPECT_TRUE(refused(Method::post, "/api/v1/namespaces/a/serviceaccounts/b/token"));
  EXPECT_TRUE(refused(Method::get, "/api/v1/namespaces/a/pods/b/exec"));
  EXPECT_TRUE(refused(Method::get, "/api/v1/namespaces/a/services/b/proxy/x"));
  EXPECT_TRUE(refused(Method::get, "/api/v1/nodes/a/proxy"));
  EXPECT_TRUE(refused(Method::post, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"));
  EXPECT_TRUE(refused(Method::get, "/metrics"));
  EXPECT_TRUE(refused(Method::get, "/"));
}

TEST_F(DashboardTest, NoEncodingLeadsAroundTheRules) {
  for (const char* path :
       {"/dashboard/kube/api/v1/namespaces/a%2Fsecrets", "/dashboard/kube/api/v1//secrets",
        "/dashboard/kube/api/v1/%73ecrets", "/dashboard/kube/api/v1/secrets/", "/dashboard/kube//api/v1/secrets"}) {
    EXPECT_GE(ask(deps(), path).status, 400) << path;
    EXPECT_TRUE(kube.asked.empty()) << path;
  }
}

TEST_F(DashboardTest, APodGetsNoData) {
  remote = "127.96.0.1";
  EXPECT_EQ(ask(deps(), "/dashboard/kube/api/v1/pods").status, 403);
  EXPECT_EQ(ask(deps(), "/dashboard/api/v1/overview").status, 403);
  EXPECT_TRUE(kube.asked.empty());
}

TEST_F(DashboardTest, ObjectsAreAskedForSigned) {
  ask(deps(), "/dashboard/s3/bucket/a%20b/c?x=1", http::Method::put);
  EXPECT_EQ(objects.asked, std::vector<std::string>{"PUT /bucket/a b/c?PUT-localhost:8080-1"});
}

TEST_F(DashboardTest, TheOverviewJoinsTheRooms) {
  kube.answers["/api/v1/namespaces"] = R"({"items":[{"metadata":{"name":"kubeflow"}}]})";
  kube.answers["/api/v1/namespaces/kubeflow/configmaps/centraldashboard-config"] = json::serialize(
      Object{{"data", Object{{"links", R"x({"menuLinks":[{"type":"item","link":"/mlflow/#","text":"MLflow"},
               {"type":"item","link":"javascript:alert(1)","text":"bad"},{"type":"item","link":"//evil","text":"bad"},
               {"type":"section","text":"x"}]})x"}}}});
  kube.answers["/apis/serving.kserve.io/v1beta1/inferenceservices"] =
      R"({"items":[{"metadata":{"name":"churn","namespace":"a"},"status":{"conditions":[{"type":"Ready","status":"True"}]}},
          {"metadata":{"name":"late"}}]})";
  pipelines.answers["/apis/v2beta1/runs"] = R"({"runs":[{"run_id":"r"}],"total_size":7})";
  tracking.answers["/api/2.0/mlflow/experiments/search"] = R"({"experiments":[{"experiment_id":"1","name":"e"}]})";
  tracking.answers["/api/2.0/mlflow/runs/search"] =
      R"({"runs":[{"info":{"run_id":"x","experiment_id":"1"},"data":{"metrics":[{"key":"loss","value":"NaN"}]}}]})";
  auto doc = json::parse(text(ask(deps(), "/dashboard/api/v1/overview")));
  ASSERT_TRUE(doc.has_value());
  EXPECT_EQ(json::serialize(*at(*doc, "namespaces")), R"(["kubeflow"])");
  EXPECT_EQ(json::serialize(*at(*doc, "menu")), R"([{"text":"MLflow","link":"/mlflow/#"}])");
  EXPECT_EQ(number_of(*doc, "counts.pipeline_runs"), 7);
  EXPECT_EQ(number_of(*doc, "counts.endpoints"), 2);
  EXPECT_EQ(number_of(*doc, "counts.endpoints_ready"), 1);
  EXPECT_EQ(text_of(list_of(*doc, "tracking_runs")[0], "experiment_name"), "e");
  EXPECT_EQ(json::serialize(*at(*doc, "errors")), "{}");
}

TEST_F(DashboardTest, ARoomThatFailsIsNamedAndTheOthersAreShown) {
  tracking.status = 500;
  pipelines.answers["/apis/v2beta1/runs"] = R"({"runs":[],"total_size":3})";
  auto doc = json::parse(text(ask(deps(), "/dashboard/api/v1/overview")));
  ASSERT_TRUE(doc.has_value());
  EXPECT_FALSE(text_of(*doc, "errors.tracking").empty());
  EXPECT_EQ(number_of(*doc, "counts.pipeline_runs"), 3);
}

TEST_F(DashboardTest, SearchQuotesWhatIsLookedFor) {
  tracking.answers["/api/2.0/mlflow/experiments/search"] = R"({"experiments":[{"experiment_id":"1","name":"o'x"}]})";
  auto doc = json::parse(text(ask(deps(), "/dashboard/api/v1/search?q=o%27x")));
  ASSERT_TRUE(doc.has_value());
  ASSERT_EQ(list_of(*doc, "items").size(), 1U);
  EXPECT_EQ(text_of(list_of(*doc, "items")[0], "link"), "/experiments/1");
  // Both kinds of quotes: no filter can say that, and none is sent.
  tracking.asked.clear();
  ask(deps(), "/dashboard/api/v1/search?q=%27%22");
  EXPECT_TRUE(tracking.asked.empty());
}

TEST_F(DashboardTest, SchedulesTellTheirNextTimes) {
  EXPECT_EQ(ask(deps(), "/dashboard/api/v1/schedule?id=a").status, 501);
  auto with = deps();
  with.next_runs = [](const std::string& id, const std::string& cron,
                      std::size_t most) -> Result<std::vector<std::int64_t>> {
    if (id == "gone") return fail(Code::not_found, "no such recurring run");
    if (cron == "torn") return fail(Code::invalid_argument, "a cron text has six fields");
    return std::vector<std::int64_t>(std::min<std::size_t>(most, 2), 7);
  };
  EXPECT_EQ(text(ask(with, "/dashboard/api/v1/schedule?id=a")), R"({"times":[7,7]})");
  EXPECT_EQ(ask(with, "/dashboard/api/v1/schedule?id=gone").status, 404);
  auto torn = ask(with, "/dashboard/api/v1/schedule?cron=torn");
  EXPECT_EQ(torn.status, 400);
  EXPECT_NE(text(torn).find("six fields"), std::string::npos);
}

TEST_F(DashboardTest, TheApiOnlyReads) {
  EXPECT_EQ(ask(deps(), "/dashboard/api/v1/overview", http::Method::post).status, 405);
  EXPECT_EQ(ask(deps(), "/dashboard/api/v1/nothing").status, 404);
  EXPECT_EQ(ask(deps(), "/dashboard/api/v1/live").status, 400);
  EXPECT_EQ(ask(deps(), "/dashboard/api/v1/live?topics=1,2,3,4,5,6,7,8,9").status, 400);
}

}  // namespace
}  // namespace mr::dashboard
