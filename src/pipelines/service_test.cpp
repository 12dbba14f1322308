// The API by its routes, with a stand-in for who carries runs out.
#include "pipelines/service.h"

#include <gtest/gtest.h>

#include <fstream>

#include "await.h"
#include "json/parse.h"
#include "memory_body.h"
#include "temp_dir.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::pipelines {
namespace {

constexpr std::string_view spec_text = R"({
  "pipelineInfo": {"name": "hello"},
  "schemaVersion": "2.1.0",
  "root": {"dag": {"tasks": {"say": {"componentRef": {"name": "comp-say"}, "taskInfo": {"name": "say"},
             "inputs": {"parameters": {"text": {"componentInputParameter": "text"}}}}}},
           "inputDefinitions": {"parameters": {"text": {"parameterType": "STRING"}}}},
  "components": {"comp-say": {"executorLabel": "exec-say",
                              "inputDefinitions": {"parameters": {"text": {"parameterType": "STRING"}}}}},
  "deploymentSpec": {"executors": {"exec-say": {"container": {"image": "python:3.11", "command": ["echo"]}}}}
})";

class FakeRuns : public Runs {
 public:
  std::vector<std::string> started, terminated, retried;
  bool broken = false;
  void start(const std::string& id) override { started.push_back(id); }
  task::Task<Result<>> terminate(std::string id) override {
    terminated.push_back(id);
    co_return Result<>();
  }
  task::Task<Result<>> retry(std::string id) override {
    retried.push_back(id);
    co_return Result<>();
  }
  task::Task<Result<std::vector<NodeView>>> nodes(std::string) override {
    if (broken) co_return fail(Code::data_loss, "an event of the run cannot be read");
    NodeView root;
    root.state = State::running;
    root.created_ms = root.started_ms = 1000;
    root.children = {"say"};
    NodeView say;
    say.path = "say";
    say.key = "say";
    say.display_name = "Say it";
    say.state = State::succeeded;
    say.started_ms = 2000;
    say.finished_ms = 3000;
    say.pod = "hello-abcde-say";
    say.inputs = {{"text", "hi"}};
    Artifact a;
    a.id = 7;
    a.uri = "s3://b/out";
    say.output_artifacts["out"] = {a};
    a.uri = "s3://b/gone";
    say.output_artifacts["gone"] = {a};
    say.cache_note = "hit because nothing changed";
    say.cached_run = "other";
    say.cached_node = "say";
    co_return std::vector<NodeView>{root, say};
  }
  task::Task<Result<http::Response>> log(std::string, std::string node, bool follow) override {
    co_return http::Response::text(200, fmt::format("log of {}{}", node, follow ? ", followed" : ""));
  }
};

struct Reply {
  int status = 0;
  Value body;
  std::string text;
  const Value& operator[](std::string_view key) const {
    static const Value none;
    const auto* v = json::find(body, key);
    return v == nullptr ? none : *v;
  }
  [[nodiscard]] std::string str(std::string_view key) const { return std::string(json::string_or_empty(body, key)); }
};

class PipelineServiceTest : public ::testing::Test {
 protected:
  mr::testing::TempDir folder;
  task::Loops loops{1};
  std::unique_ptr<Store> store = Store::open(folder.file("pipelines.db")).value();
  FakeRuns runs;
  int changes = 0;
  std::string artifact;
  std::int64_t clock_ms = 1'795'606'249'000;
  std::unique_ptr<Service> service = std::make_unique<Service>(*store, runs, options());
  http::Router router = routes();

