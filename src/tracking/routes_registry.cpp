#include "text/text.h"
#include "tracking/model_source.h"
#include "tracking/routes.h"
#include "tracking/search.h"
#include "tracking/service.h"
#include "tracking/store.h"
#include "tracking/validate.h"

namespace mr::tracking {

namespace {
using FT = FieldType;
using http::Method;
constexpr Field kRegistryTag[] = {{"key"}, {"value"}};
constexpr Field kCreateModel[] = {
    {"name", FT::string, true}, {"tags", FT::messages, false, kRegistryTag}, {"description"}, {"deployment_job_id"}};
constexpr Field kName[] = {{"name", FT::string, true}};
constexpr Field kUpdateModel[] = {{"name", FT::string, true}, {"description"}, {"deployment_job_id"}};
constexpr Field kRename[] = {{"name", FT::string, true}, {"new_name", FT::string, true}};
constexpr Field kSearchRegistry[] = {
    {"filter"}, {"max_results", FT::integer}, {"order_by", FT::strings}, {"page_token"}};
constexpr Field kLatest[] = {{"name", FT::string, true}, {"stages", FT::strings}};
constexpr Field kSetModelTag[] = {{"name", FT::string, true}, {"key", FT::string, true}, {"value"}};
constexpr Field kDeleteModelTag[] = {{"name", FT::string, true}, {"key", FT::string, true}};
constexpr Field kAlias[] = {{"name", FT::string, true}, {"alias", FT::string, true}};
constexpr Field kSetAlias[] = {{"name", FT::string, true}, {"alias", FT::string, true}, {"version", FT::string, true}};
constexpr Field kCreateVersion[] = {{"name", FT::string, true},
                                    {"source", FT::string, true},
                                    {"run_id"},
                                    {"tags", FT::messages, false, kRegistryTag},
                                    {"run_link"},
                                    {"description"},
                                    {"model_id"}};
constexpr Field kVersionKey[] = {{"name", FT::string, true}, {"version", FT::string, true}};
constexpr Field kDownload[] = {{"name"}, {"version"}};
constexpr Field kUpdateVersion[] = {{"name", FT::string, true}, {"version", FT::string, true}, {"description"}};
constexpr Field kTransition[] = {{"name", FT::string, true},
                                 {"version", FT::string, true},
                                 {"stage", FT::string, true},
                                 {"archive_existing_versions", FT::boolean}};
constexpr Field kSetVersionTag[] = {
    {"name", FT::string, true}, {"version", FT::string, true}, {"key", FT::string, true}, {"value"}};
constexpr Field kDeleteVersionTag[] = {
    {"name", FT::string, true}, {"version", FT::string, true}, {"key", FT::string, true}};

Result<std::string> model_answer(const Result<RegisteredModel>& m) {
  if (!m) return std::unexpected(m.error());
  return object([&](json::Writer& w) {
    w.key("registered_model");
    write(w, *m);
  });
}
Result<std::string> version_answer(const Result<ModelVersion>& v) {
  if (!v) return std::unexpected(v.error());
  return object([&](json::Writer& w) {
    w.key("model_version");
    write(w, *v);
  });
}
Result<> check_tag(const KeyValue& t) {
  MR_CHECK(check_name(t.key, "key"));
  MR_CHECK(check_length(t.key, "key", 250));
  return check_length(t.value, "value", 100000);
}
Result<std::int64_t> bounded_max(const Message& m, std::int64_t fallback, std::int64_t limit) {
  auto v = m.i64("max_results").value_or(fallback);
  MR_CHECK(check_schema_limit(m, limit));
  if (v < 1) return invalid(fmt::format("Invalid value for max_results. It must be a positive integer, but got {}", v));
  return v;
}

struct Named {
  std::string name;
  std::int64_t version = 0;
};
Result<Named> named_version(const Message& m) {
  Named n{m.str("name"), 0};
  MR_CHECK(check_model_name(n.name));
  MR_TRY(n.version, parse_model_version(m.str("version")));
  return n;
}

void add_registered_models(http::Router& router, Tracking& t) {
  add_endpoint(router, Method::post, "registered-models/create", kCreateModel,
               [&t](http::Request&, Message m) -> Answer {
                 MR_CO_CHECK(check_model_name(m.str("name")));
                 auto tags = read_pairs(m, "tags");
                 for (const auto& tag : tags) MR_CO_CHECK(check_tag(tag));
                 co_return model_answer(co_await t.db().write([&](sql::Connection& c) {
                   return store::create_registered_model(c, m.str("name"), m.str("description"), tags);
                 }));
               });
  add_endpoint(router, Method::get, "registered-models/get", kName, [&t](http::Request&, Message m) -> Answer {
    MR_CO_CHECK(check_model_name(m.str("name")));
    co_return model_answer(
        t.db().read([&](sql::Connection& c) { return store::get_registered_model(c, m.str("name")); }));
  });
  add_endpoint(router, Method::patch, "registered-models/update", kUpdateModel,
               [&t](http::Request&, Message m) -> Answer {
                 MR_CO_CHECK(check_model_name(m.str("name")));
                 co_return model_answer(co_await t.db().write([&](sql::Connection& c) {
                   return store::update_registered_model(c, m.str("name"), m.str("description"));
                 }));
               });
  add_endpoint(router, Method::post, "registered-models/rename", kRename, [&t](http::Request&, Message m) -> Answer {
    MR_CO_CHECK(check_model_name(m.str("name")));
    MR_CO_CHECK(check_model_name(m.str("new_name"), "new_name"));
    co_return model_answer(co_await t.db().write(
        [&](sql::Connection& c) { return store::rename_registered_model(c, m.str("name"), m.str("new_name")); }));
  });
  add_endpoint(router, Method::del, "registered-models/delete", kName, [&t](http::Request&, Message m) -> Answer {
    MR_CO_CHECK(check_model_name(m.str("name")));
    co_return nothing(
        co_await t.db().write([&](sql::Connection& c) { return store::delete_registered_model(c, m.str("name")); }));
  });
  add_endpoint(router, Method::get, "registered-models/search", kSearchRegistry,
               [&t](http::Request&, Message m) -> Answer {
                 MR_CO_TRY(auto max, bounded_max(m, 100, 1000));
                 MR_CO_TRY(auto sql, registered_model_search(m.str("filter"), m.strings("order_by")));
                 MR_CO_TRY(auto offset, parse_page_token(m.str("page_token")));
                 MR_CO_TRY(auto page, co_await t.db().scan([&](sql::Connection& c) {
                   return store::search_registered_models(c, sql, max, offset);
                 }));
                 co_return page_object("registered_models", page);
               });
  auto latest = [&t](http::Request&, Message m) -> Answer {
    MR_CO_CHECK(check_model_name(m.str("name")));
    MR_CO_TRY(auto found, t.db().read([&](sql::Connection& c) {
      return store::latest_versions(c, m.str("name"), m.strings("stages"));
    }));
    Page<ModelVersion> page{std::move(found), ""};
    co_return page_object("model_versions", page);
  };
  add_endpoint(router, Method::get, "registered-models/get-latest-versions", kLatest, latest);
  add_endpoint(router, Method::post, "registered-models/get-latest-versions", kLatest, latest);
  add_endpoint(router, Method::post, "registered-models/set-tag", kSetModelTag,
               [&t](http::Request&, Message m) -> Answer {
                 KeyValue tag{m.str("key"), m.str("value")};
                 MR_CO_CHECK(check_model_name(m.str("name")));
                 MR_CO_CHECK(check_tag(tag));
                 co_return nothing(co_await t.db().write(
                     [&](sql::Connection& c) { return store::set_registered_model_tag(c, m.str("name"), tag); }));
               });
  add_endpoint(
      router, Method::del, "registered-models/delete-tag", kDeleteModelTag, [&t](http::Request&, Message m) -> Answer {
        MR_CO_CHECK(check_model_name(m.str("name")));
        MR_CO_CHECK(check_name(m.str("key"), "key"));
        co_return nothing(co_await t.db().write(
            [&](sql::Connection& c) { return store::delete_registered_model_tag(c, m.str("name"), m.str("key")); }));
      });
  add_endpoint(router, Method::post, "registered-models/alias", kSetAlias, [&t](http::Request&, Message m) -> Answer {
    MR_CO_CHECK(check_model_name(m.str("name")));
    MR_CO_CHECK(check_alias(m.str("alias")));
    MR_CO_TRY(auto version, parse_model_version(m.str("version")));
    co_return nothing(co_await t.db().write(
        [&](sql::Connection& c) { return store::set_alias(c, m.str("name"), m.str("alias"), version); }));
  });
  add_endpoint(router, Method::del, "registered-models/alias", kAlias, [&t](http::Request&, Message m) -> Answer {
    MR_CO_CHECK(check_model_name(m.str("name")));
    co_return nothing(co_await t.db().write(
        [&](sql::Connection& c) { return store::delete_alias(c, m.str("name"), m.str("alias")); }));
  });
  add_endpoint(router, Method::get, "registered-models/alias", kAlias, [&t](http::Request&, Message m) -> Answer {
    MR_CO_CHECK(check_model_name(m.str("name")));
    co_return version_answer(
        t.db().read([&](sql::Connection& c) { return store::version_by_alias(c, m.str("name"), m.str("alias")); }));
  });
}

void add_model_versions(http::Router& router, Tracking& t) {
  add_endpoint(
      router, Method::post, "model-versions/create", kCreateVersion, [&t](http::Request&, Message m) -> Answer {
        store::NewVersion v{m.str("name"),
                            m.str("source"),
                            m.str("run_id"),
                            m.str("run_link"),
                            m.str("description"),
                            m.str("model_id"),
                            {}};
        SourceRequest given{m.has("run_id"), m.has("model_id")};
        // Repeated keys: the last value at the first key's place.
        for (auto& tag : read_pairs(m, "tags")) {
          auto old = std::find_if(v.tags.begin(), v.tags.end(), [&](const KeyValue& o) { return o.key == tag.key; });
          if (old != v.tags.end())
            old->value = std::move(tag.value);
          else
            v.tags.push_back(std::move(tag));
        }
        co_return version_answer(co_await t.db().write([&](sql::Connection& c) -> Result<ModelVersion> {
          auto n = v;
          MR_CHECK(check_source(c, n, given));
          MR_CHECK(check_model_name(n.name));
          for (const auto& tag : n.tags) MR_CHECK(check_tag(tag));
          return store::create_version(c, std::move(n));
        }));
      });
  add_endpoint(router, Method::get, "model-versions/get", kVersionKey, [&t](http::Request&, Message m) -> Answer {
    MR_CO_TRY(auto n, named_version(m));
    co_return version_answer(t.db().read([&](sql::Connection& c) { return store::get_version(c, n.name, n.version); }));
  });
  add_endpoint(
      router, Method::patch, "model-versions/update", kUpdateVersion, [&t](http::Request&, Message m) -> Answer {
        MR_CO_TRY(auto n, named_version(m));
        co_return version_answer(co_await t.db().write(
            [&](sql::Connection& c) { return store::update_version(c, n.name, n.version, m.opt_str("description")); }));
      });
  add_endpoint(
      router, Method::post, "model-versions/transition-stage", kTransition, [&t](http::Request&, Message m) -> Answer {
        MR_CO_TRY(auto n, named_version(m));
        co_return version_answer(co_await t.db().write([&](sql::Connection& c) {
          return store::transition_stage(c, n.name, n.version, m.str("stage"), m.boolean("archive_existing_versions"));
        }));
      });
  add_endpoint(router, Method::del, "model-versions/delete", kVersionKey, [&t](http::Request&, Message m) -> Answer {
    MR_CO_TRY(auto n, named_version(m));
    co_return nothing(
        co_await t.db().write([&](sql::Connection& c) { return store::delete_version(c, n.name, n.version); }));
  });
  add_endpoint(
      router, Method::get, "model-versions/get-download-uri", kDownload, [&t](http::Request&, Message m) -> Answer {
        if (m.str("name").empty()) co_return invalid("Missing value for required parameter 'name'.");
        MR_CO_TRY(auto n, named_version(m));
        MR_CO_TRY(auto uri, t.db().read([&](sql::Connection& c) { return store::download_uri(c, n.name, n.version); }));
        co_return object([&](json::Writer& w) { w.field("artifact_uri", uri); });
      });
  add_endpoint(
      router, Method::get, "model-versions/search", kSearchRegistry, [&t](http::Request&, Message m) -> Answer {
        MR_CO_TRY(auto max, bounded_max(m, 200000, 200000));
        MR_CO_TRY(auto sql, model_version_search(m.str("filter"), m.strings("order_by")));
        MR_CO_TRY(auto offset, parse_page_token(m.str("page_token")));
        MR_CO_TRY(auto page, co_await t.db().scan(
                                 [&](sql::Connection& c) { return store::search_versions(c, sql, max, offset); }));
        co_return page_object("model_versions", page);
      });
  add_endpoint(router, Method::post, "model-versions/set-tag", kSetVersionTag,
               [&t](http::Request&, Message m) -> Answer {
                 MR_CO_TRY(auto n, named_version(m));
                 KeyValue tag{m.str("key"), m.str("value")};
                 MR_CO_CHECK(check_tag(tag));
                 co_return nothing(co_await t.db().write(
                     [&](sql::Connection& c) { return store::set_version_tag(c, n.name, n.version, tag); }));
               });
  add_endpoint(
      router, Method::del, "model-versions/delete-tag", kDeleteVersionTag, [&t](http::Request&, Message m) -> Answer {
        MR_CO_TRY(auto n, named_version(m));
        co_return nothing(co_await t.db().write(
            [&](sql::Connection& c) { return store::delete_version_tag(c, n.name, n.version, m.str("key")); }));
      });
}

}  // namespace

void add_registry_routes(http::Router& router, Tracking& t) {
  add_registered_models(router, t);
  add_model_versions(router, t);
}

}  // namespace mr::tracking
