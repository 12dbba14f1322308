#include "json/parse.h"
#include "text/text.h"
#include "tracking/routes.h"
#include "tracking/search.h"
#include "tracking/service.h"
#include "tracking/store.h"
#include "tracking/validate.h"

namespace mr::tracking {

namespace {
using FT = FieldType;
using http::Method;
constexpr Field kModelPair[] = {{"key"}, {"value"}};
constexpr Field kCreateLoggedModel[] = {{"experiment_id", FT::string, true},
                                        {"name"},
                                        {"model_type"},
                                        {"source_run_id"},
                                        {"params", FT::messages, false, kModelPair},
                                        {"tags", FT::messages, false, kModelPair}};
constexpr Field kFinalize[] = {{"model_id", FT::string, true}, {"status", FT::enumeration}};
constexpr Field kParams[] = {{"model_id", FT::string, true}, {"params", FT::messages, false, kModelPair}};
constexpr Field kTags[] = {{"model_id"}, {"tags", FT::messages, false, kModelPair}};
constexpr Field kNone[] = {{"allow_deleted"}};
constexpr Field kMetricDataset[] = {{"dataset_name"}, {"dataset_digest"}};
constexpr Field kOrder[] = {{"field_name"}, {"ascending", FT::boolean}, {"dataset_name"}, {"dataset_digest"}};
constexpr Field kSearchLoggedModels[] = {{"experiment_ids", FT::strings},
                                         {"filter"},
                                         {"datasets", FT::messages, false, kMetricDataset},
                                         {"max_results", FT::integer},
                                         {"order_by", FT::messages, false, kOrder},
                                         {"page_token"}};

Result<std::string> model_answer(const Result<LoggedModel>& m) {
  if (!m) return std::unexpected(m.error());
  return object([&](json::Writer& w) {
    w.key("model");
    write(w, *m);
  });
}

ModelStatus parse_status(const std::string& s) {
  for (auto v : {ModelStatus::pending, ModelStatus::ready, ModelStatus::upload_failed})
    if (s == status_name(v) || s == std::to_string(static_cast<int>(v))) return v;
  return ModelStatus::unspecified;
}

// Page tokens of this search are bound to the query that they go on with.
std::string bound_token(const std::vector<std::string>& ids, const std::string& filter,
                        const std::vector<ModelOrder>& order, std::int64_t offset) {
  std::string out;
  json::Writer w(out);
  w.begin_object();
  w.key("experiment_ids");
  w.begin_array();
  for (const auto& id : ids) w.string(id);
  w.end_array();
  w.key("filter_string");
  filter.empty() ? w.null() : w.string(filter);
  w.key("order_by");
  if (order.empty()) {
    w.null();
  } else {
    w.begin_array();
    for (const auto& o : order) {
      w.begin_object();
      w.field("field_name", o.field);
      w.field("ascending", o.ascending);
      w.key("dataset_name");
      o.dataset_name.empty() ? w.null() : w.string(o.dataset_name);
      w.key("dataset_digest");
      o.dataset_digest.empty() ? w.null() : w.string(o.dataset_digest);
      w.end_object();
    }
    w.end_array();
  }
  w.field("offset", offset);
  w.end_object();
  return out;
}

Result<std::int64_t> read_bound_token(const std::string& token, const std::vector<std::string>& ids,
                                      const std::string& filter, const std::vector<ModelOrder>& order) {
  if (token.empty()) return 0;
  auto raw = text::base64_decode(token);
  auto doc = raw ? json::parse(*raw) : Result<boost::json::value>(fail(Code::invalid_argument, ""));
  const auto* o = doc ? json::find(*doc, "offset") : nullptr;
  if (o == nullptr || !o->is_int64() || o->get_int64() < 0)
    return invalid(fmt::format("Invalid page token: {}. Expecting value: line 1 column 1 (char 0)", token));
  auto expected = json::parse(bound_token(ids, filter, order, o->get_int64()));
  auto differs = [&](const char* key) {
    return json::find(*doc, key) == nullptr || *json::find(*doc, key) != *json::find(*expected, key);
  };
  auto python = [](const boost::json::value* v) -> std::string {
    if (v == nullptr || v->is_null()) return "None";
    if (v->is_string()) return std::string(v->get_string());
    if (!v->is_array()) return json::serialize(*v);
    std::string out = "[";
    for (const auto& e : v->get_array())
      out += (out.size() > 1 ? ", " : "") +
             (e.is_string() ? python_repr(std::string_view(e.get_string())) : json::serialize(e));
    return out + "]";
  };
  auto mismatch = [&](const char* what, const char* key, const char* noun) {
    const auto* was = json::find(*doc, key);
    return invalid(fmt::format("{} in the page token do{} not match the requested {}. Expected: {}. Found: {}", what,
                               std::string_view(what).ends_with('s') ? "" : "es", noun,
                               python(json::find(*expected, key)), python(was)));
  };
  if (differs("experiment_ids")) return mismatch("Experiment IDs", "experiment_ids", "experiment IDs");
  if (differs("filter_string")) return mismatch("Filter string", "filter_string", "filter string");
  if (differs("order_by")) return mismatch("Order by", "order_by", "order by");
  return o->get_int64();
}

}  // namespace

void add_model_routes(http::Router& router, Tracking& t) {
  add_endpoint(router, Method::post, "logged-models", kCreateLoggedModel, [&t](http::Request&, Message m) -> Answer {
    LoggedModel in;
    MR_CO_TRY(in.experiment_id, parse_experiment_id(m.str("experiment_id")));
    in.name = m.str("name");
    if (in.name.empty()) in.name = generate_name();
    MR_CO_CHECK(check_logged_model_name(in.name));
    in.model_type = m.str("model_type");
    in.source_run_id = m.str("source_run_id");
    in.params = read_pairs(m, "params");
    in.tags = read_pairs(m, "tags");
    co_return model_answer(
        co_await t.db().write([&](sql::Connection& c) { return store::create_logged_model(c, in); }));
  });
  add_endpoint(
      router, Method::post, "logged-models/search", kSearchLoggedModels, [&t](http::Request&, Message m) -> Answer {
        if (!m.has("experiment_ids")) co_return missing_parameter("experiment_ids");
        std::vector<ModelDataset> datasets;
        for (const auto& d : m.messages("datasets"))
          datasets.push_back({d.str("dataset_name"), d.opt_str("dataset_digest")});
        std::vector<ModelOrder> order;
        for (const auto& o : m.messages("order_by"))
          order.push_back(
              {o.str("field_name"), o.boolean("ascending", true), o.str("dataset_name"), o.str("dataset_digest")});
        auto id_texts = m.strings("experiment_ids");
        auto filter = m.str("filter");
        MR_CO_TRY(auto offset, read_bound_token(m.str("page_token"), id_texts, filter, order));
        auto max = m.i64("max_results").value_or(50);
        if (max == 0) max = 100;
        if (max < 0)
          co_return invalid(
              fmt::format("Invalid value {} for parameter 'max_results' supplied. It must be a positive integer", max));
        max = std::min<std::int64_t>(max, 50000);
        MR_CO_TRY(auto ids, experiment_ids(m));
        MR_CO_TRY(auto sql, logged_model_search(filter, datasets, order));
        MR_CO_TRY(auto page, co_await t.db().scan([&](sql::Connection& c) {
          return store::search_logged_models(c, sql, ids, max, offset);
        }));
        if (!page.next_token.empty())
          page.next_token = text::base64_encode(bound_token(id_texts, filter, order, offset + max));
        co_return page_object("models", page);
      });
  add_endpoint(router, Method::get, "logged-models/{model_id}", kNone, [&t](http::Request& rq, Message m) -> Answer {
    bool deleted = text::lower(m.str("allow_deleted")) == "true";
    co_return model_answer(
        t.db().read([&](sql::Connection& c) { return store::get_logged_model(c, rq.params[0], deleted); }));
  });
  add_endpoint(router, Method::patch, "logged-models/{model_id}", kFinalize,
               [&t](http::Request& rq, Message m) -> Answer {
                 co_return model_answer(co_await t.db().write([&](sql::Connection& c) {
                   return store::finalize_logged_model(c, rq.params[0], parse_status(m.str("status")));
                 }));
               });
  add_endpoint(router, Method::del, "logged-models/{model_id}", kNone, [&t](http::Request& rq, Message) -> Answer {
    co_return nothing(
        co_await t.db().write([&](sql::Connection& c) { return store::delete_logged_model(c, rq.params[0]); }));
  });
  add_endpoint(router, Method::post, "logged-models/{model_id}/params", kParams,
               [&t](http::Request& rq, Message m) -> Answer {
                 auto params = read_pairs(m, "params");
                 co_return nothing(co_await t.db().write(
                     [&](sql::Connection& c) { return store::log_model_params(c, rq.params[0], params); }));
               });
  add_endpoint(
      router, Method::patch, "logged-models/{model_id}/tags", kTags, [&t](http::Request& rq, Message m) -> Answer {
        auto tags = read_pairs(m, "tags");
        co_return nothing(
            co_await t.db().write([&](sql::Connection& c) { return store::set_model_tags(c, rq.params[0], tags); }));
      });
  add_endpoint(router, Method::del, "logged-models/{model_id}/tags/{tag_key}", kNone,
               [&t](http::Request& rq, Message) -> Answer {
                 co_return nothing(co_await t.db().write(
                     [&](sql::Connection& c) { return store::delete_model_tag(c, rq.params[0], rq.params[1]); }));
               });
}

}  // namespace mr::tracking