  ServiceOptions options() {
    ServiceOptions o;
    o.now_ms = [this] { return clock_ms += 1000; };
    o.recurring_changed = [this] { ++changes; };
    o.scratch = folder.file("scratch");
    o.fetch_artifact = [this](std::string uri, std::string path) -> task::Task<Result<void>> {
      if (uri != "s3://b/out") co_return fail(Code::not_found, "there is nothing at " + uri);
      if (artifact.empty())
        std::filesystem::create_directory(path);
      else
        std::ofstream(path) << artifact;
      co_return Result<void>();
    };
    o.fetch_url = [](std::string url) -> task::Task<Result<std::string>> {
      if (url.ends_with("missing.yaml")) co_return fail(Code::invalid_argument, "it answered 404");
      co_return std::string(spec_text);
    };
    return o;
  }
  http::Router routes() {
    http::Router r;
    service->add_routes(r);
    return r;
  }
  Reply ask(http::Method method, std::string path, std::string body = "", std::string content_type = "") {
    std::string query;
    if (const auto q = path.find('?'); q != std::string::npos) {
      query = path.substr(q + 1);
      path.erase(q);
    }
    const auto size = body.size();
    mr::testing::MadeRequest rq(method, path, query, {std::move(body)}, size);
    if (!content_type.empty()) rq.request.headers.add("Content-Type", content_type);
    auto m = router.find(method, rq.path);
    EXPECT_NE(m.handler, nullptr) << path;
    if (m.handler == nullptr) return {};
    rq.request.params = std::move(m.params);
    auto response = mr::testing::await_on(loops, (*m.handler)(rq.request));
    Reply reply;
    reply.status = response.status;
    if (auto* t = std::get_if<std::string>(&response.body)) reply.text = *t;
    if (auto* stream = std::get_if<http::StreamBody>(&response.body))
      for (;;) {
        auto piece = mr::testing::await_on(loops, (*stream)());
        EXPECT_TRUE(piece);
        if (!piece || piece->empty()) break;
        reply.text += *piece;
      }
    if (auto v = json::parse(reply.text)) reply.body = std::move(*v);
    return reply;
  }
  Reply get(std::string path) { return ask(http::Method::get, "/apis/v2beta1" + path); }
  Reply post(std::string path, std::string body = "") {
    return ask(http::Method::post, "/apis/v2beta1" + path, std::move(body));
  }
  Reply del(std::string path) { return ask(http::Method::del, "/apis/v2beta1" + path); }
  Reply upload(std::string path, std::string_view text = spec_text, std::string_view file = "hello.yaml") {
    return ask(http::Method::post, "/apis/v2beta1/pipelines/" + path,
               fmt::format("--B\r\nContent-Disposition: form-data; name=\"uploadfile\"; filename=\"{}\"\r\n\r\n{}\r\n"
                           "--B--\r\n",
                           file, text),
               "multipart/form-data; boundary=B");
  }
  Reply submit(std::string more = "") {
    return post("/runs", fmt::format(R"({{"display_name": "r", "pipeline_spec": {},
        "runtime_config": {{"parameters": {{"text": "hi"}}}}{}}})",
                                     spec_text, more));
  }
};

TEST_F(PipelineServiceTest, healthAndAuth) {
  EXPECT_EQ(get("/healthz").text, R"({"multi_user":false,"pipeline_store":"database"})");
  EXPECT_EQ(get("/auth?namespace=x").text, "{}");
  EXPECT_EQ(ask(http::Method::get, "/apis/v1beta1/healthz")["multi_user"], Value(false));
}

TEST_F(PipelineServiceTest, experiments) {
  auto made = post("/experiments", R"({"display_name": "a", "description": "d"})");
  EXPECT_EQ(made.status, 200);
  EXPECT_EQ(made.str("namespace"), "kubeflow");
  EXPECT_EQ(made.str("storage_state"), "AVAILABLE");
  EXPECT_EQ(made.str("created_at"), "2026-11-25T11:30:50Z");
  const auto id = made.str("experiment_id");
  EXPECT_EQ(get("/experiments/" + id).str("display_name"), "a");

  auto twice = post("/experiments", R"({"display_name": "a"})");
  EXPECT_EQ(twice.status, 409);
  EXPECT_EQ(twice["code"], Value(6));
  EXPECT_EQ(twice.str("message"),
            "Failed to create a experiment: Already exist error: Failed to create a new experiment. The name a already "
            "exists. Please specify a new name");
  EXPECT_EQ(twice.str("error"), twice.str("message"));
  EXPECT_EQ(post("/experiments", "{}").status, 400);
  EXPECT_EQ(post("/experiments", R"({"display_name": "b", "color": 1})").str("message"),
            "proto: (line 1:23): unknown field \"color\"");
  EXPECT_EQ(post("/experiments", fmt::format(R"({{"display_name": "{}"}})", std::string(129, 'x'))).status, 400);
  auto missing = get("/experiments/none");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.str("message"), "Failed to fetch experiment: ResourceNotFoundError: Experiment none not found");
  EXPECT_EQ(json::string_or_empty(missing["details"].at(0), "message"), "Experiment none not found");

  auto list =
      get("/experiments?namespace=&page_size=&filter=" +
          text::percent_encode(R"({"predicates": [{"operation": 1, "key": "display_name", "stringValue": "a"}]})"));
  EXPECT_EQ(list["total_size"], Value(1));
  EXPECT_EQ(get("/experiments?namespace=other").text, "{}");

  EXPECT_EQ(post("/experiments/" + id + ":archive").text, "{}");
  EXPECT_EQ(changes, 1);
  EXPECT_EQ(get("/experiments/" + id).str("storage_state"), "ARCHIVED");
  EXPECT_EQ(post("/experiments/" + id + ":unarchive").text, "{}");
  EXPECT_EQ(del("/experiments/" + id).text, "{}");
  EXPECT_EQ(del("/experiments/" + id).status, 404);
}

