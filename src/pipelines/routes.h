// What the routes_*.cpp share: the service's inside, and how an endpoint is added. Internal to the pipelines room.
#pragma once
#include "pipelines/encode.h"
#include "pipelines/errors.h"
#include "pipelines/filter.h"
#include "pipelines/messages.h"
#include "pipelines/plan.h"
#include "pipelines/service.h"
#include "task/pool.h"

namespace mr::pipelines {

struct Service::Impl {
  Store& store;
  Runs& runs;
  ServiceOptions options;
  task::Pool pool{"mr-specs", 1, 256};  // compiling and unpacking of what clients send

  [[nodiscard]] std::int64_t now_ms() const;
  [[nodiscard]] const std::string& namespace_or_default(const std::string& ns) const {
    return ns.empty() ? options.default_namespace : ns;
  }
  void recurring_changed() const {
    if (options.recurring_changed) options.recurring_changed();
  }
  // A spec, compiled on the pool, with a name that the original takes.
  task::Task<Result<std::shared_ptr<const Plan>>> compile_spec(const Value& spec);
  struct Package {
    Value spec;
    std::shared_ptr<const Plan> plan;
  };
  // A file, unpacked, parsed and compiled on the pool.
  task::Task<Result<Package>> read_package(std::string_view name, std::string_view bytes);
  // A package from its URL.
  task::Task<Result<Package>> fetch_package(const std::string& url);
  // Fills in the version that a run or recurring run names, or checks the spec that it brings. `pin`: the latest
  // version of a pipeline becomes its version.
  task::Task<Result<std::shared_ptr<const Plan>>> resolve(std::string& pipeline_id, std::string& version_id,
                                                          Value& spec, bool pin);
  task::Task<Result<Run>> submit(Run run);  // see Service
  // The experiment of a run: the named one, or the namespace's default. Fills in both.
  task::Task<Result<>> place(std::string& experiment_id, std::string& ns);
};

// One request to the API.
struct Call {
  http::Request& request;
  text::QueryPairs query;
  std::string body;
  [[nodiscard]] const std::string& param(std::size_t i) const { return request.params[i]; }
  [[nodiscard]] std::string arg(std::string_view name) const { return std::string(parameter(query, name)); }
};
using Answer = task::Task<Result<std::string>>;  // JSON
using Endpoint = Answer (*)(Service::Impl&, Call&);
// `context` begins the text of errors; "{0}" and "{1}" in it become the parts of the path that vary.
void add_endpoint(http::Router& router, Service::Impl& s, http::Method method, std::string_view path, Endpoint endpoint,
                  std::string_view context);

void add_experiment_routes(http::Router& router, Service::Impl& s);     // routes_experiments.cpp
void add_pipeline_routes(http::Router& router, Service::Impl& s);       // routes_pipelines.cpp
void add_upload_routes(http::Router& router, Service::Impl& s);         // routes_uploads.cpp
void add_run_routes(http::Router& router, Service::Impl& s);            // routes_runs.cpp
void add_recurring_routes(http::Router& router, Service::Impl& s);      // routes_recurring.cpp
void add_artifact_routes(http::Router& router, Service::Impl& s);       // routes_artifacts.cpp
void add_artifact_read_routes(http::Router& router, Service::Impl& s);  // routes_artifact_read.cpp
void add_lineage_routes(http::Router& router, Service::Impl& s);        // routes_lineage.cpp
// The URIs under which the store may know what `uri` names: itself, the other schemes of its bucket, the folders above.
std::vector<std::string> names_of_uri(std::string_view uri);

// The query of a list of what belongs to experiments: of one experiment, else of a namespace. Errors: not_found.
Result<ListQuery> read_scoped_query(Service::Impl& s, const Call& c, const Collection& collection);
// "NAME length cannot exceed N", as the original says it.
Result<void> check_length(std::string_view field, std::string_view value, std::size_t most);
Result<void> check_tags(const std::map<std::string, std::string>& tags);

// {KEY: [...], total_size, next_page_token}
template <class T>
std::string list_answer(const MessageType& type, std::string_view key, const Page<T>& page) {
  Array items;
  items.reserve(page.items.size());
  for (const auto& item : page.items) items.push_back(to_message(item));
  return write_message(
      type, Object{{key, std::move(items)}, {"total_size", page.total}, {"next_page_token", page.next_token}});
}
// "{}" when r is good.
inline Result<std::string> nothing(const Result<void>& r) {
  if (!r) return std::unexpected(r.error());
  return "{}";
}

}  // namespace mr::pipelines
