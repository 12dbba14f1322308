// Pipelines and their versions; routes_uploads.cpp has those that come as files.
#include "pipelines/routes.h"

namespace mr::pipelines {

namespace {

Result<void> check_pipeline(const Pipeline& p) {
  if (p.name.empty()) return invalid("name is required");
  MR_CHECK(check_length("Pipeline.Name", p.name, 128));
  MR_CHECK(check_length("Pipeline.Namespace", p.ns, 63));
  return check_tags(p.tags);
}

// As the gateway reads a bool of a query.
std::optional<bool> parse_bool(std::string_view s) {
  for (const auto* yes : {"1", "t", "T", "TRUE", "true", "True"})
    if (s == yes) return true;
  for (const auto* no : {"0", "f", "F", "FALSE", "false", "False"})
    if (s == no) return false;
  return std::nullopt;
}

Answer create_pipeline(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto m, read_message(c.body, wire::kPipeline));
  auto p = pipeline_from(m);
  p.id.clear();
  p.ns = s.namespace_or_default(p.ns);
  p.created_ms = s.now_ms();
  MR_CO_CHECK(check_pipeline(p));
  MR_CO_TRY(auto made, co_await s.store.create_pipeline(std::move(p), std::nullopt));
  co_return write_message(wire::kPipeline, to_message(made));
}

Answer create_pipeline_and_version(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto m, read_message(c.body, wire::kCreatePipelineAndVersion));
  auto p = pipeline_from(document_of(m, "pipeline"));
  auto v = version_from(document_of(m, "pipeline_version"));
  if (v.url.empty()) co_return invalid("invalid pipeline spec URL: ");
  if (p.name.empty()) p.name = v.url.substr(v.url.rfind('/') + 1);
  if (p.display_name.empty()) p.display_name = p.name;
  p.id.clear();
  p.ns = s.namespace_or_default(p.ns);
  p.created_ms = s.now_ms();
  MR_CO_CHECK(check_pipeline(p));
  MR_CO_CHECK(check_tags(v.tags));
  MR_CO_TRY(auto package, co_await s.fetch_package(v.url));
  v.id.clear();
  v.name = p.name;
  v.display_name = p.display_name;
  v.description = p.description;
  v.spec = std::move(package.spec);
  v.created_ms = p.created_ms;
  MR_CO_TRY(auto made, co_await s.store.create_pipeline(std::move(p), std::move(v)));
  co_return write_message(wire::kPipeline, to_message(made));
}

Answer get_pipeline(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto p, s.store.pipeline(c.param(0)));
  co_return write_message(wire::kPipeline, to_message(p));
}

Answer get_pipeline_by_name(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto p, s.store.pipeline_by_name(s.namespace_or_default(c.arg("namespace")), c.param(0)));
  co_return write_message(wire::kPipeline, to_message(p));
}

Answer list_pipelines(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto q, read_list_query(c.query, kPipelines));
  q.ns = s.namespace_or_default(c.arg("namespace"));
  MR_CO_TRY(auto page, s.store.pipelines(q));
  co_return list_answer(wire::kListPipelines, "pipelines", page);
}

Answer update_pipeline(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto m, read_message(c.body, wire::kPipeline));
  MR_CO_TRY(auto p, s.store.pipeline(c.param(0)));
  if (auto name = text_of(m, "display_name"); !name.empty()) p.display_name = std::move(name);
  if (m.contains("tags")) p.tags = texts_of(m, "tags");  // an empty map takes them away, none leaves them
  MR_CO_CHECK(check_tags(p.tags));
  MR_CO_CHECK(co_await s.store.update_pipeline(p));
  co_return write_message(wire::kPipeline, to_message(p));
}

Answer delete_pipeline(Service::Impl& s, Call& c) {
  const auto text = c.arg("cascade");
  const auto cascade = text.empty() ? std::optional(false) : parse_bool(text);
  if (!cascade)
    co_return fail(
        Code::invalid_argument,
        fmt::format("type mismatch, parameter: cascade, error: strconv.ParseBool: parsing \"{}\": invalid syntax",
                    text),
        "gateway");
  co_return nothing(co_await s.store.delete_pipeline(c.param(0), *cascade));
}

