#include "pipelines/store.h"

#include <gtest/gtest.h>

#include "await.h"
#include "pipelines/list_query.h"
#include "sql/sql.h"
#include "temp_dir.h"

namespace mr::pipelines {
namespace {

class PipelineStoreTest : public ::testing::Test {
 protected:
  mr::testing::TempDir folder;
  std::string path = folder.file("pipelines.db");
  task::Loops loops{1};
  std::unique_ptr<Store> store = open();

  std::unique_ptr<Store> open() {
    auto s = Store::open(path);
    EXPECT_TRUE(s) << (s ? "" : s.error().message + s.error().detail);
    return std::move(*s);
  }
  void reopen() {
    store.reset();
    store = open();
  }
  template <class T>
  T wait(task::Task<T> t) {
    return mr::testing::await_on(loops, std::move(t));
  }
  Experiment experiment(const std::string& name, const std::string& ns = "kubeflow") {
    Experiment e;
    e.name = name;
    e.ns = ns;
    return wait(store->create_experiment(e)).value();
  }
  pipelines::Run run(const std::string& name, const std::string& experiment_id = "e1", std::int64_t created_ms = 0) {
    pipelines::Run r;
    r.name = name;
    r.ns = "kubeflow";
    r.experiment_id = experiment_id;
    r.created_ms = created_ms;
    r.spec = Object{{"pipelineInfo", Object{{"name", "p"}}}};
    return wait(store->create_run(r)).value();
  }
  std::vector<std::string> names(const ListQuery& q) {
    std::vector<std::string> out;
    auto page = store->runs(q);
    EXPECT_TRUE(page) << page.error().message;
    for (const auto& r : page->items) out.push_back(r.name);
    return out;
  }
  std::int64_t count(const char* statement) {
    auto c = sql::Connection::open_sqlite(path, true);
    std::int64_t n = -1;
    EXPECT_TRUE((*c)->query(statement, "i", {}, [&](const sql::Row& r) { n = r.i64(0); }));
    return n;
  }
};
using Strings = std::vector<std::string>;

TEST_F(PipelineStoreTest, experimentNamesAreUniqueInTheirNamespace) {
  auto e = experiment("a");
  EXPECT_EQ(store->experiment(e.id)->name, "a");
  Experiment again;
  again.name = "a";
  again.ns = "kubeflow";
  auto refused = wait(store->create_experiment(again));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::already_exists);
  EXPECT_EQ(refused.error().message,
            "Failed to create a new experiment. The name a already exists. Please specify a new name");
  experiment("a", "other");
  ListQuery q;
  q.ns = "other";
  EXPECT_EQ(store->experiments(q)->total, 1);
  q.ns.clear();
  EXPECT_EQ(store->experiments(q)->total, 2);
  EXPECT_EQ(store->experiment("none").error().code, Code::not_found);
}

TEST_F(PipelineStoreTest, defaultExperimentIsMadeOncePerNamespace) {
  auto a = wait(store->default_experiment("kubeflow")).value();
  auto b = wait(store->default_experiment("kubeflow")).value();
  auto c = wait(store->default_experiment("team")).value();
  EXPECT_EQ(a.id, b.id);
  EXPECT_NE(a.id, c.id);
  EXPECT_EQ(a.name, "Default");
}

TEST_F(PipelineStoreTest, archivingAnExperimentTakesItsRunsAlong) {
  auto e = experiment("a");
  auto r = run("r", e.id);
  auto other = run("other", "e2");
  RecurringRun j;
  j.name = "j";
  j.ns = "kubeflow";
  j.experiment_id = e.id;
  j.cron = "0 0 * * * *";
  j = wait(store->create_recurring(j)).value();
  ASSERT_TRUE(wait(store->set_experiment_archived(e.id, true)));
  EXPECT_TRUE(store->experiment(e.id)->archived);
  EXPECT_TRUE(store->run(r.id)->archived);
  EXPECT_FALSE(store->run(other.id)->archived);
  EXPECT_FALSE(store->recurring(j.id)->enabled);
  ASSERT_TRUE(wait(store->set_experiment_archived(e.id, false)));
  EXPECT_FALSE(store->experiment(e.id)->archived);
  EXPECT_TRUE(store->run(r.id)->archived);
  EXPECT_GE(store->experiment(e.id)->last_run_ms, r.created_ms);
}

TEST_F(PipelineStoreTest, pipelinesAndVersions) {
  Pipeline p;
  p.name = "train";
  p.ns = "kubeflow";
  p.tags = {{"team", "ml"}};
  Version first;
  first.name = "train";
  first.spec = Object{{"root", Object{}}};
  p = wait(store->create_pipeline(p, first)).value();
  EXPECT_EQ(p.display_name, "train");
  EXPECT_EQ(store->pipeline(p.id)->tags, p.tags);
  EXPECT_EQ(store->pipeline_by_name("kubeflow", "train")->id, p.id);
  EXPECT_EQ(store->pipeline_by_name("kubeflow", "x").error().message, "Namespace/Pipeline kubeflow/x not found");
  auto latest = store->latest_version(p.id).value();
  EXPECT_EQ(latest.spec, first.spec);

  Version second;
  second.pipeline_id = p.id;
  second.name = "v2";
  second.created_ms = latest.created_ms;  // made within the same millisecond: the later row is the later version
  second.spec = first.spec;
  second.tags = {{"stage", "prod"}};
  second = wait(store->create_version(second)).value();
  EXPECT_EQ(store->latest_version(p.id)->id, second.id);
  EXPECT_EQ(count("SELECT COUNT(*) FROM specs"), 1);
  EXPECT_EQ(wait(store->create_version(second)).error().code, Code::already_exists);

  ListQuery q;
  q.pipeline_id = p.id;
  q.all_of = {{Predicate::Op::equals, "tags.stage", {Value("prod")}}};
  auto tagged = store->versions(q).value();
  ASSERT_EQ(tagged.items.size(), 1U);
  EXPECT_EQ(tagged.items[0].id, second.id);
  EXPECT_EQ(tagged.items[0].spec, first.spec);

  second.display_name = "shown";
  second.tags.clear();
  ASSERT_TRUE(wait(store->update_version(second)));
  EXPECT_EQ(store->version(p.id, second.id)->display_name, "shown");
  EXPECT_TRUE(store->version("", second.id)->tags.empty());
  EXPECT_EQ(store->version("other", second.id).error().code, Code::not_found);

  auto kept = wait(store->delete_pipeline(p.id, false));
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().code, Code::invalid_argument);
  EXPECT_NE(kept.error().message.find("Set cascade=true"), std::string::npos);
  ASSERT_TRUE(wait(store->delete_version(p.id, second.id)));
  EXPECT_EQ(count("SELECT COUNT(*) FROM specs"), 1);
  ASSERT_TRUE(wait(store->delete_pipeline(p.id, true)));
  EXPECT_EQ(store->pipeline(p.id).error().code, Code::not_found);
  EXPECT_EQ(count("SELECT COUNT(*) FROM specs"), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM tags"), 0);
}

TEST_F(PipelineStoreTest, aRunComesBackAsItWentIn) {
  pipelines::Run r;
  r.name = "r";
  r.ns = "kubeflow";
  r.experiment_id = "e";
  r.resource_name = "p-abcde";
  r.parameters = {{"x", 1}, {"y", Array{1.5, nullptr, "z"}}};
  r.pipeline_root = "s3://b/k";
  r.spec = Object{{"a", 1}};
  r.plugins_input = {{"mlflow", Object{{"disabled", true}}}};
  r.history = {{1000, State::pending, std::nullopt}};
  auto made = wait(store->create_run(r)).value();
  reopen();
  auto back = store->run(made.id).value();
  EXPECT_EQ(back.parameters, r.parameters);
  EXPECT_EQ(back.spec, r.spec);
  EXPECT_EQ(back.plugins_input, r.plugins_input);
  EXPECT_EQ(back.state, State::pending);
  ASSERT_EQ(back.history.size(), 1U);
  EXPECT_EQ(back.history[0].time_ms, 1000);
  ASSERT_TRUE(wait(store->set_plugins_output(made.id, {{"mlflow", Object{{"state", "PLUGIN_SUCCEEDED"}}}})));
  EXPECT_FALSE(store->run(made.id)->plugins_output.empty());
}

TEST_F(PipelineStoreTest, eventsKeepTheirOrderAndTheRunItsState) {
  auto r = run("r");
  EXPECT_EQ(store->unfinished_runs().value(), Strings{r.id});
  Event a;
  a.kind = Event::Kind::started;
  a.node = "one";
  Event b;
  b.kind = Event::Kind::failed;
  b.node = "one";
  b.error = Error{Code::internal, "it broke", {}, {}};
  ASSERT_TRUE(wait(store->append(r.id, {a}, State::running, 0, std::nullopt, {{1, State::running, std::nullopt}})));
  ASSERT_TRUE(wait(store->append(r.id, {b}, State::failed, 5000, b.error, {{5000, State::failed, b.error}})));
  reopen();
  auto events = store->events(r.id).value();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].kind, Event::Kind::started);
  EXPECT_EQ(events[1].kind, Event::Kind::failed);
  auto back = store->run(r.id).value();
  EXPECT_EQ(back.state, State::failed);
  EXPECT_EQ(back.finished_ms, 5000);
  ASSERT_TRUE(back.error);
  EXPECT_EQ(back.error->message, "it broke");
  ASSERT_TRUE(back.history[0].error);
  EXPECT_TRUE(store->unfinished_runs()->empty());
  EXPECT_EQ(wait(store->append("none", {a}, State::running, 0, std::nullopt, {})).error().code, Code::not_found);
  ASSERT_TRUE(wait(store->delete_run(r.id)));
  EXPECT_TRUE(store->events(r.id)->empty());
  EXPECT_EQ(count("SELECT COUNT(*) FROM specs"), 0);
}