TEST_F(PipelineServiceTest, uploads) {
  auto p = upload("upload?name=greet&description=d&tags=%7B%22team%22%3A%22ml%22%7D");
  ASSERT_EQ(p.status, 200) << p.text;
  EXPECT_EQ(p.str("name"), "greet");
  EXPECT_EQ(p.str("display_name"), "greet");
  EXPECT_EQ(json::string_or_empty(p["tags"], "team"), "ml");
  const auto id = p.str("pipeline_id");
  auto versions = get("/pipelines/" + id + "/versions");
  EXPECT_EQ(versions["total_size"], Value(1));
  const auto& first = versions["pipeline_versions"].at(0);
  EXPECT_EQ(json::string_or_empty(first, "name"), "greet");
  EXPECT_EQ(first.at("pipeline_spec"), json::parse(spec_text).value());

  EXPECT_EQ(upload("upload?name=greet").status, 409);
  EXPECT_EQ(upload("upload").str("name"), "hello.yaml");
  auto v = upload("upload_version?name=v2&pipelineid=" + id);
  ASSERT_EQ(v.status, 200) << v.text;
  EXPECT_EQ(upload("upload_version?name=v2&pipelineid=" + id).status, 409);
  EXPECT_EQ(upload("upload_version?name=v3").status, 400);
  EXPECT_EQ(upload("upload_version?name=v3&pipelineid=none").status, 404);

  auto bad = upload("upload?name=bad", "root: [");
  EXPECT_EQ(bad.status, 400);
  EXPECT_FALSE(bad.str("error_message").empty());
  EXPECT_FALSE(bad.str("error_details").empty());
  EXPECT_EQ(upload("upload?name=bad&tags=x").status, 400);
  EXPECT_EQ(upload("upload?name=" + std::string(129, 'x')).status, 400);
  EXPECT_EQ(upload("upload?name=bad", "text", "p.txt").status, 400);

  auto kept = del("/pipelines/" + id);
  EXPECT_EQ(kept.status, 400);
  EXPECT_NE(kept.str("message").find("Set cascade=true"), std::string::npos);
  EXPECT_EQ(del("/pipelines/" + id + "/versions/" + v.str("pipeline_version_id")).text, "{}");
  EXPECT_EQ(del("/pipelines/" + id + "?cascade=true").text, "{}");
  EXPECT_EQ(get("/pipelines/" + id).status, 404);
}

