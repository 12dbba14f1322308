#include "json/parse.h"
#include "tracking/routes.h"
#include "tracking/search.h"
#include "tracking/service.h"
#include "tracking/store.h"
#include "tracking/validate.h"

namespace mr::tracking {

namespace {
using FT = FieldType;
using http::Method;
constexpr Field kRunTag[] = {{"key"}, {"value"}};
constexpr Field kCreateRun[] = {
    {"experiment_id"}, {"user_id"}, {"start_time", FT::integer}, {"run_name"}, {"tags", FT::messages, false, kRunTag}};
constexpr Field kUpdateRun[] = {
    {"run_id", FT::string, true}, {"end_time", FT::integer}, {"status", FT::enumeration}, {"run_name"}};
constexpr Field kRunId[] = {{"run_id", FT::string, true}};
constexpr Field kSetRunTag[] = {{"run_id", FT::string, true}, {"key", FT::string, true}, {"value"}};
constexpr Field kDeleteRunTag[] = {{"run_id", FT::string, true}, {"key", FT::string, true}};
constexpr Field kSearchRuns[] = {{"experiment_ids", FT::strings}, {"filter"},     {"max_results", FT::integer},
                                 {"order_by", FT::strings},       {"page_token"}, {"run_view_type", FT::enumeration}};
constexpr Field kGroupRuns[] = {{"experiment_ids", FT::strings},
                                {"filter"},
                                {"group_by", FT::string, true},
                                {"metrics", FT::strings},
                                {"order_by"},
                                {"max_results", FT::integer},
                                {"page_token"},
                                {"run_view_type", FT::enumeration}};
constexpr Field kRunDataset[] = {{"name"}, {"digest"}, {"source_type"}, {"source"}, {"schema"}, {"profile"}};
constexpr Field kModelRef[] = {{"model_id"}, {"step", FT::integer}};
constexpr Field kLogModel[] = {{"run_id", FT::string, true}, {"model_json", FT::string, true}};
constexpr Field kOutputs[] = {{"run_id", FT::string, true}, {"models", FT::messages, false, kModelRef}};
constexpr Field kExperimentIds[] = {{"experiment_ids", FT::strings}};

std::string groups_object(const Page<RunGroup>& page, const std::vector<std::string>& metrics) {
  return object([&](json::Writer& w) {
    w.key("groups");
    w.begin_array();
    for (const auto& g : page.items) {
      w.begin_object();
      if (g.value) w.field("value", *g.value);
      w.field("count", g.count);
      if (g.last_start) w.field("last_start_time", *g.last_start);
      w.key("metrics");
      w.begin_array();
      for (std::size_t i = 0; i < metrics.size(); ++i) {
        w.begin_object();
        w.field("key", metrics[i]);
        w.field("count", g.metrics[i].count);
        if (g.metrics[i].mean) w.field("mean", *g.metrics[i].mean);
        if (g.metrics[i].min) w.field("min", *g.metrics[i].min);
        if (g.metrics[i].max) w.field("max", *g.metrics[i].max);
        w.end_object();
      }
      w.end_array();
      w.end_object();
    }
    w.end_array();
    if (!page.next_token.empty()) w.field("next_page_token", page.next_token);
  });
}

// A status by name or number; what is unknown is left alone, as proto JSON does.
std::optional<std::string> run_status(const std::string& s) {
  static const std::map<std::string, std::string> known{{"RUNNING", "RUNNING"},   {"SCHEDULED", "SCHEDULED"},
                                                        {"FINISHED", "FINISHED"}, {"FAILED", "FAILED"},
                                                        {"KILLED", "KILLED"},     {"1", "RUNNING"},
                                                        {"2", "SCHEDULED"},       {"3", "FINISHED"},
                                                        {"4", "FAILED"},          {"5", "KILLED"}};
  auto it = known.find(s);
  return it == known.end() ? std::nullopt : std::optional(it->second);
}

Result<> check_dataset(const DatasetInput& d) {
  MR_CHECK(check_length(d.dataset.name, "name", 500));
  MR_CHECK(check_length(d.dataset.digest, "digest", 36));
  MR_CHECK(check_length(d.dataset.source, "source", 65535));
  MR_CHECK(check_length(d.dataset.schema, "schema", 1048575));
  MR_CHECK(check_length(d.dataset.profile, "profile", 16777215));
  for (const auto& t : d.tags) {
    MR_CHECK(check_length(t.key, "key", 255));
    MR_CHECK(check_length(t.value, "value", 500));
  }
  return {};
}

// The dataset sub-message is one object, not a list: it is wrapped so that the same description decodes it.
struct InputsMessage {
  std::vector<DatasetInput> datasets;
  std::vector<std::string> models;
};
Result<InputsMessage> read_inputs(std::string_view body) {
  InputsMessage out;
  auto doc = json::parse(body);
  if (!doc) return out;
  const auto* list = json::find(*doc, "datasets");
  if (list != nullptr && list->is_array()) {
    if (list->get_array().size() > 1000) return invalid("At most 1000 datasets can be logged in one request");
    for (const auto& e : list->get_array()) {
      DatasetInput d;
      if (const auto* tags = json::find(e, "tags"); tags != nullptr && tags->is_array())
        for (const auto& tag : tags->get_array())
          d.tags.push_back(
              {std::string(json::string_or_empty(tag, "key")), std::string(json::string_or_empty(tag, "value"))});
      if (const auto* ds = json::find(e, "dataset"); ds != nullptr && ds->is_object()) {
        MR_TRY(Message m, decode_json(json::serialize(*ds), kRunDataset));
        d.dataset = {m.str("name"),   m.str("digest"), m.str("source_type"),
                     m.str("source"), m.str("schema"), m.str("profile")};
      }
      out.datasets.push_back(std::move(d));
    }
  }
  const auto* models = json::find(*doc, "models");
  if (models != nullptr && models->is_array())
    for (const auto& e : models->get_array()) out.models.emplace_back(json::string_or_empty(e, "model_id"));
  return out;
}

// The tag mlflow.log-model.history gains one entry, as old clients log models.
Result<> append_model_history(sql::Connection& c, const std::string& run_id, const std::string& entry) {
  MR_CHECK(store::active_run(c, run_id));
  std::string list = "[";
  MR_CHECK(c.query("SELECT value FROM tags WHERE run_uuid = ? AND key = 'mlflow.log-model.history'", "s", {run_id},
                   [&](const sql::Row& r) {
                     std::string_view old = r.text(0);
                     if (old.size() > 2 && old.starts_with('[') && old.ends_with(']'))
                       list = std::string(old.substr(0, old.size() - 1)) + ", ";
                   }));
  return store::set_tag(c, run_id, {"mlflow.log-model.history", list + entry + "]"});
}

}  // namespace

void add_run_routes(http::Router& router, Tracking& t) {
  add_endpoint(router, Method::post, "runs/create", kCreateRun, [&t](http::Request&, Message m) -> Answer {
    store::NewRun n;
    if (m.str("experiment_id").empty()) co_return bad_request("Missing value for required parameter 'experiment_id'.");
    MR_CO_TRY(n.experiment_id, parse_experiment_id(m.str("experiment_id")));
    n.user_id = m.str("user_id");
    n.run_name = m.str("run_name");
    n.start_time = m.i64("start_time").value_or(0);
    n.tags = read_pairs(m, "tags");
    MR_CO_TRY(auto run, co_await t.db().write([&](sql::Connection& c) { return store::create_run(c, n); }));
    co_return object([&](json::Writer& w) {
      w.key("run");
      write(w, run, false);
    });
  });
  add_endpoint(router, Method::post, "runs/update", kUpdateRun, [&t](http::Request&, Message m) -> Answer {
    store::RunUpdate u{run_status(m.str("status")), m.i64("end_time"), m.str("run_name")};
    MR_CO_TRY(auto info,
              co_await t.db().write([&](sql::Connection& c) { return store::update_run(c, m.str("run_id"), u); }));
    co_return object([&](json::Writer& w) {
      w.key("run_info");
      write(w, info);
    });
  });
  add_endpoint(router, Method::get, "runs/get", kRunId, [&t](http::Request&, Message m) -> Answer {
    MR_CO_TRY(auto run, t.db().read([&](sql::Connection& c) { return store::get_run(c, m.str("run_id")); }));
    co_return object([&](json::Writer& w) {
      w.key("run");
      write(w, run);
    });
  });
  add_endpoint(router, Method::post, "runs/delete", kRunId, [&t](http::Request&, Message m) -> Answer {
    co_return nothing(
        co_await t.db().write([&](sql::Connection& c) { return store::set_run_lifecycle(c, m.str("run_id"), true); }));
  });
  add_endpoint(router, Method::post, "runs/restore", kRunId, [&t](http::Request&, Message m) -> Answer {
    co_return nothing(
        co_await t.db().write([&](sql::Connection& c) { return store::set_run_lifecycle(c, m.str("run_id"), false); }));
  });
  add_endpoint(router, Method::post, "runs/set-tag", kSetRunTag, [&t](http::Request&, Message m) -> Answer {
    KeyValue tag{m.str("key"), m.str("value")};
    MR_CO_CHECK(check_run_tag(tag, ""));
    co_return nothing(
        co_await t.db().write([&](sql::Connection& c) { return store::set_tag(c, m.str("run_id"), tag); }));
  });
  add_endpoint(router, Method::post, "runs/delete-tag", kDeleteRunTag, [&t](http::Request&, Message m) -> Answer {
    co_return nothing(
        co_await t.db().write([&](sql::Connection& c) { return store::delete_tag(c, m.str("run_id"), m.str("key")); }));
  });
  add_endpoint(router, Method::post, "runs/log-parameter", kSetRunTag, [&t](http::Request&, Message m) -> Answer {
    KeyValue p{m.str("key"), m.str("value")};
    MR_CO_CHECK(check_param(p, ""));
    co_return nothing(
        co_await t.db().write([&](sql::Connection& c) { return store::log_param(c, m.str("run_id"), p); }));
  });
  add_endpoint(router, Method::post, "runs/search", kSearchRuns, [&t](http::Request&, Message m) -> Answer {
    MR_CO_CHECK(check_schema_limit(m, 50000));
    MR_CO_TRY(auto max, max_results(m, 1000, 50000));
    MR_CO_TRY(auto sql, run_search(m.str("filter"), m.strings("order_by")));
    MR_CO_TRY(auto offset, parse_page_token(m.str("page_token")));
    MR_CO_TRY(auto ids, experiment_ids(m));
    MR_CO_TRY(auto page, co_await t.db().scan([&](sql::Connection& c) {
      return store::search_runs(c, sql, ids, view_type(m.str("run_view_type")), max, offset);
    }));
    co_return page_object("runs", page);
  });
  // Ours, beside MLflow's: a table of groups over any number of runs, for the dashboard.
  add_endpoint(
      router, Method::post, "runs/group", kGroupRuns,
      [&t](http::Request&, Message m) -> Answer {
        MR_CO_TRY(auto max, max_results(m, 200, 1000));
        auto metrics = m.strings("metrics");
        MR_CO_TRY(auto sql, run_groups(m.str("filter"), m.str("group_by"), metrics, m.str("order_by")));
        MR_CO_TRY(auto offset, parse_page_token(m.str("page_token")));
        MR_CO_TRY(auto ids, experiment_ids(m));
        MR_CO_TRY(auto page, co_await t.db().scan([&](sql::Connection& c) {
          return store::group_runs(c, sql, metrics.size(), ids, view_type(m.str("run_view_type")), max, offset);
        }));
        co_return groups_object(page, metrics);
      },
      "2.0", "millrace");
  // log-inputs and outputs decode from the body again: Message keeps lists of flat objects only.
  static constexpr Field kNested[] = {{"model_id"}};
  static constexpr Field kInputs[] = {{"run_id", FT::string, true},
                                      {"datasets", FT::messages, false, kNested},
                                      {"models", FT::messages, false, kNested}};
  for (auto prefix : {"/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/"}) {
    router.add(Method::post, std::string(prefix) + "runs/log-inputs",
               [&t](http::Request& rq) -> task::Task<http::Response> {
                 auto answer = [&]() -> Answer {
                   MR_CO_TRY(auto body, co_await http::read_all(rq, 256U << 20));
                   MR_CO_TRY(auto m, decode(rq, body, kInputs));
                   MR_CO_TRY(auto in, read_inputs(body));
                   auto run_id = m.str("run_id");
                   MR_CO_CHECK(check_run_id_format(run_id));
                   for (const auto& d : in.datasets) MR_CO_CHECK(check_dataset(d));
                   co_return nothing(co_await t.db().write(
                       [&](sql::Connection& c) { return store::log_inputs(c, run_id, in.datasets, in.models); }));
                 };
                 auto r = co_await answer();
                 co_return r ? http::Response::json(200, std::move(*r)) : error_response(r.error());
               });
  }
  add_endpoint(router, Method::post, "runs/outputs", kOutputs, [&t](http::Request&, Message m) -> Answer {
    if (!m.has("models")) co_return missing_parameter("models");
    std::vector<ModelOutput> models;
    for (const auto& o : m.messages("models")) models.push_back({o.str("model_id"), o.i64("step").value_or(0)});
    co_return nothing(
        co_await t.db().write([&](sql::Connection& c) { return store::log_outputs(c, m.str("run_id"), models); }));
  });
  add_endpoint(router, Method::post, "runs/log-model", kLogModel, [&t](http::Request&, Message m) -> Answer {
    auto text = m.str("model_json");
    auto doc = json::parse(text);
    if (!doc || !doc->is_object())
      co_return invalid(fmt::format("Malformed model info. \n {} \n is not a valid JSON.", text));
    std::string absent;
    for (const char* f : {"artifact_path", "flavors", "run_id", "utc_time_created"})
      if (json::find(*doc, f) == nullptr) absent += (absent.empty() ? "" : ", ") + python_repr(f);
    if (!absent.empty()) co_return invalid(fmt::format("Model json is missing mandatory fields: {{{}}}", absent));
    boost::json::object entry;
    for (const char* f : {"run_id", "artifact_path", "utc_time_created", "model_uuid", "signature", "flavors"}) {
      const auto* v = json::find(*doc, f);
      if (v != nullptr)
        entry[f] = *v;
      else if (std::string_view(f) == "model_uuid")
        entry[f] = nullptr;
    }
    auto line = json::serialize(entry);
    co_return nothing(
        co_await t.db().write([&](sql::Connection& c) { return append_model_history(c, m.str("run_id"), line); }));
  });
  add_endpoint(router, Method::post, "experiments/search-datasets", kExperimentIds,
               [&t](http::Request&, Message m) -> Answer {
                 MR_CO_TRY(auto ids, experiment_ids(m));
                 MR_CO_TRY(auto found, t.db().read([&](sql::Connection& c) { return store::search_datasets(c, ids); }));
                 co_return object([&](json::Writer& w) {
                   if (found.empty()) return;
                   w.key("dataset_summaries");
                   w.begin_array();
                   for (const auto& d : found) {
                     w.begin_object();
                     w.field("experiment_id", std::to_string(d.experiment_id));
                     w.field("name", d.name);
                     w.field("digest", d.digest);
                     if (d.context) w.field("context", *d.context);
                     w.end_object();
                   }
                   w.end_array();
                 });
               });
}

}  // namespace mr::tracking
