// One request to the Kubernetes API, taken apart. Internal to the room's routes. Lives in the handler's frame.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "http/message.h"
#include "kube/server.h"
#include "text/uri.h"

namespace mr::kube {

struct Call {
  http::Request* http = nullptr;
  User user;
  std::vector<std::string> parts;  // the path's segments, decoded
  text::QueryPairs query;
  Target target;     // kind null: not a resource request
  std::string rest;  // behind the subresource: pods/x/proxy/REST
  std::string verb;

  [[nodiscard]] std::string_view param(std::string_view name) const;
  [[nodiscard]] bool flag(std::string_view name) const;  // "true" or "1"
  [[nodiscard]] std::vector<std::string> params(std::string_view name) const;
};

// What the client would like to get.
struct Format {
  enum class As : std::uint8_t { object, table, partial } as = As::object;
  std::string include_object = "Metadata";
  std::string table_version = "v1";
  bool yaml = false;
};

void add_warnings(http::Response& r, const std::vector<std::string>& warnings);
http::Response error_response(const ApiError& e);
http::Response object_response(int status, const Object& o, const std::vector<std::string>& warnings = {});
// An object in the client's format: itself, a Table of one row, its metadata.
http::Response format_response(int status, const Call& call, const Format& f, const ObjectPtr& o,
                               const std::vector<std::string>& warnings = {});
// A JSON answer as YAML, when that is what the client asked for.
http::Response in_format(http::Response r, const Format& f);
// 406 for an Accept header that none of our forms fits.
Answer<Format> negotiate(const Call& call);
// The body as an object: JSON, YAML or protobuf by its Content-Type. `faults` receives duplicate fields.
task::Task<Answer<Object>> read_object(Call& call, std::vector<std::string>& faults);
task::Task<Answer<std::string>> read_body(Call& call);
// resourceVersion of the query; absent: 0.
Answer<std::uint64_t> revision_of(const Call& call);
// How resourceVersion and resourceVersionMatch may go together.
Answer<void> check_match(const Call& call, bool watch);
ApiError too_large_revision(std::uint64_t wanted, std::uint64_t current);
// Options of a write from the query; 400 for values that are none.
Answer<WriteOptions> write_options(const Call& call);

task::Task<http::Response> serve_resource(const ServerDeps& deps, Call& call);
task::Task<http::Response> serve_watch(const ServerDeps& deps, Call& call);
// pods/log, exec, attach, portforward, proxy, binding, eviction; services/proxy; serviceaccounts/token.
task::Task<std::optional<http::Response>> serve_subresource(const ServerDeps& deps, Call& call);
// TokenReview, SubjectAccessReview and their kin: asked, not kept.
task::Task<http::Response> serve_review(const ServerDeps& deps, Call& call);

}  // namespace mr::kube