TEST_F(PipelineServiceTest, pipelinesByUrlAndTheirChanges) {
  auto p = post("/pipelines/create", R"({"pipeline": {"display_name": "Greeting"},
      "pipeline_version": {"package_url": {"pipeline_url": "https://example.org/p/hello.yaml"}}})");
  ASSERT_EQ(p.status, 200) << p.text;
  const auto id = p.str("pipeline_id");
  EXPECT_EQ(p.str("name"), "Greeting");
  EXPECT_EQ(get("/pipelines/names/Greeting").str("pipeline_id"), id);
  EXPECT_EQ(get("/pipelines/names/Greeting?namespace=x").status, 404);
  auto v = post("/pipelines/" + id + "/versions",
                R"({"name": "v2", "package_url": {"pipeline_url": "https://example.org/hello.yaml"}})");
  ASSERT_EQ(v.status, 200) << v.text;
  EXPECT_EQ(json::string_or_empty(v["package_url"], "pipeline_url"), "https://example.org/hello.yaml");
  const auto version = "/pipelines/" + id + "/versions/" + v.str("pipeline_version_id");
  EXPECT_EQ(get(version).str("name"), "v2");
  EXPECT_EQ(get("/pipelines/" + id + "/versions/none").str("message"),
            "Failed to get a pipeline version none: ResourceNotFoundError: PipelineVersion none not found");
  EXPECT_EQ(post("/pipelines/" + id + "/versions", R"({"name": "v3"})").status, 400);
  EXPECT_EQ(post("/pipelines/" + id + "/versions",
                 R"({"name": "v3", "package_url": {"pipeline_url": "https://example.org/missing.yaml"}})")
                .status,
            400);
  EXPECT_EQ(post("/pipelines/" + id + "/versions", R"({"name": "v3", "package_url": {"pipeline_url": "file:///etc"}})")
                .status,
            400);
  auto patch = [&](std::string path, std::string body) {
    return ask(http::Method::patch, "/apis/v2beta1" + path, std::move(body));
  };
  EXPECT_EQ(patch("/pipelines/" + id, R"({"tags": {"a": "b"}})").str("display_name"), "Greeting");
  EXPECT_EQ(patch("/pipelines/" + id, R"({"display_name": "Hello"})")["tags"], Value(Object{{"a", "b"}}));
  EXPECT_EQ(patch("/pipelines/" + id, R"({"tags": {}})")["tags"], Value());
  EXPECT_EQ(patch("/pipelines/" + id, R"({"tags": {"a.b": "c"}})").status, 400);
  EXPECT_EQ(patch(version, R"({"display_name": "Two"})").str("display_name"), "Two");
  EXPECT_EQ(get("/pipelines?sort_by=name%20desc")["total_size"], Value(1));
}

TEST_F(PipelineServiceTest, aRunIsCheckedKeptAndStarted) {
  auto made = submit();
  ASSERT_EQ(made.status, 200) << made.text;
  const auto id = made.str("run_id");
  EXPECT_EQ(runs.started, std::vector<std::string>{id});
  EXPECT_EQ(made.str("state"), "PENDING");
  EXPECT_EQ(made.str("finished_at"), "1970-01-01T00:00:00Z");
  EXPECT_EQ(made["runtime_config"].at("parameters"), Value(Object{{"text", "hi"}}));
  EXPECT_EQ(made["state_history"].get_array().size(), 1U);
  auto kept = store->run(id).value();
  EXPECT_TRUE(kept.resource_name.starts_with("hello-"));
  EXPECT_EQ(kept.resource_name.size(), 11U);
  EXPECT_EQ(kept.pipeline_name, "hello");
  EXPECT_EQ(kept.ns, "kubeflow");
  auto experiment = get("/experiments/" + made.str("experiment_id"));
  EXPECT_EQ(experiment.str("display_name"), "Default");
  EXPECT_EQ(experiment.str("last_run_created_at"), made.str("created_at"));
  EXPECT_EQ(del("/experiments/" + made.str("experiment_id")).status, 409);

  EXPECT_EQ(post("/runs", fmt::format(R"({{"display_name": "r", "pipeline_spec": {}}})", spec_text)).status, 400);
  EXPECT_EQ(post("/runs", fmt::format(R"({{"pipeline_spec": {}}})", spec_text)).status, 400);
  EXPECT_EQ(post("/runs", R"({"display_name": "r"})").status, 400);
  EXPECT_EQ(submit(R"(, "experiment_id": "none")").status, 404);
  EXPECT_EQ(submit(R"(, "plugins_output": {})").status, 409);
  EXPECT_EQ(post("/runs", R"({"display_name": "r", "pipeline_version_reference": {"pipeline_id": "x"}})").status, 404);
  EXPECT_EQ(runs.started.size(), 1U);
}

TEST_F(PipelineServiceTest, aRunOfAPipelineTakesItsVersion) {
  const auto p = upload("upload?name=a").str("pipeline_id"), other = upload("upload?name=b").str("pipeline_id");
  const auto v = upload("upload_version?name=v2&pipelineid=" + p).str("pipeline_version_id");
  auto run = [&](std::string source) {
    return post(
        "/runs",
        fmt::format(R"({{"display_name": "r", {}, "runtime_config": {{"parameters": {{"text": "x"}}}}}})", source));
  };
  auto latest = run(fmt::format(R"("pipeline_version_reference": {{"pipeline_id": "{}"}})", p));
  ASSERT_EQ(latest.status, 200) << latest.text;
  EXPECT_EQ(latest["pipeline_version_reference"].at("pipeline_version_id"), Value(v));
  EXPECT_EQ(latest["pipeline_spec"], Value());
  EXPECT_TRUE(store->run(latest.str("run_id"))->spec.is_object());
  EXPECT_EQ(run(fmt::format(R"("pipeline_version_id": "{}")", v)).status, 200);
  EXPECT_EQ(run(fmt::format(R"("pipeline_version_reference": {{"pipeline_id": "{}", "pipeline_version_id": "{}"}})",
                            other, v))
                .status,
            400);
}

TEST_F(PipelineServiceTest, tasksOfARun) {
  const auto id = submit().str("run_id");
  auto run = get("/runs/" + id);
  const auto tasks = run["run_details"].at("task_details").as_array();
  ASSERT_EQ(tasks.size(), 2U);
  EXPECT_EQ(tasks[0].at("display_name"), Value("root"));
  EXPECT_EQ(tasks[0].at("child_tasks").at(0).at("task_id"), tasks[1].at("task_id"));
  EXPECT_EQ(tasks[1].at("parent_task_id"), tasks[0].at("task_id"));
  EXPECT_EQ(tasks[1].at("task_id"), Value(task_id(id, "say")));
  EXPECT_EQ(tasks[1].at("outputs").at("out").at("artifact_ids").at(0), Value("7"));
  EXPECT_EQ(tasks[1].at("pod_name"), Value("hello-abcde-say"));
  EXPECT_FALSE(tasks[1].as_object().contains("more"));
  auto more = get("/runs/" + id + "/tasks");
  EXPECT_EQ(more["total_size"], Value(2));
  EXPECT_EQ(more["tasks"].at(1).at("more").at("cache"), Value("hit because nothing changed"));
  EXPECT_EQ(more["tasks"].at(1).at("more").at("input_parameters"), Value(Object{{"text", "hi"}}));

  runs.broken = true;
  EXPECT_EQ(get("/runs/" + id).status, 200);
  EXPECT_EQ(get("/runs/" + id + "/tasks").status, 500);
  runs.broken = false;

  for (const auto& node : {std::string("say"), task_id(id, "say"), std::string("hello-abcde-say")})
    EXPECT_EQ(ask(http::Method::get, "/apis/v1alpha1/runs/" + id + "/nodes/" + node + "/log").text, "log of say")
        << node;
  EXPECT_EQ(ask(http::Method::get, "/apis/v1alpha1/runs/" + id + "/nodes/say/log?follow=true").text,
            "log of say, followed");
  EXPECT_EQ(ask(http::Method::get, "/apis/v1alpha1/runs/" + id + "/nodes/none/log").status, 404);
}

TEST_F(PipelineServiceTest, whatARunAllowsDependsOnItsState) {
  const auto id = submit().str("run_id");
  const auto run = "/runs/" + id;
  auto state = [&](State s) {
    ASSERT_TRUE(mr::testing::await_on(loops, store->append(id, {}, s, is_final(s) ? 9000 : 0, std::nullopt, {})));
  };
  EXPECT_EQ(post(run + ":retry").status, 400);
  EXPECT_EQ(post(run + ":terminate").text, "{}");
  state(State::failed);
  EXPECT_EQ(post(run + ":terminate").status, 400);
  EXPECT_EQ(post(run + ":retry").text, "{}");
  EXPECT_EQ(runs.terminated, std::vector<std::string>{id});
  EXPECT_EQ(runs.retried, std::vector<std::string>{id});
  EXPECT_EQ(post("/runs/none:terminate").status, 404);

  EXPECT_EQ(post(run + ":archive").text, "{}");
  EXPECT_EQ(get(run).str("storage_state"), "ARCHIVED");
  const auto experiment = "/experiments/" + get(run).str("experiment_id");
  post(experiment + ":archive");
  auto refused = post(run + ":unarchive");
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused["code"], Value(9));
  post(experiment + ":unarchive");
  EXPECT_EQ(post(run + ":unarchive").text, "{}");

  state(State::running);
  EXPECT_EQ(del(run).text, "{}");
  EXPECT_EQ(runs.terminated.size(), 2U);
  EXPECT_EQ(get(run).status, 404);
  EXPECT_EQ(post(run + ":archive").status, 404);
}

TEST_F(PipelineServiceTest, listsOfRuns) {
  for (int i = 0; i < 3; ++i) submit();
  auto first = get("/runs?page_size=2&sort_by=created_at%20desc&namespace=&filter=");
  EXPECT_EQ(first["total_size"], Value(3));
  EXPECT_EQ(first["runs"].get_array().size(), 2U);
  const auto token = text::percent_encode(first.str("next_page_token"));
  auto second = get("/runs?page_size=2&page_token=" + token);
  EXPECT_EQ(second["runs"].get_array().size(), 1U);
  EXPECT_EQ(second.str("next_page_token"), "");
  EXPECT_EQ(get("/runs?sort_by=name&page_token=" + token).status, 400);
  EXPECT_EQ(get("/runs?experiment_id=none").status, 404);
  EXPECT_EQ(get("/runs?namespace=other").text, "{}");
  EXPECT_EQ(get("/runs?filter=" +
                text::percent_encode(
                    R"({"predicates": [{"operation": "EQUALS", "key": "state", "string_value": "FAILED"}]})"))
                .text,
            "{}");
}

TEST_F(PipelineServiceTest, recurringRuns) {
  auto recurring = [&](std::string more, std::string trigger = R"("cron_schedule": {"cron": "0 0 3 * * *"})") {
    return post("/recurringruns",
                fmt::format(R"({{"display_name": "nightly", "pipeline_spec": {}, "trigger": {{{}}}, "mode": "ENABLE",
                    "runtime_config": {{"parameters": {{"text": "x"}}}}{}}})",
                            spec_text, trigger, more));
  };
  auto r = recurring(R"(, "max_concurrency": "3", "no_catchup": true)");
  ASSERT_EQ(r.status, 200) << r.text;
  EXPECT_EQ(changes, 1);
  const auto path = "/recurringruns/" + r.str("recurring_run_id");
  EXPECT_EQ(r.str("max_concurrency"), "3");
  EXPECT_EQ(r.str("status"), "ENABLED");
  EXPECT_EQ(r["trigger"].at("cron_schedule").at("cron"), Value("0 0 3 * * *"));
  EXPECT_EQ(r["no_catchup"], Value(true));
  EXPECT_TRUE(r["pipeline_spec"].is_object());
  EXPECT_EQ(recurring("").str("max_concurrency"), "");
  auto p = recurring("", R"("periodic_schedule": {"interval_second": 60, "start_time": "2026-11-26T00:00:00Z"})");
  EXPECT_EQ(p["trigger"].at("periodic_schedule").at("interval_second"), Value("60"));
  EXPECT_EQ(p["trigger"].at("periodic_schedule").at("start_time"), Value("2026-11-26T00:00:00Z"));

  EXPECT_EQ(recurring("", "").status, 400);
  EXPECT_EQ(recurring("", R"("cron_schedule": {"cron": "never"})").status, 400);
  EXPECT_EQ(recurring("", R"("periodic_schedule": {"interval_second": 0})").status, 400);
  // Any number is kept, as by the original; at most ten run at once.
  EXPECT_EQ(recurring(R"(, "max_concurrency": 11)").str("max_concurrency"), "11");
  EXPECT_EQ(get("/recurringruns")["recurringRuns"].get_array().size(), 4U);

  EXPECT_EQ(post(path + ":disable").text, "{}");
  EXPECT_EQ(get(path).str("mode"), "DISABLE");
  EXPECT_EQ(post(path + ":enable").text, "{}");
  EXPECT_EQ(del(path + "?propagation_policy=FOREGROUND").text, "{}");
  EXPECT_EQ(get(path).status, 404);
  EXPECT_EQ(post(path + ":enable").status, 404);
}

