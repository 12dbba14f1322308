#include <boost/json/array.hpp>

#include "json/parse.h"
#include "tracking/graphql.h"
#include "tracking/routes.h"
#include "tracking/search.h"
#include "tracking/service.h"
#include "tracking/store.h"
#include "tracking/validate.h"

namespace mr::tracking {

namespace js = boost::json;

namespace {

// The documents follow the schema of the real server: camelCase, int64 as texts, absent scalars as their proto default.

js::object typed(const char* name) {
  js::object o;
  o["__typename"] = name;
  return o;
}

js::array pairs(const Tags& tags, const char* type) {
  js::array out;
  for (const auto& t : tags) {
    auto o = typed(type);
    o["key"] = t.key;
    o["value"] = t.value;
    out.push_back(std::move(o));
  }
  return out;
}

js::object document(const Experiment& e) {
  auto o = typed("MlflowExperiment");
  o["artifactLocation"] = e.artifact_location;
  o["creationTime"] = std::to_string(e.creation_time);
  o["effectiveTraceArchivalRetention"] = "";
  o["experimentId"] = std::to_string(e.id);
  o["lastUpdateTime"] = std::to_string(e.last_update_time);
  o["lifecycleStage"] = e.lifecycle_stage;
  o["name"] = e.name;
  o["workspace"] = "default";
  o["tags"] = pairs(e.tags, "MlflowExperimentTag");
  return o;
}

js::object metric(const Metric& m, const char* type, const std::string& run_id) {
  auto o = typed(type);
  o["key"] = m.key;
  o["value"] = m.is_nan ? js::value(nullptr) : js::value(m.value);
  o["timestamp"] = std::to_string(m.timestamp);
  o["step"] = std::to_string(m.step);
  o["datasetName"] = m.dataset_name;
  o["datasetDigest"] = m.dataset_digest;
  o["modelId"] = m.model_id;
  o["runId"] = run_id;
  return o;
}

js::object document(const ModelVersion& v) {
  auto o = typed("MlflowModelVersion");
  o["name"] = v.name;
  o["version"] = std::to_string(v.version);
  o["status"] = v.status;
  o["source"] = v.source.value_or("");
  o["creationTimestamp"] = std::to_string(v.creation_time);
  o["lastUpdatedTimestamp"] = std::to_string(v.last_updated_time);
  o["userId"] = v.user_id.value_or("");
  o["currentStage"] = v.stage;
  o["description"] = v.description.value_or("");
  o["runId"] = v.run_id.value_or("");
  o["statusMessage"] = v.status_message.value_or("");
  o["runLink"] = v.run_link.value_or("");
  js::array aliases;
  for (const auto& a : v.aliases) aliases.push_back(js::value(a));
  o["aliases"] = std::move(aliases);
  o["tags"] = pairs(v.tags, "MlflowModelVersionTag");
  return o;
}

js::object document(const Run& r, const js::value& experiment, const js::value& versions) {
  auto o = typed("MlflowRunExtension");
  auto info = typed("MlflowRunInfo");
  const auto& i = r.info;
  info["runId"] = i.run_id;
  info["runUuid"] = i.run_id;
  info["runName"] = i.run_name;
  info["experimentId"] = std::to_string(i.experiment_id);
  info["userId"] = i.user_id;
  info["status"] = i.status;
  info["startTime"] = std::to_string(i.start_time);
  info["endTime"] = std::to_string(i.end_time.value_or(0));
  info["artifactUri"] = i.artifact_uri;
  info["lifecycleStage"] = i.lifecycle_stage;
  o["info"] = std::move(info);
  auto data = typed("MlflowRunData");
  js::array metrics;
  for (const auto& m : r.metrics) metrics.push_back(metric(m, "MlflowMetricExtension", i.run_id));
  data["metrics"] = std::move(metrics);
  data["params"] = pairs(r.params, "MlflowParam");
  data["tags"] = pairs(r.tags, "MlflowRunTag");
  o["data"] = std::move(data);
  auto inputs = typed("MlflowRunInputs");
  js::array datasets;
  for (const auto& d : r.dataset_inputs) {
    auto in = typed("MlflowDatasetInput");
    auto ds = typed("MlflowDataset");
    ds["name"] = d.dataset.name;
    ds["digest"] = d.dataset.digest;
    ds["sourceType"] = d.dataset.source_type;
    ds["source"] = d.dataset.source;
    ds["schema"] = d.dataset.schema;
    ds["profile"] = d.dataset.profile;
    in["dataset"] = std::move(ds);
    in["tags"] = pairs(d.tags, "MlflowInputTag");
    datasets.push_back(std::move(in));
  }
  inputs["datasetInputs"] = std::move(datasets);
  js::array model_inputs;
  for (const auto& m : r.model_inputs) {
    auto in = typed("MlflowModelInput");
    in["modelId"] = m;
    model_inputs.push_back(std::move(in));
  }
  inputs["modelInputs"] = std::move(model_inputs);
  o["inputs"] = std::move(inputs);
  auto outputs = typed("MlflowRunOutputs");
  js::array model_outputs;
  for (const auto& m : r.model_outputs) {
    auto out = typed("MlflowModelOutput");
    out["modelId"] = m.model_id;
    out["step"] = std::to_string(m.step);
    model_outputs.push_back(std::move(out));
  }
  outputs["modelOutputs"] = std::move(model_outputs);
  o["outputs"] = std::move(outputs);
  o["experiment"] = experiment;
  o["modelVersions"] = versions;
  return o;
}

// The one argument of a root field, whatever its name.
const js::value* input(const js::object& arguments) {
  return arguments.empty() ? nullptr : &arguments.begin()->value();
}

std::string text_of(const js::value* in, std::string_view key) {
  return in == nullptr ? std::string() : std::string(json::string_or_empty(*in, key));
}

Result<js::value> get_experiment(sql::Connection& c, const js::value* in) {
  MR_TRY(auto id, parse_experiment_id(text_of(in, "experimentId")));
  MR_TRY(auto e, store::get_experiment(c, id));
  auto o = typed("MlflowGetExperimentResponse");
  o["apiError"] = nullptr;
  o["experiment"] = document(e);
  return js::value(std::move(o));
}

Result<js::value> versions_of_run(sql::Connection& c, const std::string& run_id) {
  sql::Arg args[] = {run_id};
  MR_TRY(auto found,
         store::load_versions(c, "v.run_id = ? ORDER BY v.last_updated_time DESC, v.name, v.version DESC", args));
  js::array out;
  for (const auto& v : found) out.push_back(document(v));
  return js::value(std::move(out));
}

Result<js::value> get_run(sql::Connection& c, const js::value* in) {
  auto id = text_of(in, "runId");
  if (id.empty()) id = text_of(in, "runUuid");
  MR_TRY(auto run, store::get_run(c, id));
  MR_TRY(auto e, store::get_experiment(c, run.info.experiment_id));
  MR_TRY(auto versions, versions_of_run(c, id));
  auto o = typed("MlflowGetRunResponse");
  o["apiError"] = nullptr;
  o["run"] = document(run, js::value(document(e)), versions);
  return js::value(std::move(o));
}

std::vector<std::string> texts(const js::value* in, std::string_view key) {
  std::vector<std::string> out;
  const auto* list = in == nullptr ? nullptr : json::find(*in, key);
  if (list != nullptr && list->is_array())
    for (const auto& e : list->get_array())
      if (e.is_string()) out.emplace_back(e.get_string());
  return out;
}

std::optional<std::int64_t> number(const js::value* in, std::string_view key) {
  const auto* v = in == nullptr ? nullptr : json::find(*in, key);
  if (v != nullptr && v->is_int64()) return v->get_int64();
  if (v != nullptr && v->is_string()) {
    std::int64_t n = 0;
    auto s = v->get_string();
    if (std::from_chars(s.data(), s.data() + s.size(), n).ec == std::errc{}) return n;
  }
  return std::nullopt;
}

Result<js::value> metric_history(sql::Connection& c, const js::value* in) {
  MR_TRY(auto found,
         store::metric_history_interval(c, texts(in, "runIds"), text_of(in, "metricKey"), number(in, "startStep"),
                                        number(in, "endStep"),
                                        std::clamp<std::int64_t>(number(in, "maxResults").value_or(2500), 1, 2500)));
  js::array list;
  for (const auto& b : found) list.push_back(metric(b.metric, "MlflowMetricWithRunId", b.run_id));
  auto o = typed("MlflowGetMetricHistoryBulkIntervalResponse");
  o["apiError"] = nullptr;
  o["metrics"] = std::move(list);
  return js::value(std::move(o));
}

Result<js::value> search_runs(sql::Connection& c, const js::value* in) {
  std::vector<std::int64_t> ids;
  for (const auto& s : texts(in, "experimentIds")) {
    MR_TRY(auto id, parse_experiment_id(s));
    ids.push_back(id);
  }
  MR_TRY(auto sql, run_search(text_of(in, "filter"), texts(in, "orderBy")));
  MR_TRY(auto offset, parse_page_token(text_of(in, "pageToken")));
  MR_TRY(auto page,
         store::search_runs(c, sql, ids, view_type(text_of(in, "runViewType")),
                            std::clamp<std::int64_t>(number(in, "maxResults").value_or(1000), 1, 50000), offset));
  js::array runs;
  std::map<std::int64_t, js::value> experiments;
  for (const auto& r : page.items) {
    auto& e = experiments[r.info.experiment_id];
    if (e.is_null()) {
      MR_TRY(auto found, store::get_experiment(c, r.info.experiment_id));
      e = document(found);
    }
    MR_TRY(auto versions, versions_of_run(c, r.info.run_id));
    runs.push_back(document(r, e, versions));
  }
  auto o = typed("MlflowSearchRunsResponse");
  o["apiError"] = nullptr;
  o["runs"] = std::move(runs);
  o["nextPageToken"] = page.next_token;
  return js::value(std::move(o));
}

}  // namespace

void add_graphql_routes(http::Router& router, Tracking& t) {
  auto handler = [&t](http::Request& rq) -> task::Task<http::Response> {
    auto body = co_await http::read_all(rq, 1 << 20);
    if (!body) co_return error_response(body.error());
    if (rq.headers.get("Content-Type").substr(0, rq.headers.get("Content-Type").find(';')) != "application/json")
      co_return error_response(invalid("Bad Request. Content-Type must be one of ['application/json'].").error());
    auto doc = json::parse(*body);
    auto query = doc ? json::string_or_empty(*doc, "query") : std::string_view{};
    if (query.empty()) co_return error_response(bad_request("The request has no GraphQL query.").error());
    js::object variables;
    if (const auto* v = json::find(*doc, "variables"); v != nullptr && v->is_object()) variables = v->get_object();
    std::string operation(json::string_or_empty(*doc, "operationName"));
    auto answer = co_await t.db().scan([&](sql::Connection& c) {
      return run_graphql(query, variables, operation,
                         [&](std::string_view field, const js::object& arguments) -> Result<js::value> {
                           const auto* in = input(arguments);
                           if (field == "mlflowGetExperiment") return get_experiment(c, in);
                           if (field == "mlflowGetRun") return get_run(c, in);
                           if (field == "mlflowGetMetricHistoryBulkInterval") return metric_history(c, in);
                           if (field == "mlflowSearchRuns") return search_runs(c, in);
                           return fail(Code::invalid_argument,
                                       fmt::format("Cannot query field '{}' on type 'Query'.", field), "FIELD");
                         });
    });
    if (!answer) co_return error_response(answer.error());
    co_return http::Response::json(200, std::move(*answer));
  };
  router.add(http::Method::post, "/graphql", handler);
  router.add(http::Method::get, "/graphql", handler);
}

}  // namespace mr::tracking
