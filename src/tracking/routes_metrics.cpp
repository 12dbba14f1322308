#include "tracking/routes.h"
#include "tracking/service.h"
#include "tracking/store.h"
#include "tracking/validate.h"

namespace mr::tracking {

namespace {
using FT = FieldType;
using http::Method;
constexpr Field kLogMetric[] = {{"run_id", FT::string, true},
                                {"key", FT::string, true},
                                {"value", FT::real, true},
                                {"timestamp", FT::integer, true},
                                {"step", FT::integer},
                                {"model_id"},
                                {"dataset_name"},
                                {"dataset_digest"}};
constexpr Field kBatchMetric[] = {{"key", FT::string, true},
                                  {"value", FT::real, true},
                                  {"timestamp", FT::integer, true},
                                  {"step", FT::integer},
                                  {"model_id"},
                                  {"dataset_name"},
                                  {"dataset_digest"}};
constexpr Field kBatchParam[] = {{"key", FT::string, true}, {"value"}};
constexpr Field kBatchTag[] = {{"key", FT::string, true}, {"value"}};
constexpr Field kBatch[] = {{"run_id", FT::string, true},
                            {"metrics", FT::messages, false, kBatchMetric},
                            {"params", FT::messages, false, kBatchParam},
                            {"tags", FT::messages, false, kBatchTag}};
constexpr Field kHistory[] = {
    {"run_id", FT::string, true}, {"metric_key", FT::string, true}, {"page_token"}, {"max_results", FT::integer}};
constexpr Field kBulk[] = {{"run_id", FT::strings}, {"metric_key"}, {"max_results", FT::integer}};
constexpr Field kInterval[] = {{"run_ids", FT::strings},
                               {"metric_key", FT::string, true},
                               {"start_step", FT::integer},
                               {"end_step", FT::integer},
                               {"max_results", FT::integer}};

Metric read_metric(const Message& m) {
  Metric out;
  out.key = m.str("key");
  out.timestamp = m.i64("timestamp").value_or(0);
  out.step = m.i64("step").value_or(0);
  out.model_id = m.str("model_id");
  out.dataset_name = m.str("dataset_name");
  out.dataset_digest = m.str("dataset_digest");
  return out;
}

Result<> too_many(std::string_view what, std::size_t limit, std::size_t got) {
  return invalid(
      fmt::format("A batch logging request can contain at most {} {}. Got {} {}. Please split up {} across multiple "
                  "requests and try again.",
                  limit, what, got, what, what));
}

Result<> check_batch_size(std::size_t metrics, std::size_t params, std::size_t tags) {
  if (metrics > 1000) return too_many("metrics", 1000, metrics);
  if (params > 100) return too_many("params", 100, params);
  if (tags > 100) return too_many("tags", 100, tags);
  if (metrics + params + tags > 1000) return too_many("metrics, params, and tags", 1000, metrics + params + tags);
  return {};
}

Result<> check_duplicates(const Params& params) {
  std::set<std::string_view> seen;
  std::string twice;
  for (const auto& p : params)
    if (!seen.insert(p.key).second) twice += (twice.empty() ? "" : ", ") + python_repr(p.key);
  if (twice.empty()) return {};
  return invalid(
      fmt::format("Duplicate parameter keys have been submitted: [{}]. Please ensure the request contains only one "
                  "param value per param key.",
                  twice));
}

// The points go from the database into the answer's text one by one: a history may have a million.
Result<std::string> history_answer(sql::Connection& c, const std::string& run_id, const std::string& key,
                                   std::optional<std::int64_t> max, std::int64_t offset) {
  std::string out;
  json::Writer w(out, 2);
  w.begin_object();
  std::string point = "{\n      \"key\": ";  // laid out as the writer would, what is common to all is made once
  json::append_string(point, key);
  point += ",\n      \"value\": ";
  const auto common = point.size();
  bool any = false;
  auto number = [&point](std::int64_t v) {
    char buf[24];
    point.append(buf, std::to_chars(buf, buf + sizeof buf, v).ptr);
  };
  MR_TRY(auto next, store::metric_history(c, run_id, key, max, offset, [&](const store::Point& p) {
           if (!any) {
             w.key("metrics");
             w.begin_array();
             any = true;
           }
           point.resize(common);
           if (p.is_nan)
             point += "\"NaN\"";
           else
             json::append_double(point, p.value);
           point += ",\n      \"timestamp\": ";
           number(p.timestamp);
           point += ",\n      \"step\": ";
           number(p.step);
           point += "\n    }";
           w.raw(point);
         }));
  if (any) w.end_array();
  if (!next.empty()) w.field("next_page_token", next);
  w.end_object();
  return out;
}

std::string bulk_answer(const std::vector<store::BulkMetric>& found) {
  return object([&](json::Writer& w) {
    if (found.empty()) return;
    w.key("metrics");
    w.begin_array();
    for (const auto& b : found) write_metric(w, b.metric, b.run_id);
    w.end_array();
  });
}

}  // namespace

void add_metric_routes(http::Router& router, Tracking& t) {
  add_endpoint(router, Method::post, "runs/log-metric", kLogMetric, [&t](http::Request&, Message m) -> Answer {
    auto metric = read_metric(m);
    MR_CO_CHECK(check_metric(metric, *m.real("value"), ""));
    auto run_id = m.str("run_id");
    co_return nothing(co_await t.db().write([&](sql::Connection& c) { return store::log_metric(c, run_id, metric); }));
  });
  add_endpoint(router, Method::post, "runs/log-batch", kBatch, [&t](http::Request&, Message m) -> Answer {
    auto run_id = m.str("run_id");
    MR_CO_CHECK(check_run_id_format(run_id));
    std::vector<Metric> metrics;
    Params params;
    Tags tags;
    for (const auto& e : m.messages("metrics")) {
      metrics.push_back(read_metric(e));
      MR_CO_CHECK(check_metric(metrics.back(), *e.real("value"), fmt::format("metrics[{}]", metrics.size() - 1)));
    }
    for (const auto& e : m.messages("params")) {
      params.push_back({e.str("key"), e.str("value")});
      MR_CO_CHECK(check_param(params.back(), fmt::format("params[{}]", params.size() - 1)));
    }
    for (const auto& e : m.messages("tags")) {
      tags.push_back({e.str("key"), e.str("value")});
      MR_CO_CHECK(check_run_tag(tags.back(), fmt::format("tags[{}]", tags.size() - 1)));
    }
    MR_CO_CHECK(check_batch_size(metrics.size(), params.size(), tags.size()));
    MR_CO_CHECK(check_duplicates(params));
    co_return nothing(
        co_await t.db().write([&](sql::Connection& c) { return store::log_batch(c, run_id, metrics, params, tags); }));
  });
  add_endpoint(router, Method::get, "metrics/get-history", kHistory, [&t](http::Request&, Message m) -> Answer {
    auto max = m.i64("max_results");
    if (max && *max <= 0)
      co_return invalid(
          fmt::format("Invalid value {} for parameter 'max_results' supplied. It must be a positive integer.", *max));
    MR_CO_TRY(auto offset, parse_page_token(m.str("page_token")));
    co_return co_await t.db().scan([&](sql::Connection& c) -> Result<std::string> {
      return history_answer(c, m.str("run_id"), m.str("metric_key"), max, offset);
    });
  });
  add_endpoint(router, Method::get, "metrics/get-history-bulk", kBulk, [&t](http::Request&, Message m) -> Answer {
    auto ids = m.strings("run_id");
    if (ids.empty()) co_return invalid("GetMetricHistoryBulk request must specify at least one run_id.");
    if (m.str("metric_key").empty()) co_return invalid("GetMetricHistoryBulk request must specify a metric_key.");
    if (ids.size() > 100)
      co_return invalid(fmt::format(
          "GetMetricHistoryBulk request cannot specify more than 100 run_ids. Received {} run_ids.", ids.size()));
    MR_CO_TRY(auto found, co_await t.db().scan([&](sql::Connection& c) {
      return store::metric_history_bulk(c, ids, m.str("metric_key"),
                                        std::min<std::int64_t>(25000, m.i64("max_results").value_or(25000)));
    }));
    co_return bulk_answer(found);
  });
  add_endpoint(router, Method::get, "metrics/get-history-bulk-interval", kInterval,
               [&t](http::Request&, Message m) -> Answer {
                 auto ids = m.strings("run_ids");
                 if (ids.empty()) co_return missing_parameter("run_ids");
                 if (ids.size() > 100)
                   co_return invalid(
                       fmt::format("GetMetricHistoryBulkInterval request must specify at most 100 run_ids. Received {} "
                                   "run_ids. See the API docs for more information about request parameters.",
                                   ids.size()));
                 auto max = m.i64("max_results").value_or(2500);
                 if (max < 1 || max > 2500)
                   co_return invalid(
                       "max_results must be between 1 and 2500. See the API docs for more information about request "
                       "parameters.");
                 auto start = m.i64("start_step");
                 auto end = m.i64("end_step");
                 if (start.has_value() != end.has_value())
                   co_return invalid("If either start step or end step are specified, both must be specified.");
                 if (start && *start > *end)
                   co_return invalid(fmt::format(
                       "end_step must be greater than start_step. Found start_step={} and end_step={}.", *start, *end));
                 MR_CO_TRY(auto found, co_await t.db().scan([&](sql::Connection& c) {
                   return store::metric_history_interval(c, ids, m.str("metric_key"), start, end, max);
                 }));
                 co_return bulk_answer(found);
               });
}

}  // namespace mr::tracking