TEST_F(PipelineServiceTest, aScheduledRunMovesItsScheduleOn) {
  const auto p = upload("upload?name=a").str("pipeline_id");
  auto r = post("/recurringruns", fmt::format(R"({{"display_name": "n", "mode": "ENABLE",
      "pipeline_version_reference": {{"pipeline_id": "{}"}}, "trigger": {{"periodic_schedule": {{"interval_second": 60}}}},
      "runtime_config": {{"parameters": {{"text": "x"}}}}}})",
                                              p));
  ASSERT_EQ(r.status, 200) << r.text;
  const auto v = upload("upload_version?name=v2&pipelineid=" + p).str("pipeline_version_id");
  auto schedule = store->recurring(r.str("recurring_run_id")).value();
  EXPECT_TRUE(schedule.version_id.empty());
  pipelines::Run due;
  due.name = "n-1";
  due.experiment_id = schedule.experiment_id;
  due.recurring_run_id = schedule.id;
  due.pipeline_id = p;
  due.parameters = schedule.parameters;
  due.scheduled_ms = 5000;
  auto made = mr::testing::await_on(loops, service->submit(due)).value();
  EXPECT_EQ(made.version_id, v);
  EXPECT_EQ(store->recurring(schedule.id)->last_ms, 5000);
  EXPECT_EQ(store->recurring(schedule.id)->next_index, 2);
  EXPECT_EQ(mr::testing::await_on(loops, service->submit(due))->id, made.id);
  EXPECT_EQ(runs.started.size(), 1U);
}

