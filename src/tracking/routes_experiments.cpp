#include "tracking/encode.h"
#include "tracking/routes.h"
#include "tracking/search.h"
#include "tracking/service.h"
#include "tracking/store.h"
#include "tracking/validate.h"

namespace mr::tracking {

namespace {
using FT = FieldType;
constexpr Field kExperimentTag[] = {{"key"}, {"value"}};
constexpr Field kCreateExperiment[] = {
    {"name", FT::string, true}, {"artifact_location"}, {"tags", FT::messages, false, kExperimentTag}};
constexpr Field kExperimentId[] = {{"experiment_id", FT::string, true}};
constexpr Field kByName[] = {{"experiment_name", FT::string, true}};
constexpr Field kUpdateExperiment[] = {{"experiment_id", FT::string, true}, {"new_name", FT::string, true}};
constexpr Field kSetExperimentTag[] = {{"experiment_id", FT::string, true}, {"key", FT::string, true}, {"value"}};
constexpr Field kDeleteExperimentTag[] = {{"experiment_id", FT::string, true}, {"key", FT::string, true}};
constexpr Field kSearchExperiments[] = {{"view_type", FT::enumeration},
                                        {"max_results", FT::integer},
                                        {"order_by", FT::strings},
                                        {"filter"},
                                        {"page_token"}};

using http::Method;
}  // namespace

void add_experiment_routes(http::Router& router, Tracking& t) {
  add_endpoint(router, Method::post, "experiments/create", kCreateExperiment,
               [&t](http::Request&, Message m) -> Answer {
                 Tags tags = read_pairs(m, "tags");
                 MR_CO_TRY(auto location, check_artifact_location(m.str("artifact_location")));
                 MR_CO_CHECK(check_experiment_name(m.str("name")));
                 for (const auto& tag : tags) MR_CO_CHECK(check_experiment_tag(tag));
                 MR_CO_TRY(auto id, co_await t.db().write([&](sql::Connection& c) {
                   return store::create_experiment(c, m.str("name"), location, t.options().artifact_root, tags);
                 }));
                 co_return object([&](json::Writer& w) { w.field("experiment_id", std::to_string(id)); });
               });
  add_endpoint(router, Method::get, "experiments/get", kExperimentId, [&t](http::Request&, Message m) -> Answer {
    MR_CO_TRY(auto id, parse_experiment_id(m.str("experiment_id")));
    MR_CO_TRY(auto e, t.db().read([&](sql::Connection& c) { return store::get_experiment(c, id); }));
    co_return object([&](json::Writer& w) {
      w.key("experiment");
      write(w, e);
    });
  });
  add_endpoint(router, Method::get, "experiments/get-by-name", kByName, [&t](http::Request&, Message m) -> Answer {
    MR_CO_TRY(auto e, t.db().read([&](sql::Connection& c) {
      return store::get_experiment_by_name(c, m.str("experiment_name"));
    }));
    co_return object([&](json::Writer& w) {
      w.key("experiment");
      write(w, e);
    });
  });
  add_endpoint(router, Method::post, "experiments/delete", kExperimentId, [&t](http::Request&, Message m) -> Answer {
    MR_CO_TRY(auto id, parse_experiment_id(m.str("experiment_id")));
    co_return nothing(co_await t.db().write([&](sql::Connection& c) { return store::delete_experiment(c, id); }));
  });
  add_endpoint(router, Method::post, "experiments/restore", kExperimentId, [&t](http::Request&, Message m) -> Answer {
    MR_CO_TRY(auto id, parse_experiment_id(m.str("experiment_id")));
    co_return nothing(co_await t.db().write([&](sql::Connection& c) { return store::restore_experiment(c, id); }));
  });
  add_endpoint(router, Method::post, "experiments/update", kUpdateExperiment,
               [&t](http::Request&, Message m) -> Answer {
                 MR_CO_CHECK(check_experiment_name(m.str("new_name")));
                 MR_CO_TRY(auto id, parse_experiment_id(m.str("experiment_id")));
                 co_return nothing(co_await t.db().write(
                     [&](sql::Connection& c) { return store::rename_experiment(c, id, m.str("new_name")); }));
               });
  add_endpoint(router, Method::post, "experiments/set-experiment-tag", kSetExperimentTag,
               [&t](http::Request&, Message m) -> Answer {
                 KeyValue tag{m.str("key"), m.str("value")};
                 MR_CO_CHECK(check_experiment_tag(tag));
                 MR_CO_TRY(auto id, parse_experiment_id(m.str("experiment_id")));
                 co_return nothing(
                     co_await t.db().write([&](sql::Connection& c) { return store::set_experiment_tag(c, id, tag); }));
               });
  add_endpoint(router, Method::post, "experiments/delete-experiment-tag", kDeleteExperimentTag,
               [&t](http::Request&, Message m) -> Answer {
                 MR_CO_TRY(auto id, parse_experiment_id(m.str("experiment_id")));
                 co_return nothing(co_await t.db().write(
                     [&](sql::Connection& c) { return store::delete_experiment_tag(c, id, m.str("key")); }));
               });
  auto search = [&t](http::Request&, Message m) -> Answer {
    MR_CO_TRY(auto max, max_results(m, 0, 50000));
    MR_CO_TRY(auto sql, experiment_search(m.str("filter"), m.strings("order_by")));
    MR_CO_TRY(auto offset, parse_page_token(m.str("page_token")));
    MR_CO_TRY(auto page, co_await t.db().scan([&](sql::Connection& c) {
      return store::search_experiments(c, sql, view_type(m.str("view_type")), max, offset);
    }));
    co_return page_object("experiments", page);
  };
  add_endpoint(router, Method::post, "experiments/search", kSearchExperiments, search);
  add_endpoint(router, Method::get, "experiments/search", kSearchExperiments, search);
}

}  // namespace mr::tracking