Answer create_version(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto m, read_message(c.body, wire::kVersion));
  auto v = version_from(m);
  if (message_of(m, "package_url") == nullptr)
    co_return invalid("Failed to create a pipeline version. Package URL is nil");
  if (v.url.empty()) co_return invalid("Failed to create a pipeline version. Package URL is empty");
  v.id.clear();
  v.pipeline_id = c.param(0);
  if (v.name.empty()) co_return invalid("name is required");
  MR_CO_CHECK(check_length("PipelineVersion.Name", v.name, 127));
  MR_CO_CHECK(check_tags(v.tags));
  MR_CO_CHECK(s.store.pipeline(v.pipeline_id));
  MR_CO_TRY(auto package, co_await s.fetch_package(v.url));
  v.spec = std::move(package.spec);
  v.created_ms = s.now_ms();
  MR_CO_TRY(auto made, co_await s.store.create_version(std::move(v)));
  co_return write_message(wire::kVersion, to_message(made));
}

Answer get_version(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto v, s.store.version(c.param(0), c.param(1)));
  co_return write_message(wire::kVersion, to_message(v));
}

Answer list_versions(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto q, read_list_query(c.query, kVersions));
  q.pipeline_id = c.param(0);
  MR_CO_TRY(auto page, s.store.versions(q));
  co_return list_answer(wire::kListVersions, "pipeline_versions", page);
}

Answer update_version(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto m, read_message(c.body, wire::kVersion));
  MR_CO_TRY(auto v, s.store.version(c.param(0), c.param(1)));
  if (auto name = text_of(m, "display_name"); !name.empty()) v.display_name = std::move(name);
  if (m.contains("tags")) v.tags = texts_of(m, "tags");
  MR_CO_CHECK(check_tags(v.tags));
  MR_CO_CHECK(co_await s.store.update_version(v));
  co_return write_message(wire::kVersion, to_message(v));
}

Answer delete_version(Service::Impl& s, Call& c) {
  co_return nothing(co_await s.store.delete_version(c.param(0), c.param(1)));
}

}  // namespace

void add_pipeline_routes(http::Router& router, Service::Impl& s) {
  using enum http::Method;
  constexpr std::string_view one = "/pipelines/{pipeline_id}", versions = "/pipelines/{pipeline_id}/versions",
                             version = "/pipelines/{pipeline_id}/versions/{pipeline_version_id}";
  add_endpoint(router, s, post, "/pipelines", create_pipeline, "Failed to create a pipeline due to server error");
  add_endpoint(router, s, post, "/pipelines/create", create_pipeline_and_version, "Failed to create a pipeline");
  add_endpoint(router, s, get, "/pipelines", list_pipelines, "Failed to list pipelines");
  add_endpoint(router, s, get, "/pipelines/names/{name}", get_pipeline_by_name,
               "Failed to get a pipeline with name {0}. Check error stack.");
  add_endpoint(router, s, get, one, get_pipeline, "Failed to get a pipeline {0}. Check error stack");
  add_endpoint(router, s, patch, one, update_pipeline, "Failed to update pipeline {0}. Check error stack");
  add_endpoint(router, s, del, one, delete_pipeline, "Failed to delete pipeline {0}. Check error stack");
  add_endpoint(router, s, post, versions, create_version, "Failed to create a pipeline version. Check error stack");
  add_endpoint(router, s, get, versions, list_versions, "Failed to list pipeline versions for pipeline {0}");
  add_endpoint(router, s, get, version, get_version, "Failed to get a pipeline version {1}");
  add_endpoint(router, s, patch, version, update_version, "Failed to update pipeline version {1}. Check error stack");
  add_endpoint(router, s, del, version, delete_version,
               "Failed to delete a pipeline version id {1} under pipeline id {0}. Check error stack");
}

}  // namespace mr::pipelines