TEST_F(PipelineStoreTest, pagesStayRightUnderInserts) {
  for (int i = 0; i < 5; ++i) run(fmt::format("r{}", i), "e1", 10'000 + (i / 2) * 1000);  // some share their time
  ListQuery q;
  q.ns = "kubeflow";
  q.page_size = 2;
  q.descending = true;
  auto first = store->runs(q).value();
  EXPECT_EQ(first.total, 5);
  ASSERT_EQ(first.items.size(), 2U);
  EXPECT_EQ(first.items[0].name, "r4");
  EXPECT_EQ(first.items[1].name, "r3");
  run("new", "e1", 99'000);
  q.page_token = first.next_token;
  auto second = store->runs(q).value();
  EXPECT_EQ(second.total, 6);
  ASSERT_EQ(second.items.size(), 2U);
  EXPECT_EQ(second.items[0].name, "r2");
  EXPECT_EQ(second.items[1].name, "r1");
  q.page_token = second.next_token;
  auto third = store->runs(q).value();
  ASSERT_EQ(third.items.size(), 1U);
  EXPECT_EQ(third.items[0].name, "r0");
  EXPECT_TRUE(third.next_token.empty());
}

TEST_F(PipelineStoreTest, aTokenBelongsToItsSortAndFilter) {
  for (int i = 0; i < 4; ++i) run(fmt::format("r{}", i));
  ListQuery q;
  q.page_size = 2;
  q.page_token = store->runs(q)->next_token;
  ASSERT_FALSE(q.page_token.empty());
  auto other = q;
  other.sort_key = "display_name";
  EXPECT_EQ(store->runs(other).error().code, Code::invalid_argument);
  other = q;
  other.descending = true;
  EXPECT_EQ(store->runs(other).error().code, Code::invalid_argument);
  other = q;
  other.all_of = {{Predicate::Op::equals, "state", {Value("PENDING")}}};
  EXPECT_EQ(store->runs(other).error().code, Code::invalid_argument);
  for (const char* bad : {"x", "e30=", "W10=", "eyJzIjoiYSJ9"}) {
    other = q;
    other.page_token = bad;
    EXPECT_EQ(store->runs(other).error().message, "Invalid page token") << bad;
  }
  EXPECT_TRUE(store->runs(q));
}

TEST_F(PipelineStoreTest, filtersAndTheirTotals) {
  auto a = run("alpha", "e1", 10'500), b = run("beta", "e1", 11'000), c = run("Gamma", "e2", 12'999);
  ASSERT_TRUE(wait(store->append(b.id, {}, State::failed, 20'000, std::nullopt, {})));
  ASSERT_TRUE(wait(store->set_run_archived(c.id, true)));
  using Op = Predicate::Op;
  auto with = [&](Op op, std::string key, std::vector<Value> values) {
    ListQuery q;
    q.ns = "kubeflow";
    q.all_of = {{op, std::move(key), std::move(values)}};
    auto found = names(q);
    // The total of a longer list is counted another way, and must be the same.
    auto paged = q;
    paged.page_size = 1;
    auto page = store->runs(paged);
    EXPECT_TRUE(page);
    EXPECT_EQ(page->total, static_cast<std::int64_t>(found.size()));
    return found;
  };
  EXPECT_EQ(with(Op::equals, "state", {Value("FAILED")}), Strings{"beta"});
  EXPECT_EQ(with(Op::not_equals, "state", {Value("FAILED")}), (Strings{"alpha", "Gamma"}));
  EXPECT_EQ(with(Op::equals, "storage_state", {Value("ARCHIVED")}), Strings{"Gamma"});
  EXPECT_EQ(with(Op::not_equals, "storage_state", {Value("ARCHIVED")}), (Strings{"alpha", "beta"}));
  EXPECT_EQ(with(Op::in, "display_name", {Value("alpha"), Value("Gamma")}), (Strings{"alpha", "Gamma"}));
  EXPECT_EQ(with(Op::in, "display_name", {}), Strings{});
  EXPECT_EQ(with(Op::substring, "name", {Value("AM")}), Strings{"Gamma"});
  EXPECT_EQ(with(Op::equals, "experiment_id", {Value("e2")}), Strings{"Gamma"});
  EXPECT_EQ(with(Op::greater, "created_at", {Value(11'000)}), Strings{"Gamma"});
  EXPECT_EQ(with(Op::greater_equals, "created_at", {Value(11'000)}), (Strings{"beta", "Gamma"}));
  EXPECT_EQ(with(Op::less, "created_at", {Value(11'000)}), Strings{"alpha"});
  EXPECT_EQ(with(Op::less_equals, "created_at", {Value(12'000)}), (Strings{"alpha", "beta", "Gamma"}));
  EXPECT_EQ(with(Op::equals, "created_at", {Value(10'000)}), Strings{"alpha"});
  EXPECT_EQ(with(Op::not_equals, "created_at", {Value(10'000)}), (Strings{"beta", "Gamma"}));
  EXPECT_EQ(with(Op::equals, "run_id", {Value(a.id)}), Strings{"alpha"});

  ListQuery either;
  either.any_of = {{{Op::equals, "name", {Value("alpha")}}, {Op::equals, "state", {Value("FAILED")}}}};
  EXPECT_EQ(names(either), (Strings{"alpha", "beta"}));
  EXPECT_EQ(wait(store->find_runs(either))->items.size(), 2U);
  either.all_of = {{Op::equals, "storage_state", {Value("ARCHIVED")}}};
  EXPECT_EQ(names(either), Strings{});

  ListQuery bad;
  bad.all_of = {{Op::equals, "id); --", {Value("x")}}};
  EXPECT_EQ(store->runs(bad).error().code, Code::invalid_argument);
  bad.all_of = {{Op::equals, "created_at", {Value("yesterday")}}};
  EXPECT_EQ(store->runs(bad).error().code, Code::invalid_argument);
  bad.all_of.clear();
  bad.sort_key = "nothing";
  EXPECT_EQ(store->runs(bad).error().message, "Invalid sorting field: \"nothing\" on listable type Run");

  ListQuery sorted;
  sorted.sort_key = "display_name";
  EXPECT_EQ(names(sorted), (Strings{"Gamma", "alpha", "beta"}));
}

// Lists of many runs stay quick only while each usual form of them has an index that gives its order too.
TEST_F(PipelineStoreTest, usualListsFollowAnIndex) {
  auto c = sql::Connection::open_sqlite(path, true).value();
  using Op = Predicate::Op;
  const std::vector<std::vector<Predicate>> filters = {
      {},
      {{Op::not_equals, "storage_state", {Value("ARCHIVED")}}},
      {{Op::equals, "storage_state", {Value("ARCHIVED")}}},
      {{Op::equals, "state", {Value("FAILED")}}},
  };
  for (const auto* scope_column : {"ns", "experiment_id"})
    for (const auto* sort : {"created_at", "display_name", "finished_at", "scheduled_at"})
      for (const auto& filter : filters)
        for (const bool later : {false, true}) {
          if (!filter.empty() && std::string_view(sort) != "created_at") continue;
          ListQuery q;
          q.sort_key = sort;
          q.descending = true;
          q.all_of = filter;
          if (later)
            q.page_token = token_text(
                {sort, true, filter_document(q), std::string_view(sort) == "display_name" ? Value("r") : Value(1), 1});
          SqlText scope;
          scope.add(fmt::format("{} = ?", scope_column));
          scope.text("x");
          auto list = list_sql(kRuns, q, "id", scope).value();
          std::string plan;
          ASSERT_TRUE(c->query("EXPLAIN QUERY PLAN " + list.sql, "iiis", list.args(),
                               [&](const sql::Row& r) { plan += r.text(3) + "; "; }));
          EXPECT_NE(plan.find(fmt::format("USING INDEX runs_{}", scope_column[0] == 'n' ? "ns" : "experiment")),
                    std::string::npos)
              << list.sql << "\n"
              << plan;
          EXPECT_EQ(plan.find("TEMP B-TREE"), std::string::npos) << list.sql << "\n" << plan;
        }
  for (const auto* key : {"display_name", "recurring_run_id", "run_id"}) {
    ListQuery q;
    q.all_of = {{Op::equals, key, {Value("x")}}};
    SqlText scope;
    scope.add("ns = ?");
    scope.text("x");
    auto list = list_sql(kRuns, q, "id", scope).value();
    std::string plan;
    ASSERT_TRUE(c->query("EXPLAIN QUERY PLAN " + list.sql, "iiis", list.args(),
                         [&](const sql::Row& r) { plan += r.text(3) + "; "; }));
    EXPECT_EQ(plan.find("created"), std::string::npos) << list.sql << "\n" << plan;
  }
}

TEST_F(PipelineStoreTest, countsFollowEveryChange) {
  auto a = run("a"), b = run("b");
  ListQuery q;
  q.page_size = 1;
  auto total = [&](const char* key, const char* value) {
    q.all_of = {{Predicate::Op::equals, key, {Value(value)}}};
    return store->runs(q)->total;
  };
  EXPECT_EQ(total("state", "PENDING"), 2);
  ASSERT_TRUE(wait(store->append(a.id, {}, State::succeeded, 1, std::nullopt, {})));
  EXPECT_EQ(total("state", "PENDING"), 1);
  EXPECT_EQ(total("state", "SUCCEEDED"), 1);
  ASSERT_TRUE(wait(store->delete_run(a.id)));
  EXPECT_EQ(total("state", "SUCCEEDED"), 0);
  EXPECT_EQ(count("SELECT SUM(amount) FROM run_counts"), 1);
}

TEST_F(PipelineStoreTest, recurringRunsAndTheirTimes) {
  RecurringRun j;
  j.name = "nightly";
  j.ns = "kubeflow";
  j.experiment_id = "e";
  j.interval_s = 60;
  j.start_ms = 5000;
  j.spec = Object{{"s", 1}};
  j.created_ms = 1000;
  j = wait(store->create_recurring(j)).value();
  auto back = store->recurring(j.id).value();
  EXPECT_EQ(back.kind, TriggerKind::periodic);
  EXPECT_EQ(back.spec, j.spec);
  EXPECT_EQ(back.updated_ms, 1000);
  EXPECT_EQ(store->enabled_recurring()->size(), 1U);

  pipelines::Run r;
  r.name = "nightly-1";
  r.ns = "kubeflow";
  r.experiment_id = "e";
  auto made = wait(store->create_scheduled(j.id, r, 65'000, 2)).value();
  EXPECT_EQ(made.recurring_run_id, j.id);
  EXPECT_EQ(store->recurring(j.id)->last_ms, 65'000);
  EXPECT_EQ(store->recurring(j.id)->next_index, 2);
  EXPECT_EQ(wait(store->create_scheduled(j.id, r, 65'000, 2))->id, made.id);  // a time makes one run
  EXPECT_EQ(store->active_runs_of(j.id).value(), 1);
  ASSERT_TRUE(wait(store->append(made.id, {}, State::succeeded, 1, std::nullopt, {})));
  EXPECT_EQ(store->active_runs_of(j.id).value(), 0);

  ASSERT_TRUE(wait(store->set_recurring_enabled(j.id, true, 2000)));
  EXPECT_EQ(store->recurring(j.id)->updated_ms, 1000);  // it was enabled
  ASSERT_TRUE(wait(store->set_recurring_enabled(j.id, false, 3000)));
  EXPECT_EQ(store->recurring(j.id)->updated_ms, 3000);
  EXPECT_TRUE(store->enabled_recurring()->empty());
  ASSERT_TRUE(wait(store->delete_recurring(j.id)));
  EXPECT_EQ(store->recurring(j.id).error().code, Code::not_found);
  EXPECT_TRUE(store->run(made.id));
  EXPECT_EQ(wait(store->create_scheduled(j.id, r, 1, 1)).error().code, Code::not_found);
}

TEST_F(PipelineStoreTest, artifactsHaveOneIdByUriAndType) {
  Artifact a;
  a.name = "data";
  a.uri = "s3://b/data";
  a.type.title = "system.Dataset";
  a.metadata = {{"rows", 3}};
  auto out = wait(store->record_artifacts("kubeflow", "r1", "make", "data", true, {a})).value();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_GT(out[0].id, 0);
  auto in = wait(store->record_artifacts("kubeflow", "r1", "use", "data", false, {a})).value();
  EXPECT_EQ(in[0].id, out[0].id);
  a.type.title = "system.Model";
  EXPECT_NE(wait(store->record_artifacts("kubeflow", "r2", "make", "model", true, {a})).value()[0].id, out[0].id);
  auto record = store->artifact(out[0].id).value();
  EXPECT_EQ(record.artifact.metadata, (Object{{"rows", 3}}));
  EXPECT_EQ(record.ns, "kubeflow");
  EXPECT_EQ(store->artifact(99).error().message, "Artifact 99 not found");
  ListQuery q;
  EXPECT_EQ(store->artifacts(q, "")->total, 2);
  EXPECT_EQ(store->artifacts(q, "r1")->total, 1);
  auto uses = store->artifact_uses(q, "", out[0].id).value();
  ASSERT_EQ(uses.items.size(), 2U);
  EXPECT_TRUE(uses.items[0].output);
  EXPECT_FALSE(uses.items[1].output);
  EXPECT_EQ(uses.items[1].node, "use");
}

TEST_F(PipelineStoreTest, theCacheGivesTheLatestOfAKey) {
  CacheEntry e;
  e.run_id = "r1";
  e.node = "train";
  e.created_ms = 1000;
  e.parameters = {{"Output", 1}};
  e.inputs = {{"x", 1}};
  Artifact a;
  a.name = "model";
  a.uri = "s3://b/m";
  a.type.title = "system.Model";
  a.id = 7;
  e.artifacts["model"] = {a};
  ASSERT_TRUE(wait(store->cache_put("k", "p", "kubeflow", "p/train", e)));
  e.run_id = "r2";
  e.created_ms = 2000;
  ASSERT_TRUE(wait(store->cache_put("k", "p", "kubeflow", "p/train", e)));
  auto hit = store->cache_find("k", "p", "kubeflow").value();
  ASSERT_TRUE(hit);
  EXPECT_EQ(hit->run_id, "r2");
  EXPECT_EQ(hit->parameters, e.parameters);
  ASSERT_EQ(hit->artifacts["model"].size(), 1U);
  EXPECT_EQ(hit->artifacts["model"][0].id, 7);
  EXPECT_FALSE(store->cache_find("k", "other", "kubeflow").value());
  EXPECT_FALSE(store->cache_find("k", "p", "elsewhere").value());
  EXPECT_EQ(store->cache_latest("p/train", "kubeflow").value()->run_id, "r2");
}

TEST_F(PipelineStoreTest, theCacheIsKeptWithinItsBounds) {
  CacheEntry e;
  e.node = "train";
  auto put = [&](std::string key, std::int64_t at) {
    e.run_id = key + std::to_string(at);
    e.created_ms = at;
    ASSERT_TRUE(wait(store->cache_put(key, "p", "kubeflow", "p/" + key, e)));
  };
  auto has = [&](std::string key) { return store->cache_find(key, "p", "kubeflow").value().has_value(); };
  for (int i = 0; i < 5; ++i) put(fmt::format("k{}", i), 1000 + i);
  put("k0", 2000);  // now the newest, and the only one of its key
  ASSERT_TRUE(wait(store->cache_tidy(0, 5)));
  EXPECT_TRUE(has("k0") && has("k1"));
  ASSERT_TRUE(wait(store->cache_tidy(1002, 100)));
  EXPECT_FALSE(has("k1"));
  EXPECT_TRUE(has("k2") && has("k4"));
  ASSERT_TRUE(wait(store->cache_tidy(0, 2)));
  EXPECT_FALSE(has("k2") || has("k3"));
  EXPECT_TRUE(has("k4") && has("k0"));
  EXPECT_EQ(store->cache_find("k0", "p", "kubeflow").value()->run_id, "k02000");
  for (int i = 0; i < 40; ++i) put(fmt::format("m{}", i), 3000 + i);
  ASSERT_TRUE(wait(store->cache_tidy(0, 1)));
  EXPECT_TRUE(has("m39"));
  EXPECT_FALSE(has("m38") || has("m0") || has("k0"));
}

TEST_F(PipelineStoreTest, anotherVersionOfTheTablesIsLeftAlone) {
  store.reset();
  {
    auto c = sql::Connection::open_sqlite(path, false);
    ASSERT_TRUE((*c)->exec("PRAGMA user_version = 99"));
  }
  auto refused = Store::open(path);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::failed_precondition);
}

}  // namespace
}  // namespace mr::pipelines