TEST_F(PipelineServiceTest, theBytesOfAnArtifact) {
  const auto run = submit().str("run_id");
  const auto node = "/runs/" + run + "/nodes/" + task_id(run, "say") + "/artifacts/";
  for (const std::size_t size : {1U, 3U, 196'608U, 500'000U}) {
    artifact.assign(size, 'x');
    auto r = get(node + "out:read");
    EXPECT_EQ(r.status, 200);
    EXPECT_EQ(text::base64_decode(r.str("data")), artifact);
  }
  EXPECT_EQ(get(node + "gone:read").status, 404);
  EXPECT_EQ(get(node + "none:read").status, 404);
  artifact.clear();
  EXPECT_EQ(get(node + "out:read").status, 400);
  EXPECT_TRUE(std::filesystem::is_empty(folder.file("scratch")));
}

TEST_F(PipelineServiceTest, artifacts) {
  const auto run = submit().str("run_id");
  Artifact a;
  a.name = "data";
  a.uri = "s3://b/d";
  a.type.title = "system.Dataset";
  a.metadata = {{"rows", 3}};
  auto kept = mr::testing::await_on(loops, store->record_artifacts("kubeflow", run, "loop/2/say", "out", true, {a}));
  const auto id = std::to_string(kept.value()[0].id);
  auto one = get("/artifacts/" + id);
  EXPECT_EQ(one.str("artifact_id"), id);
  EXPECT_EQ(one.str("type"), "system.Dataset");
  EXPECT_EQ(one["metadata"], Value(Object{{"rows", 3}}));
  EXPECT_EQ(get("/artifacts?run_id=" + run)["total_size"], Value(1));
  EXPECT_EQ(get("/artifacts?run_id=none").status, 404);
  EXPECT_EQ(get("/artifacts/x").status, 404);
  auto tasks = get("/artifact_tasks?artifact_id=" + id);
  EXPECT_EQ(tasks["artifact_tasks"].at(0).at("producer_task_name"), Value("say"));
  EXPECT_EQ(tasks["artifact_tasks"].at(0).at("type"), Value("OUTPUT"));
}

}  // namespace
}  // namespace mr::pipelines
